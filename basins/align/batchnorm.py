"""BatchNorm statistics of merged or interpolated networks, and folding for evaluation."""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from basins import seeds
from basins.data.resident import Resident, normalise

BATCH = 128  # the batch size affects the statistics; this is that of MMC's code
MEMORY = 160  # effective batches of a moving average with momentum .1: .9^160 < float32's epsilon
DRAWS = seeds.derive("measure")


@torch.no_grad()
def reset(net: nn.Module, calibration: Resident | Sequence[Any]) -> None:
    """Re-estimate BatchNorm statistics in place, as cumulative averages over the calibration set.

    The set is images, or batches of any network's inputs, by position or by name.

    The code of Mechanistic Mode Connectivity (section 4) uses a moving average over all training
    images instead (`moving`), whose effective sample is about 2,400 images.
    """
    if isinstance(calibration, Resident):
        cumulative(net, ((batch,) for batch in whole_batches(calibration)))
    else:
        cumulative(net, calibration)


@torch.no_grad()
def cumulative(net: nn.Module, batches: Iterable[Any]) -> None:
    """Re-estimate BatchNorm statistics in place, as cumulative averages over batches of inputs."""
    with estimating(net) as norms:
        if not norms:
            return
        kept = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # cumulative average in torch
        try:
            for batch in batches:
                net(**batch) if isinstance(batch, Mapping) else net(*batch)
        finally:
            for norm, momentum in zip(norms, kept, strict=True):
                norm.momentum = momentum


@contextmanager
def estimating(net: nn.Module) -> Iterator[list[_BatchNorm]]:
    """Put only a network's BatchNorm into training mode, so that it updates its statistics.

    Dropout and other noise would affect statistics that are used without it, and spectral norm
    would update its buffers.
    """
    net.eval()
    norms = [m for m in net.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    for norm in norms:
        norm.training = True
    try:
        with same_draws(net):
            yield norms
    finally:
        net.eval()


@contextmanager
def same_draws(net: nn.Module) -> Iterator[None]:
    """Fix the seed of draws that a network makes even in evaluation; restore generators after."""
    device = next((parameter.device for parameter in net.parameters()), torch.device("cpu"))
    own = [torch.cuda.default_generators[device.index or 0]] if device.type == "cuda" else []
    kept = [(stream, stream.get_state()) for stream in (torch.default_generator, *own)]
    for stream, _ in kept:
        stream.manual_seed(DRAWS)
    try:
        yield
    finally:
        for stream, state in kept:
            stream.set_state(state)


def whole_batches(calibration: Resident) -> Iterator[Tensor]:
    """Yield a network's inputs in batches of equal size, dropping a shorter last one.

    In a cumulative average it would have the same weight as the others.
    """
    images = calibration.images[: cost("reset", calibration)]
    yield from (normalise(batch) for batch in images.split(BATCH))


@torch.no_grad()
def moving(net: nn.Module, calibration: Resident) -> None:
    """Update BatchNorm statistics in place, as one pass in training mode does (MMC's code).

    They start at the network's own values and are multiplied by 1 - momentum at every batch, so
    only the last `MEMORY` batches are run: earlier ones have less weight than rounding errors.
    """
    with estimating(net):
        for batch in calibration.images.split(BATCH)[-MEMORY:]:
            net(normalise(batch))


ESTIMATES = {"reset": reset, "reset_cued": reset, "moving": moving}


def cost(mode: str, calibration: Resident | None, layers: int = 0) -> int:
    """Return how many images are run to compute a network's statistics in a BatchNorm mode.

    `repair` takes at most one pass for each of `layers`.
    """
    count, estimate = len(calibration.images) if calibration else 0, ESTIMATES.get(mode)
    if mode == "repair":
        return count * layers
    if estimate is reset:
        return count // BATCH * BATCH or count
    return count - max(0, -(-count // BATCH) - MEMORY) * BATCH if estimate is moving else 0


class Folded:
    """A network's function for evaluation, with BatchNorm folded into the convolutions before it.

    It equals the network up to rounding and is up to a quarter faster on a CPU, as there is no
    separate pass for BatchNorm, or for a ReLU after a convolution or a sum. Everything else is
    shared with `net`; call `refresh()` after changing its weights or statistics. The network itself
    is used if it has no BatchNorm, cannot be traced, or has hooks, which tracing would drop. Traced
    code can silently differ from the original: `paths.evaluation.evaluate` compares the function
    with the network, which is its attribute `plainly`.
    """

    def __init__(self, net: nn.Module) -> None:
        self.net = net.eval()
        self.function: nn.Module = net
        self.pairs: list[tuple[nn.Conv2d, nn.Conv2d, _BatchNorm]] = []
        modules = list(net.modules())
        if any(type(m) is nn.BatchNorm2d for m in modules) and not any(map(_hooked, modules)):
            with suppress(Exception):  # a user's code may fail on a tracer's proxy
                self._fold(_Tracer().trace(net))

    @torch.no_grad()
    def refresh(self) -> nn.Module:
        """Return the function for the weights and statistics that `net` has now."""
        self.net.eval()
        for folded, conv, norm in self.pairs:
            assert norm.running_mean is not None and norm.running_var is not None
            weight, bias = fuse_conv_bn_weights(
                conv.weight,
                conv.bias,
                norm.running_mean,
                norm.running_var,
                norm.eps,
                norm.weight,
                norm.bias,
            )
            folded.weight.copy_(weight)
            assert folded.bias is not None
            folded.bias.copy_(bias)
        return self.function

    def _fold(self, graph: fx.Graph) -> None:
        modules, pairs = dict(self.net.named_modules()), []

        def module(node: Any) -> nn.Module | None:
            called = isinstance(node, fx.Node) and node.op == "call_module"
            return modules[str(node.target)] if called else None

        for node in list(graph.nodes):
            before: Any = node.args[0] if node.args else None
            norm, conv = module(node), module(before)
            if (
                type(norm) is nn.BatchNorm2d  # subclasses may behave differently
                and norm.track_running_stats
                and type(conv) is nn.Conv2d
                and len(before.users) == 1
            ):
                folded = copy.deepcopy(conv).to(memory_format=torch.channels_last)
                if folded.bias is None:
                    folded.bias = nn.Parameter(torch.zeros_like(folded.weight[:, 0, 0, 0]))
                name = f"folded_{len(pairs)}"  # a convolution may be called more than once
                modules[name], before.target = folded, name
                pairs.append((folded, conv, norm))
                node.replace_all_uses_with(before)
                graph.erase_node(node)
        for node in graph.nodes:
            before: Any = node.args[0] if node.args else None
            is_relu = type(module(node)) is nn.ReLU or node.target is functional.relu
            if is_relu and isinstance(before, fx.Node) and len(before.users) == 1:
                fresh = type(module(before)) is nn.Conv2d or before.target is operator.add
                if fresh:  # nothing else uses the tensor that is overwritten
                    node.op, node.target = "call_function", functional.relu
                    node.kwargs = {"inplace": True}
        used = {str(node.target): modules[str(node.target)] for node in graph.nodes if module(node)}
        attributes = {
            str(node.target): operator.attrgetter(str(node.target))(self.net)
            for node in graph.nodes
            if node.op == "get_attr"
        }
        function = fx.GraphModule({**used, **attributes}, graph).eval()
        function.__dict__["plainly"] = self.net  # not a submodule, to count parameters once
        self.function, self.pairs = function, pairs


class _Tracer(fx.Tracer):
    """A tracer that fails if code branches on a buffer, as buffers change between points."""

    proxy_buffer_attributes = True


def _hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)
