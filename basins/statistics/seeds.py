"""Intervals over seeds: what would change if other seeds had been trained.

Pairs of models share seeds, so they are not independent: seeds are left out, never pairs. Few seeds
therefore give wide intervals. Measured coverage is in docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import betaincinv, expit, logit, stdtrit

from basins.statistics.verdict import unseen

FEWEST = 6
"""Fewer seeds decide nothing: two equal groups look like one in 6 % of draws of five seeds."""

SKEW = 5.0
"""By how much, over the root of the number of seeds, the side of a long tail is widened."""

NEAR = 3.0
"""Within so many standard deviations of one end of its range, a quantity may have a long tail."""

TWO = 1.5
"""Below this, seeds look like two groups: kurtosis minus squared skewness is 1 for two values, 3
for a normal distribution."""

INTERVAL = ("mean", "ci_low", "ci_high", "seeds")
EVERYTHING = (-np.inf, np.inf)
SHARES = frozenset({"accuracy", "error", "f1"})
NOT_BELOW_0 = SHARES | {"loss", "barrier", "barrier_linear", "convexity_gap", "distance"}


def jackknife(
    values: np.ndarray,
    seeds: Sequence[np.ndarray],
    confidence: float,
    within: tuple[float, float] = EVERYTHING,
    *,
    outcomes: bool = False,
) -> dict[str, Any]:
    """Return the mean of values [n], its interval over seeds, and whether it may decide a claim.

    Each seed in turn is left out with all values that involve it (`leave_out`). For values that all
    have one sign, 0 counts as an end of the range.

    Args:
        values: each of a model, or of a pair of models.
        seeds: one array [n] if each value is of one model, two for pairs.
        confidence: two-sided.
        within: the range of the quantity, such as (0, 1).
        outcomes: every value is a yes (1) or a no (0), one for each seed, whose share has an exact
            interval. Values that happen to be 0 or 1, such as accuracies, are not outcomes.

    Returns:
        `mean, ci_low, ci_high, seeds`; `method` (how the interval was computed); `decides` (false
        if its coverage is not guaranteed: then it decides no claim); `note` (the reason, or empty);
        and the limits of a verdict: `unseen`, the largest share of seeds that may be of a kind that
        was not sampled, and `touched`, the share of values that may involve such seeds. Ends are
        NaN if leaving one seed out leaves no values.

    Raises:
        ValueError: outcomes are not 0 or 1, or not one for each seed.
    """
    values = np.asarray(values, float)
    nodes, kept = _kept(seeds)
    if outcomes and len(values):
        if _crossed(seeds) or len(values) != len(nodes) or not np.isin(values, (0, 1)).all():
            raise ValueError("outcomes are 0 or 1, one of each seed")
        return _exact(int(values.sum()), len(nodes), confidence)
    signs = (0 if (values >= 0).all() else -np.inf, 0 if (values <= 0).all() else np.inf)
    estimate = _described(
        _mean(values),
        np.array([_mean(values[keep]) for keep in kept]),
        confidence,
        within,
        signs if within == EVERYTHING and len(values) else within,
        _alone(values, kept) if _crossed(seeds) else 0.0,
    )
    return estimate | {"touched": _touched(estimate["unseen"], seeds)}


def contrast(
    values: np.ndarray,
    first: np.ndarray,
    seeds: Sequence[np.ndarray],
    confidence: float,
    within: tuple[float, float] = EVERYTHING,
) -> dict[str, Any]:
    """Return the mean of values where `first` is true, less that where it is not.

    Otherwise as `jackknife`. A seed is left out of both groups at once, so an effect that it has on
    both cancels. The smaller group limits what the interval knows, so `seeds` is its number.

    Args:
        values: each of a model, or of a pair of models [n].
        first: which values are of the first group, bool [n].
        seeds: one array [n] if each value is of one model, two for pairs.
        confidence: two-sided.
        within: the range of the difference.
    """
    values = np.asarray(values, float)

    def difference(keep: np.ndarray) -> float:
        return _mean(values[keep & first]) - _mean(values[keep & ~first])

    _, kept = _kept(seeds)
    extra = sum(_alone(values[part], kept[:, part]) for part in (first, ~first))
    whole, without = difference(np.ones(len(values), bool)), np.array([*map(difference, kept)])
    fewer = min(int((~kept[:, part]).any(1).sum()) for part in (first, ~first))
    estimate = _described(
        whole, without, confidence, within, within, extra if _crossed(seeds) else 0.0, fewer
    )
    return estimate | {"touched": _touched(estimate["unseen"], seeds)}


def leave_out(
    statistic: Callable[[np.ndarray], float],
    seeds: Sequence[np.ndarray],
    confidence: float,
    within: tuple[float, float] = EVERYTHING,
) -> dict[str, Any]:
    """Return the jackknife of `statistic`, a smooth function of the mask of kept values, bool [n].

    Otherwise as `jackknife`.
    """
    _, kept = _kept(seeds)
    without = np.array([statistic(keep) for keep in kept])
    whole = statistic(np.ones(len(seeds[0]), bool))
    return _described(whole, without, confidence, within, within, 0.0)


def over_factors(
    statistic: Callable[[np.ndarray], float],
    factors: Mapping[str, Sequence[np.ndarray]],
    confidence: float,
) -> dict[str, Any]:
    """Return the jackknife of `statistic` over a design whose random factors are crossed.

    Each level of each factor is left out in turn. A factor's levels alone give an interval as in
    `leave_out`; that over all factors adds their half-widths in quadrature (Zou & Donner 2008). It
    decides if each factor has at least `FEWEST` levels; `seeds` is the smallest number.

    Args:
        statistic: a smooth function of the mask of kept values, bool [n].
        factors: by name, the levels of each value, one array [n] for each place in a pair.
        confidence: two-sided.
    """
    whole = statistic(np.ones(len(next(iter(factors.values()))[0]), bool))
    parts = {name: leave_out(statistic, levels, confidence) for name, levels in factors.items()}
    rarest = min(parts, key=lambda name: parts[name]["seeds"])
    count = parts[rarest]["seeds"]
    below, above = (
        float(np.sqrt(sum((whole - part[end]) ** 2 for part in parts.values())))
        for end in ("ci_low", "ci_high")
    )
    note = f"{count} levels of {rarest}: with fewer than {FEWEST}, two groups may look like one"
    levels = " and ".join(f"{part['seeds']} of {name}" for name, part in parts.items())
    method = f"jackknife t, levels left out: {levels}"
    note = note if count < FEWEST else ""
    return _estimate(whole, whole - below, whole + above, count, confidence, method, note)


def interval(
    whole: np.ndarray,
    without: np.ndarray,
    confidence: float,
    *,
    within: tuple[float, float] = EVERYTHING,
    near: tuple[float, float] = EVERYTHING,
    extra: np.ndarray | float = 0.0,
    seeds: int | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the ends of intervals of estimates [...], and the widening factors [2, ...].

    The t interval of the jackknife's pseudo-values, with (K - 1) degrees of freedom. From `FEWEST`
    seeds on, the side towards which they are skewed is 1 + `SKEW` / sqrt(K) times as wide: there a
    t interval misses the mean of skewed values by a term of that order (Johnson 1978), and a few
    seeds from a long tail rarely show its length. Both sides are widened if the seeds look like two
    groups, and a side is widened if the other end of the range is near.

    Args:
        whole: the estimates [...].
        without: the estimates without each of K seeds [..., K].
        confidence: two-sided.
        within: the range; if both ends are finite, the interval is computed on the logit scale.
        near: the range that is used to detect long tails.
        extra: the variance added for effects of pairs: if seeds form two equal groups, leaving one
            out changes nothing.
        seeds: the number of seeds of the smaller of two groups, if not K: the degrees of freedom
            are then one less than this, and sides are widened for so many.
    """
    count = without.shape[-1]
    few = count if seeds is None else seeds
    off = (count - 1) * (without.mean(-1, keepdims=True) - without)  # of pseudo-values
    second, third, fourth = ((off**power).mean(-1) for power in (2, 3, 4))
    spread = np.sqrt(second * count / max(count - 1, 1))
    error = np.sqrt(np.where(second == 0, 0, spread**2 / max(count, 1) + extra))
    sides = np.ones((2, *np.shape(whole)))
    if few >= FEWEST:
        scale = np.where(second > 0, second, 1.0)
        skew = third / scale**1.5
        two = fourth / scale**2 - skew**2 < TWO
        below, above = whole - near[0], near[1] - whole  # distances to the ends
        closest = np.minimum(below, above) < NEAR * spread
        wide = [(skew < 0) | two | (closest & (above < below))]
        wide += [(skew > 0) | two | (closest & (below < above))]
        sides = np.where(wide, 1 + SKEW / np.sqrt(few), 1.0)
    half = sides * stdtrit(max(few - 1, 1), (1 + confidence) / 2) * error
    low, high = within
    if np.isfinite(low) and np.isfinite(high):
        share = np.clip((whole - low) / (high - low), 1e-12, 1 - 1e-12)
        half = half / ((high - low) * share * (1 - share))
        start, end = (low + (high - low) * expit(logit(share) + s) for s in (-half[0], half[1]))
        return np.where(error == 0, whole, start), np.where(error == 0, whole, end), sides
    return np.clip(whole - half[0], *within), np.clip(whole + half[1], *within), sides


def ends(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Return recipe and seed of the models of each pair, and whether they share initial weights.

    `rows` has `model_a` and `model_b` (`recipe/seedK`). Two models of one seed start from the same
    weights: `init` is `shared` for them and `separate` otherwise.
    """
    columns = {}
    for side in ("a", "b"):
        parts = rows[f"model_{side}"].str.extract(r"(?P<recipe>.+)/seed(?P<seed>\d+)")
        columns |= {f"recipe_{side}": parts["recipe"], f"seed_{side}": parts["seed"].astype(int)}
    shared = columns["seed_a"] == columns["seed_b"]
    return {**columns, "init": shared.map({True: "shared", False: "separate"})}


def summarise_pairs(
    rows: pd.DataFrame, keys: list[str], values: list[str], name: str, confidence: float
) -> pd.DataFrame:
    """Average values over pairs of models, by `keys`, recipes and shared initialisation.

    Args:
        rows: pairs, with `model_a` and `model_b` (`recipe/seedK`).
        keys: the columns that define groups.
        values: the columns that are averaged, each in a separate row.
        name: the column of the result that names which of `values` a row is for.
        confidence: the confidence of the intervals over seeds.
    """
    groups = [*keys[:1], "recipe_a", "recipe_b", "init", *keys[1:]]
    return average_pairs(rows.assign(**ends(rows)), groups, values, name, confidence)


def average_pairs(
    rows: pd.DataFrame, groups: list[str], values: list[str], name: str, confidence: float
) -> pd.DataFrame:
    """Average values over the pairs of each group.

    Args:
        rows: pairs, with `seed_a` and `seed_b`.
        groups: the columns that define groups.
        values: the columns that are averaged, each in a separate row.
        name: the column of the result that names which of `values` a row is for.
        confidence: the confidence of the intervals over seeds.

    Returns:
        The columns `groups`, `name`, `mean, ci_low, ci_high, seeds` and `pairs`, their number.
    """
    summary = []
    for group, part in _grouped(rows, groups):
        seeds = [part["seed_a"].to_numpy(), part["seed_b"].to_numpy()]
        for value in values:
            range_ = span(value, group.get("metric", ""))
            mean = jackknife(part[value].to_numpy(), seeds, confidence, range_)
            summary.append({**group, name: value, **mean, "pairs": len(part)})
    columns = [*groups, name, *INTERVAL, "pairs"]
    return pd.DataFrame(summary, columns=columns)


def summarise_models(
    rows: pd.DataFrame, keys: list[str], confidence: float, *, differences: bool = False
) -> pd.DataFrame:
    """Average `value` over the seeds (column `seed`) of each group of `keys`.

    Values are of the `metric` among the keys, or `differences` of two such values.
    """
    summary = []
    for group, part in _grouped(rows, keys):
        low, high = span(group.get("metric", ""))
        range_ = (-high if differences else low, high)
        mean = jackknife(part["value"].to_numpy(), [part["seed"].to_numpy()], confidence, range_)
        summary.append({**group, **mean})
    return pd.DataFrame(summary, columns=[*keys, *INTERVAL])


def span(quantity: str, metric: str = "") -> tuple[float, float]:
    """Return the range of a column of rows, such as `barrier_linear`, of the loss or a share."""
    if "mcc" in (quantity, metric):
        return -1, 1
    top = 1 if {quantity, metric} & SHARES else np.inf
    return (0 if quantity in NOT_BELOW_0 else -top), top


def _grouped(rows: pd.DataFrame, keys: list[str]) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Yield the common values of `keys` of each group of rows, and the group, in order of rows."""
    for shared, part in rows.groupby(keys, sort=False, dropna=False):
        values: Any = shared  # a tuple, as `keys` is a list
        yield dict(zip(keys, values, strict=True)), part


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else np.nan


def _alone(values: np.ndarray, kept: np.ndarray) -> float:
    """Return the variance of the mean of values [n] due to the residuals after effects of seeds.

    `kept` [K, n] says which values remain without each seed.
    """
    effects = (~kept).T.astype(float)
    axes, sizes, _ = np.linalg.svd(effects, full_matrices=False)
    axes = axes[:, sizes > 1e-9]
    free = len(values) - axes.shape[1]
    rest = values - axes @ (axes.T @ values)
    return float(rest @ rest / free / len(values)) if free > 0 else 0.0


def _kept(seeds: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the seeds [K], and which values remain without each of them: bool [K, n]."""
    nodes = np.unique(np.concatenate(seeds))
    return nodes, np.all([np.not_equal.outer(nodes, side) for side in seeds], axis=0)


def _crossed(seeds: Sequence[np.ndarray]) -> bool:
    """Return whether any value involves more than one seed."""
    return any((side != seeds[0]).any() for side in seeds[1:])


def _touched(unseen: float, seeds: Sequence[np.ndarray]) -> float:
    """Return the share of values that involve any of a share `unseen` of the seeds."""
    return 1 - (1 - unseen) ** len(seeds)


def _described(
    whole: float,
    without: np.ndarray,
    confidence: float,
    within: tuple[float, float],
    near: tuple[float, float],
    extra: float,
    fewer: int | None = None,
) -> dict[str, Any]:
    count = len(without) if fewer is None else fewer
    low = high = np.nan
    below = above = False
    method, note = "none", f"{count} seeds have no interval"
    if count > 1:
        start, end, sides = interval(
            np.array(whole), without, confidence, within=within, near=near, extra=extra, seeds=count
        )
        low, high = float(start), float(end)
        below, above = (bool(side > 1) for side in sides)
    if np.isfinite(low) and np.isfinite(high):
        method = "jackknife t"
        if below or above:
            method += ", wider" + ("" if below and above else " below" if below else " above")
        method += ", logit" if np.isfinite(within).all() else ""
        note = ""
        if low == high:
            most = unseen(count, confidence)
            note = f"all {count} seeds are equal: up to {most:.0%} of others may differ"
        elif count < FEWEST:
            note = f"{count} seeds: with fewer than {FEWEST}, two groups may look like one"
    return _estimate(whole, low, high, count, confidence, method, note)


def _exact(hits: int, count: int, confidence: float) -> dict[str, Any]:
    """Return the share of hits among seeds, with the interval of Clopper & Pearson (1934)."""
    tail = (1 - confidence) / 2
    low = float(betaincinv(hits, count - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, count - hits, 1 - tail)) if hits < count else 1.0
    estimate = _estimate(hits / count, low, high, count, confidence, "exact (binomial)", "")
    return estimate | {"touched": 0.0, "scale": "exact"}  # it covers all seeds


def _estimate(
    mean: float, low: float, high: float, count: int, confidence: float, method: str, note: str
) -> dict[str, Any]:
    row = {"mean": mean, "ci_low": low, "ci_high": high, "seeds": count, "method": method}
    return row | {"decides": not note, "note": note, "unseen": unseen(count, confidence)}
