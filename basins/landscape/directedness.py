"""Mode directedness, in both of its meanings (operationalisation of the SoK, C.1 to C.6).

(i) Training moves along few, consistent directions: C1 the straight line from the initial weights,
C2 the trajectory, C3 gradients along it. (ii) Directions in weight space have a meaning: C4 the
direction between clusters, C5 sums of task vectors, C6 the two sides of a model. Losses are in nats
on the first evaluation set, which is in distribution, except for C4. C2 and later steps of C3 need
early checkpoints (`checkpoints` of a recipe's method), and have no rows without them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from basins.errors import UserError
from basins.landscape.terrain import Terrain, clusters, groups, kind, mean, random_like, row

TESTS = ("C6", "C1", "C4", "C3", "C5", "C2")  # the longest first
Rows = Iterator[dict[str, Any]]
Count = Annotated[int, Field(ge=1)]


def measure(
    terrain: Terrain,
    *,
    test: Literal["C1", "C2", "C3", "C4", "C5", "C6"] | None = None,
    diagnostic: str | None = None,
    points: Annotated[int, Field(ge=3)] = 6,
    draws: Count = 20,
    nulls: Count = 100,
    reach: Annotated[float, Field(gt=0)] = 1.0,
) -> list[dict[str, Any]]:
    """Return the rows of one test, or of all (operationalisation of the SoK, C).

    Args:
        terrain: the models, and the means to measure their landscape.
        test: the test to run; None means all.
        diagnostic: the evaluation set of C4; with None, C4 has no rows.
        points: points of a line of C1 or C4, including both ends; at least 3.
        draws: the most pairs of task vectors that C5 adds, at least 1.
        nulls: random directions of C4 for each half of the models, and the most permutations of
            labels; random walks of C2, divided among the models. At least 1.
        reach: the largest distance that C6 moves to both sides, in units of the distance between a
            model and the others' centroid; above 0.

    Returns:
        Rows in the form of `terrain.row`.

    Raises:
        UserError: `diagnostic` is not one of the evaluation sets.
    """
    if diagnostic is not None and diagnostic not in terrain.sets:
        known = ", ".join(terrain.sets)
        raise UserError(f"diagnostic {diagnostic!r} is not one of eval_sets: {known}; add it there")
    done: dict[str, Callable[[], Rows]] = {
        "C1": lambda: _lines(terrain, points),
        "C2": lambda: _trajectories(terrain, nulls),
        "C3": lambda: _gradients(terrain),
        "C4": lambda: _semantic(terrain, diagnostic, points, nulls),
        "C5": lambda: _additivity(terrain, draws),
        "C6": lambda: _asymmetry(terrain, reach),
    }
    return [found for name, rows in done.items() if test in (None, name) for found in rows()]


def violation(losses: Sequence[float]) -> float:
    """Return max_{a < b} [L(b) - L(a)], or 0 if L decreases: Delta-monotonicity (Lucas 2021)."""
    values = np.asarray(losses, float)
    return float((values - np.minimum.accumulate(values)).max())


def straightness(steps: np.ndarray) -> float:
    """Return ||sum d_t|| / sum ||d_t||, in [0, 1], for steps d_t with inner products [T, T]."""
    return float(np.sqrt(max(steps.sum(), 0)) / np.sqrt(np.diag(steps)).sum())


def participation(steps: np.ndarray) -> float:
    """Return the participation ratio of a trajectory's PCA, from its steps' inner products [T, T].

    It is (sum of eigenvalues)^2 / (sum of squared eigenvalues) of the covariance of its T + 1
    points: the effective number of directions, from 1 to T.
    """
    sums = np.tril(np.ones((len(steps) + 1, len(steps))), -1)  # points are sums of steps
    sums -= sums.mean(0)
    products = sums @ steps @ sums.T
    return float(np.trace(products) ** 2 / np.square(products).sum())


def walk(lengths: np.ndarray, size: int, generator: np.random.Generator) -> np.ndarray:
    """Return the inner products [T, T] of a random walk's steps of given lengths [T] in R^size."""
    drawn = generator.standard_normal((len(lengths), size))
    drawn *= (lengths / np.linalg.norm(drawn, axis=1))[:, None]
    return drawn @ drawn.T


def common(starts: Sequence[Tensor]) -> Tensor | None:
    """Return the initial weights [size] shared by all models, and 0 elsewhere (their heads).

    None if less than half is shared: then there is no base for task vectors.
    """
    shared = torch.stack([start == starts[0] for start in starts]).all(0)
    if shared.double().mean() < 0.5:
        return None
    return torch.where(shared, starts[0], 0)


def _lines(terrain: Terrain, points: int) -> Rows:
    """Yield the loss along the line from each model's initial weights, and its violation."""
    ts = np.linspace(0, 1, points)
    for model, end, start in zip(terrain.models, terrain.vectors, terrain.early[0], strict=True):
        losses = [terrain.loss([start, end], (1 - t, t)) for t in ts]
        for t, loss in zip(ts, losses, strict=True):
            yield row("C1", "loss from the start", loss, [model], x=t)
        yield row("C1", "violation", violation(losses), [model])


def _trajectories(terrain: Terrain, nulls: int) -> Rows:
    """Yield how straight each trajectory is, and random walks with steps of the same lengths."""
    if len(terrain.early) < 2:
        return
    trained = terrain.engine.flat.trained
    for k, (model, end) in enumerate(zip(terrain.models, terrain.vectors, strict=True)):
        steps = sorted(terrain.early)
        places = torch.stack([*(terrain.early[step][k] for step in steps), end])[:, trained]
        moved = places.diff(dim=0).double().cpu().numpy()
        moved = moved[np.linalg.norm(moved, axis=1) > 0]
        products = moved @ moved.T
        yield row("C2", "straightness", straightness(products), [model])
        yield row("C2", "participation ratio", participation(products), [model])
        for step, d, left in zip(steps, moved, moved[::-1].cumsum(0)[::-1], strict=False):
            cosine = d @ left / np.linalg.norm(d) / np.linalg.norm(left)
            yield row("C2", "cosine to the end", cosine, [model], x=step)
        lengths = np.sqrt(np.diag(products))
        # In this many dimensions random steps are already almost orthogonal.
        size = min(moved.shape[1], 4096)
        for _ in range(max(1, nulls // len(terrain.models))):
            drawn = walk(lengths, size, terrain.generator)
            null: Any = {"models": [model], "group": "random walk", "null": True}
            yield row("C2", "straightness", straightness(drawn), **null)
            yield row("C2", "participation ratio", participation(drawn), **null)


def _gradients(terrain: Terrain) -> Rows:
    """Yield the restricted secant and error bounds towards each model, along its trajectory."""
    for step, places in sorted(terrain.early.items()):
        for model, place, end in zip(terrain.models, places, terrain.vectors, strict=True):
            gradient = terrain.gradient(place).double()
            ahead = ((place - end) * terrain.engine.flat.trained).double()
            if not (distance := float(ahead.norm())):
                continue
            secant = float(gradient @ ahead) / distance**2
            error = float(gradient.norm()) / distance
            yield row("C3", "rsi", secant, [model], x=step)
            yield row("C3", "eb", error, [model], x=step)
            yield row("C3", "gamma", secant / error, [model], x=step)
            yield row("C3", "share positive", secant > 0, [model], x=step)


def _semantic(terrain: Terrain, diagnostic: str | None, points: int, nulls: int) -> Rows:
    """Yield how the loss on `diagnostic` changes along the direction between two clusters.

    The direction, the first cluster's centroid minus the second's, is computed from one half of the
    models and evaluated on the other half, and vice versa. A slope is the derivative at the model,
    d m(theta + lambda v) / d lambda, times the sign predicted by the first half's models: if it is
    above 0, the model becomes more like those it is moved towards. Nulls are random directions of
    the same length, and those between groups of permuted labels. `line` is the loss along the
    direction, and `r2` the share of its variance explained by a straight line.
    """
    labels = clusters(terrain)
    vectors = dict(zip(terrain.models, terrain.vectors, strict=True))
    if diagnostic is None or len(found := groups(labels)) < 2:
        return
    draw, data = terrain.generator, terrain.sets[diagnostic]
    lambdas = np.linspace(-1, 1, points)
    losses = {m: terrain.loss([vector], name=diagnostic) for m, vector in vectors.items()}
    gradients = {m: terrain.gradient(vector, data) for m, vector in vectors.items()}
    halves: tuple[list[str], list[str]] = ([], [])
    for own in found.values():
        for k, model in enumerate(draw.permutation(own).tolist()):
            halves[k % 2].append(model)
    for half, held in (halves, halves[::-1]):
        first = next(iter(found))
        kept = [model for model in half if labels[model] == first]

        def direction(own: Sequence[str], half: Sequence[str] = half) -> tuple[Tensor, float]:
            others = [model for model in half if model not in own]
            v = mean([vectors[m] for m in own]) - mean([vectors[m] for m in others])
            m = np.mean([losses[m] for m in own]) - np.mean([losses[m] for m in others])
            return v, float(np.sign(m))

        v, sign = direction(kept)
        for model in held:
            line = [terrain.loss([vectors[model], v], (1.0, x), diagnostic) for x in lambdas]
            for x, loss in zip(lambdas, line, strict=True):
                yield row("C4", "line", loss, [model], x=x)
            yield row("C4", "r2", float(np.corrcoef(lambdas, line)[0, 1] ** 2), [model])
            yield row("C4", "slope", sign * float(gradients[model] @ v), [model])
        truth = (set(kept), set(half) - set(kept))
        shuffled = [own for own in combinations(half, len(kept)) if set(own) not in truth]
        chosen = draw.permutation(len(shuffled))[:nulls]
        directions = [("shuffled labels", *direction(shuffled[k])) for k in chosen]
        directions += [("random direction", random_like(terrain, v), 1.0) for _ in range(nulls)]
        for group, other, toward in directions:
            for model in held:
                slope = toward * float(gradients[model] @ other)
                yield row("C4", "slope", slope, [model], group=group, null=True)


def _additivity(terrain: Terrain, draws: int) -> Rows:
    """Yield the joint effect of two task vectors minus their own effects, and all cosines."""
    base = common(terrain.early[0])
    if base is None:
        return
    trained = terrain.engine.flat.trained
    low, vectors = terrain.loss([base]), dict(zip(terrain.models, terrain.vectors, strict=True))
    own = {model: terrain.loss([vector]) - low for model, vector in vectors.items()}
    labels = clusters(terrain)
    tasks = {model: ((vector - base) * trained).double() for model, vector in vectors.items()}
    pairs = list(combinations(terrain.models, 2))
    for a, b in pairs:
        cosine = float(tasks[a] @ tasks[b] / tasks[a].norm() / tasks[b].norm())
        yield row("C5", "cosine", cosine, (a, b), group=kind(labels, (a, b)))
    for k in terrain.generator.permutation(len(pairs))[:draws]:
        a, b = pairs[k]
        both = terrain.loss([vectors[a], vectors[b], base], (1.0, 1.0, -1.0)) - low
        value = both - own[a] - own[b]
        yield row("C5", "additivity", value, (a, b), group=kind(labels, (a, b)))
    yield row("C5", "loss at the base", low, terrain.models)
    for model, less in own.items():
        yield row("C5", "loss of a task vector", less, [model])


def _asymmetry(terrain: Terrain, reach: float) -> Rows:
    """Yield L(theta + r v) - L(theta - r v), v to the others' centroid or random of that length."""
    vectors: Mapping[str, Tensor] = dict(zip(terrain.models, terrain.vectors, strict=True))
    for model, vector in vectors.items():
        others = [v for other, v in vectors.items() if other != model]
        if not others:
            return
        v = mean(others) - vector
        for group, along in (("recipe", v), ("random direction", random_like(terrain, v))):
            for r in (reach / 2, reach):
                sides = [terrain.loss([vector, along], (1.0, x)) for x in (r, -r)]
                more: Any = {"x": r, "group": group, "null": group != "recipe"}
                yield row("C6", "asymmetry", sides[0] - sides[1], [model], **more)
