"""Derives a network's permutation spec from an example, and verifies it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, pairwise, product
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from basins import seeds
from basins.align.permute import permute, random_permutations
from basins.align.traced import layout as lay
from basins.align.traced import recurrent, rules
from basins.align.traced.tracer import Tracer, memory
from basins.align.traced.units import Place, Units, fix, leaves, still
from basins.errors import UserError
from basins.nets.outputs import logits_of
from basins.nets.permutation import Axis, PermutationSpec
from basins.weights import State

ROUNDING = 1e-3  # relative change of float32 outputs; a wrong group changes them by far more
POOL = 999_983  # a prime, so that no two rows of a weight are equal
LISTED = 4  # the most reasons that a message lists


class TracedSpec(PermutationSpec):
    """A spec in which a group may have several windows of one axis, as for packed queries and keys.

    It may also have both axes of a recurrent weight, whose matching is quadratic.
    """

    def check(self, state: Mapping[str, Tensor]) -> None:
        """Raise a one-line `UserError` at the first inconsistency of spec and `state`."""
        for group, axes in self.groups.items():
            for axis in axes:
                PermutationSpec({group: (axis,)}).check(state)
                units = PermutationSpec({group: (axis,)}).size(state, group)
                if units != self.size(state, group):
                    raise UserError(f"permutation group {group!r}: {axis} has {units} units")


@dataclass(frozen=True)
class Traced:
    """The permutation symmetry of a network.

    Attributes:
        spec: the groups of units that may be permuted; permuting each preserved the outputs.
        fixed: the reason, for every floating-point tensor that no group moves or some of whose
            units do not move, and for every group left out because it changed the outputs.
        share: the share of parameters that move, from 0 to 1. A parameter counts by the share of
            its axes with units along which groups move it: half, if a matrix's inputs move and the
            heads that it writes do not. Positions (inputs, outputs, rows of a table, pixels of a
            kernel) are not units.
    """

    spec: PermutationSpec
    fixed: dict[str, str]
    share: float

    def __str__(self) -> str:
        """Describe in one line what moves and what does not."""
        by_reason: dict[str, list[str]] = defaultdict(list)
        for name, reason in self.fixed.items():
            by_reason[reason].append(name)
        stay = [
            f"{names[0]}{f' and {len(names) - 1} more' if names[1:] else ''} ({reason})"
            for reason, names in sorted(by_reason.items(), key=lambda item: -len(item[1]))
        ]
        more = [f"{len(stay) - LISTED} other reasons"] if len(stay) > LISTED else []
        moves = f"{self.share:.1%} of the parameters can move (groups: {len(self.spec.groups)})"
        return f"traced: {moves}; fixed: {', '.join([*stay[:LISTED], *more]) or 'nothing'}"


def trace(net: nn.Module, example: Sequence[Any], named: Mapping[str, Any] | None = None) -> Traced:
    """Return the permutation symmetry of `net`, found by running it once on `example`.

    The order of inputs and outputs is fixed, and so is that of everything used by an unknown
    operation. The groups are then permuted at random and outputs compared, with random weights with
    which every part of the network matters; a group that changes the outputs is left out. The
    network runs in evaluation mode and is left unchanged.

    Args:
        net: any network whose output is or contains tensors; if there are `logits`, only these are
            compared.
        example: its positional inputs, a batch of two or more.
        named: its keyword inputs.

    Raises:
        UserError: the network does not run on the example, or its outputs have no tensor.
    """
    named = dict(named or {})
    state = _tensors(net.state_dict(keep_vars=True))
    with _evaluating(net):
        tracer = Tracer(net, state)
        recurrent.tie(net, tracer.known)
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), tracer:
            for value in rules.tensors([list(example), named]):
                tracer.give(value, "an input")
            try:
                outputs = _said(net(*example, **named))
            except Exception as error:  # a user's code may raise anything; report it in one line
                line = " ".join(str(error).split())[:200]
                raise UserError(
                    f"{type(net).__name__} does not run on the example: {line}"
                ) from error
        if not outputs:
            raise UserError(f"{type(net).__name__}: no tensor in its outputs to compare")
        for output in outputs:
            for axis in range(output.ndim):
                lay.hold(tracer.known(output), [axis], Place("an output"))
        loops = {id(weight) for weight, _ in recurrent.loops(net)}
        found = _Groups(state, tracer, {name for name, t in state.items() if id(t) in loops})
        spec, failed = _proven(net, found.spec(), example, named)
    fixed = dict.fromkeys(failed, "permuting it changes the outputs")
    for group, reason in fixed.items():
        fix(found.names[group], reason)
    floating = [name for name, tensor in state.items() if tensor.is_floating_point()]
    fixed |= {name: why for name in floating if (why := found.why(name))}
    sizes = {name: p.numel() for name, p in net.named_parameters()}
    share = sum(found.moving(name) for name in sizes) / max(1, sum(sizes.values()))
    return Traced(spec, fixed, share)


class _Groups:
    """The sets of units that are free, and their axes in the tensors of a state."""

    def __init__(self, state: State, tracer: Tracer, loops: Container[str]):
        self.state, self.tracer = state, tracer
        self.names: dict[str, Units] = {}
        self.places: dict[Units, dict[Axis, None]] = defaultdict(dict)
        for name, tensor in state.items():
            if tensor.is_floating_point() and id(tensor) in tracer.used:
                self._place(name, tensor)
        for units, axes in list(self.places.items()):
            if _meet(axes, loops):
                fix(units, "the same units on two axes of one tensor")
        self.places = {units: axes for units, axes in self.places.items() if units.fixed is None}

    def spec(self) -> TracedSpec:
        """Return the groups by name, outer groups first."""
        modules, groups = self._modules(), {}
        for units, axes in self.places.items():
            first = next(iter(axes))
            base, run, window = modules.get(units, (first.tensor, first.block, first.window))
            names = (f"{base}.{k}" for k in count()) if window else iter([base])
            name = next((name for name in names if name not in groups), None)
            if name is None:  # its module's name is taken
                name = next(n for k in count() if (n := f"{first.tensor}.{k}") not in groups)
            self.names[name] = units
            groups[name] = tuple(sorted(axes, key=lambda axis: axis[2:] != (run, window)))
        return TracedSpec(groups)

    def why(self, name: str) -> str:
        """Return why a tensor, or some of its units, do not move; empty if all do."""
        tensor = self.state[name]
        if id(tensor) not in self.tracer.used:
            return "not used on the example"
        reasons = [why for axis in self._still(tensor) for *_, whys in axis for why in whys]
        if self.moving(name):
            reasons = [why for why in reasons if not isinstance(why, Place)]
        elif not reasons:
            return "a single unit"
        return "; ".join(dict.fromkeys(reasons))

    def moving(self, name: str) -> float:
        """Return how many of a tensor's entries move, each counted by the share of its axes."""
        tensor, total = self.state[name], 0.0
        if id(tensor) not in self.tracer.used:
            return total
        kinds = []  # for each axis: how many move, could move, and are positions
        for size, axis in zip(tensor.shape, self._still(tensor), strict=True):
            lost = sum(b - a for a, b, whys in axis if any(not isinstance(w, Place) for w in whys))
            stay = sum(b - a for a, b, _ in axis)
            kinds.append([(size - stay, "moves"), (lost, "could"), (stay - lost, "place")])
        for several in product(*kinds):
            found = [kind for _, kind in several]
            if moves := found.count("moves"):
                total += prod(n for n, _ in several) * moves / (moves + found.count("could"))
        return total

    def _still(self, tensor: Tensor) -> list[list[tuple[int, int, list[str]]]]:
        return [list(still(along.flat[0])) for along in self.tracer.known(tensor)]

    def _place(self, name: str, tensor: Tensor) -> None:
        for dim, along in enumerate(self.tracer.known(tensor)):
            for units, axis in _axes(name, dim, along.flat[0]):
                self.places[units][axis] = None

    def _modules(self) -> dict[Units, tuple[str, int, tuple[int, int] | None]]:
        """Return, for each set, the module whose outputs are its units, and their block and window.

        If several consecutive modules have them, such as a linear layer and an activation, it is
        the last.
        """
        found: dict[Units, tuple[str, int, tuple[int, int] | None]] = {}
        outputs: dict[str, int] = {}
        earlier: dict[Units, tuple[str, ...]] = {}  # modules that ran before a set's first module
        done: set[Units] = set()
        for name, output in self.tracer.outputs:
            layout = self.tracer.known(output)
            along = layout[1 if len(layout) == 4 else -1] if len(layout) > 1 else None
            if along is None or along.size > 1 or not name:
                continue
            here: dict[Units, Axis] = {}
            for units, axis in _axes(name, 0, along.flat[0]):
                if any(axis[2:] == place[2:] for place in self.places.get(units, ())):
                    here.setdefault(units, axis)
            done |= found.keys() - here.keys()
            for units in here.keys() - done:
                ran = earlier.setdefault(units, tuple(outputs))
                # A container's output is that of its last module, but it has other units as well.
                handed = units in found and outputs[found[units][0]] == id(output)
                if not handed or not any(other.startswith(f"{name}.") for other in ran):
                    found[units] = name, here[units].block, here[units].window
            outputs[name] = id(output)
        return found


def _meet(axes: Iterable[Axis], loops: Container[str]) -> bool:
    """Return whether a permutation acts twice on some entry, so that matching is not linear.

    This is allowed for weights of recurrent layers, `loops`, which have other weights to match by.
    """
    found: dict[tuple[str, int], list[Axis]] = defaultdict(list)
    for axis in axes:
        found[axis.tensor, axis.dim if axis.tensor in loops else 0].append(axis)
    for several in found.values():
        windows = sorted(axis.window or (0, 0) for axis in several)
        inside = any(b[0] < a[1] for a, b in pairwise(windows))
        whole = any(axis.window is None for axis in several)
        if len(several) > 1 and (inside or whole or len({axis.dim for axis in several}) > 1):
            return True
    return False


def _axes(name: str, dim: int, units: Units) -> Iterator[tuple[Units, Axis]]:
    size = units.size
    for part, start, run in leaves(units):
        stop = start + part.size * run
        yield part, Axis(name, dim, run, None if (start, stop) == (0, size) else (start, stop))


def _proven(
    net: nn.Module, spec: TracedSpec, example: Sequence[Any], named: Mapping[str, Any]
) -> tuple[TracedSpec, list[str]]:
    """Return the groups that preserve the outputs, and the names of the others."""
    generator = seeds.generator("traced")
    state = _drawn(net, generator)

    @torch.no_grad()
    def outputs(state: State) -> list[Tensor]:
        given = tuple(example), dict(named)
        return [o.double() for o in _said(functional_call(net, state, *given, tie_weights=False))]

    plain = outputs(state)

    def right(part: TracedSpec) -> bool:
        moved = outputs(permute(state, part, random_permutations(state, part, generator)))
        return all(
            bool((a - b).abs().max() <= ROUNDING * b.abs().max())
            for a, b in zip(moved, plain, strict=True)
        )

    def kept(groups: Sequence[str]) -> list[str]:
        if not groups or right(TracedSpec({group: spec.groups[group] for group in groups})):
            return list(groups)
        half = len(groups) // 2
        return [*kept(groups[:half]), *kept(groups[half:])] if half else []

    # Permuting only one axis of each group is wrong, and must change the outputs.
    halves = TracedSpec({group: axes[:1] for group, axes in spec.groups.items()})
    blind = bool(spec.groups) and right(halves)
    names = [] if blind else kept(list(spec.groups))
    if len(names) < len(spec.groups) and not right(TracedSpec({n: spec.groups[n] for n in names})):
        names = []
    failed = [group for group in spec.groups if group not in names]
    return TracedSpec({name: spec.groups[name] for name in names}), failed


def _drawn(net: nn.Module, generator: np.random.Generator) -> State:
    """Return random weights with which every part of a network affects the outputs.

    Trained or initial weights may have zeros, ones or tiny scales that hide an error.
    """
    pool = generator.standard_normal(POOL, np.float32)  # drawing every weight takes minutes
    drawn: dict[tuple[int, lay.Shape], Tensor] = {}
    state = {}
    for name, tensor in _tensors(net.state_dict()).items():
        key = memory(tensor)
        if key not in drawn and tensor.is_floating_point() and tensor.numel() > 1:
            noise = torch.from_numpy(np.resize(np.roll(pool, len(drawn)), key[1]))
            several = sum(n > 1 for n in tensor.shape) > 1
            scale = (2 / (tensor.numel() / tensor.shape[0])) ** 0.5
            drawn[key] = (noise * scale if several else (0.3 * noise).exp()).to(tensor.device)
        state[name] = drawn.get(key, tensor)
    return state


def _tensors(state: Mapping[str, Any]) -> State:
    """Return only the tensors of a state; user-defined modules may add other values."""
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _said(output: Any) -> list[Tensor]:
    """Return a network's output tensors: its logits, if it names them, or else all."""
    return rules.tensors(logits_of(output))


@contextmanager
def _evaluating(net: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, and disable fused kernels that hide operations."""
    modes = [(module, module.training) for module in net.modules()]
    fast, fused = torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled
    torch.backends.mha.set_fastpath_enabled(False)
    torch.backends.mkldnn.enabled = False  # runs an LSTM as one operation
    net.eval()
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        torch.backends.mkldnn.enabled = fused
        for module, mode in modes:
            module.training = mode
