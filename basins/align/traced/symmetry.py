"""From a network and an example to its permutation spec, proven."""

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

ROUNDING = 1e-3  # of the outputs, in float32; a wrong group changes them by far more
POOL = 999_983  # a prime, so that no two rows of a weight are alike
LISTED = 4  # reasons that a line of text gives


class TracedSpec(PermutationSpec):
    """A spec in which a group may name several windows of one axis: packed queries and keys.

    It may also name both axes of a recurrent weight, whose matching is quadratic.
    """

    def check(self, state: Mapping[str, Tensor]) -> None:
        """Raise `UserError`, in one line, at the first place where spec and `state` disagree."""
        for group, axes in self.groups.items():
            for axis in axes:
                PermutationSpec({group: (axis,)}).check(state)
                units = PermutationSpec({group: (axis,)}).size(state, group)
                if units != self.size(state, group):
                    raise UserError(f"permutation group {group!r}: {axis} has {units} units")


@dataclass(frozen=True)
class Traced:
    """The symmetry of a network.

    Attributes:
        spec: the groups of units that may be reordered; each has kept the outputs when permuted.
        fixed: why, of every floating-point tensor that no group moves, or of which some units that
            could move do not, and of every group that was left out because it changed the outputs.
        share: of the parameters, those that move, from 0 to 1. One counts by the axes that its
            groups move it along, over those that have units: where the heads that a matrix writes
            stay and what it reads moves, it counts half. Places (inputs, outputs, rows of a table,
            pixels of a kernel) are no units.
    """

    spec: PermutationSpec
    fixed: dict[str, str]
    share: float

    def __str__(self) -> str:
        """Say in one line what moves, and what does not."""
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

    The outputs' order stays, and the inputs'. Whatever operation is not known leaves all that it
    touches in its order. The groups are then permuted at random and outputs compared, with weights
    drawn so that each part of the network matters; a group that changes them is left out. The
    network is in evaluation mode meanwhile and otherwise left as it was.

    Args:
        net: any network whose output is a tensor, or has tensors in it; of one with `logits` only
            these count.
        example: its positional inputs, a batch of two or more.
        named: its inputs by keyword.

    Raises:
        UserError: where the network does not run on the example.
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
            except Exception as error:  # it is not our code: whatever it raises, in one line
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
    """The sets of units that are left free, and where each lies in the tensors of a state."""

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
        """Return the groups by name, outer ones first."""
        modules, groups = self._modules(), {}
        for units, axes in self.places.items():
            first = next(iter(axes))
            base, run, window = modules.get(units, (first.tensor, first.block, first.window))
            names = (f"{base}.{k}" for k in count()) if window else iter([base])
            name = next((name for name in names if name not in groups), None)
            if name is None:  # read at a module that is read for others
                name = next(n for k in count() if (n := f"{first.tensor}.{k}") not in groups)
            self.names[name] = units
            groups[name] = tuple(sorted(axes, key=lambda axis: axis[2:] != (run, window)))
        return TracedSpec(groups)

    def why(self, name: str) -> str:
        """Return why a tensor does not move, or units of it that could; nothing where all do."""
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
        """Return how many of a tensor's entries move, each by the share of its axes."""
        tensor, total = self.state[name], 0.0
        if id(tensor) not in self.tracer.used:
            return total
        kinds = []  # of each axis: how many move, could, and are places
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
        """Return the module that has a set's units as output, and where they lie in it.

        Of the modules that run one after another and have them, such as a linear layer and an
        activation, the last.
        """
        found: dict[Units, tuple[str, int, tuple[int, int] | None]] = {}
        outputs: dict[str, int] = {}
        earlier: dict[Units, tuple[str, ...]] = {}  # what had run before a set's first module
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
                # A container's output is that of its last part, and others' units are in it too.
                handed = units in found and outputs[found[units][0]] == id(output)
                if not handed or not any(other.startswith(f"{name}.") for other in ran):
                    found[units] = name, here[units].block, here[units].window
            outputs[name] = id(output)
        return found


def _meet(axes: Iterable[Axis], loops: Container[str]) -> bool:
    """Return whether a permutation acts twice on some entry, so that matching is not linear.

    It may on the weights of recurrent layers, `loops`, beside which there are others to match by.
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
    """Return the groups that keep the outputs, and the names of the others."""
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

    # Half a permutation is wrong, and the outputs must show it.
    halves = TracedSpec({group: axes[:1] for group, axes in spec.groups.items()})
    blind = bool(spec.groups) and right(halves)
    names = [] if blind else kept(list(spec.groups))
    if len(names) < len(spec.groups) and not right(TracedSpec({n: spec.groups[n] for n in names})):
        names = []
    failed = [group for group in spec.groups if group not in names]
    return TracedSpec({name: spec.groups[name] for name in names}), failed


def _drawn(net: nn.Module, generator: np.random.Generator) -> State:
    """Return weights with which every part of a network matters: as large as signals need.

    Those that were trained, or not yet, may have zeros, ones or tiny scales that hide an error.
    """
    pool = generator.standard_normal(POOL, np.float32)  # as many as there are weights take minutes
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
    """Return a state without what is no tensor, as modules of one's own may have."""
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _said(output: Any) -> list[Tensor]:
    """Return what a network says: its logits where it names them, else all tensors."""
    return rules.tensors(logits_of(output))


@contextmanager
def _evaluating(net: nn.Module) -> Iterator[None]:
    """Run a network in evaluation mode, by torch's own operations alone."""
    modes = [(module, module.training) for module in net.modules()]
    fast, fused = torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled
    torch.backends.mha.set_fastpath_enabled(False)
    torch.backends.mkldnn.enabled = False  # it runs an LSTM as one operation
    net.eval()
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        torch.backends.mkldnn.enabled = fused
        for module, mode in modes:
            module.training = mode
