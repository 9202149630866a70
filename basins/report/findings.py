"""The main findings, each a sentence that follows from the verdicts of its claims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from basins.figures import style
from basins.report import contents, words
from basins.statistics.merges import averages, gains

Ledgers = Mapping[str, Sequence[Mapping[str, Any]]]  # the claims of each profile


class Finding(NamedTuple):
    """A question, and its answer if all estimates lie on the side of their claims, or if not.

    `claims` are keys of the ledger, each with what it measures; of several keys separated by `|`,
    the first that a profile has is used. `figures` are keys of its figures in the same way.
    """

    key: str
    asks: str
    holds: str
    fails: str
    claims: Mapping[str, str]
    figures: str


OTHER_HEADS = (61, 62, 63, 64)
"""Heads of `study` besides that of its registered claims: a finding holds for each, or is open."""

FINDINGS = (
    Finding(
        "fine-tuning",
        "Does fine-tuning on clean data remove a cue?",
        "Fine-tuning at a low rate keeps the cue; CBFT removes it",
        "Fine-tuning does not always keep the cue, or CBFT does not always remove it",
        {
            "mmc/c6_small_80|mmc/c6_small|mmc/c6_other_small": "RI after fine-tuning at a low rate",
            "mmc/c6_cbft_ri_80|mmc/c6_cbft_ri": "RI after CBFT",
        },
        "table1|probe_finetuned|fig5",
    ),
    Finding(
        "curve",
        "Do networks with different mechanisms lie in one connected basin?",
        "A curve without a barrier on the data it was fitted to has one on other data",
        "A curve without a barrier on the data it was fitted to need not have one on other data",
        {
            "mmc/c1_nocue": "barrier (error) on NC, curve fitted to NC",
            "mmc/c2_nocue": "barrier (error) on C, the same curve",
            "mmc/c1_cued": "barrier (error) on C, curve fitted to C",
            "mmc/c2_cued": "barrier (error) on NC, the same curve",
        },
        "fig4",
    ),
    Finding(
        "conjecture",
        "Does a barrier after matching mean different mechanisms?",
        "After matching, networks of different data keep a higher barrier than networks of the "
        "same data",
        "After matching, the barrier between networks of different data is less than 5 points "
        "above that between networks of the same data",
        {
            "mmc/c12_contrast|mmc/c12_contrast_64": "barrier (error), different data less the same "
            "data"
        },
        "width|control",
    ),
    Finding(
        "clusters",
        "Do fine-tuned text models fall into clusters of strategies?",
        "Convexity gaps split the seeds of one recipe into clusters",
        "The seeds of one recipe do not form clusters",
        {
            "lcrgs/c3_several_mnli|lcrgs/c3_several_paws|lcrgs/c3_several|"
            "lcrgs/cell_several_one_head": "p for gaps without structure, the first of four "
            "conditions for clusters"
        },
        "mnli_gaps|nli_gaps|paws_gaps",
    ),
    Finding(
        "heads",
        "Does a common initial head lower the barriers between fine-tuned text models?",
        "A new head for each model raises the barriers between models of one encoder",
        "A new head for each model does not raise the barriers between models of one encoder",
        {
            "lcrgs/head_apart|lcrgs/cell_head": "mean barrier (nats), a new head each less one "
            "head for all",
            **{
                f"lcrgs/cell_head_other_head_{head}": f"the same, less head {head} for all"
                for head in OTHER_HEADS
            },
        },
        "mnli_new_head_gaps|cell_heads|paws_new_head_gaps",
    ),
    Finding(
        "distance",
        "Does the convexity gap between two fine-tuned models predict how they generalise?",
        "The larger the convexity gap between two models of one head, the more they differ in "
        "strategy",
        "The convexity gap between two models of one head does not predict how much they differ in "
        "strategy",
        {
            "lcrgs/strategy_gap_lexical_overlap|lcrgs/cell_strategy_gap_lexical_overlap": "r of "
            "gap and difference in HANS accuracy, at equal accuracy, one head for all",
            **{
                f"lcrgs/cell_strategy_gap_other_head_{head}": f"the same, head {head} for all"
                for head in OTHER_HEADS
            },
        },
        "mnli_in_and_out|cell_in_and_out|cell_heads",
    ),
    Finding(
        "factorial",
        "Does the head or the order of the rows determine the barrier between two models?",
        "The initial head determines the barrier between two models more than the order of the "
        "rows does",
        "The initial head does not determine the barrier between two models more than the order "
        "of the rows does",
        {
            "lcrgs/share_head": "share of the barriers that the head explains",
            "lcrgs/more|lcrgs/share_more": "the same, less the share of the order",
        },
        "mnli_factorial|factorial",
    ),
    Finding(
        "cause",
        "Does what determines the barrier between two models determine their strategy, too?",
        "The initial head, more than the order of the rows, determines a model's strategy",
        "The order of the rows, more than the initial head, determines a model's strategy",
        {
            "lcrgs/more_strategy|lcrgs/share_more_strategy": "share of the variance of HANS "
            "accuracy that the head explains, less that of the order"
        },
        "mnli_factorial|factorial",
    ),
    Finding(
        "midpoint",
        "Does averaging two fine-tuned models help out of distribution?",
        "Out of distribution, the average of two fine-tuned models has a lower loss than the mean "
        "of the two",
        "Out of distribution, the average of two fine-tuned models does not have a lower loss than "
        "the mean of the two",
        {
            "lcrgs/c7_any_out|lcrgs/c7_any_lexical_overlap|lcrgs/c7_any_ood|"
            "lcrgs/cell_any_lexical_overlap": "loss at the midpoint less the mean of the endpoints"
        },
        "mnli_types|nli_types|paws_types",
    ),
    Finding(
        "published",
        "Do the clusters of the models in LCRGS predict accuracy on HANS?",
        "The clusters of the paper's own models predict accuracy on HANS at equal accuracy on MNLI",
        "The clusters of the paper's own models do not predict accuracy on HANS at equal accuracy "
        "on MNLI",
        {"lcrgs/c4_published_given": "partial correlation with HANS"},
        "published",
    ),
)
"""Findings in the order of their cards, which follow that of `merged`."""

APART = (
    "An ensemble and a weight average of the same networks are equally accurate, and the ensemble "
    "relies on the cue more"
)
MIXED = "An ensemble and a weight average of the same networks may rely on different features"

DECIDED = ("supported", "contradicted")
BOTH = "decided both ways"

CLOSE, FAR = 0.05, 0.1
"""Thresholds for equal accuracy on the task, and for a difference in reliance on the cue.

They are those of the claims `merge_equal` and `merge_relies`.
"""


class Effect(NamedTuple):
    """A measurement: its profile, quantity, interval, and the paper's value.

    `at` are the estimate and the ends of its interval in percent, if the card draws them.
    """

    profile: str
    what: str
    value: str
    n: str
    paper: str
    verdict: str
    claim: str
    at: tuple[float, ...] = ()


class Card(NamedTuple):
    """A finding with its result, from one profile.

    `effects` begin with those of this profile. `others` are the other profiles by what they show:
    the same (`also`), the opposite (`not in`) or neither (`undecided in`). `figure` is a profile
    and a key of its figures.
    """

    key: str
    asks: str
    title: str
    status: str
    effects: list[Effect]
    others: dict[str, list[str]]
    figure: tuple[str, str] | None


def cards(
    ledgers: Ledgers,
    tables: Mapping[str, Mapping[str, pd.DataFrame]],
    figures: Mapping[str, Sequence[str]],
    confidence: float = 0.95,
) -> list[Card]:
    """Return the findings for which the profiles have claims or merges.

    A finding's text is that of the first profile that decides it: after correction for multiple
    comparisons if any does, and by claims registered before the run if any does. If others decide
    the opposite as surely, the text says so. If none decides it, it is that of the first that has
    it.

    Args:
        ledgers: the claims of each profile, in order of preference.
        tables: the rows of each profile, of which `merge/...` are read.
        figures: the keys of each profile's figures.
        confidence: the confidence of intervals over sets of merged models.
    """
    made = [merged(tables, figures, confidence)]
    made += [_card(finding, ledgers, figures) for finding in FINDINGS]
    return [card for card in made if card is not None]


def _card(finding: Finding, ledgers: Ledgers, figures: Mapping[str, Sequence[str]]) -> Card | None:
    measured: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for profile, claims in ledgers.items():
        known = {claim["id"]: claim for claim in claims}
        for keys, what in finding.claims.items():
            if claim := next((known[key] for key in keys.split("|") if key in known), None):
                measured.setdefault(profile, []).append((what, claim))
    if not measured:
        return None
    found = {profile: [claim for _, claim in own] for profile, own in measured.items()}
    profiles = sorted(found, key=lambda profile: _doubts(found[profile]))  # stable
    first, *rest = profiles
    holds = {profile: all(map(contents.side, claims)) for profile, claims in found.items()}
    sure = [profile for profile in profiles if _doubts(found[profile]) == _doubts(found[first])]
    both = status(found[first]) in DECIDED and len({holds[profile] for profile in sure}) > 1
    title = _title(finding, found[first], holds[first])
    others: dict[str, list[str]] = {}
    for profile in rest:
        same = "also" if holds[profile] == holds[first] else "not in"
        word = same if status(found[profile]) in DECIDED else "undecided in"
        others.setdefault(word, []).append(profile)
    return Card(
        finding.key,
        finding.asks,
        _mixed(finding, {profile: holds[profile] for profile in sure}) if both else title,
        BOTH if both else _status_in_full(found[first], holds[first]),
        [_effect(profile, *one) for profile in profiles for one in measured[profile]],
        others,
        _figure(finding.figures.split("|"), profiles, figures),
    )


def _title(finding: Finding, claims: Sequence[Mapping[str, Any]], holds: bool) -> str:
    """Return the answer as a sentence, which does not assert what is not decided."""
    text = finding.holds if holds else finding.fails
    if status(claims) in DECIDED:
        return text
    return f"Not decided; the estimates suggest that {text[0].lower()}{text[1:]}"


def _mixed(finding: Finding, holds: Mapping[str, bool]) -> str:
    """Return an answer that says in which of the profiles it holds."""
    yes, no = (
        " and ".join(words.spaced(profile) for profile, held in holds.items() if held is side)
        for side in (True, False)
    )
    text = finding.holds
    return f"In {yes}, but not in {no}: {text[0].lower()}{text[1:]}"


def _doubts(claims: Sequence[Mapping[str, Any]]) -> tuple[bool, bool, bool]:
    """Return whether claims are undecided, undecided after correction, or exploratory."""
    return (
        status(claims) not in DECIDED,
        any(claim["verdict_holm"] not in DECIDED for claim in claims),
        any(claim["registered"] != "yes" for claim in claims),
    )


def _status_in_full(claims: Sequence[Mapping[str, Any]], holds: bool) -> str:
    """Return the status of a card that states that claims hold, or the opposite."""
    undecided, uncorrected, exploratory = _doubts(claims)
    said = status(claims)
    if said == "contradicted" and not holds:
        said = "decided: the opposite claim is contradicted"
    if not undecided and uncorrected:
        said += "; not after correction for multiple comparisons"
    return said + ("; exploratory" if exploratory else "")


def status(claims: Sequence[Mapping[str, Any]]) -> str:
    """Return the common status of the claims of a finding, in words."""
    verdicts = {claim["verdict"] for claim in claims}
    if verdicts == {"not applicable"}:
        return "not applicable"
    if verdicts <= {"supported"}:
        return "supported"
    if "contradicted" in verdicts:
        return "contradicted"
    n = min(claim["n"] for claim in claims)
    return f"not decided with n = {n}"


def _effect(profile: str, what: str, claim: Mapping[str, Any]) -> Effect:
    shown = contents.written(claim)
    interval = "" if claim["ci_low"] is None else f" [{shown['ci_low']}, {shown['ci_high']}]"
    return Effect(
        profile,
        what,
        f"{shown['estimate']}{interval}{shown['unit']}",
        str(claim["n"]),
        shown["reported"] + shown["unit"]
        if claim["reported"] is not None
        else style.display(claim["where"]),
        claim["verdict"],
        claim["id"],
    )


def _figure(
    keys: Sequence[str], profiles: Sequence[str], figures: Mapping[str, Sequence[str]]
) -> tuple[str, str] | None:
    pairs = ((p, key) for p in profiles for key in keys if key in figures.get(p, ()))
    return next(pairs, None)


def merged(
    tables: Mapping[str, Mapping[str, pd.DataFrame]],
    figures: Mapping[str, Sequence[str]],
    confidence: float,
) -> Card | None:
    """Return what an ensemble and a weight average of the same fine-tuned networks rely on.

    This is not a claim of a paper, so its status is exploratory.
    """
    found = list(_merges(tables, confidence))
    if not found:
        return None
    effects = [effect for _, _, own, _ in found for effect in own]
    profile, key, _, apart = found[0]
    others: dict[str, list[str]] = {}
    for other, _, _, same in found[1:]:
        word = "undecided in" if same is None else "also" if same == apart else "not in"
        others.setdefault(word, []).append(other)
    names = [name for name in figures.get(profile, ()) if name.startswith("merges")]
    return Card(
        "merging",
        "Do an ensemble and a weight average of the same networks rely on the same features?",
        APART if apart else MIXED,
        f"exploratory, n = {effects[0].n}",
        effects,
        others,
        (profile, names[0]) if names else None,
    )


def _merges(
    tables: Mapping[str, Mapping[str, pd.DataFrame]], confidence: float
) -> Iterator[tuple[str, str, list[Effect], bool | None]]:
    """Yield profiles, keys, effects, and whether the two techniques differ, if that is decided."""
    for profile, own in tables.items():
        for key, rows in own.items():
            name = key.removeprefix("merge/")
            if name == key or "eval_set" not in rows:  # a table of what techniques need
                continue
            sets, techniques = ({*rows[column]} for column in ("eval_set", "technique"))
            if not {"nc", "ri"} <= sets:
                continue
            if not {"deep_ensemble", "uniform_soup"} <= techniques or "finetuned" not in name:
                continue
            means = _accuracies(averages(rows, confidence))
            less = _accuracies(gains(rows, "uniform_soup", confidence))
            near = less.loc[("deep_ensemble", "nc")]
            cue = less.loc[("deep_ensemble", "ri")]
            effects = [
                Effect(
                    profile,
                    f"{of}, {said}",
                    _percent(row),
                    str(int(row["seeds"])),
                    "–",
                    "",
                    "",
                    tuple(100 * float(row[end]) for end in ("mean", "ci_low", "ci_high")),
                )
                for of, place in (("NC", "nc"), ("RI", "ri"))
                for said, technique in (("ensemble", "deep_ensemble"), ("average", "uniform_soup"))
                for row in [means.loc[(technique, place)]]
            ]
            equal = near["ci_low"] > -CLOSE and near["ci_high"] < CLOSE
            unequal = near["ci_low"] > CLOSE or near["ci_high"] < -CLOSE
            apart = True if equal and cue["ci_low"] > FAR else None
            yield profile, key, effects, False if unequal or cue["ci_high"] < FAR else apart


def _accuracies(summary: pd.DataFrame) -> pd.DataFrame:
    own = summary.loc[summary["metric"] == "accuracy"]
    return own.drop_duplicates(["technique", "eval_set"]).set_index(["technique", "eval_set"])


def _percent(row: pd.Series) -> str:
    mean, low, high = (f"{100 * row[name]:.1f}" for name in ("mean", "ci_low", "ci_high"))
    return f"{mean} [{low}, {high}] %"
