"""Records the operations of a running network below autograd.

At this level every architecture consists of a small set of operations, however it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from basins.align.traced import layout as lay
from basins.align.traced import rules
from basins.align.traced.layout import Layout
from basins.align.traced.units import Place
from basins.weights import State

# They use only a tensor's dtype and device, and return a constant.
FACTORIES = frozenset(("new_zeros", "new_ones", "new_full", "new_empty", "new_empty_strided"))


class Tracer(TorchDispatchMode):
    """Records every operation while a network runs, and the layout of every tensor."""

    def __init__(self, net: nn.Module, state: State):
        super().__init__()
        self.layouts: dict[int, tuple[Tensor, Layout]] = {}  # tensors stay alive, so ids are unique
        self.used: set[int] = set()
        self.weights: set[int] = set()
        self.varies: set[int] = set()  # depends on weights or inputs
        self.where: list[str] = []
        self.outputs: list[tuple[str, Tensor]] = []
        tied: dict[tuple[int, lay.Shape], Layout] = {}  # shared by several names
        for tensor in state.values():
            if tensor.is_floating_point():
                layout = tied.setdefault(memory(tensor), lay.fresh(tensor.shape))
                self.layouts[id(tensor)] = tensor, layout
                self.weights.add(id(tensor))
        self.varies |= self.weights
        self.net = net
        self.hooks = ExitStack()

    def __enter__(self) -> Tracer:
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
        """Run an operation and record how it transforms the units of its operands."""
        name = func._schema.name.removeprefix("aten::")
        before = args[0].clone() if name.startswith("as_strided") else None
        if name == "index_put_":
            self.known(args[0])  # register a constant before values are written into it
        result = func(*args, **(kwargs or {}))
        if before is not None and torch.equal(before, result):  # only strides differ
            name = "clone"
        given = {argument.name: argument.default_value for argument in func._schema.arguments}
        given |= dict(zip(given, args, strict=False)) | (kwargs or {})
        operands, results = rules.tensors(given), rules.tensors(result)
        self.used |= {id(tensor) for tensor in operands}
        if not operands or not results or name in FACTORIES:
            return result  # a constant; see `known`
        if any(id(tensor) in self.varies for tensor in operands):
            self.varies |= {id(tensor) for tensor in results}
        elif name == "unbind":
            return result  # separate constants, such as layers' initial states
        pointwise = torch.Tag.pointwise in func.tags
        where = self.where[-1] if self.where else ""
        call = rules.Call(
            name=name,
            where=where,
            given=given,
            result=result,
            known=self.known,
            constant=lambda tensor: id(tensor) not in self.varies,
            weight=lambda tensor: id(tensor) in self.weights,
            pointwise=pointwise,
        )
        try:
            # Empty, for example the rest of a head after a rotary embedding of all its units.
            empty = not any(r.numel() for r in results)
            layouts = [lay.fresh(r.shape) for r in results] if empty else rules.apply(call)
            expected = [tuple(r.shape) for r in results]
            if [lay.shape(found) for found in layouts] != expected:
                raise ValueError(f"{name}: not of shapes {expected}")
        except (LookupError, ValueError, TypeError):  # a use that its rule does not support
            layouts = rules.unknown(call)
        for tensor, found in zip(results, layouts, strict=True):
            self.layouts[id(tensor)] = tensor, found
        return result

    def give(self, tensor: Tensor, reason: str) -> None:
        """Register a tensor whose axes keep their order."""
        self.layouts[id(tensor)] = tensor, lay.fresh(tensor.shape, Place(reason))
        self.varies.add(id(tensor))

    def known(self, tensor: Tensor) -> Layout:
        """Return a tensor's layout; a constant's axes are fixed unless it is uniform along them."""
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


def memory(tensor: Tensor) -> tuple[int, lay.Shape]:
    """Return a key that tensors share if they are views of one memory; empty ones never do."""
    return tensor.data_ptr() or id(tensor), tuple(tensor.shape)


def _uniform(tensor: Tensor, axis: int) -> bool:
    return bool(tensor.numel()) and bool((tensor == tensor.narrow(axis, 0, 1)).all())
