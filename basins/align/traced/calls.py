"""A traced operation, the safe rules for unknown ones, and the registry of rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from basins.align.traced import layout as lay
from basins.align.traced.layout import Layout

LETTERS = "abcdefghijklmnopqrstuvwxyz"  # names of axes


@dataclass(frozen=True)
class Call:
    """An operation that ran: its arguments by name, its result, and properties of tensors.

    These are their layouts, and whether a tensor is constant (depends on neither inputs nor
    weights) or is a weight.
    """

    name: str
    where: str
    given: dict[str, Any]
    result: Any
    known: Callable[[Tensor], Layout]
    constant: Callable[[Tensor], bool]
    weight: Callable[[Tensor], bool]
    pointwise: bool

    def __getitem__(self, name: str) -> Any:
        return self.given[name]

    def of(self, name: str) -> Layout | None:
        """Return the layout of an argument, or None if it is not a tensor."""
        value = self.given.get(name)
        return self.known(value) if isinstance(value, Tensor) else None

    def layout(self, name: str) -> Layout:
        """Return the layout of a tensor argument."""
        return self.known(self.given[name])

    def several(self) -> list[Layout]:
        """Return the layouts of all tensors among the arguments, in order."""
        return [self.known(tensor) for tensor in tensors(self.given)]

    @property
    def why(self) -> str:
        """Return the reason, naming this operation, why units keep their order."""
        return f"{self.name} in {self.where}" if self.where else self.name


def tensors(values: Any) -> list[Tensor]:
    """Return the tensors in nested lists, tuples and dicts."""
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, dict):
        values = list(values.values())
    if isinstance(values, list | tuple):
        return [tensor for value in values for tensor in tensors(value)]
    return []


def unknown(call: Call) -> list[Layout]:
    """Fix the order of all axes of an operation."""
    for layout in call.several():
        lay.hold(layout, range(len(layout)), call.why)
    return [lay.fresh(result.shape, call.why) for result in tensors(call.result)]


def held(call: Call, layout: Layout, axes: Sequence[int], result: Tensor) -> Layout:
    """Fix the order of some axes, whose units are unrelated to those of the result."""
    lay.hold(layout, axes, call.why)
    for axis in axes:
        layout = lay.collapse(layout, axis)
    new = lay.fresh(result.shape, call.why)
    return [new[a] if a in axes else along for a, along in enumerate(layout)]


Rule = Callable[[Call], list[Layout]]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for operations."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register
