"""Networks that read attributes of different complexity share no basin (MMC appendix F, Fig. 13).

The network is the paper's, f(x; W) = (1/N) 1' ReLU(W' x), one hidden layer whose output weights are
fixed and equal; x carries a constant 1. Labels are 0 and 1, and a minimizer interpolates: f is the
label. What follows is ours, since the paper's data are not published. An attribute says 1 on a
boundary and 0 well within it: for `simple` the boundary is a straight line (the paper's K = 0), for
`complex` a polygon of K = `pieces` straight pieces. Both need the same slope; one unit and K units
can interpolate. (f is convex, so it cannot say 0 in two slabs and 1 between them.)

| recipe | trained on | has to read |
|---|---|---|
| `complex` | the simple attribute shuffled over the examples | the complex one |
| `simple` | the complex attribute shuffled | the simple one |
| `both` | both attributes say the label | either: simplicity bias decides |

Every pair is joined on the data of `both`, of which all trained networks are minimizers. The loss
is the mean squared error over that of always answering 1/2, so that guessing costs 1.

Each unit's output is convex in its weights. So f on a path never exceeds its chord, and meets it
where no unit has opposite signs at the two ends: a path without loss means equal patterns (the
paper's Lemma 2), equal patterns no barrier. A unit that is 0 at one end agrees with either sign, so
networks that leave each other's units at zero are connected, whatever they read. The paper's
theorem needs networks that use all their units, as trained ones do.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, permutations, product
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from basins import seeds as streams
from basins.errors import UserError
from basins.landscape.barriers import barrier_linear

RECIPES = ("complex", "simple", "both")
KINDS = {
    "same_complex": ("complex", "complex"),
    "same_simple": ("simple", "simple"),
    "simple_both": ("simple", "both"),
    "different": ("complex", "simple"),
}
"""The two recipes of every kind of pair."""

EXHAUSTIVE = 7
"""The most units of which all N! orders are tried; of more, those that assignments find."""

ATTEMPTS = 32
"""Starts of every network, of which the first to reach the target is taken."""

TARGET = 0.005
"""The loss to reach, in units of that of guessing."""

POINTS = torch.linspace(0, 1, 11, dtype=torch.float64)
MIDDLE = len(POINTS) // 2
CHUNK = 64


class World(NamedTuple):
    """The examples: coordinates [n, 4] by data set, the last a constant, and labels [n] of 0, 1."""

    sets: dict[str, Tensor]
    labels: Tensor


class Network(NamedTuple):
    """The weights [N, 4] of a trained network, and those it started from."""

    start: Tensor
    end: Tensor


class Pair(NamedTuple):
    """What two networks' units compute before the ReLU [N, n], and the labels [n]."""

    a: Tensor
    b: Tensor
    labels: Tensor


def run(
    *,
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=2)],
    units: Annotated[int, Field(ge=2, le=128)],
    pieces: Annotated[int, Field(ge=3, le=5)] = 4,
    examples: Annotated[int, Field(ge=16, le=1024)] = 128,
    lr: Annotated[float, Field(gt=0, le=1)] = 0.1,
    steps: Annotated[int, Field(ge=1)] = 4000,
) -> dict[str, pd.DataFrame]:
    """Train a network for every recipe and seed, and join the pairs of every kind.

    Args:
        seeds: two or more, none negative; each recipe has a network of each.
        units: the width of every network's hidden layer, 2 to 128.
        pieces: K, how many straight pieces the complex attribute's boundary has, 3 to 5.
        examples: how many each data set has, 16 to 1024.
        lr: Adam's learning rate, above 0, at most 1.
        steps: how many updates a start has at most, 1 or more.

    Returns:
        Tidy tables. `pairs`: `barrier` along the linear path, `barrier_best` under the best order
        that `search` found for the units of one of the two, `barrier_bound` that no order goes
        below; `patterns`, the largest share of activation signs that agree under any order, and
        `patterns_initial`, the same before training. `curves`: loss and accuracy on the path, as it
        is and under the best order. `models`: what each network gets right where both attributes
        say the label or one does.

    Raises:
        UserError: no start of a network reaches the target.
    """
    world = draw(streams.generator("toy_data", 0), examples, pieces)
    nets: dict[tuple[str, int], Network] = {}
    for recipe in RECIPES:
        starts = torch.stack([_starts(recipe, seed, units) for seed in seeds])
        trained = train(starts, world, recipe, lr=lr, steps=steps)
        nets |= {(recipe, seed): net for seed, net in zip(seeds, trained, strict=True)}

    search = "exhaustive" if units <= EXHAUSTIVE else "lap"
    rows: dict[str, list[dict[str, Any]]] = {"pairs": [], "curves": [], "models": []}
    for (recipe, seed), net in nets.items():
        ids = {"recipe": recipe, "seed": seed}
        rows["models"] += [ids | row for row in _reliance(net, world)]
    for kind, (one, other) in KINDS.items():
        for i, j in combinations(seeds, 2) if one == other else product(seeds, repeat=2):
            a, b = nets[one, i], nets[other, j]
            pair = join(a.end, b.end, world)
            best = exhaustive(pair) if search == "exhaustive" else matched(pair)
            recipes = {"recipe_a": one, "recipe_b": other}
            models = {"model_a": f"{one}/seed{i}", "model_b": f"{other}/seed{j}"}
            seeded = {"seed_a": i, "seed_b": j, "units": units, "search": search}
            before = {"patterns_initial": shared_patterns(join(a.start, b.start, world))}
            row = {"kind": kind} | recipes | models | seeded | _summary(pair, best) | before
            rows["pairs"].append(row)
            rows["curves"] += [{"kind": kind} | models | point for point in _curves(pair, best)]
    return {name: pd.DataFrame(table) for name, table in rows.items()}


def draw(generator: np.random.Generator, count: int, pieces: int) -> World:
    """Draw `count` examples of each data set; the labels take turns.

    Coordinates: the simple attribute, the two of the complex one, and 1. All pieces are at distance
    1 from the origin. Label 1 lies on one, at most 1/2 in the direction of every other; label 0 at
    most 1/2 in the direction of all.
    """
    labels = np.arange(count) % 2
    simple = np.where(labels, 1.0, generator.uniform(-0.5, 0.5, count))
    angles = 2 * np.pi * np.arange(pieces) / pieces
    normals = np.stack([np.cos(angles), np.sin(angles)], -1)
    reach = min(0.5, (0.5 - normals[1, 0]) / normals[1, 1])
    outward = normals[generator.integers(pieces, size=count)]
    along = generator.uniform(-reach, reach, (count, 1)) * (outward[:, ::-1] * (-1, 1))
    direction = generator.standard_normal((count, 2))
    direction /= (direction @ normals.T).max(-1, keepdims=True)
    inside = 0.5 * np.sqrt(generator.uniform(size=(count, 1))) * direction
    complex_ = np.where(labels[:, None], outward + along, inside)
    ones = np.ones(count)
    columns = {
        "both": (simple, complex_, ones),
        "complex": (generator.permutation(simple), complex_, ones),
        "simple": (simple, generator.permutation(complex_), ones),
    }
    sets = {name: torch.from_numpy(np.column_stack(c)) for name, c in columns.items()}
    return World(sets, torch.from_numpy(labels).double())


def outputs(weights: Tensor, x: Tensor) -> Tensor:
    """Return f(x) [..., n] of networks [..., N, d] on examples [n, d]."""
    return torch.relu(x @ weights.mT).mean(-1)


def loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the mean squared error [...] of outputs [..., n], in units of that of guessing 1/2."""
    return 4 * (outputs - labels).square().mean(-1)


def train(starts: Tensor, world: World, recipe: str, *, lr: float, steps: int) -> list[Network]:
    """Train networks together by Adam on all examples of a recipe.

    Args:
        starts: their weights before training [seeds, attempts, N, 4].
        world: the examples.
        recipe: which of its data sets they are trained on.
        lr: Adam's learning rate.
        steps: how many updates there are at most.

    Returns:
        For each seed the first attempt whose loss is at most `TARGET`, in float64.

    Raises:
        UserError: a seed has no such attempt after `steps`.
    """
    x, labels = world.sets[recipe].to(starts.dtype), world.labels.to(starts.dtype)
    seeds, attempts, units, width = starts.shape
    done: dict[int, Network] = {}
    owner = torch.arange(seeds).repeat_interleave(attempts)
    first = weights = starts.reshape(-1, units, width)
    mean, square = torch.zeros_like(weights), torch.zeros_like(weights)
    for step in range(1, steps + 1):
        before = x @ weights.mT
        error = torch.relu(before).mean(-1) - labels
        for k in torch.nonzero(4 * error.square().mean(-1) <= TARGET).flatten().tolist():
            done.setdefault(int(owner[k]), Network(first[k].double(), weights[k].double()))
        if len(done) == seeds:
            return [done[seed] for seed in range(seeds)]
        waiting = ~torch.isin(owner, torch.tensor([*done], dtype=owner.dtype))
        if not waiting.all():
            owner, first, weights, mean, square, before, error = (
                state[waiting] for state in (owner, first, weights, mean, square, before, error)
            )
        # The gradient but for constants, which Adam does not see.
        gradient = ((before > 0) * error[..., None]).mT @ x
        mean = torch.lerp(gradient, mean, 0.9)
        square = torch.lerp(gradient.square(), square, 0.999)
        scale = (square / (1 - 0.999**step)).sqrt() + 1e-8
        weights = weights - lr * mean / (1 - 0.9**step) / scale
    raise UserError(
        f"toy pieces: of {attempts} starts of {recipe!r} with {units} units none reached a loss of "
        f"{TARGET} in {steps} steps; give more units or steps"
    )


def join(a: Tensor, b: Tensor, world: World) -> Pair:
    """Return two networks [N, 4] as they are seen where both attributes say the label."""
    x = world.sets["both"].to(a.dtype)
    return Pair(a @ x.T, b @ x.T, world.labels)


def path(pair: Pair, order: np.ndarray) -> Tensor:
    """Return the outputs [T, n] along the linear path to b, whose units stand in `order` [N]."""
    return torch.relu(torch.lerp(pair.a, pair.b[order], POINTS[:, None, None])).mean(-2)


def barrier(pair: Pair, order: np.ndarray) -> float:
    """Return the barrier above the chord of the loss along the path under `order` [N]."""
    return float(barrier_linear(POINTS, loss(path(pair, order), pair.labels)))


def matched(pair: Pair) -> np.ndarray:
    """Return the best order [N] of b's units of three assignments, or as they stand.

    The assignments maximise the correlation of the units' outputs (activation matching), the inner
    product of what they compute before the ReLU (weight matching, in the metric of the data), and
    what the middle of the path puts out where the label is 1.
    """
    a, b = (_standard(torch.relu(side)) for side in (pair.a, pair.b))
    scores = (a @ b.T, pair.a @ pair.b.T, _blend(pair, POINTS[MIDDLE]) @ pair.labels)
    orders = [np.arange(len(a)), *(_assign(score) for score in scores)]
    return min(orders, key=lambda order: barrier(pair, order))


def exhaustive(pair: Pair) -> np.ndarray:
    """Return the order [N] of b's units with the smallest barrier of all N!.

    A barrier is at least what the middle rises above the chord, so the orders are tried from the
    lowest middle on and none beyond the best barrier so far, at first that of `matched`.
    """
    units = np.arange(len(pair.a))
    orders = np.array(list(permutations(units)))
    middle = _blend(pair, POINTS[MIDDLE])
    losses = torch.cat(
        [loss(middle[units, some].mean(-2), pair.labels) for some in _chunks(orders)]
    )
    floors = (losses - _chord(pair)[MIDDLE]).clamp(min=0).numpy()
    best = matched(pair)
    lowest = barrier(pair, best)
    for some in _chunks(np.argsort(floors, kind="stable")):
        if floors[some[0]] >= lowest:
            break
        blends = torch.lerp(pair.a, pair.b[orders[some]][:, None], POINTS[:, None, None])
        barriers = barrier_linear(POINTS, loss(torch.relu(blends).mean(-2), pair.labels))
        if barriers.min() < lowest:
            best, lowest = orders[some[barriers.argmin()]], barriers.min()
    return best


def bound(pair: Pair) -> float:
    """Return a lower bound of the barrier under every order, of any number of units.

    At each point of the path an assignment finds the most that any order can put out on average
    where the label is 1. What that lacks costs at least its square (Jensen).
    """
    share = pair.labels.mean()
    rises = []
    for t, chord in zip(POINTS, _chord(pair), strict=True):
        means = _blend(pair, t) @ pair.labels / pair.labels.sum()
        most = means[np.arange(len(means)), _assign(means)].mean()
        rises.append(4 * share * (1 - most).clamp(min=0).square() - chord)
    return float(torch.stack(rises).max().clamp(min=0))


def shared_patterns(pair: Pair) -> float:
    """Return the largest share of (unit, example) signs that agree under any order; exact."""
    a, b = ((side > 0).double() for side in (pair.a, pair.b))
    agree = a @ b.T + (1 - a) @ (1 - b).T
    return float(agree[np.arange(len(a)), _assign(agree)].mean() / a.shape[1])


def _starts(recipe: str, seed: int, units: int) -> Tensor:
    """Return standard normal weights [`ATTEMPTS`, N, 4]; no two recipes start from the same."""
    generator = streams.torch_generator("toy_init", recipe, seed, units)
    return torch.randn(ATTEMPTS, units, 4, generator=generator)


def _blend(pair: Pair, t: Tensor) -> Tensor:
    """Return what every unit of a puts out at `t` on its way to every unit of b, [N, N, n]."""
    return torch.relu(torch.lerp(pair.a[:, None], pair.b, t))


def _chord(pair: Pair) -> Tensor:
    """Return the chord [T] of the loss, which the order of units does not change."""
    start, end = loss(torch.relu(torch.stack([pair.a, pair.b])).mean(-2), pair.labels)
    return torch.lerp(start, end, POINTS)


def _assign(scores: Tensor) -> np.ndarray:
    return linear_sum_assignment(scores.numpy(), maximize=True)[1]


def _standard(rows: Tensor) -> Tensor:
    centred = rows - rows.mean(-1, keepdim=True)
    return torch.nn.functional.normalize(centred, dim=-1)


def _chunks(rows: np.ndarray) -> Iterator[np.ndarray]:
    return (rows[k : k + CHUNK] for k in range(0, len(rows), CHUNK))


def _accuracy(outputs: Tensor, labels: Tensor) -> Tensor:
    return ((outputs > 0.5) == (labels > 0.5)).double().mean(-1)


def _reliance(net: Network, world: World) -> Iterator[dict[str, Any]]:
    for name, x in world.sets.items():
        answers = outputs(net.end, x)
        value, right = loss(answers, world.labels), _accuracy(answers, world.labels)
        yield {"eval_set": name, "loss": float(value), "accuracy": float(right)}


def _summary(pair: Pair, best: np.ndarray) -> dict[str, Any]:
    as_it_is = np.arange(len(pair.a))
    chord = _chord(pair).tolist()
    return {
        "patterns": shared_patterns(pair),
        "barrier": barrier(pair, as_it_is),
        "barrier_best": barrier(pair, best),
        "loss_a": chord[0],
        "loss_b": chord[-1],
        "barrier_bound": bound(pair),
    }


def _curves(pair: Pair, best: np.ndarray) -> Iterator[dict[str, Any]]:
    for permuted, order in ((False, np.arange(len(pair.a))), (True, best)):
        answers = path(pair, order)
        values = (POINTS, loss(answers, pair.labels), _accuracy(answers, pair.labels))
        for t, value, right in zip(*(column.tolist() for column in values), strict=True):
            yield {"permuted": permuted, "t": t, "loss": value, "accuracy": right}
