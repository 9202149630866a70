"""Couplings against an independent solver, and what is said where there is none yet."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from basins.align import transport
from basins.errors import UserError


def cost(seed: int, size: int = 12) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((size, size)))


@pytest.mark.parametrize("regularisation", [0.005, 0.02, 0.1, 1.0])
def test_rows_and_columns_sum_to_one(regularisation):
    for seed in range(3):
        found = transport.coupling(cost(seed), regularisation, "here")
        torch.testing.assert_close(found.sum(0), torch.ones(12).double(), rtol=0, atol=1e-4)
        torch.testing.assert_close(found.sum(1), torch.ones(12).double())


def test_the_coupling_is_that_of_plain_scaling():
    """Sinkhorn and Knopp's own iteration, on the kernel itself, long after it has converged."""
    costs = cost(3)
    kernel = np.exp(-costs.numpy() / (0.1 * costs.mean().item()))
    u = v = np.ones(12)
    for _ in range(20_000):
        u = 1 / (kernel @ v)
        v = 1 / (kernel.T @ u)
    found = transport.coupling(costs, 0.1, "here")
    np.testing.assert_allclose(found, u[:, None] * kernel * v, atol=1e-4)


def test_little_entropy_is_nearly_exact():
    """Its cost exceeds the least by no more than the entropy can, n eps log n."""
    least, near = (
        float((transport.coupling(cost(4), regularisation, "here") * cost(4)).sum())
        for regularisation in (0, 0.005)
    )
    assert least - 1e-3 <= near <= least + 12 * 0.005 * float(cost(4).mean()) * np.log(12)


def test_what_has_not_converged_says_so(monkeypatch):
    monkeypatch.setattr(transport, "ITERATIONS", 5)
    with pytest.raises(UserError, match="layer one: transport at regularisation 0.005 is .* off"):
        transport.coupling(cost(0), 0.005, "layer one")


def test_costs_of_very_unlike_units_converge():
    """Where a few units are far from all others; over-relaxed iterations run away there."""
    draw = np.random.default_rng(0)
    for _ in range(8):
        units = draw.standard_normal((2, 48, 12)) * draw.lognormal(0, 1.5, (2, 48, 1))
        costs = torch.cdist(*torch.from_numpy(units)) ** 2
        found = transport.coupling(costs, 0.05, "here")
        np.testing.assert_allclose(found.sum(0), 1, atol=1e-4)
        np.testing.assert_allclose(found.sum(1), 1, atol=1e-9)
