"""Mode connectivity: which models are connected by low loss (operationalisation, D.1 to D.7)?

D1: the graph of models with low barriers, its components and merge tree. D2: barriers by way of
other models. D3: other paths than straight ones. D4: other alignments and BatchNorm modes. D5: only
one layer, or all up to or from it, moved. D6: the same paths on diagnostic sets. D7: simplices.
Barriers are of the loss in nats and, except for D6, on the first evaluation set. A pair is `within`
one cluster or `between` two.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, permutations
from math import lgamma
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from pydantic import Field
from scipy.sparse.csgraph import connected_components
from scipy.special import ndtri
from torch import Tensor, nn

from basins.errors import UserError
from basins.landscape.barriers import barrier_linear
from basins.landscape.persistence import bottleneck, of_graph, significant
from basins.landscape.terrain import Terrain, clusters, kind, row
from basins.paths import layerwise

TESTS = ("D1", "D2", "D3", "D4", "D5", "D6", "D7")
Rows = Iterator[dict[str, Any]]
Count = Annotated[int, Field(ge=1)]


def measure(
    terrain: Terrain,
    *,
    test: Literal["D1", "D2", "D3", "D4", "D5", "D6", "D7"] | None = None,
    eps: Annotated[float, Field(gt=0)] = 0.1,
    nulls: Count = 200,
    pairs: Count = 1,
    points: Annotated[int, Field(ge=3)] = 5,
    simplices: Count = 2,
    corners: Annotated[int, Field(ge=2)] = 3,
    draws: Count = 10,
    path: str = "linear",
    alignment: str = "none",
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95,
) -> list[dict[str, Any]]:
    """Return the rows of one test, or of all (operationalisation of the SoK, D).

    D1, D2, D3, D4 and D6 use the rows of the table `barriers`; without it they have no rows.

    Args:
        terrain: the models, and the means to measure their landscape.
        test: the test to run; None means all.
        eps: nats, above 0. Below it, D1 counts a barrier (`barrier_linear`) as low, and D7 an
            excess of the loss over the mixture of the corners' losses.
        nulls: draws from each of two null models with which D1 and D2 compare barriers, at least 1.
        pairs: the largest number of pairs of models within clusters, and between, for D5; at least
            1.
        points: points per path of D5, including its two ends; at least 3.
        simplices: the largest number of simplices within clusters, and between, for D7; at least 1.
        corners: models per simplex, at least 2.
        draws: points drawn uniformly from each simplex, at least 1.
        path: the path of D1, D2, D4 and D6; D3 uses all others.
        alignment: the alignment of D1, D2, D3 and D6; D4 uses all other combinations of alignment
            and BatchNorm mode.
        confidence: the confidence of the intervals in `barriers`, between 0 and 1.

    Returns:
        Rows in the form of `terrain.row`. The first model of D5's rows is the one whose other
        layers are fixed. Their group is the layer; for `barrier of all layers` and `interaction` it
        is the kind of pair.

    Raises:
        UserError: D5 is asked for with the BatchNorm mode `moving`.
    """
    chosen = {"path": path, "alignment": alignment, "batchnorm": terrain.batchnorm}
    chosen["eval_set"] = next(iter(terrain.sets))
    done: dict[str, Callable[[], Rows]] = {
        "D1": lambda: _graph(terrain, chosen, eps, nulls, confidence),
        "D2": lambda: _ways(terrain, chosen, nulls, confidence),
        "D3": lambda: _others(terrain, chosen, "D3", ("path",)),
        "D4": lambda: _others(terrain, chosen, "D4", ("alignment", "batchnorm")),
        "D5": lambda: _layers(terrain, pairs, points),
        "D6": lambda: _others(terrain, chosen, "D6", ("eval_set",)),
        "D7": lambda: _simplices(terrain, simplices, corners, draws, eps),
    }
    return [found for name, rows in done.items() if test in (None, name) for found in rows()]


def graph(low: ArrayLike, high: ArrayLike, eps: float) -> np.ndarray:
    """Return which pairs are linearly connected, float64 [N, N], from intervals of their barriers.

    It is 1 if the whole interval is below `eps`, 0 if it is above, and NaN if undecided.
    """
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    return np.where(high < eps, 1.0, np.where(low > eps, 0.0, np.nan))


def components(edges: ArrayLike) -> np.ndarray:
    """Return the index of each vertex's component, int [N], in a symmetric graph, bool [N, N]."""
    return connected_components(np.asarray(edges, bool), directed=False)[1]


def ultrametric_defect(barriers: ArrayLike) -> np.ndarray:
    """Return each barrier minus the bottleneck, float64 [N, N], which is 0 for an ultrametric.

    It is large if models are connected through others, but not directly.
    """
    return np.asarray(barriers, np.float64) - bottleneck(barriers)


def log_volume(points: Tensor) -> float:
    """Return the logarithm of the volume, in m - 1 dimensions, of the simplex on points [m, size].

    It follows from the Gram determinant of the edges from the first point, which equals the
    Cayley-Menger determinant of distances. It is minus infinity if the points are degenerate.
    """
    sides = (points[1:] - points[0]).double()
    sign, logarithm = torch.linalg.slogdet(sides @ sides.T)
    return float(logarithm) / 2 - lgamma(len(points)) if sign > 0 else -np.inf


def layers(net: nn.Module, prefix: str = "") -> list[str]:
    """Return the names of a network's layers with weights, in order.

    A module that contains a numbered list of modules is split; any other module is one layer.
    """
    if not any(_is_list(module) for module in net.modules()):
        return [prefix] if any(True for _ in net.parameters()) else []
    dot = f"{prefix}." if prefix else ""
    return [x for name, child in net.named_children() for x in layers(child, dot + name)]


def spans(names: Sequence[str]) -> dict[str, list[tuple[str, ...]]]:
    """Return the groups of layers that are moved: each layer, all up to it, and all from it on."""
    numbers = range(len(names))
    return {
        "layerwise barrier": [(name,) for name in names],
        "barrier up to layer": [tuple(names[: k + 1]) for k in numbers],
        "barrier from layer": [tuple(names[k:]) for k in numbers],
    }


class Pairs(NamedTuple):
    """Barriers between all models and their intervals, float64 [N, N], NaN if there is none."""

    barriers: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def noise(self, confidence: float) -> float:
        """Return a simultaneous error bound of all barriers, from intervals of this `confidence`.

        It is half of the widest interval, widened to hold for all pairs together (Bonferroni).
        """
        upper = np.triu_indices(len(self.barriers), 1)
        half = (self.high - self.low)[upper] / 2
        count = max(1, int(np.isfinite(half).sum()))
        wider = ndtri(1 - (1 - confidence) / (2 * count)) / ndtri((1 + confidence) / 2)
        return float(np.nanmax(half, initial=0) * wider)


def permuted(barriers: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return a symmetric matrix [N, N] with the values of its pairs permuted."""
    upper = np.triu_indices(len(barriers), 1)
    return _symmetric(generator.permutation(barriers[upper]), len(barriers))


def equidistant(
    barriers: np.ndarray, errors: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Return barriers [N, N] that are all equal, except for noise with standard `errors` [N, N]."""
    upper = np.triu_indices(len(barriers), 1)
    drawn = np.nanmean(barriers[upper]) + errors[upper] * generator.standard_normal(len(upper[0]))
    return _symmetric(np.where(np.isnan(barriers[upper]), np.nan, drawn.clip(0)), len(barriers))


def _graph(
    terrain: Terrain, chosen: Mapping[str, str], eps: float, nulls: int, confidence: float
) -> Rows:
    found = _pairs(terrain, chosen)
    if found is None:
        return
    labels, models = clusters(terrain), terrain.models
    edges, noise = graph(found.low, found.high, eps), found.noise(confidence)
    for i, j in combinations(range(len(models)), 2):
        if np.isfinite(found.barriers[i, j]):
            pair = models[i], models[j]
            group = kind(labels, pair)
            yield row("D1", "barrier", found.barriers[i, j], pair, group=group)
            yield row("D1", "edge", edges[i, j], pair, group=group, x=eps)
    sure, perhaps = components(edges == 1), components(edges != 0)
    yield row("D1", "components", sure.max() + 1, models, x=eps)
    yield row("D1", "components, undecided edges counted", perhaps.max() + 1, models, x=eps)
    tree = of_graph(found.barriers)
    for k, (saddle, height) in enumerate(zip(tree.saddles, tree.deaths, strict=True)):
        if np.isfinite(height):
            yield row("D1", "merge", height, [models[i] for i in saddle], x=k)
    yield row("D1", "noise", noise)
    yield row("D1", "basins", significant(tree, noise).sum(), models, x=noise)
    yield from _against_nulls(terrain, found, "D1", "highest merge", nulls, _highest, confidence)


def _ways(terrain: Terrain, chosen: Mapping[str, str], nulls: int, confidence: float) -> Rows:
    found = _pairs(terrain, chosen)
    if found is None:
        return
    labels, models = clusters(terrain), terrain.models
    ways, defect = bottleneck(found.barriers), ultrametric_defect(found.barriers)
    for i, j in combinations(range(len(models)), 2):
        if np.isfinite(found.barriers[i, j]):
            pair = models[i], models[j]
            group = kind(labels, pair)
            yield row("D2", "bottleneck barrier", ways[i, j], pair, group=group)
            yield row("D2", "ultrametric defect", defect[i, j], pair, group=group)
    of = "mean ultrametric defect"
    yield from _against_nulls(terrain, found, "D2", of, nulls, _mean_defect, confidence)


def _against_nulls(
    terrain: Terrain,
    found: Pairs,
    test: str,
    quantity: str,
    nulls: int,
    statistic: Callable[[np.ndarray], float],
    confidence: float,
) -> Rows:
    """Yield a statistic of the barriers, of permuted barriers, and of equal barriers with noise."""
    yield row(test, quantity, statistic(found.barriers), terrain.models)
    errors = (found.high - found.low) / 2 / ndtri((1 + confidence) / 2)
    for k in range(nulls):
        drawn = {
            "permuted": permuted(found.barriers, terrain.generator),
            "equal distances": equidistant(found.barriers, errors, terrain.generator),
        }
        for name, barriers in drawn.items():
            yield row(test, quantity, statistic(barriers), group=name, x=k, null=True)


def _highest(barriers: np.ndarray) -> float:
    deaths = of_graph(barriers).deaths
    return float(deaths[np.isfinite(deaths)].max(initial=0))


def _mean_defect(barriers: np.ndarray) -> float:
    defect = ultrametric_defect(barriers)[np.triu_indices(len(barriers), 1)]
    return float(np.nanmean(defect))


def _others(terrain: Terrain, chosen: Mapping[str, str], test: str, varied: Sequence[str]) -> Rows:
    """Yield the barrier of each pair for all other values of the `varied` columns."""
    labels, usual = clusters(terrain), tuple(chosen[column] for column in varied)
    held = {column: value for column, value in chosen.items() if column not in varied}
    for choice, rows in _rows(terrain, held).groupby(list(varied), sort=False):
        values = choice if isinstance(choice, tuple) else (choice,)
        if values == usual:
            continue
        for a, b, value in rows[["model_a", "model_b", "barrier_linear"]].itertuples(index=False):
            name = f"barrier, {', '.join(map(str, values))}"
            yield row(test, name, value, (a, b), group=kind(labels, (a, b)))


def _layers(terrain: Terrain, pairs: int, points: int) -> Rows:
    """Yield layers' barriers and their interaction, B_all - sum B_layer, with either end fixed."""
    if terrain.batchnorm == "moving":  # it would begin at each point's own statistics
        raise UserError(
            "D5: layers have no batchnorm moving; take reset, reset_cued or interpolate"
        )
    labels, vectors = clusters(terrain), dict(zip(terrain.models, terrain.vectors, strict=True))
    net = copy.deepcopy(terrain.engine.net)  # its weights will become views
    name, data = next(iter(terrain.sets.items()))
    calibration = terrain.calibration if terrain.batchnorm.startswith("reset") else None
    names, ts = layers(net), np.linspace(0, 1, points).tolist()
    moving = {"+".join(span): span for kept in spans(names).values() for span in kept}
    for pair in _chosen(terrain, labels, 2, pairs):
        for held, other in permutations(pair):
            start = terrain.loss([vectors[held]])  # the common start of these paths
            curves = layerwise.along(
                net, vectors[held], [vectors[other]], moving, ts[1:], calibration, {name: data}
            )
            barrier = {
                part: _barrier(
                    ts, [start, *(float(e.losses.mean(dtype=np.float64)) for e in curve)]
                )
                for (part, _, _), curve in curves.items()
            }
            for quantity, kept in spans(names).items():
                for k, span in enumerate(kept):
                    value, ends = barrier["+".join(span)], (held, other)
                    yield row("D5", quantity, value, ends, group=names[k], x=k)
            together, group = barrier["+".join(names)], kind(labels, pair)
            interaction = together - sum(barrier[layer] for layer in names)
            yield row("D5", "barrier of all layers", together, (held, other), group=group)
            yield row("D5", "interaction", interaction, (held, other), group=group)


def _simplices(terrain: Terrain, simplices: int, corners: int, draws: int, eps: float) -> Rows:
    """Yield the loss's excess over the mixed corners' losses, and the volume where it is low."""
    labels, vectors = clusters(terrain), dict(zip(terrain.models, terrain.vectors, strict=True))
    losses = {model: terrain.loss([vector]) for model, vector in vectors.items()}
    for models in _chosen(terrain, labels, corners, simplices):
        controls = [vectors[model] for model in models]
        own = np.array([losses[model] for model in models])
        mixtures = terrain.generator.dirichlet(np.ones(corners), draws)
        excess = np.array([terrain.loss(controls, point) - point @ own for point in mixtures])
        volume = log_volume(torch.stack([v[terrain.engine.flat.trained] for v in controls]))
        share, group = float((excess < eps).mean()), kind(labels, models)
        with np.errstate(divide="ignore"):
            low = volume + np.log(share)
        yield row("D7", "simplex loss excess", excess.max(), models, group=group, x=corners)
        yield row("D7", "share of low loss", share, models, group=group, x=corners)
        yield row("D7", "log volume", volume, models, group=group, x=corners)
        yield row("D7", "log volume of low loss", low, models, group=group, x=corners)


def _chosen(
    terrain: Terrain, labels: Mapping[str, int], size: int, count: int
) -> list[tuple[str, ...]]:
    """Return up to `count` random sets of `size` models within clusters, and as many between."""
    sets = list(combinations(terrain.models, size))
    order = [sets[k] for k in terrain.generator.permutation(len(sets))]
    return [
        found
        for group in ("within", "between")
        for found in [models for models in order if kind(labels, models) == group][:count]
    ]


def _pairs(terrain: Terrain, chosen: Mapping[str, str]) -> Pairs | None:
    rows = _rows(terrain, chosen)
    if rows.empty:
        return None
    number = pd.Index(terrain.models)
    a, b = (number.get_indexer(np.asarray(rows[side])) for side in ("model_a", "model_b"))
    found = Pairs(*np.full((3, len(number), len(number)), np.nan))
    for matrix, column in zip(found, ("barrier_linear", "ci_low", "ci_high"), strict=True):
        matrix[a, b] = matrix[b, a] = rows[column]
        np.fill_diagonal(matrix, 0)
    return found


def _rows(terrain: Terrain, chosen: Mapping[str, str]) -> pd.DataFrame:
    """Return the loss barriers between the models; empty if there is no table."""
    columns = ["model_a", "model_b", "metric", "barrier_linear", "ci_low", "ci_high"]
    columns += ["path", "alignment", "batchnorm", "eval_set"]
    rows = terrain.tables.get("barriers", pd.DataFrame(columns=columns))
    equal = {"metric": "loss", **chosen}
    kept = (rows[list(equal)] == pd.Series(equal)).all(axis=1)
    for side in ("model_a", "model_b"):
        kept &= rows[side].isin(terrain.models)
    return rows.loc[kept & (rows["model_a"] != rows["model_b"])]


def _barrier(ts: Sequence[float], losses: Sequence[float]) -> float:
    return float(barrier_linear(ts, losses))


def _symmetric(values: np.ndarray, size: int) -> np.ndarray:
    matrix = np.zeros((size, size))
    matrix[np.triu_indices(size, 1)] = values
    return matrix + matrix.T


def _is_list(module: nn.Module) -> bool:
    names = [name for name, _ in module.named_children()]
    return bool(names) and all(name.isdigit() for name in names)
