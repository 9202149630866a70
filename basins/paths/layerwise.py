"""Paths that move only some layers: layer-wise barriers (operationalisation of the SoK, D.5).

The fixed layers are those of one network, so everything before the first moving layer is the same
for every other network and every t, and is computed once. This saves about half of the work if
layers are moved one at a time, and nearly all of it for the last layer.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import torch
from torch import Tensor, fx, nn

from basins.align.batchnorm import cumulative, estimating, reset, whole_batches
from basins.data.images import Evaluation
from basins.data.resident import Resident
from basins.nets.outputs import logits_of
from basins.paths.evaluation import Examples, evaluate
from basins.weights import FlatModule

# By (part, number of the end, evaluation set): one evaluation for each t.
Curves = dict[tuple[str, int, str], list[Evaluation]]


def along(
    net: nn.Module,
    start: Tensor,
    ends: Sequence[Tensor],
    parts: Mapping[str, Sequence[str]],
    ts: Sequence[float],
    calibration: Resident | None,
    sets: Mapping[str, Examples],
) -> Curves:
    """Evaluate every part of `start` moved towards every end, with the rest of `start` fixed.

    Activations between two layers are kept in memory for all examples. A network that cannot be
    traced is evaluated as a whole, and so is, with a warning, one whose traced code has other
    outputs.

    Args:
        net: the network; its weights become views of one flat vector.
        start: flat weights [size] of `net`.
        ends: flat weights [size] of other networks.
        parts: by name, the names of the modules that move: one layer, or several for a cumulative
            path.
        ts: positions from 0 (`start`) to 1 (the end).
        calibration: the images on which BatchNorm statistics are re-estimated at every point; with
            None they are interpolated with their layer.
        sets: the evaluation sets, by name.

    Returns:
        By (part, number of the end, evaluation set), one evaluation for each t.

    Raises:
        UserError: a module has no weights.
    """
    flat = FlatModule(net)
    found: Curves = {}
    for part, layers in parts.items():
        flat.vector.copy_(start)
        if calibration:
            reset(net, calibration)
        before, after = cut(net, layers)
        if not _same(net, before, after, sets):
            what = "its code, traced and cut, says something else than it does when it is called"
            warnings.warn(f"{type(net).__name__}: {what}; it is evaluated whole", stacklevel=2)
            before, after = _Inputs(), net
        kept = {name: _Kept.through(before, data) for name, data in sets.items()}
        warm = _in_training(before, whole_batches(calibration)) if calibration else []
        moving = flat.where(layers)
        for number, end in enumerate(ends):
            for t in ts:
                flat.vector.copy_(start)
                flat.vector[moving] = torch.lerp(start[moving], end[moving], t)
                if calibration:
                    # Statistics before the cut do not depend on t and are not needed again.
                    cumulative(after, warm)
                for name, examples in kept.items():
                    curve = found.setdefault((part, number, name), [])
                    curve.append(evaluate(after, examples))
    return found


def cut(net: nn.Module, layers: Sequence[str]) -> tuple[nn.Module, nn.Module]:
    """Split a network before the first of `layers`: inputs -> intermediate values -> outputs.

    Both halves share the network's modules. A network that cannot be traced is not split: its first
    half is the identity.
    """
    graph = fx.Graph()
    with suppress(Exception):  # a user's code may fail on a tracer's proxy
        graph = fx.Tracer().trace(net)
    nodes = list(graph.nodes)
    first = next((i for i, node in enumerate(nodes) if _belongs(str(node.target), layers)), 0)
    if not first:
        return _Inputs(), net
    early, late = nodes[:first], nodes[first:]
    live = [node for node in early if any(user in late for user in node.users)]
    before, after = fx.Graph(), fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in early:
        copies[node] = before.node_copy(node, copies.__getitem__)
    before.output(tuple(copies[node] for node in live))
    copies = {node: after.placeholder(node.name) for node in live}
    for node in late:
        copies[node] = after.node_copy(node, copies.__getitem__)
    return fx.GraphModule(net, before), fx.GraphModule(net, after)


@torch.inference_mode()
def _same(
    net: nn.Module, before: nn.Module, after: nn.Module, sets: Mapping[str, Examples]
) -> bool:
    """Return whether both halves together have the network's outputs for two examples."""
    net.eval()
    given, _ = next(iter(next(iter(sets.values())).batches()))
    given = tuple(x if x is None else x[:2] for x in given)
    try:
        halves, whole = after(*before(*given)), net(*given)
    except Exception:  # a branch that depended on the tracer's proxy
        return False
    halves, whole = (logits_of(output) for output in (halves, whole))
    return torch.allclose(halves, whole, rtol=1e-3, atol=1e-3, equal_nan=True)


class _Inputs(nn.Module):
    def forward(self, *inputs: Tensor | None) -> tuple[Tensor | None, ...]:
        return inputs


class _Kept(NamedTuple):
    """Examples, with their values at the cut as inputs."""

    kept: list[tuple[tuple[Tensor | None, ...], Tensor]]
    order: Tensor | None
    merge: Tensor | None

    @classmethod
    @torch.inference_mode()
    def through(cls, before: nn.Module, data: Examples) -> _Kept:
        before.eval()
        kept = [(before(*inputs), labels) for inputs, labels in data.batches()]
        return cls(kept, data.order, data.merge)

    def batches(self) -> Iterator[tuple[tuple[Tensor | None, ...], Tensor]]:
        yield from self.kept


@torch.no_grad()
def _in_training(before: nn.Module, batches: Iterable[Tensor]) -> list[tuple[Tensor, ...]]:
    """Return the values at the cut with BatchNorm in training mode."""
    with estimating(before):
        return [before(batch) for batch in batches]


def _belongs(name: str, layers: Sequence[str]) -> bool:
    return any(name == layer or name.startswith(f"{layer}.") for layer in layers)
