"""From a paper's claims to entries of `claims.json`: how they are declared and decided.

A paper's file declares a claim by `@paper.above(...)`, `below`, `within` or `test` above the
function that measures it. The function's keyword-only arguments, and `threshold`, are the claim's
options in `params.yaml`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partialmethod
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field
from scipy.special import expit

from basins.claims.registration import Registration
from basins.claims.results import ANY, Results
from basins.errors import UserError
from basins.registry import check_options, module, split_options
from basins.statistics.verdict import Direction, holm, on_logit, p_value, unseen, verdict

Kind = Literal["paper", "control", "ours"]
Side = Direction | Literal["test"]
KINDS: dict[str, str] = {"paper": "the paper's", "control": "controls", "ours": "ours"}
"""Whose claims they are, in words; only the first kind is made by the paper."""


class Measured(NamedTuple):
    """What was measured.

    Args:
        statistic: in words.
        interval: `mean`, `ci_low` and `ci_high` over `seeds` units; for a `test`, `mean` is p. If
            `decides` is false, the coverage of the interval is not guaranteed, and `note` says why;
            `method` says how it was computed, `scale` on which scale (`verdict.Scale`), and
            `bounds` are the range of the statistic. `p` is that of an exact test against 0, if
            there is one.
        needs: what must exist for the claim to apply, in words.
        reported: the paper's number, if it measured the same quantity on the same data.
    """

    statistic: str
    interval: Mapping[str, Any]
    needs: str = "such rows"
    reported: float | None = None


class Shown(NamedTuple):
    """Where a claim is shown: files of `figures/` and `tables/`, and tables of `results/`."""

    figures: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()


Need = Callable[[Results, Mapping[str, Any]], str]
"""A precondition: returns what is lacking, in words, or nothing, given the claim's options."""


class Measure(NamedTuple):
    """A function that measures, where its claims are shown, and their preconditions."""

    function: Callable[..., Measured]
    shown: Shown
    needs: tuple[Need, ...]


def measure(shown: Shown, *needs: Need) -> Callable[[Callable[..., Measured]], Measure]:
    """Declare that a function measures claims; `shown` is where they are shown."""
    return lambda function: Measure(function, shown, needs)


class Claim(NamedTuple):
    """A claim as its paper's file declares it; see `Paper.claim`."""

    where: str
    statement: str
    side: Side
    measure: Measure
    kind: Kind
    shown: Shown
    confound: str
    fixed: Mapping[str, Any]

    def check(self, setting: Mapping[str, Any], where: str) -> None:
        """Check its options and its threshold, or raise `UserError`."""
        _, options = split_options(setting)
        held = {key: options.pop(key) for key in ("threshold",) if key in options}
        check_options(self.measure.function, options, where, given=self.fixed)
        check_options({"within": _margin, "test": _level}.get(self.side, _threshold), held, where)


class Declaration(NamedTuple):
    """A claim without its statement and its measure."""

    claims: dict[str, Claim]
    name: str
    where: str
    side: Side
    kind: Kind
    shown: Shown | None
    fixed: Mapping[str, Any]

    def says(self, statement: str, *, confound: str = "") -> Callable[[Measure], Measure]:
        """Declare that the claim states `statement`, one sentence, about the decorated measure.

        `confound` is an alternative explanation.
        """

        def declare(measure: Measure) -> Measure:
            shown = self.shown or measure.shown
            about = (self.where, statement, self.side, measure, self.kind, shown)
            self.claims[self.name] = Claim(*about, confound, self.fixed)
            return measure

        return declare


@dataclass(frozen=True)
class Paper:
    """A paper's claims by name; `name` is that of its file.

    `above`, `below`, `within` and `test` declare a claim of that side, see `claim`. If `together`,
    the intervals of all of its claims are simultaneous (Bonferroni). `kind` is the default kind of
    its claims.
    """

    name: str
    title: str
    kind: Kind = "paper"
    together: bool = False
    claims: dict[str, Claim] = field(default_factory=dict)

    def claim(
        self,
        side: Side,
        name: str,
        where: str,
        *,
        kind: Kind | None = None,
        shown: Shown | None = None,
        **fixed: Any,
    ) -> Declaration:
        """Begin to declare a claim; `says` ends it.

        Args:
            side: on which side of the threshold the claim expects the measurement; `test` if it is
                the p of a test, whose threshold is the level of all claims.
            name: its name in `params.yaml`.
            where: its place in the paper.
            kind: whose claim it is.
            shown: where it is shown, if not where its measure is.
            fixed: options of the measure that the claim fixes.
        """
        return Declaration(self.claims, name, where, side, kind or self.kind, shown, fixed)

    above = partialmethod(claim, "above")
    below = partialmethod(claim, "below")
    within = partialmethod(claim, "within")
    test = partialmethod(claim, "test")


def ledger(
    claims: Mapping[str, Mapping[str, Mapping[str, Any]]],
    results: Results,
    registered: Registration,
) -> list[dict[str, Any]]:
    """Return the entries of all claims with both verdicts; settings are by paper and key."""
    every: list[dict[str, Any]] = []
    for name, settings in claims.items():
        every += entries(module("claims", name, "paper").paper, results, settings, registered)
    return together(every, results.confidence)


def register(
    claims: Mapping[str, Mapping[str, Mapping[str, Any]]],
    results: Results,
    registered: Registration,
    since: str,
) -> Iterator[str]:
    """Register every claim that is not registered with its settings, and yield a line for each.

    A claim whose rows already exist is marked as exploratory, and one that is no longer among
    `claims` as retired. `since` is the commit and the date.
    """
    kept = {f"{name}/{key}" for name, settings in claims.items() for key in settings}
    for identifier in registered.retire(kept, since):
        yield f"{identifier}: retired"
    for name, settings in claims.items():
        paper = module("claims", name, "paper").paper
        for key, setting in settings.items():
            known = registered.claims.get(f"{name}/{key}")
            if known and known["settings"] == setting and "retired" not in known:
                continue
            try:
                seen = bool([*entries(paper, results, {key: setting}, registered)])
            except UserError:  # its rows do not exist
                seen = False
            registered.add(f"{name}/{key}", setting, since, seen)
            yield f"{name}/{key}: {'exploratory, its rows exist' if seen else 'registered'}"


def entries(
    paper: Paper,
    results: Results,
    settings: Mapping[str, Mapping[str, Any]],
    registered: Registration,
) -> Iterator[dict[str, Any]]:
    """Yield the ledger's entry of each claim in `settings`: its name with its options.

    Raises a `UserError` that names the claim if its rows are missing.
    """
    count = len(settings) if paper.together else 1
    wider = results.at(1 - (1 - results.confidence) / max(1, count))
    for key, setting in settings.items():
        name, options = split_options(setting)
        claim, identifier = paper.claims[name], f"{paper.name}/{key}"
        threshold = options.pop("threshold", 1 - wider.confidence)
        options |= claim.fixed
        try:
            measured = claim.measure.function(wider, **options)
            lacks = (need(results, options) for need in claim.measure.needs)
            lacking = next(filter(None, lacks), "")
        except UserError as error:
            raise UserError(f"claims.{paper.name}.{key}: {error}") from None
        among = f"; one of {count} simultaneous claims (Bonferroni)" if paper.together else ""
        failed = ", ".join(results.left_out(options.get("experiment")))
        among += f"; without {failed}, which learned nothing" if failed else ""
        yield {
            "id": identifier,
            "paper": paper.title,
            "where": claim.where,
            "kind": claim.kind,
            "statement": claim.statement,
            "statistic": measured.statistic + among,
            **decide(measured, threshold, claim.side, wider.confidence, lacking),
            "confound": claim.confound,
            **registered.of(identifier, setting),
        }


def decide(
    measured: Measured,
    threshold: float,
    side: Side,
    confidence: float,
    lacking: str = "",
) -> dict[str, Any]:
    """Return the numbers of a measurement, its verdict, and the reason if there is none.

    Args:
        measured: what was measured, with its interval.
        threshold: what it is compared with; for a `test`, the level.
        side: on which side of the threshold the claim expects it.
        confidence: the confidence of the interval, two-sided.
        lacking: the precondition that fails, in words, if one does.
    """
    interval, direction = measured.interval, "below" if side == "test" else side
    mean, low, high = (float(interval[name]) for name in ("mean", "ci_low", "ci_high"))
    n = int(interval["seeds"])
    word, p, effect, reason = "inconclusive", np.nan, None, ""
    if lacking or not n or np.isnan(mean):
        word, reason = "not applicable", lacking or f"there are no {measured.needs}"
    elif not interval.get("decides", True):
        reason = str(interval.get("note", ""))
    elif side == "test":
        p, word = mean, "supported" if mean < threshold else "inconclusive"
        reason = "" if p < threshold else "the test does not reject the null hypothesis"
    else:
        scale, bounds = interval.get("scale", "plain"), interval.get("bounds", ANY)
        p = p_value(mean, low, high, threshold, direction, confidence, n, scale, bounds)
        # Where a permutation test must agree, too, the verdict has the p of the weaker of the two.
        p = max(p, float(interval["p"])) if "p" in interval and threshold == 0 else p
        word = verdict(low, high, threshold, direction)
        effect = smallest_effect(measured, threshold, direction)
        if word == "inconclusive" and np.isfinite(high - low) and effect is None:
            reason = f"no estimate could support it with n = {n}"
    matches, reported = "not reported", measured.reported
    if reported is not None and np.isfinite(high - low):
        matches = "yes" if low <= reported <= high else "no"
    return {
        "estimate": known(mean),
        "ci_low": known(low),
        "ci_high": known(high),
        "threshold": threshold,
        "direction": direction,
        "n": n,
        "method": str(interval.get("method", "")),
        "p": known(p),
        "verdict": word,
        "reason": reason,
        "unseen": None
        if word not in ("supported", "contradicted")
        else 0.0
        if side != "test" and _whatever(interval, threshold, direction) == word
        else unseen(n, confidence),
        "smallest_effect": effect,
        "reported": reported,
        "matches": matches,
    }


def _whatever(interval: Mapping[str, Any], threshold: float, direction: Direction) -> str:
    """Return the verdict about a mean in the worst case for seeds of a kind that was not sampled.

    Their share of the values is `touched`, and `bounds` are the extreme values.
    """
    touched, bounds = interval.get("touched", 1.0), interval.get("bounds", ANY)
    if not touched:
        bounds = (0.0, 0.0)
    low, high = (
        float((1 - touched) * interval[end] + touched * worst)
        for end, worst in zip(("ci_low", "ci_high"), bounds, strict=True)
    )
    return verdict(low, high, threshold, direction)


def smallest_effect(measured: Measured, threshold: float, direction: Direction) -> float | None:
    """Return the estimate nearest to the threshold that an interval of this width would support.

    None if it is outside the range of the statistic, so that no estimate would.
    """
    mean, low, high = (float(measured.interval[name]) for name in ("mean", "ci_low", "ci_high"))
    least, most = measured.interval.get("bounds", ANY)
    if bounded := measured.interval.get("scale") == "logit":
        mean, low, high, held = on_logit((mean, low, high, threshold), (least, most))
        start, end = -np.inf, np.inf
    else:
        held, start, end = threshold, least, most
    needed = held + (mean - low)
    if direction == "below":
        needed = held - (high - mean)
    elif direction == "within":
        needed, start = held - (high - low) / 2, 0.0
    if not (start <= needed <= end):
        return None
    return float(least + (most - least) * expit(needed) if bounded else needed)


def together(entries: Sequence[Mapping[str, Any]], confidence: float) -> list[dict[str, Any]]:
    """Return all claims of a ledger with their verdicts after correction for multiple comparisons.

    `p_holm` is `p` adjusted for their number (Holm), and `verdict_holm` is `inconclusive` if it is
    not below 1 - confidence. A claim that does not apply stays so.
    """
    adjusted = holm([np.nan if claim["p"] is None else claim["p"] for claim in entries])
    return [
        {
            **claim,
            "p_holm": known(p),
            "verdict_holm": claim["verdict"]
            if p < 1 - confidence or claim["verdict"] == "not applicable"
            else "inconclusive",
        }
        for claim, p in zip(entries, adjusted, strict=True)
    ]


def known(value: float) -> float | None:
    """Return a finite number, or None, which JSON can represent."""
    return float(value) if np.isfinite(value) else None


def _threshold(*, threshold: Annotated[float, Field(allow_inf_nan=False)]) -> None:
    """Declare the type of a threshold."""


def _margin(*, threshold: Annotated[float, Field(gt=0, allow_inf_nan=False)]) -> None:
    """Declare the type of a margin."""


def _level() -> None:
    """Declare that a test takes no threshold."""
