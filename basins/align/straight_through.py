"""Straight-through matching: lower the midpoint's loss by gradients (Git Re-Basin, section 3.3)."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from basins.align.permute import permute
from basins.align.weight_matching import match
from basins.data.rows import Batches, Rows
from basins.nets.outputs import logits_of
from basins.nets.permutation import Net, PermutationSpec
from basins.weights import State

Count = Annotated[int, Field(ge=1)]


def align(
    reference: State,
    moving: State,
    spec: PermutationSpec,
    *,
    generator: np.random.Generator,
    net: Net,
    data: Batches,
    steps: Annotated[int, Field(ge=0)] = 50,
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3,
    batch: Count = 64,
) -> dict[str, np.ndarray]:
    """Return the permutations of `moving` whose midpoint with `reference` has the lowest loss.

    Free weights start at `reference`. In each step the moving network is matched to them by weight
    matching, the loss of its midpoint with the reference is computed on a batch, and Adam updates
    the free weights with its gradient, as if they were the matched weights. Of all matchings, the
    one whose midpoint has the lowest mean loss on all of `data` is returned. The first is weight
    matching by one descent from the identity, so the result is no worse than that.

    A step takes one descent of weight matching, from the previous result, a gradient on one batch,
    and a pass over `data` if the matching is new.

    Args:
        reference: the weights and buffers of the fixed network, by name.
        moving: those of the network that is permuted.
        spec: the groups of units, and the axes of the tensors that they permute.
        generator: draws the batches.
        net: a network of the architecture, on the device, left in evaluation mode. At a midpoint
            its running statistics are averages.
        data: labelled rows on the device.
        steps: of Adam, at least 0.
        rate: Adam's learning rate, above 0.
        batch: rows per step, at least 1.

    Returns:
        By group, a permutation int [n] in the form of `permute`.
    """
    rows = Rows(data)
    trained = [name for name, _ in net.named_parameters()]
    net.eval()
    free = {name: reference[name].detach().clone().requires_grad_() for name in trained}
    optimiser = torch.optim.Adam(free.values(), lr=rate)
    batches = rows.shuffled(batch, generator)
    found: dict[str, np.ndarray] | None = None
    best: dict[str, np.ndarray] = {}
    lowest = torch.inf
    seen: set[bytes] = set()
    for step in range(steps + 1):
        now = dict(reference) | {name: tensor.detach() for name, tensor in free.items()}
        found = match(now, moving, spec, generator=generator, restarts=1, start=found).permutations
        middle = midpoint(reference, permute(moving, spec, found))
        name = b"".join(permutation.tobytes() for permutation in found.values())
        if name not in seen:
            seen.add(name)
            value = mean_loss(net, middle, rows, batch)
            if value < lowest or not best:
                best, lowest = found, value
        if step == steps:
            break
        leaves = {name: middle[name].detach().requires_grad_() for name in trained}
        inputs, labels = next(batches)
        loss = functional.cross_entropy(_logits(net, middle | leaves, inputs), labels)
        slopes = torch.autograd.grad(loss, list(leaves.values()))
        for tensor, slope in zip(free.values(), slopes, strict=True):
            tensor.grad = slope / 2  # the midpoint contains half of the free weights
        optimiser.step()
    return best


def midpoint(first: State, second: State) -> State:
    """Return the network halfway between two; integer buffers are those of the first."""
    return {
        name: tensor.lerp(second[name], 0.5) if tensor.is_floating_point() else tensor
        for name, tensor in first.items()
    }


def _logits(net: Net, state: State, inputs: tuple[Tensor | None, ...]) -> Tensor:
    output = functional_call(net, state, tuple(inputs))
    return logits_of(output)


@torch.no_grad()
def mean_loss(net: Net, state: State, rows: Rows, batch: int) -> float:
    """Return the mean cross-entropy (nats) of a state on labelled rows, `batch` rows at once."""
    total = 0.0
    for inputs, labels in rows.pieces(batch):
        said = _logits(net, state, inputs)
        total += float(functional.cross_entropy(said, labels, reduction="sum"))
    return total / len(rows)
