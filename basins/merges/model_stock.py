"""Model Stock (Jang et al. 2024, section 4): the point closest to the centre of the networks.

Networks fine-tuned in the same way lie on a thin shell around their centre, and all pairs of their
task vectors have the same angle. It determines the point closest to the centre on the line from the
base to their mean.
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

    The ratio is computed for each tensor, as in the paper (for its layers) and mergekit, or for
    whole vectors. Tensors missing from the base are averaged. Raises `UserError` if there is no
    base or only one network.
    """
    if len(sources.states) < 2:
        raise UserError("model_stock: 1 network has no angle; give two or more")
    return [sources.moved(lambda tasks: ratio(tasks) * tasks.mean(0), scope)]


def ratio(tasks: Tensor) -> float:
    """Return K cos / (1 + (K - 1) cos) for task vectors [K, ...] (equation 3).

    cos is the mean cosine over pairs, as in mergekit (the paper assumes a common angle). A negative
    mean counts as 0, as the formula would otherwise lead away from the networks. If all task
    vectors are 0, the ratio is 1.
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
