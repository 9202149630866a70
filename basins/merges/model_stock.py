"""Model Stock (Jang et al. 2024, section 4): as near to the centre of networks as can be.

Networks fine-tuned alike lie on a thin shell around their centre, and their task vectors at one
angle to each other. The point nearest to the centre on the line from the base to their mean then
follows from that angle alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from basins.errors import UserError
from basins.merges.sources import Scope, Sources
from basins.merges.traits import Traits
from basins.weights import State

TRAITS = Traits("aggregation", base=True)


def merge(sources: Sources, *, scope: Scope = "tensor") -> list[State]:
    """Return the base plus `ratio` times the mean of the task vectors.

    Of each tensor by its angle, as in the paper (its layers) and mergekit, or of whole vectors.
    What the base lacks is averaged. Raises `UserError` where there is no base or one network.
    """
    if len(sources.states) < 2:
        raise UserError("model_stock: 1 network has no angle; give two or more")
    return [sources.moved(lambda tasks: ratio(tasks) * tasks.mean(0), scope)]


def ratio(tasks: Tensor) -> float:
    """Return K cos / (1 + (K - 1) cos) of task vectors [K, ...] (equation 3), cos their angle's.

    The mean over pairs, as in mergekit: the paper has one angle. It takes 0 for a negative one, at
    which the formula would lead away from the networks. Task vectors of 0 are alike: 1.
    """
    flat = tasks.flatten(1)
    count = len(flat)
    lengths = flat.norm(dim=1, keepdim=True)
    if not bool(lengths.any()):
        return 1.0
    units = flat / lengths.where(lengths > 0, 1)
    pairs = torch.triu_indices(count, count, 1, device=flat.device)
    cosine = max(0.0, float((units @ units.T)[pairs[0], pairs[1]].mean()))
    return count * cosine / (1 + (count - 1) * cosine)
