"""The main findings, each a sentence that follows from the verdicts of its claims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from basins.figures import style
from basins.report import contents, words
from basins.report.questions import QUESTIONS, Question
from basins.statistics.merges import averages, gains

Ledgers = Mapping[str, Sequence[Mapping[str, Any]]]  # the claims of each profile


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
    made += [_card(question, ledgers, figures) for question in QUESTIONS]
    return [card for card in made if card is not None]


def _card(
    question: Question, ledgers: Ledgers, figures: Mapping[str, Sequence[str]]
) -> Card | None:
    measured: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for profile, claims in ledgers.items():
        known = {claim["id"]: claim for claim in claims}
        for keys, what in question.claims.items():
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
    title = _title(question, found[first], holds[first])
    others: dict[str, list[str]] = {}
    for profile in rest:
        same = "also" if holds[profile] == holds[first] else "not in"
        word = same if status(found[profile]) in DECIDED else "undecided in"
        others.setdefault(word, []).append(profile)
    return Card(
        question.key,
        question.asks,
        _mixed(question, {profile: holds[profile] for profile in sure}) if both else title,
        BOTH if both else _status_in_full(found[first], holds[first]),
        [_effect(profile, *one) for profile in profiles for one in measured[profile]],
        others,
        _figure(question.figures.split("|"), profiles, figures),
    )


def _title(question: Question, claims: Sequence[Mapping[str, Any]], holds: bool) -> str:
    """Return the answer as a sentence, which does not assert what is not decided."""
    text = question.holds if holds else question.fails
    if status(claims) in DECIDED:
        return text
    return f"Not decided; the estimates suggest that {text[0].lower()}{text[1:]}"


def _mixed(question: Question, holds: Mapping[str, bool]) -> str:
    """Return an answer that says in which of the profiles it holds."""
    yes, no = (
        " and ".join(words.spaced(profile) for profile, held in holds.items() if held is side)
        for side in (True, False)
    )
    text = question.holds
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
