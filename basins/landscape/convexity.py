"""Mode convexity: is the loss convex among a mode's models (operationalisation, A.1 to A.5)?

A1: the straight paths between models. A2: Jensen's inequality for random sets of models. A3: the
gains of a soup and of an ensemble. A4: whether a mode is star-shaped about its centroid. A5:
curvature, and the radius of low loss, at ends, midpoints and the centroid. Losses are in nats on
the first evaluation set, which is in distribution; curvature is that of the loss on training rows.
A set of models is `within` one cluster or `between` several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from torch import Tensor

from basins.errors import UserError
from basins.landscape.barriers import barrier_linear
from basins.landscape.lanczos import lanczos
from basins.landscape.terrain import (
    Terrain,
    clusters,
    few,
    filter_normalised,
    groups,
    kind,
    mean,
    row,
)

TESTS = ("A5 ends", "A5 between", "A5r", "A4", "A2", "A3", "A1")  # the longest first
Rows = Iterator[dict[str, Any]]
Count = Annotated[int, Field(ge=1)]


def measure(
    terrain: Terrain,
    *,
    test: Literal["A1", "A2", "A3", "A4", "A5 ends", "A5 between", "A5r"] | None = None,
    sizes: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=1)],
    draws: Count = 20,
    points: Annotated[int, Field(ge=3)] = 5,
    places: Count = 4,
    lanczos: Annotated[int, Field(ge=60)] = 60,
    starts: Count = 2,
    examples: Count = 128,
    directions: Count = 2,
    margin: Annotated[float, Field(gt=0)] = 0.1,
    path: str = "linear",
    alignment: str = "none",
) -> list[dict[str, Any]]:
    """Return the rows of one test, or of all (operationalisation of the SoK, A).

    Args:
        terrain: the models, and the means to measure their landscape.
        test: the test to run; None means all.
        sizes: the numbers of models in random sets of A2, each at least 2.
        draws: random sets of each size within clusters, and as many between, for A2; at least 1.
        points: points of A4 from the centroid to a model, including both; at least 3.
        places: the largest number of single models, and of midpoints, at which A5 and A5r measure
            in addition to the centroid; at least 1.
        lanczos: Hessian-vector products from each start of A5, at least 60.
        starts: random start vectors of Lanczos at each place of A5, at least 1.
        examples: the most training rows on which A5 computes curvature, at least 1.
        directions: random directions around each place of A5r, at least 1.
        margin: nats, above 0. The radius of A5r is where the loss, averaged over directions, has
            risen by this.
        path: the path whose curves A1 uses.
        alignment: the alignment whose curves A1 uses.

    Returns:
        Rows in the form of `terrain.row`. The test of A5r's rows is `A5`.

    Raises:
        UserError: a Hessian-vector product of A5 is not finite.
    """
    every = [*_places(terrain, places)]
    ends = [place for place in every if place.name == "end"]
    between = [place for place in every if place.name != "end"]
    done: dict[str, Callable[[], Rows]] = {
        "A1": lambda: _paths(terrain, path, alignment),
        "A2": lambda: _jensen(terrain, sizes, draws),
        "A3": lambda: _soups(terrain),
        "A4": lambda: _stars(terrain, points),
        "A5 ends": lambda: _curvature(terrain, ends, lanczos, starts, examples),
        "A5 between": lambda: _curvature(terrain, between, lanczos, starts, examples),
        "A5r": lambda: _radii(terrain, every, directions, margin),
    }
    return [found for name, rows in done.items() if test in (None, name) for found in rows()]


def second_difference(t: np.ndarray, losses: np.ndarray) -> float:
    """Return min_k [L_{k-1} - 2 L_k + L_{k+1}] / h^2 of losses [T] on a uniform grid t [T].

    If it is below 0, the path is not convex. It is NaN if the grid is not uniform.
    """
    steps = np.diff(t)
    if len(t) < 3 or not np.allclose(steps, steps[0]):
        return np.nan
    return float((losses[:-2] - 2 * losses[1:-1] + losses[2:]).min() / steps[0] ** 2)


class Spectrum(NamedTuple):
    """The highest and lowest eigenvalue of a Hessian, and the share of negative eigenvalues."""

    highest: float
    lowest: float
    negative: float


def spectrum(
    product: Callable[[Tensor], Tensor],
    starts: Sequence[Tensor],
    steps: int,
    tolerance: float = 1e-3,
) -> Spectrum:
    """Estimate the spectrum of a symmetric matrix by `steps` Lanczos products from each start.

    The extremes are the highest and lowest of all Ritz values. The share of negative eigenvalues is
    estimated by stochastic Lanczos quadrature (Ghorbani et al. 2019), averaged over `starts`, which
    are random vectors. An eigenvalue is negative if it is below -`tolerance` times the largest in
    magnitude. A run ends early if its vectors span an invariant subspace. All vectors are kept (4
    `steps` bytes per parameter) and reorthogonalised, as they lose orthogonality in float32.

    Most eigenvalues of a network's Hessian are close to 0, where few steps do not resolve signs:
    for a trained small BERT, 5 steps estimate a share of .000, 60 of .021 and 150 of .019. With 60
    steps, the error of a share p of P eigenvalues is due to the random starts, about
    sqrt(2 p (1 - p) / (P starts)): compared with dense spectra of a perceptron with 139 parameters,
    more steps do not help, whereas 5 steps from one start have errors as large as the share.

    Raises `UserError` if a product is not finite.
    """
    runs = [lanczos(product, start, steps) for start in starts]
    largest = max(float(np.abs(run.values).max()) for run in runs)
    shares = [run.masses[run.values < -tolerance * largest].sum() for run in runs]
    every = np.concatenate([run.values for run in runs])
    return Spectrum(float(every.max()), float(every.min()), float(np.mean(shares)))


def radius(rise: Callable[[float], float], margin: float, most: float = 4.0) -> float:
    """Return the r at which an increasing `rise(r)` reaches `margin`, at most `most`.

    r is doubled until it does, and then found by three steps of bisection.
    """
    low, high = 0.0, most / 16
    while rise(high) <= margin:
        if high >= most:
            return most
        low, high = high, 2 * high
    for _ in range(3):
        middle = (low + high) / 2
        low, high = (middle, high) if rise(middle) <= margin else (low, middle)
    return (low + high) / 2


def _vectors(terrain: Terrain) -> dict[str, Tensor]:
    return dict(zip(terrain.models, terrain.vectors, strict=True))


def _paths(terrain: Terrain, path: str, alignment: str) -> Rows:
    if not {"barriers", "paths"} <= set(terrain.tables):
        return
    labels, name = clusters(terrain), next(iter(terrain.sets))
    chosen = {"path": path, "alignment": alignment, "eval_set": name}
    chosen["batchnorm"] = terrain.batchnorm

    def own(table: str) -> pd.DataFrame:
        rows = terrain.tables[table]
        kept = (rows[list(chosen)] == pd.Series(chosen)).all(axis=1)
        for side in ("model_a", "model_b"):
            kept &= rows[side].isin(terrain.models)
        return rows.loc[kept]

    barriers = own("barriers").query("metric == 'loss'")
    for measured in barriers.to_dict("records"):
        pair = (measured["model_a"], measured["model_b"])
        for quantity in ("barrier_linear", "convexity_gap"):
            yield row("A1", quantity, measured[quantity], pair, group=kind(labels, pair))
    for _, curve in own("paths").groupby(["model_a", "model_b"], sort=False):
        curve = curve.sort_values("t")
        pair = (curve["model_a"].iloc[0], curve["model_b"].iloc[0])
        value = second_difference(curve["t"].to_numpy(), curve["loss"].to_numpy())
        yield row("A1", "second difference", value, pair, group=kind(labels, pair))


def _jensen(terrain: Terrain, sizes: Sequence[int], draws: int) -> Rows:
    """Yield J = L(sum w_s theta_s) - sum w_s L(theta_s) of random sets, w uniform on the simplex.

    If it is above 0, the loss is not convex on the set.
    """
    labels, vectors, draw = clusters(terrain), _vectors(terrain), terrain.generator
    losses = {model: terrain.loss([vector]) for model, vector in vectors.items()}
    for size in sizes:
        inside = [s for own in groups(labels, size).values() for s in combinations(own, size)]
        across = [s for s in combinations(terrain.models, size) if kind(labels, s) == "between"]
        for sets in (inside, across):
            for _ in range(draws if sets else 0):
                chosen = sets[draw.integers(len(sets))]
                weights = draw.dirichlet(np.ones(size))
                mixed = terrain.loss([vectors[model] for model in chosen], weights.tolist())
                ends = sum(w * losses[model] for w, model in zip(weights, chosen, strict=True))
                group = kind(labels, chosen)
                yield row("A2", "jensen", mixed - ends, chosen, group=group, x=size)


def _soups(terrain: Terrain) -> Rows:
    """Yield the gains of a soup and an ensemble over the mean of their models' losses.

    They are for each cluster and for all models, and for each of these with one model left out. An
    ensemble averages probabilities; that of the correct class is exp(-loss).
    """
    labels, vectors, name = clusters(terrain), _vectors(terrain), next(iter(terrain.sets))
    losses = {m: terrain.examples([v], [1.0], name).astype(float) for m, v in vectors.items()}
    whole: list[tuple[str, ...]] = [tuple(own) for own in groups(labels).values()]
    whole += [terrain.models] if kind(labels, terrain.models) == "between" else []
    for own in whole:
        left = [tuple(m for m in own if m != out) for out in own] if len(own) > 2 else []
        for chosen in (own, *left):
            soup = terrain.loss([mean([vectors[model] for model in chosen])])
            together = np.stack([losses[model] for model in chosen])
            ensemble = -np.log(np.exp(-together).mean(0)).mean()
            group = kind(labels, own)
            number = labels[next(iter(own))] if group == "within" else None
            more: Any = {"models": chosen, "group": group, "x": number}
            yield row("A3", "soup gain", together.mean() - soup, **more)
            yield row("A3", "ensemble gain", together.mean() - ensemble, **more)
            yield row("A3", "soup less ensemble", soup - ensemble, **more)


def _stars(terrain: Terrain, points: int) -> Rows:
    """Yield the barrier between each model and the centroid of its cluster, or of all models."""
    labels, vectors, ts = clusters(terrain), _vectors(terrain), np.linspace(0, 1, points)
    whole = list(groups(labels).values())
    whole += [list(terrain.models)] if kind(labels, terrain.models) == "between" else []
    ends = {model: terrain.loss([vector]) for model, vector in vectors.items()}
    for own in whole:
        centre = mean([vectors[model] for model in own])
        low = terrain.loss([centre])
        for model in own:
            inner = [terrain.loss([centre, vectors[model]], (1 - t, t)) for t in ts[1:-1]]
            value = barrier_linear(ts, [low, *inner, ends[model]])
            yield row("A4", "star barrier", float(value), [model], group=kind(labels, own))


class Place(NamedTuple):
    """A point around which the landscape is measured: its name, models and weights."""

    name: str
    models: tuple[str, ...]
    vector: Tensor


def _places(terrain: Terrain, count: int) -> Iterator[Place]:
    """Yield ends, midpoints of pairs and the centroid."""
    vectors, models = _vectors(terrain), terrain.models[: max(2, count)]
    for model in models[:count]:
        yield Place("end", (model,), vectors[model])
    around = list(zip(models, models[1:] + models[:1], strict=True))
    for a, b in around[: count if len(models) > 2 else 1]:
        yield Place("midpoint", (a, b), mean([vectors[a], vectors[b]]))
    yield Place("centroid", terrain.models, mean(terrain.vectors))


def _curvature(
    terrain: Terrain, places: Sequence[Place], lanczos: int, starts: int, examples: int
) -> Rows:
    data = few(terrain.train, examples, "curvature")
    for place, models, vector in places:
        drawn = [random_start(terrain, vector) for _ in range(starts)]
        try:
            found = spectrum(terrain.hessian(vector, data, keep=True), drawn, lanczos)
        except UserError as error:
            raise UserError(f"{place} of {', '.join(models)}: {error}") from None
        yield row("A5", f"top eigenvalue, {place}", found.highest, models)
        yield row("A5", f"lowest eigenvalue, {place}", found.lowest, models)
        yield row("A5", f"negative share, {place}", found.negative, models)


def random_start(terrain: Terrain, like: Tensor) -> Tensor:
    """Return a Gaussian vector [size] over the parameters, as a start of Lanczos."""
    drawn = torch.from_numpy(terrain.generator.standard_normal(len(like), dtype=np.float32))
    return drawn.to(like.device) * terrain.engine.flat.trained


def _radii(terrain: Terrain, places: Sequence[Place], directions: int, margin: float) -> Rows:
    for place, models, vector in places:
        around = [filter_normalised(terrain, vector) for _ in range(directions)]
        low = terrain.loss([vector])

        def rise(r: float, at: Tensor = vector, around=around, low: float = low) -> float:
            return float(np.mean([terrain.loss([at, u], (1.0, r)) - low for u in around]))

        yield row("A5", f"radius, {place}", radius(rise, margin), models)
