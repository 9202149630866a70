"""BatchNorm statistics of a network that was put together rather than trained."""

from __future__ import annotations

import torch
from torch import nn
from torch.fx.experimental.optimization import fuse
from torch.fx.proxy import TraceError
from torch.optim.swa_utils import update_bn

from basins.data.resident import Resident, normalise

BATCH = 128


@torch.no_grad()
def reset(net: nn.Module, calibration: Resident) -> None:
    """Re-estimate BatchNorm statistics in place, as cumulative averages over the calibration set.

    Mechanistic Mode Connectivity's code (its section 4) takes a moving average over all training
    images instead, whose effective sample is about 2,400 of them.
    """
    # Batches of one size only: in a cumulative average a short one would weigh as much as the rest.
    whole = len(calibration.images) // BATCH * BATCH or len(calibration.images)
    update_bn((normalise(batch) for batch in calibration.images[:whole].split(BATCH)), net)


def folded(net: nn.Module) -> nn.Module:
    """Return a copy for evaluation with BatchNorm folded into the convolutions before it.

    The function is the same to rounding and about a sixth cheaper on a CPU. A network whose code
    cannot be traced is returned as it is.
    """
    try:
        return fuse(net.eval())
    except (TraceError, RuntimeError, TypeError):  # what tracing raises on control flow and len()
        return net
