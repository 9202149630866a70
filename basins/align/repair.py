"""REPAIR: correct the activation statistics of a merged network's units (Jordan et al. 2023).

In the average of two networks that are not linearly connected, the variance of pre-activations
collapses with depth (section 3). Each unit is rescaled and shifted to the average of the sources'
means and of their standard deviations, weighted by their shares in the mixture (section 4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from basins.errors import UserError
from basins.nets.permutation import Net
from basins.weights import State

Batch = Sequence[Tensor | None]
# A standard deviation below this share of the mean is a rounding error: the unit is constant.
RESOLUTION = 1e-6


def repair(
    net: Net,
    states: Sequence[State],
    batches: Iterable[Batch],
    shares: Sequence[float] | None = None,
) -> None:
    """Repair a `net` merged from the networks of `states` in place, as `Repair` does.

    `batches` are a network's positional inputs, and `shares` those of the mixture, by default
    equal. Raises `UserError` if there is no batch, or an activation is not finite.
    """
    given = list(batches)
    Repair(net, states, lambda: given)([1.0] * len(states) if shares is None else shares)


class Repair:
    """REPAIR for several mixtures of the same networks, whose statistics are measured once."""

    def __init__(
        self, net: Net, states: Sequence[State], batches: Callable[[], Iterable[Batch]]
    ) -> None:
        """Measure the pre-activations of every layer in `writers` in the networks of `states`.

        `batches()` yields a network's positional inputs, the same at every call; statistics are
        over all examples and positions. Raises `UserError` if there is no batch, or an activation
        is not finite.
        """
        self.net, self.batches = net.eval(), batches
        with torch.inference_mode():
            self.targets = [_statistics(net, writers(net), batches(), state) for state in states]

    @torch.no_grad()
    def __call__(self, shares: Sequence[float]) -> None:
        """Rescale and shift the units of `net` in place, to match the networks' statistics.

        Means and standard deviations become the averages of those in the networks, weighted by
        `shares`, which need not sum to 1; networks with shares of 0 or below are left out. Scale
        and shift are applied to the weights and bias of the layer, or of the BatchNorm after it,
        whose running statistics therefore do not matter. Moments are in float64. A constant unit is
        only shifted.

        Layers are repaired one after the other, each measured after the repair of earlier ones, by
        one pass over the batches that ends at the layer. The paper's code makes one pass for all
        layers, which must use each batch's statistics instead of those of all batches, and so
        changes a network that needs no repair.
        """
        weights = torch.tensor(shares).double().clamp(min=0)
        weights = weights / weights.sum()
        for name in self.targets[0]:  # in the order in which they run
            mean, deviation = (
                weights.to(values.device) @ values
                for values in map(
                    torch.stack, zip(*(target[name] for target in self.targets), strict=True)
                )
            )
            with torch.inference_mode():
                now = _statistics(self.net, [name], self.batches(), None)[name]
            live = now.deviation > RESOLUTION * now.mean.abs()
            scale = torch.where(live, deviation / now.deviation, 1)
            layer = self.net.get_submodule(name)
            weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
            weight.copy_(weight.double() * scale.view(-1, *[1] * (weight.ndim - 1)))
            bias.copy_((bias.double() - now.mean) * scale + mean)


def writers(net: Net) -> list[str]:
    """Return the layers whose outputs are the pre-activations of units.

    They have a bias, and a group of the network's spec permutes their single outputs: linear
    layers, or BatchNorm after a convolution. Residual streams with LayerNorm, which have their own
    statistics at every token, and attention heads, which are not single units, are left out. Raises
    `UserError` if the network has no spec.
    """
    if not hasattr(net, "permutation_spec"):
        raise UserError(
            f"{type(net).__name__} has no permutation_spec(), which says what its units are: "
            "REPAIR needs it; docs/extend.md shows how to write one"
        )
    state = net.state_dict()
    found: dict[str, None] = {}
    for axes in net.permutation_spec().groups.values():
        modules = {axis.tensor.rpartition(".")[0] for axis in axes}
        if any(isinstance(net.get_submodule(name), nn.LayerNorm) for name in modules):
            continue
        for tensor, dim, block, window in axes:
            layer, _, kind = tensor.rpartition(".")
            whole = dim == 0 and block == 1 and window is None
            if kind == "weight" and whole and f"{layer}.bias" in state:
                found[layer] = None
    return list(found)


class Statistics(NamedTuple):
    """Mean and standard deviation of each of a layer's outputs, float64 [d]."""

    mean: Tensor
    deviation: Tensor


class _Seen(Exception):
    """Raised to end a forward pass after the last required layer."""


def _statistics(
    net: Net, layers: Sequence[str], batches: Iterable[Batch], state: State | None
) -> dict[str, Statistics]:
    """Return the statistics of each layer's outputs, in the order in which layers run.

    The network uses the weights of `state`, or its own if that is None.
    """
    sums: dict[str, list[Tensor]] = {}
    handles = [
        net.get_submodule(name).register_forward_hook(_add(sums, name, last=len(layers) == 1))
        for name in layers
    ]
    try:
        for inputs in batches:
            with suppress(_Seen):
                functional_call(net, state or {}, tuple(inputs))
    finally:
        for handle in handles:
            handle.remove()
    if not sums:
        raise UserError("REPAIR: no batch to run the networks on; give some data")
    found = {}
    for name, (count, total, squares) in sums.items():
        mean = total / count
        found[name] = Statistics(mean, (squares / count - mean.square()).clamp(min=0).sqrt())
        if not bool(found[name].deviation.isfinite().all()):
            raise UserError(f"REPAIR: {name!r} is not finite; did a network's training diverge?")
    return found


def _add(sums: dict[str, list[Tensor]], name: str, last: bool) -> Callable[..., None]:
    """Return a forward hook that sums a layer's outputs, and ends the pass if it is the `last`."""

    def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
        values = output.movedim(1, -1) if output.ndim == 4 else output  # images' channels
        values = values.flatten(0, -2).double()
        count = torch.tensor(len(values), device=values.device)
        parts = [count, values.sum(0), values.square().sum(0)]
        before = sums.get(name)
        sums[name] = [a + b for a, b in zip(before, parts, strict=True)] if before else parts
        if last:
            raise _Seen

    return hook
