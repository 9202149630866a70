"""Data given from Python: what the network sees is what was given, by its name and unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import basins
from basins.errors import UserError

DRAW = torch.Generator().manual_seed(0)
X = torch.randn(60, 4, generator=DRAW)
Y = torch.randint(3, (60,), generator=DRAW)


def loss(net: Any, data: Any, **options: Any) -> float:
    rows = basins.probe(net, data, **options).rows
    return rows.set_index("metric")["value"]["loss"]


def right(logits: Tensor, labels: Tensor = Y) -> float:
    return functional.cross_entropy(logits, labels).item()


class Sides(nn.Module):
    """A network with several inputs, of which one is a flag."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(4, 3)

    def forward(
        self,
        left: Tensor | None = None,
        right: Tensor | None = None,
        negative: bool = False,
        *,
        last: Tensor | None = None,
    ) -> Tensor:
        given = [x * sign for x, sign in ((left, 1), (right, 2), (last, 3)) if x is not None]
        return self.head(sum(given)) * (-1 if negative else 1)


NAMED = {
    "right": ({"right": X}, lambda net: net(right=X)),
    "flag": ({"left": X, "negative": True}, lambda net: net(X, negative=True)),
    "keyword": ({"last": X}, lambda net: net(last=X)),
    "another name": ({"anything": X}, lambda net: net(X)),
    "arrays": ({"left": X.numpy(), "right": X.numpy()}, lambda net: net(X, X)),
    "not read": ({"left": X, "id": ["a"] * 60}, lambda net: net(X)),
}


@pytest.mark.parametrize("case", NAMED)
def test_columns_go_to_the_parameters_of_their_names(case):
    columns, expected = NAMED[case]
    labels = Y.numpy() if case == "arrays" else Y
    with torch.no_grad():
        found = right(expected(Sides()))
    assert loss(Sides(), [{**columns, "labels": labels}]) == pytest.approx(found, 1e-5)
    nets = [Sides(), Sides()]
    assert basins.connect(*nets, [{**columns, "labels": labels}], points=3).rows is not None


def test_arrays_in_batches_are_tensors():
    net = nn.Linear(4, 3)
    expected = right(net(X))
    assert loss(net, [(X.numpy(), Y.numpy())]) == pytest.approx(expected, 1e-5)
    assert loss(net, (X.numpy()[::-1], Y.numpy()[::-1])) == pytest.approx(expected, 1e-5)
    numbers = X[:, :3].numpy()
    found = loss(net, [(X.numpy(), numbers)], loss="regression")
    assert found == pytest.approx(functional.mse_loss(net(X), X[:, :3]).item(), 1e-5)


class Centred(nn.Module):
    """A network that changes its input in place."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.sub_(1))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_network_that_changes_its_input_is_refused_and_the_data_stay(mode):
    kept = X.clone()
    for data in ((X, Y), [(X[:30], Y[:30]), (X[30:], Y[30:])]):
        with mode(), pytest.raises(UserError, match="changes a batch in place.*x.clone"):
            basins.connect(Centred(), Centred(), data, points=3)
    assert torch.equal(X, kept)


def test_a_loader_may_refill_one_buffer():
    def refilled() -> Iterator[tuple[Tensor, Tensor]]:
        inputs, targets = torch.empty(20, 4), torch.empty(20, dtype=torch.long)
        for start in (0, 20, 40):
            inputs.copy_(X[start : start + 20])
            targets.copy_(Y[start : start + 20])
            yield inputs, targets

    net = nn.Linear(4, 3)
    assert loss(net, refilled()) == pytest.approx(right(net(X)), 1e-5)
