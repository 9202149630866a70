"""Networks whose loss is a given function of their weights, so that the landscape is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from basins.landscape.terrain import Terrain
from basins.paths.engine import Engine
from basins.paths.evaluation import Examples

Loss = Callable[[Tensor], Tensor]


class Analytic(nn.Module):
    """A network of weights [1, size] that answers every example with the loss `of` them."""

    def __init__(self, size: int, of: Mapping[int, Loss]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, size))
        self.of = of

    def forward(self, kinds: Tensor) -> Tensor:
        losses = torch.stack([self.of[int(kind)](self.weight[0]) for kind in kinds])
        # log(1 + exp(z)) is the loss of class 0 at logits (0, z).
        return torch.stack([torch.zeros_like(losses), torch.log(torch.expm1(losses))], dim=1)


class One:
    """Three examples of one kind."""

    order = merge = None

    def __init__(self, kind: int) -> None:
        self.kind = kind

    def batches(self):
        yield (torch.full((3,), self.kind),), torch.zeros(3, dtype=torch.int64)


def terrain(
    loss: Loss,
    vectors: Sequence[Sequence[float]],
    *,
    other: Loss | None = None,
    labels: Sequence[int] | None = None,
    starts: Sequence[Sequence[float]] = (),
    early: Mapping[int, Sequence[Sequence[float]]] | None = None,
    tables: Mapping[str, pd.DataFrame] | None = None,
) -> Terrain:
    """Return models at the given weights under a loss, which is 0 nowhere.

    `other` is the loss on the set `odd`; `labels` are the models' clusters.
    """
    models = tuple(f"net/seed{k}" for k in range(len(vectors)))
    found = dict(tables or {})
    if labels is not None:
        rows = {"model": models, "cluster": labels, "measure": "convexity_gap"}
        found["clusters"] = pd.DataFrame(rows)
    sets: dict[str, Examples] = {"test": One(0)}
    if other is not None:
        sets["odd"] = One(1)
    places = {0: starts} if starts else {}
    net = Analytic(len(vectors[0]), {0: loss, 1: other or loss})
    return Terrain(
        models=models,
        vectors=tuple(map(torch.tensor, vectors)),
        engine=Engine(net),
        batchnorm="interpolate",
        calibration=None,
        sets=sets,
        train=One(0),
        tables=found,
        generator=np.random.default_rng(0),
        early={
            step: tuple(map(torch.tensor, at)) for step, at in {**places, **(early or {})}.items()
        },
    )


def values(rows, quantity: str, **equal: object) -> list[float]:
    """Return the values of a quantity, in their order."""
    return [
        row["value"]
        for row in rows
        if row["quantity"] == quantity and all(row[key] == v for key, v in equal.items())
    ]
