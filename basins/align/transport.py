"""Optimal transport between equally many units that all weigh the same."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from basins.errors import UserError

TOLERANCE = 1e-4  # the share by which a unit may get more or less than its mass
ITERATIONS = 20_000
RELAXATION = 1.8  # of a step: fewer of them than at 1, by 2 to 8 times on random costs


def coupling(cost: Tensor, regularisation: float, where: str) -> Tensor:
    """Return float64 [n, n], rows and columns of sum 1, of the least cost [n, n] less entropy.

    `regularisation` is the entropy's, in units of the mean cost. At 0 transport is exact, and of as
    many equal masses a permutation. Otherwise Sinkhorn's iterations, over-relaxed (Thibault et al.
    2021), go on until columns sum to 1 within `TOLERANCE` where rows do exactly; the less
    regularisation, the more it takes. Raises `UserError`, saying `where`, if they do not after
    `ITERATIONS`.
    """
    if regularisation == 0:
        columns = torch.from_numpy(linear_sum_assignment(cost.numpy(force=True))[1])
        return torch.eye(len(cost), dtype=torch.double, device=cost.device)[columns]
    scale = regularisation * cost.mean()
    scores = -cost.double() / scale.where(scale > 0, 1)
    rows = torch.zeros_like(scores[:, :1])
    columns = torch.zeros_like(scores[:1])
    apart = torch.inf
    for step in range(ITERATIONS):
        exact = -(scores + columns).logsumexp(1, keepdim=True)
        if step % 10 == 0:
            found = (scores + exact + columns).exp()
            apart = float((found.sum(0) - 1).abs().max())
            if apart <= TOLERANCE:
                return found
        rows = rows.lerp(exact, RELAXATION)
        columns = columns.lerp(-(scores + rows).logsumexp(0, keepdim=True), RELAXATION)
    raise UserError(
        f"{where}: transport at regularisation {regularisation} is {apart:.1e} off after "
        f"{ITERATIONS} iterations; raise it, or set it to 0, which is exact"
    )
