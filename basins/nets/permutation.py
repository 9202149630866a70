"""An architecture's permutation symmetry, as data.

A group is a set of units that may be permuted together without changing the function: the outputs
of the layers that write them, the norms that scale them and the inputs of the layers that read
them. A spec for a new net is a dict of such groups, made by `writes`, `norm` and `reads`:

    PermutationSpec({"hidden": writes("first") + reads("second")})

By convention a group has the name of a module whose output is the units' activation.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from basins.errors import UserError


class Net(nn.Module, ABC):
    """A network with a permutation spec; every net of this package is one."""

    @abstractmethod
    def permutation_spec(self) -> "PermutationSpec":
        """Return the groups of units that may be permuted without changing the function."""


class Axis(NamedTuple):
    """One axis of a tensor that a group permutes, in blocks of `block` consecutive entries.

    A single unit has one entry (`block` = 1), an attention head `width // heads`, a flattened
    channel `height * width`. `window` = (start, stop) restricts the group to some entries, such as
    the units within one head.
    """

    tensor: str
    dim: int
    block: int = 1
    window: tuple[int, int] | None = None


@dataclass(frozen=True)
class PermutationSpec:
    """The groups of a network: name -> the axes that one permutation moves together.

    Groups are applied in the order of the mapping, which only matters if two groups share an axis,
    like heads and the units within them. A group permutes at most one axis of a tensor, so that
    matching a group with the others fixed is a linear assignment (Git Re-Basin, section 3.2).
    """

    groups: Mapping[str, tuple[Axis, ...]]

    def size(self, state: Mapping[str, Tensor], group: str) -> int:
        """Return how many units `group` has in `state`."""
        return _units(state, self.groups[group][0])

    def check(self, state: Mapping[str, Tensor]) -> None:
        """Raise a one-line `UserError` at the first inconsistency of spec and `state`."""
        for group, axes in self.groups.items():
            if not axes:
                raise UserError(f"permutation group {group!r} has no axes")
            tensors = [axis.tensor for axis in axes]
            for name in tensors:
                if name not in state:
                    raise UserError(f"permutation group {group!r}: the state has no {name!r}")
                if tensors.count(name) > 1:
                    raise UserError(f"permutation group {group!r}: {name!r} is named twice")
            for axis in axes:
                _check_axis(state, group, axis)
                expected, found = self.size(state, group), _units(state, axis)
                if expected != found:
                    raise UserError(
                        f"permutation group {group!r}: {axes[0].tensor!r} has {expected} units, "
                        f"{axis.tensor!r} has {found} on axis {axis.dim}"
                    )


def writes(layer: str, *, bias: bool = True, block: int = 1) -> tuple[Axis, ...]:
    """Return the axes of the outputs of a convolution or linear layer."""
    names = ("weight", "bias") if bias else ("weight",)
    return tuple(Axis(f"{layer}.{name}", 0, block) for name in names)


def norm(layer: str, *, running: bool = True) -> tuple[Axis, ...]:
    """Return the axes of an affine norm; `running` if it has running statistics, like BatchNorm."""
    names = ("weight", "bias", "running_mean", "running_var") if running else ("weight", "bias")
    return tuple(Axis(f"{layer}.{name}", 0) for name in names)


def reads(layer: str, *, block: int = 1) -> tuple[Axis, ...]:
    """Return the axis of the inputs of a convolution or linear layer."""
    return (Axis(f"{layer}.weight", 1, block),)


def _units(state: Mapping[str, Tensor], axis: Axis) -> int:
    start, stop = axis.window or (0, state[axis.tensor].shape[axis.dim])
    return (stop - start) // axis.block


def _check_axis(state: Mapping[str, Tensor], group: str, axis: Axis) -> None:
    shape = tuple(state[axis.tensor].shape)
    where = f"permutation group {group!r}: {axis.tensor!r} of shape {shape}"
    if not 0 <= axis.dim < len(shape):
        raise UserError(f"{where} has no axis {axis.dim}")
    start, stop = axis.window or (0, shape[axis.dim])
    if not 0 <= start < stop <= shape[axis.dim]:
        raise UserError(f"{where} has no entries {start} to {stop} on axis {axis.dim}")
    if axis.block < 1 or (stop - start) % axis.block:
        raise UserError(f"{where}: axis {axis.dim} does not divide into runs of {axis.block}")
