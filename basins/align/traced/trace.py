"""From a network and an example to its permutation spec, proven."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from basins import seeds
from basins.align.permute import permute, random_permutations
from basins.align.traced import layout as lay
from basins.align.traced import rules
from basins.align.traced.layout import Layout
from basins.align.traced.units import Units, fix, leaves, root, why
from basins.errors import UserError
from basins.nets.permutation import Axis, PermutationSpec
from basins.weights import State

ROUNDING = 1e-3  # of the outputs, in float32; a wrong group changes them by far more
FACTORIES = frozenset(("new_zeros", "new_ones", "new_full", "new_empty", "new_empty_strided"))


class TracedSpec(PermutationSpec):
    """A spec in which a group may name several windows of one axis: packed queries and keys."""

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
        fixed: of every floating-point tensor that no group moves, why.
        share: of the parameters, those of which a group moves some axis, from 0 to 1.
    """

    spec: PermutationSpec
    fixed: dict[str, str]
    share: float


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
    state = dict(net.state_dict(keep_vars=True))
    with _evaluating(net):
        tracer = _Tracer(net, state)
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), tracer:
            for value in rules.tensors([list(example), named]):
                tracer.give(value, "an input")
            outputs = _said(net(*example, **named))
        for output in outputs:
            for axis in range(output.ndim):
                lay.hold(tracer.known(output), [axis], "an output")
        found = _Groups(state, tracer)
        spec, failed = _proven(net, found.spec(), example, named)
    moved = {axis.tensor for axes in spec.groups.values() for axis in axes}
    fixed = {
        name: failed.get(name) or found.why(name)
        for name, tensor in state.items()
        if name not in moved and tensor.is_floating_point()
    }
    sizes = {name: p.numel() for name, p in net.named_parameters()}
    share = sum(n for name, n in sizes.items() if name in moved) / max(1, sum(sizes.values()))
    return Traced(spec, fixed, share)


class _Tracer(TorchDispatchMode):
    """Looks at every operation while a network runs, and keeps the layout of every tensor."""

    def __init__(self, net: nn.Module, state: State):
        super().__init__()
        self.layouts: dict[int, tuple[Tensor, Layout]] = {}  # the tensor too, so ids stay taken
        self.used: set[int] = set()
        self.where: list[str] = []
        self.outputs: list[tuple[str, Tensor]] = []
        tied: dict[tuple[int, lay.Shape], Layout] = {}  # under several names, or parameters
        for tensor in state.values():
            if tensor.is_floating_point():
                layout = tied.setdefault(_memory(tensor), lay.fresh(tensor.shape))
                self.layouts[id(tensor)] = tensor, layout
        self.net = net
        self.hooks = ExitStack()

    def __enter__(self) -> _Tracer:
        for name, module in self.net.named_modules():
            hooks = (
                module.register_forward_pre_hook(self._begin(name)),
                module.register_forward_hook(self._end(name), always_call=True),
            )
            for hook in hooks:
                self.hooks.callback(hook.remove)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        self.hooks.close()
        super().__exit__(*error)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation and note what it makes of the units of its operands."""
        name = func._schema.name.removeprefix("aten::")
        before = args[0].clone() if name.startswith("as_strided") else None
        result = func(*args, **(kwargs or {}))
        if before is not None and torch.equal(before, result):  # other strides alone
            name = "clone"
        given = {argument.name: argument.default_value for argument in func._schema.arguments}
        given |= dict(zip(given, args, strict=False)) | (kwargs or {})
        operands, results = rules.tensors(given), rules.tensors(result)
        self.used |= {id(tensor) for tensor in operands}
        if not operands or not results or name in FACTORIES:
            return result  # a constant; see `known`
        pointwise = torch.Tag.pointwise in func.tags
        where = self.where[-1] if self.where else ""
        call = rules.Call(name, where, given, result, self.known, pointwise)
        try:
            layouts = rules.apply(call)
            expected = [tuple(r.shape) for r in results]
            if [lay.shape(found) for found in layouts] != expected:
                raise ValueError(f"{name}: not of shapes {expected}")
        except (LookupError, ValueError, TypeError):  # used in a way that its rule does not know
            layouts = rules.unknown(call)
        for tensor, found in zip(results, layouts, strict=True):
            self.layouts[id(tensor)] = tensor, found
        return result

    def give(self, tensor: Tensor, reason: str) -> None:
        """Take in a tensor whose axes keep their order."""
        self.layouts[id(tensor)] = tensor, lay.fresh(tensor.shape, reason)

    def known(self, tensor: Tensor) -> Layout:
        """Return a tensor's layout; a constant's axes keep their order but where it is the same."""
        if id(tensor) not in self.layouts:
            plain = [_uniform(tensor, axis) for axis in range(tensor.ndim)]
            reason = f"a constant in {self.where[-1]}" if self.where else "a constant"
            whys = [None if uniform else reason for uniform in plain]
            self.layouts[id(tensor)] = tensor, lay.fresh(tensor.shape, whys)
        return self.layouts[id(tensor)][1]

    def _begin(self, name: str) -> Callable[..., None]:
        return lambda *_: self.where.append(name)

    def _end(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            self.where.pop()
            if (output := next(iter(rules.tensors(output)), None)) is not None:
                self.outputs.append((name, output))

        return hook


class _Groups:
    """The sets of units that are left free, and where each lies in the tensors of a state."""

    def __init__(self, state: State, tracer: _Tracer):
        self.state, self.tracer = state, tracer
        self.places: dict[Units, dict[Axis, None]] = defaultdict(dict)
        for name, tensor in state.items():
            if tensor.is_floating_point() and id(tensor) in tracer.used:
                self._place(name, tensor)
        for units, axes in list(self.places.items()):
            if any(a.tensor == b.tensor and a.dim != b.dim for a in axes for b in axes):
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
            groups[name] = tuple(sorted(axes, key=lambda axis: axis[2:] != (run, window)))
        return TracedSpec(groups)

    def why(self, name: str) -> str:
        """Return why no axis of a tensor can move."""
        tensor = self.state[name]
        if id(tensor) not in self.tracer.used:
            return "not used on the example"
        whys = [why(along.flat[0]) for along in self.tracer.known(tensor)]
        return "; ".join(dict.fromkeys(filter(None, whys))) or "a single number"

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


def _axes(name: str, dim: int, units: Units) -> Iterator[tuple[Units, Axis]]:
    size = units.size
    for part, start, run in leaves(units):
        stop = start + part.size * run
        yield part, Axis(name, dim, run, None if (start, stop) == (0, size) else (start, stop))


def _proven(
    net: nn.Module, spec: TracedSpec, example: Sequence[Any], named: Mapping[str, Any]
) -> tuple[TracedSpec, dict[str, str]]:
    """Return the groups that keep the outputs, and why others' tensors stay."""
    generator = seeds.generator("traced")
    state = _drawn(net, generator)

    @torch.no_grad()
    def outputs(state: State) -> list[Tensor]:
        given = tuple(example), dict(named)
        return [o.double() for o in _said(functional_call(net, state, *given, tie_weights=False))]

    plain = outputs(state)

    def right(groups: Sequence[str]) -> bool:
        part = TracedSpec({group: spec.groups[group] for group in groups})
        moved = outputs(permute(state, part, random_permutations(state, part, generator)))
        return all(
            bool((a - b).abs().max() <= ROUNDING * b.abs().max())
            for a, b in zip(moved, plain, strict=True)
        )

    def kept(groups: Sequence[str]) -> list[str]:
        if not groups or right(groups):
            return list(groups)
        half = len(groups) // 2
        return [*kept(groups[:half]), *kept(groups[half:])] if half else []

    names = kept(list(spec.groups))
    lost = {
        axis.tensor: f"group {group!r} changes the outputs"
        for group, axes in spec.groups.items()
        if group not in names
        for axis in axes
    }
    return TracedSpec({name: spec.groups[name] for name in names}), lost


def _drawn(net: nn.Module, generator: np.random.Generator) -> State:
    """Return weights with which every part of a network matters: as large as signals need.

    Those that were trained, or not yet, may have zeros, ones or tiny scales that hide an error.
    """
    drawn: dict[tuple[int, lay.Shape], Tensor] = {}
    state = {}
    for name, tensor in net.state_dict().items():
        key = _memory(tensor)
        if key not in drawn and tensor.is_floating_point() and tensor.numel() > 1:
            noise = torch.from_numpy(generator.standard_normal(key[1], np.float32))
            several = sum(n > 1 for n in tensor.shape) > 1
            scale = (2 / (tensor.numel() / tensor.shape[0])) ** 0.5
            drawn[key] = (noise * scale if several else (0.3 * noise).exp()).to(tensor.device)
        state[name] = drawn.get(key, tensor)
    return state


def _memory(tensor: Tensor) -> tuple[int, lay.Shape]:
    """Return what tensors have in common that are one: an empty one is like no other."""
    return tensor.data_ptr() or id(tensor), tuple(tensor.shape)


def _uniform(tensor: Tensor, axis: int) -> bool:
    return bool(tensor.numel()) and bool((tensor == tensor.narrow(axis, 0, 1)).all())


def _said(output: Any) -> list[Tensor]:
    """Return what a network says: its logits where it names them, else all tensors."""
    output = output.get("logits", output) if isinstance(output, dict) else output
    return rules.tensors(getattr(output, "logits", output))


@contextmanager
def _evaluating(net: nn.Module) -> Iterator[None]:
    """Run a network in evaluation mode, by torch's own operations alone."""
    modes = [(module, module.training) for module in net.modules()]
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    net.eval()
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for module, mode in modes:
            module.training = mode
