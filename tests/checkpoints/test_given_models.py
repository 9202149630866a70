"""Networks that weights alone do not determine, and states as trainers leave them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

import basins
from basins.errors import UserError
from basins.nets.permutation import Axis, PermutationSpec, writes

DRAW = torch.Generator().manual_seed(0)
X = torch.randn(60, 4, generator=DRAW)
Y = torch.randint(3, (60,), generator=DRAW)
DATA = (X, Y)


def seeded(make: Any, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return make()


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


@torch.no_grad()
def loss(net: nn.Module) -> float:
    return float(functional.cross_entropy(copy.deepcopy(net).eval()(X), Y))


def probed(*nets: Any, **options: Any) -> list[float]:
    found = basins.probe([*nets], DATA, **options).rows.query("metric == 'loss'")
    return found["value"].tolist()


class Fourier(nn.Module):
    """A layer with complex weights."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(3, 8, dtype=torch.cfloat) * 0.3)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((torch.fft.rfft(x) @ self.w).abs())


class Shuffled(nn.Module):
    """A network of a random permutation of its inputs, which is no weight."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("perm", torch.randperm(4))
        self.net = mlp()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x[:, self.perm])


class Masked(nn.Module):
    """A network whose hidden units are pruned by a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(4, 8), nn.Linear(8, 3)
        self.register_buffer("mask", torch.arange(8) % 2 == 0)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.first(x).relu() * self.mask)

    def permutation_spec(self) -> PermutationSpec:
        return PermutationSpec(
            {"first": (*writes("first"), Axis("mask", 0), Axis("head.weight", 1))}
        )


MIXED = {
    "connect": lambda nets: basins.connect(*nets[:2], DATA, points=3),
    "cluster": lambda nets: basins.cluster(nets, DATA, k=2, points=3),
    "merge": lambda nets: basins.merge(nets[:2], DATA),
    "plane": lambda nets: basins.plane(nets[:3], DATA, steps=2),
}
ALONE = {"directions": lambda nets: basins.plane(nets[0], DATA, directions="random", steps=2)}


@pytest.mark.parametrize("how", MIXED | ALONE)
def test_complex_weights_are_probed_and_not_mixed(how):
    nets = [seeded(Fourier, seed) for seed in range(4)]
    with pytest.raises(UserError, match="0: w is complex64, which is not mixed"):
        (MIXED | ALONE)[how](nets)
    assert probed(*nets) == pytest.approx([loss(net) for net in nets], 1e-5)


@pytest.mark.parametrize("how", MIXED)
def test_buffers_of_integers_are_each_networks_own_or_shared(how):
    nets = [seeded(Shuffled, seed) for seed in range(4)]
    with pytest.raises(UserError, match=r"perm \(int64\) differs from that of \w+/seed0, and is"):
        MIXED[how](nets)
    assert probed(*nets) == pytest.approx([loss(net) for net in nets], 1e-5)
    for net in nets[1:]:
        net.perm.copy_(nets[0].perm)
    states = [net.state_dict() for net in nets[:2]]
    found = basins.connect(*states, DATA, net=seeded(Shuffled, 9), points=3).paths["loss"]
    assert found.iloc[[0, -1]].tolist() == pytest.approx([loss(net) for net in nets[:2]], 1e-5)


def test_a_mask_that_moves_with_its_units_is_not_mixed():
    nets = [seeded(Masked, seed) for seed in range(2)]
    found = basins.connect(*nets, DATA, points=3).paths["loss"]
    assert found.iloc[[0, -1]].tolist() == pytest.approx([loss(net) for net in nets], 1e-5)
    with pytest.raises(UserError, match=r"b/seed0: mask \(bool\) differs"):
        basins.connect(*nets, DATA, points=3, alignment="activation_matching", train=DATA)


def test_streamed_networks_have_the_same_integers():
    for seed in range(2):
        save_file(seeded(Shuffled, seed).state_dict(), f"{seed}.safetensors")
    options: dict[str, Any] = {"net": seeded(Shuffled, 0), "stream": True}
    message = r"1.safetensors: perm \(int64\) differs from that of 0.safetensors"
    with pytest.raises(UserError, match=message):
        basins.connect("0.safetensors", "1.safetensors", DATA, points=3, **options)
    with pytest.raises(UserError, match=message):
        basins.merge(["0.safetensors", "1.safetensors"], out="merged", **options)
