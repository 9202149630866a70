"""RegMean (Jin et al. 2023, section 3): layers fitted to the networks' own outputs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from basins.errors import UserError
from basins.merges.sources import Positive, Sources, by_model, logits, mixed
from basins.merges.traits import Traits
from basins.weights import State

Layer = nn.Linear | nn.Conv2d
RANK = 1e-10  # smaller pivots of the inputs' correlation matrix are rounding errors

Shrink = Annotated[float, Field(ge=0, le=1)]

TRAITS = Traits("aggregation", rows=True, cost="K forward")


def merge(
    sources: Sources,
    *,
    shrink: Shrink = 0.9,
    weights: Positive | None = None,
) -> list[State]:
    """Return the networks' mean, with linear and convolutional weights fitted by least squares.

    Each layer minimises the squared error of its outputs to those of every network on that
    network's own inputs for the training rows of its task (equation 2); a convolution is a linear
    layer on patches. `shrink` multiplies the off-diagonal inner products of inputs (the paper's
    alpha, section 4); at 0 the result is the mean weighted by the inputs' squares. Weights of
    inputs that are 0 in all rows of all networks are averaged. `weights` are the networks' in the
    sum of squares and the mean, 1 by default. Raises `UserError` if a layer's system is singular.
    """
    given = by_model(weights, sources, "regmean: weights")
    merged = mixed(sources.states, [weight / sum(given) for weight in given])
    grams = [inputs(sources, state, k) for k, state in enumerate(sources.states)]
    return [merged | solved(sources.states, grams, given, merged, shrink)]


def inputs(
    sources: Sources, state: State, number: int = 0, layers: Collection[str] | None = None
) -> dict[str, Tensor]:
    """Return X'X of each layer's inputs X on the training rows, float64 [inputs, inputs].

    Layers are all linear layers and ungrouped convolutions, or those of them in `layers`, in the
    order in which they are called. Rows are those of task `number`, if there are tasks.
    """
    net = sources.at(state, number)
    found: dict[str, Tensor] = {}

    def remember(name: str, layer: Layer) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            rows = _rows(layer, given[0]).double()
            found[name] = found.get(name, 0) + rows.T @ rows

        return hook

    hooks = [
        module.register_forward_pre_hook(remember(name, module))
        for name, module in net.named_modules()
        if (isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1))
        and (layers is None or name in layers)
    ]
    try:
        with torch.no_grad():
            for given, _ in sources.rows(number).pieces():
                logits(net, given)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def solved(
    states: Sequence[State],
    grams: Sequence[dict[str, Tensor]],
    weights: Sequence[float],
    mean: State,
    shrink: float,
) -> State:
    """Return the least-squares weights of the layers in `grams`.

    Args:
        states: K networks.
        grams: for each network X'X by layer, as returned by `inputs`.
        weights: of each network in the sum of squares.
        mean: tensors by name, for inputs that are always 0. Layers that are not in it, such as a
            task's head, are left out.
        shrink: as in `merge`.

    Raises:
        UserError: a layer's system is singular.
    """
    found: State = {}
    for name in (layer for layer in grams[0] if f"{layer}.weight" in mean):
        key = f"{name}.weight"
        flat = [state[key].flatten(1).double() for state in states]
        shrunk = [
            weight * _shrunk(gram[name], shrink)
            for gram, weight in zip(grams, weights, strict=True)
        ]
        solution = _solve(shrunk, flat, mean[key].flatten(1).double(), name)
        found[key] = solution.view_as(mean[key]).to(mean[key].dtype)
    return found


def _rows(layer: Layer, given: Tensor) -> Tensor:
    """Return the inputs that a layer multiplies with its weights, [rows, inputs]."""
    if isinstance(layer, nn.Linear):
        return given.flatten(0, -2)
    if isinstance(layer.padding, str) or layer.padding_mode != "zeros":
        raise UserError("regmean: it knows convolutions with zeros as padding only")
    patches = functional.unfold(
        given, layer.kernel_size, layer.dilation, layer.padding, layer.stride
    )
    return patches.transpose(1, 2).flatten(0, 1)


def _shrunk(gram: Tensor, shrink: float) -> Tensor:
    return shrink * gram + (1 - shrink) * gram.diag().diag()


def _solve(grams: list[Tensor], weights: list[Tensor], mean: Tensor, name: str) -> Tensor:
    """Return (sum of G)^-1 (sum of G W'), transposed: [outputs, inputs]; `mean` where G is 0."""
    total = torch.stack(grams).sum(0)
    right = (torch.stack(grams) @ torch.stack(weights).mT).sum(0)
    scale = total.diag().sqrt()
    seen = scale > 0
    scale = scale[seen]
    system = total[seen][:, seen] / scale[:, None] / scale
    factor, failed = torch.linalg.cholesky_ex(system)
    if failed or bool((factor.diag().square() < RANK).any()):
        raise UserError(
            f"regmean: the system of layer {name} is singular: {len(system)} inputs, and too few "
            "different rows; give more `rows`, or a `shrink` below 1"
        )
    found = mean.T.clone()
    found[seen] = torch.cholesky_solve(right[seen] / scale[:, None], factor) / scale[:, None]
    return found.T
