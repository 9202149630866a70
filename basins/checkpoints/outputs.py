"""A network's outputs on a batch, which stand for its code: compared with others, and hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from basins.align.batchnorm import same_draws
from basins.checkpoints.examples import Task
from basins.checkpoints.models import Models
from basins.checkpoints.states import short
from basins.errors import UserError
from basins.nets.outputs import logits_of
from basins.paths.evaluation import TOLERANCE, Episodes, Examples


def confirm(models: Models, task: Task, name: str, given: nn.Module) -> None:
    """Check that `models.net`, with the weights of a network, computes what `given` does.

    `given` is that network itself, and `models.net` a copy of another, whose activations,
    attributes or unsaved buffers may differ. Raises `UserError` if outputs on a batch do.
    """
    batched = (one for one in task.sets.values() if not isinstance(one, Episodes))
    if (data := next(batched, None)) is None:
        return
    models.net.load_state_dict(models.states[name])
    ours = _outputs(models.net, data)
    try:
        theirs = _outputs(given, data)
    except Exception as error:  # a user's network may raise anything
        line = f"the network does not take the first batch: {short(error)}"
        raise UserError(f"{name}: {line}") from None
    # Outputs that differ between two calls show nothing: no seed fixes all draws.
    if _differ(ours, theirs) and not _differ(theirs, _outputs(given, data)):
        raise UserError(
            f"{name}: the code that is measured, that of the first network or of net=, gives "
            "other outputs with its weights; only what a state dict holds may differ, not "
            "activations, attributes or unsaved buffers (where eval() changes weights, call it)"
        )


@torch.inference_mode()
def digest(models: Models, task: Task, name: str) -> str:
    """Return a hash of a network's outputs on the first batch of every set.

    It stands for the code of the network and of the libraries that it uses.
    """
    if name not in models.states:  # streamed: never wholly in memory
        return ""
    found = hashlib.sha256()
    models.net.load_state_dict(models.states[name])
    for examples in task.own.get(name, task.sets).values():
        for output in _outputs(models.net, examples):
            found.update(output.float().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


@torch.inference_mode()
def _outputs(net: nn.Module, data: Examples) -> list[Tensor]:
    """Return a network's logits, or all tensors that it returns, for the first batch."""
    given, _ = next(iter(data.batches()))
    with same_draws(net):
        output = net(**given) if isinstance(given, Mapping) else net(*given)
    return [leaf for leaf in tree_leaves(logits_of(output)) if isinstance(leaf, Tensor)]


def _differ(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> bool:
    """Return whether outputs differ by more than rounding errors."""
    if [one.shape for one in ours] != [one.shape for one in theirs]:
        return True
    for one, other in zip(ours, theirs, strict=True):
        finite = other[other.isfinite()].abs()
        apart = TOLERANCE["fp32"] * float(finite.max() if len(finite) else 0)
        one = one.to(other.dtype)
        if not torch.isclose(one, other, rtol=0, atol=apart, equal_nan=True).all():
            return True
    return False
