"""REPAIR: give a merged network's units the statistics of its sources' (Jordan et al. 2023).

The average of two networks that are not linearly connected has pre-activations of too little
variance, and less from layer to layer (section 3). Each unit is rescaled and shifted to the average
of the sources' means and of their standard deviations, by their shares in the mixture (section 4).
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
# A standard deviation below this share of the mean is rounding: the unit never changes.
RESOLUTION = 1e-6


def repair(
    net: Net,
    states: Sequence[State],
    batches: Iterable[Batch],
    shares: Sequence[float] | None = None,
) -> None:
    """Repair a merged `net` in place towards the networks of `states`, as `Repair` does.

    `batches` are a network's positional inputs, and `shares` what `net` is mixed by, equal ones by
    default. Raises `UserError` where there is no batch, or an activation is not finite.
    """
    given = list(batches)
    Repair(net, states, lambda: given)([1.0] * len(states) if shares is None else shares)


class Repair:
    """REPAIR of mixtures of the same networks, whose statistics are measured once."""

    def __init__(
        self, net: Net, states: Sequence[State], batches: Callable[[], Iterable[Batch]]
    ) -> None:
        """Measure the pre-activations of every layer in `writers` in the networks of `states`.

        `batches` yields a network's positional inputs, the same at every call; statistics are over
        all their examples and positions. Raises `UserError` where there is none, or an activation
        is not finite.
        """
        self.net, self.batches = net.eval(), batches
        with torch.inference_mode():
            self.targets = [_statistics(net, writers(net), batches(), state) for state in states]

    @torch.no_grad()
    def __call__(self, shares: Sequence[float]) -> None:
        """Rescale and shift the units of `net` in place, so that they vary as in the networks.

        Means and standard deviations become the average of those in the networks, weighted by
        `shares`, which need not sum to 1; one that is not above 0 is no part of a mean and is left
        out. Scale and shift go into the layer's weights and bias, or those of the BatchNorm behind
        it, whose running statistics therefore do not matter. Moments are in float64. A unit that
        never changes is only shifted.

        Layer after layer, each measured behind the layers that are already repaired: one pass over
        the batches a layer, ended where the layer is. One pass for all, as the paper's code makes,
        has to take each batch's statistics for those of all, and then changes a network that needs
        no repair.
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

    Those with a bias, on whose outputs a group of the network's spec acts as single units: a linear
    layer, or the BatchNorm behind a convolution. A residual stream with LayerNorm has its own
    statistics at every token, and an attention's heads are no units, so both are left out. Raises
    `UserError` where the network has no spec.
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
    """The last layer that is wanted has run."""


def _statistics(
    net: Net, layers: Sequence[str], batches: Iterable[Batch], state: State | None
) -> dict[str, Statistics]:
    """Return the statistics of each layer's outputs in the order in which they run.

    With the weights of `state`, or the network's own.
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
    """Return a forward hook that adds up a layer's outputs, and ends the pass at the last."""

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
