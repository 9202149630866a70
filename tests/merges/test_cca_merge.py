"""CCA-Merge: transforms by least squares, and networks that are the same but for their units."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from basins.align.permute import permute, random_permutations
from basins.data.resident import Resident, normalise
from basins.merges import cca_merge
from basins.merges.sources import Sources
from basins.nets.permutation import Net, PermutationSpec, reads, writes
from tests.align.conftest import FAMILIES


def covariances(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    x, y = x - x.mean(0), y - y.mean(0)
    return x.T @ x / len(x), y.T @ y / len(y), x.T @ y / len(x)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


def test_units_that_are_mixtures_of_the_others_are_unmixed():
    x = drawn(0, 500, 4) @ drawn(1, 4, 4)
    mixing = drawn(2, 4, 4)
    found = cca_merge.transform(*covariances(x, x @ mixing.T), 1e-9)
    torch.testing.assert_close(found @ mixing, torch.eye(4).double(), rtol=1e-4, atol=1e-4)


def test_the_transform_is_that_of_canonical_correlations():
    """Canonical variates of either side, by an eigenvalue problem, are taken for each other."""
    x = drawn(3, 400, 3)
    y = 0.6 * x @ drawn(4, 3, 3) + drawn(5, 400, 3)
    a, b, c = covariances(x, y)
    squares = torch.linalg.solve(b, c.T) @ torch.linalg.solve(a, c)
    values, directions = np.linalg.eig(squares.numpy())
    order = np.argsort(-values.real)
    right = torch.from_numpy(directions.real[:, order].copy())
    right = right / (right * (b @ right)).sum(0).sqrt()  # variates of variance 1
    left = torch.linalg.solve(a, c @ right)
    left = left / (left * (a @ left)).sum(0).sqrt()
    found = cca_merge.transform(a, b, c, 1e-12)
    # What it makes of y has the left variates' loadings on the right ones.
    torch.testing.assert_close(left.T @ found, right.T, rtol=1e-5, atol=1e-5)


class Linear(Net):
    """Two layers without a ReLU, whose units may be mixed by any matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(12, 5), nn.Linear(5, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.two(self.one(images.flatten(1)))

    def permutation_spec(self) -> PermutationSpec:
        return PermutationSpec({"one": writes("one") + reads("two")})


def data(*shape: int) -> Resident:
    stream = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (60, *shape), generator=stream, dtype=torch.uint8)
    return Resident(pixels, torch.arange(60) % 3)


def test_without_a_relu_a_network_of_other_units_is_the_same():
    net, other = Linear(), Linear()
    mixing = drawn(6, 5, 5).float()
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    twin = state | {
        "one.weight": mixing @ state["one.weight"],
        "one.bias": mixing @ state["one.bias"],
        "two.weight": state["two.weight"] @ torch.linalg.inv(mixing),
    }
    rows = data(2, 2, 3)
    sources = Sources([state, twin], None, net, rows, np.random.default_rng(0))
    [merged] = cca_merge.merge(sources, regularisation=1e-9)
    for name, tensor in state.items():
        torch.testing.assert_close(merged[name], tensor, rtol=1e-2, atol=1e-3)
    other.load_state_dict(merged)
    net.load_state_dict(state)
    images = normalise(rows.images)
    torch.testing.assert_close(other(images), net(images), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("name", ["mlp", "vgg", "resnet8"])
def test_a_network_and_permuted_copies_are_that_network(name):
    family = FAMILIES[name]
    net = family.trained()
    state, spec = net.state_dict(), net.permutation_spec()
    copies = [
        permute(state, spec, random_permutations(state, spec, np.random.default_rng(seed)))
        for seed in (3, 4)
    ]
    channels, height, width = family.shape
    rows = data(height, width, channels)
    sources = Sources([state, *copies], None, family.build(), rows, np.random.default_rng(0))
    [merged] = cca_merge.merge(sources)
    net.load_state_dict(merged)
    built = family.build().eval()
    built.load_state_dict(state)
    images = normalise(rows.images)
    torch.testing.assert_close(net(images), built(images), rtol=1e-3, atol=1e-3)
