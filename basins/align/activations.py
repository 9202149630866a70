"""Correlations between the units of many networks, in one pass over the data.

A group's activations are the outputs of the module after which it is named. Whether these are
before or after a ReLU depends on the network's names; the image networks of `basins.nets` name
modules that end in a ReLU, so activations are post-ReLU, as in Mechanistic Mode Connectivity
(section 4). A group of windows, such as the units within one head, uses the module that its name
starts with. Correlations are between a module's output entries; a unit has one or a block of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from basins.errors import UserError
from basins.nets.permutation import Axis, PermutationSpec

# A standard deviation below this share of the mean is a rounding error: the entry is constant.
RESOLUTION = 1e-6

# By module: the correlations [d, d] of its d outputs in one network (rows) and in another.
Correlations = dict[str, np.ndarray]


def module(spec: PermutationSpec, group: str) -> str:
    """Return the name of the module whose output is the activation of the units of `group`."""
    return group.rpartition(".")[0] if spec.groups[group][0].window else group


def axis(spec: PermutationSpec, group: str, units: int, entries: int) -> Axis:
    """Return the axis of the `units` of `group` within the `entries` outputs of their module."""
    window = spec.groups[group][0].window
    start, stop = window or (0, entries)
    return Axis(module(spec, group), 1, (stop - start) // units, window)


@torch.inference_mode()
def correlations(
    nets: Sequence[nn.Module],
    spec: PermutationSpec,
    batches: Iterable[Sequence[Tensor | None]],
    pairs: Sequence[tuple[int, int]],
    *,
    scaled: bool = True,
) -> list[Correlations]:
    """Return, for each pair (i, j), the correlations of the outputs of `nets[i]` and `nets[j]`.

    Each network runs once over each batch, in evaluation mode, as permuting the layers before a
    unit does not change its activations; the code of Mechanistic Mode Connectivity (section 4) runs
    both networks again for every pair and layer and keeps only the last batch. Products are of
    deviations from each batch's mean, which avoids cancellation. Memory in bytes: 4 per activation
    of one batch in all networks, and 4 d^2 per pair and module (per pair, VGG-13: 5 MB, ResNet-18:
    4 MB, BERT-base: 486 MB); if that is too much, pass fewer pairs at a time.

    Args:
        nets: the networks, on one device; they are left in evaluation mode.
        spec: the groups of units, which name the modules whose outputs are used.
        batches: positional inputs of the networks. Padding would count as data, so the sequences of
            a batch of text must have the same length.
        pairs: indices (i, j) into `nets`.
        scaled: whether to divide by the standard deviations; otherwise covariances are returned.

    Returns:
        For each pair, by module that has groups: Pearson's r, float32 [d, d], outputs of i by
        outputs of j, over all examples and positions. A constant output has correlation 0.

    Raises:
        UserError: networks differ in width, their outputs are not finite, or there is no batch.
    """
    names = list(dict.fromkeys(module(spec, group) for group in spec.groups))
    moments = {name: _Moments(name, pairs) for name in names}
    with ExitStack() as hooks:
        outputs: list[dict[str, _Centred]] = [{} for _ in nets]
        for net, found in zip(nets, outputs, strict=True):
            for name in names:
                handle = net.get_submodule(name).register_forward_hook(_keep(found, name))
                hooks.callback(handle.remove)
        for inputs in batches:
            for net in nets:
                net.eval()(*inputs)
            for name in names:
                moments[name].add([found.pop(name) for found in outputs])
    results = {name: moments[name].correlations(scaled=scaled) for name in names}
    return [{name: results[name][p] for name in names} for p in range(len(pairs))]


class _Centred(NamedTuple):
    """A module's outputs on one batch: the mean [d] and the deviations from it [m, d]."""

    mean: Tensor
    deviations: Tensor


def _keep(found: dict[str, _Centred], name: str) -> Callable[..., None]:
    """Return a forward hook that stores the output of its module in `found`."""

    def hook(module: nn.Module, inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
        values = (output if isinstance(output, Tensor) else output[0]).float()
        if values.ndim == 4:  # images' channels come second, other features last
            values = values.movedim(1, -1)
        values = values.flatten(0, -2)
        mean = values.mean(0)
        found[name] = _Centred(mean, values - mean)

    return hook


class _Moments:
    """Second moments of one module's outputs: within batches, and at the end between batches."""

    def __init__(self, name: str, pairs: Sequence[tuple[int, int]]):
        self.name, self.pairs = name, pairs
        self.counts: list[int] = []
        self.means: list[Tensor] = []  # of each batch, float64 [nets, d]
        self.squares: list[Tensor] = []
        self.products: list[Tensor] = []  # of each pair, float32 [d, d]

    def add(self, outputs: Sequence[_Centred]) -> None:
        """Add one batch of every network."""
        widths = {len(output.mean) for output in outputs}
        if len(widths) > 1:
            raise UserError(
                f"activation matching: {self.name!r} has {min(widths)} outputs in one network and "
                f"{max(widths)} in another; match equal networks"
            )
        self.counts.append(len(outputs[0].deviations))
        self.means.append(torch.stack([output.mean for output in outputs]).double())
        self.squares.append(torch.stack([o.deviations.square().sum(0) for o in outputs]).double())
        products = (outputs[i].deviations.T @ outputs[j].deviations for i, j in self.pairs)
        if not self.products:
            self.products = list(products)
            return
        for total, product in zip(self.products, products, strict=True):
            total += product

    def correlations(self, *, scaled: bool = True) -> list[np.ndarray]:
        """Return each pair's correlations, float32 [d, d], or covariances if not `scaled`."""
        if not self.counts:
            raise UserError("activation matching: no batch to run the networks on; give some data")
        means = torch.stack(self.means)
        counts = torch.tensor(self.counts, device=means.device).double()[:, None, None]
        mean = (counts * means).sum(0) / counts.sum()
        between = (counts.sqrt() * (means - mean)).movedim(1, 0)  # [nets, batches, d]
        variances = (torch.stack(self.squares).sum(0) + between.square().sum(1)) / counts.sum()
        for net, finite in enumerate(variances.isfinite().all(1).tolist()):
            if not finite:
                raise UserError(
                    f"activation matching: {self.name!r} of network {net} is not finite; "
                    "did its training diverge?"
                )
        spread = variances.sqrt()
        live = spread > RESOLUTION * means.abs().amax(0)
        scales = torch.where(live, 1 / ((spread if scaled else 1) * counts.sum().sqrt()), 0)
        return [
            ((product + between[i].T @ between[j]) * scales[i][:, None] * scales[j])
            .float()
            .numpy(force=True)
            for (i, j), product in zip(self.pairs, self.products, strict=True)
        ]
