"""How much each factor of a crossed design explains of the differences between models.

The value of a pair is its barrier, or the squared difference of a number of each model. Let `whole`
be its mean over pairs that share no factor, and `left` that over pairs that share one factor alone;
then 1 - left / whole is the factor's share. For squared differences this is the factor's variance
component over the total variance (a U-statistic of the random-effects model); barriers, which are
not squares, are split in the same way. Shares need not add up to 1: the rest is due to interactions
and to what no factor describes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

FACTORIAL = ("head", "order", "dropout")


def pairs(
    rows: pd.DataFrame, levels: Mapping[str, pd.Series], strategy: pd.Series | None = None
) -> pd.DataFrame:
    """Return the pairs of a factorial: their `value`, levels, and whether they share each factor.

    The value is `barrier_linear`, or the squared difference of `strategy`. For each factor there is
    a column of its name, which says if a pair shares its level, and the levels of both models
    (`head_a`, `head_b`).

    Args:
        rows: pairs with `model_a`, `model_b` and `barrier_linear`.
        levels: by factor of `FACTORIAL`, the level of every model.
        strategy: a number of every model, or None.
    """
    sides = [
        pd.DataFrame({f: np.asarray(levels[f][rows[side]]) for f in FACTORIAL}, rows.index)
        for side in ("model_a", "model_b")
    ]
    value = rows["barrier_linear"]
    if strategy is not None:
        first, second = (np.asarray(strategy[rows[side]]) for side in ("model_a", "model_b"))
        value = (first - second) ** 2
    named = [side.add_suffix(end) for side, end in zip(sides, ("_a", "_b"), strict=True)]
    return pd.concat([sides[0] == sides[1], *named], axis=1).assign(value=value)


def crossed(rows: pd.DataFrame, *factors: str) -> dict[str, list[np.ndarray]]:
    """Return the levels of both models of each row of `pairs`, by factor, for `over_factors`.

    Intervals are over heads and orders, and over other `factors` whose share is measured; the rest
    is taken as it is.
    """
    over = dict.fromkeys(("head", "order", *factors))
    return {f: [rows[f + side].to_numpy() for side in ("_a", "_b")] for f in over}


def shared(rows: pd.DataFrame, factor: str, kept: np.ndarray) -> float:
    """Return the share of a factor in the `value` of pairs.

    `rows` has, for every factor of `FACTORIAL`, whether a pair shares it; only rows `kept`, bool
    [n], count. A factor that all pairs share is not part of the design. NaN if there are no pairs
    to compare, or no differences between models.
    """
    varied = [name for name in FACTORIAL if not rows[name].to_numpy().all()]
    same, values = rows[varied].to_numpy(bool)[kept], rows["value"].to_numpy(float)[kept]
    alone = np.array([name == factor for name in varied])
    left, whole = (values[(same == pattern).all(1)] for pattern in (alone, np.zeros_like(alone)))
    if factor not in varied or not len(left) or not len(whole) or not whole.mean() > 0:
        return float("nan")
    return float(1 - left.mean() / whole.mean())
