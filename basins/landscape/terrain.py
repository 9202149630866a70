"""The inputs of an aspect of the landscape: trained networks of one recipe, and their data.

The four aspects of *SoK: On Finding Common Ground in Loss Landscapes* (arXiv 2410.12927) are files
of this package with a function `measure(terrain, **options) -> list[dict]`. The survey has neither
experiments nor formulas; they are operationalised and tested here. A file may define `TESTS`, the
values of its keyword `test`, so that tests can run in parallel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from basins import devices, seeds
from basins.data.resident import Resident
from basins.data.tokens import Tokens, tokens
from basins.nets.outputs import logits_of
from basins.paths.engine import Engine, combine
from basins.paths.evaluation import Examples, evaluate


class Terrain(NamedTuple):
    """Trained networks of one recipe, and the means to measure the landscape around them.

    `models` are ids (`nli/seed0`) and `vectors` their flat weights [size], float32 on the device.
    `batchnorm` is one mode, and `calibration` has its images. `sets` are evaluation sets, the first
    of them in distribution; `train` are training rows, for gradients. `tables` are rows of earlier
    results, by name. `early` has the weights of each model by number of steps; after 0 steps they
    are the initial weights, drawn again from the model's streams.
    """

    models: tuple[str, ...]
    vectors: tuple[Tensor, ...]
    engine: Engine
    batchnorm: str
    calibration: Resident | None
    sets: Mapping[str, Examples]
    train: Examples
    tables: Mapping[str, pd.DataFrame]
    generator: np.random.Generator
    early: Mapping[int, tuple[Tensor, ...]] = {}

    def examples(self, controls: Sequence[Tensor], point: Sequence[float], name: str) -> np.ndarray:
        """Return the losses (nats) float32 [n] on a set at the sum of `point[i] * controls[i]`."""
        combine(controls, point, out=self.engine.flat.vector)
        function = self.engine.settle(self.batchnorm, self.calibration)
        return evaluate(function, self.sets[name]).losses

    def loss(
        self, controls: Sequence[Tensor], point: Sequence[float] = (1.0,), name: str = ""
    ) -> float:
        """Return the mean loss (nats) at that point, by default on the in-distribution set."""
        name = name or next(iter(self.sets))
        return float(self.examples(controls, point, name).mean(dtype=np.float64))

    def gradient(self, vector: Tensor, data: Examples | None = None) -> Tensor:
        """Return the gradient [size] of the mean loss on `data`, by default the training rows.

        BatchNorm statistics are constant, and their gradient is 0.
        """
        found, count = torch.zeros_like(vector), 0
        for total, size in self._totals(vector, data or self.train):
            self._add(found, torch.autograd.grad(total, [*self.engine.net.parameters()]))
            count += size
        return found / count

    def hessian(
        self, vector: Tensor, data: Examples | None = None, *, keep: bool = False
    ) -> Callable[[Tensor], Tensor]:
        """Return the product of the Hessian of that loss at `vector` with a direction [size].

        `keep` makes the graph of the gradient once for all products, which saves a third of the
        time and takes the memory of all examples at once instead of a batch's.
        """
        flat, parameters = self.engine.flat, dict(self.engine.net.named_parameters())
        kept = [*self._gradients(vector, data or self.train)] if keep else None
        settled = flat.vector.clone()  # with BatchNorm's statistics

        def product(direction: Tensor) -> Tensor:
            flat.vector.copy_(settled)  # the graph reads the weights where they were
            along = [direction[flat.places[name]].view_as(p) for name, p in parameters.items()]
            found, total = torch.zeros_like(vector), 0
            for gradient, count in kept or self._gradients(vector, data or self.train):
                self._add(
                    found,
                    torch.autograd.grad(
                        gradient,
                        [*parameters.values()],
                        along,
                        retain_graph=keep,
                        materialize_grads=True,
                    ),
                )
                total += count
            return found / total

        return product

    def _gradients(self, vector: Tensor, data: Examples) -> Iterator[tuple[Sequence[Tensor], int]]:
        """Yield the gradient of each batch's summed loss, with its graph, and the batch's size."""
        parameters = [*self.engine.net.parameters()]
        with sdpa_kernel(SDPBackend.MATH):  # fused attention kernels have no second derivatives
            for total, count in self._totals(vector, data):
                yield torch.autograd.grad(total, parameters, create_graph=True), count

    def _totals(self, vector: Tensor, data: Examples) -> Iterator[tuple[Tensor, int]]:
        """Yield the summed loss at `vector` of each batch, and the batch's size."""
        net = self.engine.net
        self.engine.flat.vector.copy_(vector)
        self.engine.settle(self.batchnorm, self.calibration)
        plain = devices.memory_format(net) is torch.contiguous_format  # images are channels-last
        for given, labels in data.batches():
            output = net(*(x.contiguous() if plain and x is not None else x for x in given))
            yield _total(logits_of(output), labels, data.merge), len(labels)

    def _add(self, found: Tensor, parts: Sequence[Tensor]) -> None:
        """Add tensors in the order of the parameters to a flat vector [size]."""
        for (name, _), part in zip(self.engine.net.named_parameters(), parts, strict=True):
            found[self.engine.flat.places[name]] += part.flatten()


def row(
    test: str,
    quantity: str,
    value: float,
    models: Iterable[str] = (),
    *,
    group: str = "recipe",
    x: float | None = None,
    null: bool = False,
) -> dict[str, Any]:
    """Return a row of `results/aspects/<name>.csv`, without the name of its aspect.

    Args:
        test: the test's name, such as `D1`.
        quantity: the name of the measured quantity.
        value: the measurement.
        models: ids of its models, which jackknife intervals leave out one at a time.
        group: `within` one cluster or `between` several, the name of a null, or what the test
            compares; by default `recipe`.
        x: the position at which the quantity is measured, such as t or a step, or None.
        null: whether it is a draw under a null hypothesis.
    """
    return {
        "test": test,
        "quantity": quantity,
        "group": group,
        "x": x,
        "models": " + ".join(models),
        "null": int(null),
        "value": float(value),
    }


def clusters(terrain: Terrain) -> dict[str, int]:
    """Return the cluster of each model from the table `clusters`; without it, all are in one."""
    found = terrain.tables.get("clusters", pd.DataFrame(columns=["model", "measure", "cluster"]))
    found = found.loc[found["measure"] == "convexity_gap"]
    known = dict(zip(found["model"], found["cluster"], strict=True))
    if not set(terrain.models) <= set(known):
        return dict.fromkeys(terrain.models, 0)
    return {model: int(known[model]) for model in terrain.models}


def kind(labels: Mapping[str, int], models: Iterable[str]) -> str:
    """Return whether models are `within` one cluster or `between` several."""
    return "within" if len({labels[model] for model in models}) == 1 else "between"


def groups(labels: Mapping[str, int], least: int = 2) -> dict[int, list[str]]:
    """Return the models of each cluster with at least `least` models."""
    found: dict[int, list[str]] = {}
    for model, label in labels.items():
        found.setdefault(label, []).append(model)
    return {label: members for label, members in sorted(found.items()) if len(members) >= least}


def mean(vectors: Sequence[Tensor]) -> Tensor:
    """Return the mean [size] of flat weights."""
    found = torch.empty_like(vectors[0])
    combine(vectors, [1 / len(vectors)] * len(vectors), out=found)
    return found


def filter_normalised(terrain: Terrain, vector: Tensor) -> Tensor:
    """Return a Gaussian direction [size] in which every filter has its norm in `vector`.

    A filter has the incoming weights of one unit: a row of a tensor with two axes or more. The
    direction is 0 for biases and weights of norms (Li et al. 2018).
    """
    drawn = torch.from_numpy(terrain.generator.standard_normal(len(vector), dtype=np.float32))
    drawn = drawn.to(vector.device)
    found = torch.zeros_like(vector)
    for name, parameter in terrain.engine.net.named_parameters():
        if parameter.ndim > 1:
            place = terrain.engine.flat.places[name]
            rows = drawn[place].view(len(parameter), -1)
            like = vector[place].view_as(rows).norm(dim=1, keepdim=True)
            found[place] = (rows / rows.norm(dim=1, keepdim=True) * like).flatten()
    return found


def random_like(terrain: Terrain, direction: Tensor) -> Tensor:
    """Return a Gaussian direction [size] over the parameters with the norm of `direction`."""
    drawn = terrain.generator.standard_normal(len(direction), dtype=np.float32)
    found = torch.from_numpy(drawn).to(direction.device) * terrain.engine.flat.trained
    return found * (direction.norm() / found.norm())


def subset(data: Examples, rows: np.ndarray) -> Resident | Tokens:
    """Return the examples of the given rows of a split, in new batches."""
    assert isinstance(data, Resident | Tokens)
    if isinstance(data, Resident):
        chosen = torch.from_numpy(rows).to(data.labels.device)
        return Resident(data.images[chosen], data.labels[chosen])
    found, place = [], 0
    for given, own in data.parts:
        numbers = data.order[place : place + len(own)].numpy()
        place += len(own)
        for k in np.flatnonzero(np.isin(numbers, rows)).tolist():
            real = slice(None) if given.mask is None else given.mask[k, 0, 0] == 0
            text = (given.ids[k][real].tolist(), given.types[k][real].tolist(), int(own[k]))
            found.append((int(numbers[k]), *text))
    _, ids, types, labels = zip(*sorted(found), strict=True)
    device, longest = data.parts[0][1].device, max(map(len, ids))
    more: Any = {"pad": 0, "limit": longest, "device": device, "where": "a part of a set"}
    return replace(tokens(ids, types, labels, **more), merge=data.merge)


def few(data: Examples, count: int, name: str) -> Examples:
    """Return at most `count` examples of a set, the same for every call with this count."""
    total = sum(len(labels) for _, labels in data.batches())
    if total <= count:
        return data
    drawn = seeds.generator("terrain", name).permutation(total)
    return subset(data, np.sort(drawn[:count]))


def _total(logits: Tensor, labels: Tensor, merge: Tensor | None) -> Tensor:
    """Return the sum of cross-entropies of logits [n, K], whose classes may be merged."""
    if merge is None:
        return functional.cross_entropy(logits, labels, reduction="sum")
    merged = logits.masked_fill(merge != labels[:, None], -torch.inf).logsumexp(dim=1)
    return (logits.logsumexp(dim=1) - merged).sum()
