"""An operation as it ran, and where its rule is registered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from basins.align.traced.layout import Layout


@dataclass(frozen=True)
class Call:
    """An operation that ran: its arguments by name, its result, and the layouts of tensors."""

    name: str
    where: str
    given: dict[str, Any]
    result: Any
    known: Callable[[Tensor], Layout]
    pointwise: bool

    def __getitem__(self, name: str) -> Any:
        return self.given[name]

    def of(self, name: str) -> Layout | None:
        """Return the layout of an argument, None where it is no tensor."""
        value = self.given.get(name)
        return self.known(value) if isinstance(value, Tensor) else None

    def layout(self, name: str) -> Layout:
        """Return the layout of an argument that is a tensor."""
        return self.known(self.given[name])

    def several(self) -> list[Layout]:
        """Return the layouts of all tensors among the arguments, in order."""
        return [self.known(tensor) for tensor in tensors(self.given)]

    @property
    def why(self) -> str:
        """Return what says that units keep their order because of this operation."""
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


Rule = Callable[[Call], list[Layout]]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register the rule of operations."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register
