"""Optimal transport between two sets of n units of equal mass."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from basins.errors import UserError

TOLERANCE = 1e-4  # the largest relative error of a unit's mass
ITERATIONS = 20_000
SCHEDULE = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)  # entropy weights
COARSE = 0.01  # the same error for intermediate solutions


def coupling(cost: Tensor, regularisation: float, where: str) -> Tensor:
    """Return the coupling, float64 [n, n], that minimises the cost [n, n] minus the entropy.

    Rows and columns sum to 1. `regularisation` is the weight of the entropy, in units of the mean
    cost. At 0 transport is exact, and a permutation. Otherwise over-relaxed Sinkhorn iterations
    (Thibault et al. 2021) run until columns sum to 1 within `TOLERANCE`, with exact rows; less
    regularisation takes more iterations. Raises `UserError`, naming `where`, if `ITERATIONS` are
    not enough.
    """
    if regularisation == 0:
        columns = torch.from_numpy(linear_sum_assignment(cost.numpy(force=True))[1])
        return torch.eye(len(cost), dtype=torch.double, device=cost.device)[columns]
    scores = -cost.double() / cost.mean().double().clamp(min=torch.finfo(torch.float64).tiny)
    columns = torch.zeros_like(scores[:1])
    left, apart = ITERATIONS, torch.inf
    # Each solution, in units of the cost, is the start for the next, smaller weight of the entropy.
    for entropy in (*(weight for weight in SCHEDULE if weight > regularisation), regularisation):
        exact = entropy == regularisation
        while left > 0:
            left -= 1
            rows = -entropy * ((scores + columns) / entropy).logsumexp(1, keepdim=True)
            sums = ((scores + rows + columns) / entropy).logsumexp(0, keepdim=True)
            apart = float((sums.exp() - 1).abs().max())
            if apart <= (TOLERANCE if exact else COARSE):
                break
            columns = columns - entropy * sums
    if apart <= TOLERANCE:
        return ((scores + rows + columns) / regularisation).exp()
    raise UserError(
        f"{where}: transport at regularisation {regularisation} is {apart:.1e} off after "
        f"{ITERATIONS} iterations; raise it, or set it to 0, which is exact"
    )
