"""Mode determinism: what determines where training ends (operationalisation, B.1 to B.4)?

B1: runs that share everything but the order of batches after a step. B2: a factorial of head and
order. B3: how well early weights predict the final cluster. B4: perturbed weights. B1, B2 and B4
use the barriers of experiments with recipes made for them, and have no rows otherwise: B1 variants
`fork<k>`; B4 variants `eps<number>` and unperturbed ones (`eps1e_3` is 1e-3, `eps0` the control);
B2 models whose streams are crossed. B3 uses early checkpoints.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, product
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field
from scipy.optimize import minimize
from scipy.special import expit
from torch import Tensor

from basins.landscape.terrain import Terrain, clusters, groups, row

TESTS = ("B1", "B2", "B3", "B4")
FACTORS = ("head", "order", "dropout")
Rows = Iterator[dict[str, Any]]
Count = Annotated[int, Field(ge=1)]
Margin = Annotated[float, Field(gt=0)]


def measure(
    terrain: Terrain,
    *,
    test: Literal["B1", "B2", "B3", "B4"] | None = None,
    barrier: Literal["barrier_linear", "barrier_mean", "convexity_gap"] = "barrier_linear",
    margin: Margin = 0.02,
    resamples: Count = 1000,
) -> list[dict[str, Any]]:
    """Return the rows of one test, or of all (operationalisation of the SoK, B).

    Args:
        terrain: the models, and the means to measure their landscape.
        test: the test to run; None means all.
        barrier: the measure in `barriers`, of the in-distribution loss, for B1, B2 and B4.
        margin: nats, above 0. For B4, two models have a barrier if it exceeds this.
        resamples: how often B2 permutes labels, at least 1.

    Returns:
        Rows in the form of `terrain.row`.
    """
    name = next(iter(terrain.sets))
    rows = straight(terrain.tables.get("barriers"), name, terrain.batchnorm)
    rows = rows.assign(value=rows[barrier])
    streams = terrain.tables.get("streams", pd.DataFrame(columns=["model", *FACTORS]))
    known = streams.set_index("model").loc[:, [*FACTORS]]
    draw = terrain.generator
    done: dict[str, Callable[[], Rows]] = {
        "B1": lambda: instability(rows, known),
        "B2": lambda: factors(rows, known, _all_clusters(terrain), draw, resamples),
        "B3": lambda: _early(terrain),
        "B4": lambda: perturbation(rows, margin),
    }
    return [found for name, made in done.items() if test in (None, name) for found in made()]


def straight(rows: pd.DataFrame | None, eval_set: str, batchnorm: str) -> pd.DataFrame:
    """Return the loss barriers of all pairs along straight paths without alignment, on a set."""
    columns = ["model_a", "model_b", "barrier_linear", "barrier_mean", "convexity_gap"]
    if rows is None:
        return pd.DataFrame(columns=columns)
    chosen = {"path": "linear", "alignment": "none", "metric": "loss", "eval_set": eval_set}
    chosen["batchnorm"] = batchnorm
    return rows.loc[(rows[list(chosen)] == pd.Series(chosen)).all(axis=1), columns]


def instability(rows: pd.DataFrame, streams: pd.DataFrame) -> Rows:
    """Yield the barrier between two runs of one parent that diverge after step k (B1).

    A parent is a head: models of `fork<k>` with this head and different orders are its children.

    Args:
        rows: pairs of models, with `model_a`, `model_b` and the barrier as `value` (nats).
        streams: `head` and `order` of every model, with models as the index.

    Yields:
        A row for every pair, with the pair as `models`, the parent as `group` and k as `x`.
    """
    steps = {
        model: int(found[1])
        for model in pd.unique(rows[["model_a", "model_b"]].to_numpy().ravel())
        if (found := re.search(r"/fork(\d+)/seed\d+$", model)) and model in streams.index
    }
    heads = dict(zip(streams.index, streams["head"].astype(float), strict=True))
    for a, b, value in rows[["model_a", "model_b", "value"]].itertuples(index=False):
        if {a, b} <= set(steps) and steps[a] == steps[b] and heads[a] == heads[b]:
            yield row("B1", "instability", value, (a, b), group=f"parent {heads[a]:g}", x=steps[a])


def normalised_information(first: np.ndarray, second: np.ndarray) -> float:
    """Return the mutual information of two partitions [n], divided by their mean entropy (NMI).

    It is 0 if either is trivial.
    """
    _, a = np.unique(first, return_inverse=True)
    _, b = np.unique(second, return_inverse=True)
    joint = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(joint, (a, b), 1 / len(a))

    def entropy(p: np.ndarray) -> float:
        p = p[p > 0]
        return float(-(p * np.log(p)).sum())

    both = entropy(joint.sum(1)), entropy(joint.sum(0))
    if min(both) <= 0:
        return 0.0
    return (sum(both) - entropy(joint.ravel())) / (sum(both) / 2)


def factors(
    rows: pd.DataFrame,
    streams: pd.DataFrame,
    labels: Mapping[str, int],
    generator: np.random.Generator,
    resamples: int,
) -> Rows:
    """Yield barriers by what two models of a factorial share, and the factors of clusters (B2).

    Only models of a factorial, and pairs within one, are used. A factorial is a recipe in which
    both factors, head and order, have several levels, and some level several models: if head and
    order are the same number, their effects cannot be separated. Forks and perturbed models are
    excluded. Models on a line between two heads have only `level` rows.

    Args:
        rows: pairs of models, with `model_a`, `model_b` and the barrier as `value` (nats).
        streams: `head`, `order` and `dropout` of every model, with models as the index.
        labels: the cluster of each model. With fewer than two clusters there are no `nmi` rows.
        generator: permutes the labels.
        resamples: how often they are permuted.

    Yields:
        `level` of each model and factor; `barrier`, with what a pair shares as its group; and for
        each factor its `nmi` with the clusters, for all models and with each left out, `nmi p`, the
        p-value of the permutation test, and as a null row the 97.5 % quantile of permuted `nmi`.
    """
    crossed = factorials(streams)
    for model, factor in product(crossed, FACTORS):
        yield row("B2", f"level, {factor}", float(streams.loc[model, factor]), [model])
    lines = {recipe for model, recipe in crossed.items() if float(streams.loc[model, "head"]) % 1}
    recipes = {model: recipe for model, recipe in crossed.items() if recipe not in lines}
    own, plain = streams.loc[list(recipes)], list(recipes)
    for a, b, value in rows[["model_a", "model_b", "value"]].itertuples(index=False):
        if {a, b} <= set(plain) and recipes[a] == recipes[b]:
            same = own.loc[a] == own.loc[b]
            if not (same["head"] and same["order"]):
                shared = "same order" if same["order"] else "both differ"
                group = "same head" if same["head"] else shared
                yield row("B2", "barrier", value, (a, b), group=group)
    models = [m for m in plain if m in labels]
    found = np.array([labels[m] for m in models])
    if len(set(found)) < 2:
        return
    for factor in ("head", "order"):
        levels = own.loc[models, factor].to_numpy()
        value = normalised_information(found, levels)
        yield row("B2", f"nmi, {factor}", value, models)
        for k in range(len(models)):
            less = np.arange(len(models)) != k
            left = normalised_information(found[less], levels[less])
            yield row("B2", f"nmi, {factor}", left, [m for m in models if m != models[k]])
        drawn = [
            normalised_information(generator.permutation(found), levels) for _ in range(resamples)
        ]
        p = (1 + np.sum(np.array(drawn) >= value - 1e-12)) / (1 + resamples)
        yield row("B2", f"nmi p, {factor}", p, models)
        high = float(np.quantile(drawn, 0.975))
        yield row("B2", f"nmi, {factor}", high, models, group="shuffled labels", null=True)


def factorials(streams: pd.DataFrame) -> dict[str, str]:
    """Return the models of recipes that cross `head` and `order`, each with its recipe."""
    plain = [m for m in streams.index if not re.search(r"/(fork|eps)[^/]*/", m)]
    recipes = pd.Series({model: model.rpartition("/seed")[0] for model in plain}, dtype=str)
    found: dict[str, str] = {}
    for recipe, models in recipes.groupby(recipes):
        own = streams.loc[models.index]
        if all(own[f].nunique() > 1 and own[f].duplicated().any() for f in ("head", "order")):
            found |= dict.fromkeys(models.index, str(recipe))
    return found


def auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Return the area under the ROC curve of scores [n]; ties count half, NaN if trivial."""
    above, below = scores[positive], scores[~positive]
    if not len(above) or not len(below):
        return np.nan
    difference = above[:, None] - below[None, :]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


def squared_distances(vectors: Sequence[Tensor]) -> np.ndarray:
    """Return the squared Euclidean distances float64 [n, n] between n flat vectors [size]."""
    found = np.zeros((len(vectors), len(vectors)))
    for a, b in combinations(range(len(vectors)), 2):
        found[a, b] = found[b, a] = float((vectors[a] - vectors[b]).double().square().sum())
    return found


def _early(terrain: Terrain) -> Rows:
    """Yield how well weights after t steps predict the final cluster (B3), by leave-one-out.

    For `auc, weights`, a model's score is how much smaller the mean squared distance to the other
    models of the second cluster is, after t steps, than to those of the first. Distances to the
    clusters' means would not do: the mean of few models is noisier, so that without any structure
    the area is near 0, as each model is left out of its own cluster. (A model that is far from all
    others still lowers it: one of twelve at twice the distance, to between .2 and .4.) For `auc,
    <set>`, the score is the loss on each further evaluation set, so that the area may also be below
    a half. `x` is t.
    """
    labels = clusters(terrain)
    if len(found := groups(labels)) < 2:
        return
    second = list(found)[-1]
    positive = np.array([labels[model] == second for model in terrain.models])
    trained = terrain.engine.flat.trained
    for step, places in sorted(terrain.early.items()):
        apart = squared_distances([place * trained for place in places])

        def scores(kept: Sequence[int], apart: np.ndarray = apart) -> np.ndarray:
            values = []
            for k in kept:
                others = [[j for j in kept if j != k and positive[j] == s] for s in (False, True)]
                far = [apart[k, own].mean() if own else np.nan for own in others]
                values.append(far[0] - far[1])
            return np.array(values)

        everyone = list(range(len(terrain.models)))
        features: dict[str, Callable[[list[int]], np.ndarray]] = {"auc, weights": scores}
        for name in list(terrain.sets)[1:]:
            losses = np.array([terrain.loss([place], name=name) for place in places])
            features[f"auc, {name}"] = lambda kept, losses=losses: losses[kept]
        for quantity, feature in features.items():
            value = auc(feature(everyone), positive)
            yield row("B3", quantity, value, terrain.models, x=step)
            for out in everyone:
                kept = [k for k in everyone if k != out]
                value = auc(feature(kept), positive[kept])
                yield row("B3", quantity, value, [terrain.models[k] for k in kept], x=step)


def size_of(model: str) -> float | None:
    """Return the size of a model's perturbation from its variant (`eps1e_3`: 1e-3), or None."""
    found = re.search(r"/eps(\d+(?:e_?\d+)?)/seed\d+$", model)
    return float(found[1].replace("_", "-")) if found else None


def perturbation(rows: pd.DataFrame, margin: float) -> Rows:
    """Yield the barrier between perturbed models and the control with the same seed (B4).

    The control is `eps0`, or the model without a variant; a pair of these two is a rerun, whose
    barrier is due to nondeterminism, at `x` = 0. Also yield P(barrier > margin) by size, and
    `eps 50`, the size at which a logistic curve in log eps reaches one half, for all models and
    with each seed left out.
    """
    found: list[tuple[float, int, float]] = []
    for a, b, value in rows[["model_a", "model_b", "value"]].itertuples(index=False):
        number = int(a.rpartition("/seed")[2])
        sizes = [size_of(a), size_of(b)]
        # One of the two must be the control: without a size, or with size 0.
        perturbed = max((s for s in sizes if s is not None), default=None)
        control = min(s if s is not None else -1.0 for s in sizes)
        if perturbed is None or control > 0 or a.rpartition("/seed")[2] != b.rpartition("/seed")[2]:
            continue
        found.append((perturbed, number, value))
        yield row("B4", "barrier", value, (a, b), x=perturbed)
    if not found:
        return
    sizes, numbers, values = (np.array(column) for column in zip(*found, strict=True))
    for size in np.unique(sizes):
        share = float((values[sizes == size] > margin).mean())
        yield row("B4", "share with a barrier", share, x=size)
    moved = sizes > 0
    for out in (None, *np.unique(numbers[moved])):
        kept = moved & (numbers != (-1 if out is None else out))
        if len(np.unique(sizes[kept])) > 1:
            half = threshold(np.log10(sizes[kept]), values[kept] > margin)
            models = [f"seed{n}" for n in np.unique(numbers[kept])]
            yield row("B4", "eps 50", half, models)


def threshold(x: np.ndarray, hit: np.ndarray) -> float:
    """Return where a logistic curve fitted to hits [n] at x [n] reaches one half.

    A ridge penalty keeps the slope finite for separable hits. NaN if all or none are hits.
    """
    if hit.all() or not hit.any():
        return np.nan
    centre, scale = x.mean(), x.std() or 1.0
    z, sign = (x - centre) / scale, np.where(hit, 1.0, -1.0)

    def loss(b: np.ndarray) -> float:
        return float(np.logaddexp(0, -sign * (b[0] + b[1] * z)).sum() + 1e-3 * b[1] ** 2)

    def slope(b: np.ndarray) -> np.ndarray:
        pull = -sign * expit(-sign * (b[0] + b[1] * z))
        return np.array([pull.sum(), (pull * z).sum() + 2e-3 * b[1]])

    intercept, gain = minimize(loss, np.zeros(2), jac=slope).x
    return float(centre - scale * intercept / gain)


def _all_clusters(terrain: Terrain) -> dict[str, int]:
    """Return the cluster of every model in the table, of any recipe."""
    found = terrain.tables.get("clusters")
    if found is None:
        return {}
    found = found.loc[found["measure"] == "convexity_gap"]
    return dict(zip(found["model"], found["cluster"].astype(int), strict=True))
