"""A network's floating-point state as one flat vector, so that a path is vector arithmetic."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as serialise
from torch import Tensor, nn

from basins.errors import UserError

State = dict[str, Tensor]
WRAPPER = r"^(module|_orig_mod|model)\."  # of data-parallel, compiled and trainers' networks
NARROW = ("I8", "U8", "I4", "U4", "F8", "F6", "F4")  # safetensors' dtypes of up to 8 bits
LISTED = 4  # at most so many tensors in a message


class FlatModule:
    """A module whose floating-point parameters and buffers are views of `vector`, float32 [size].

    Writing to `vector` changes the module, with no copy. BatchNorm's running statistics are part of
    it; integer buffers (its batch counters) are not, and are never interpolated. `trained`, bool
    [size], marks the parameters; `places` gives each tensor's entries. Of a tensor with several
    names (tied weights) only the entries of the first are the module's, and count as trained.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.vector = flatten(module.state_dict())
        self.trained = torch.zeros_like(self.vector, dtype=torch.bool)
        self.places: dict[str, slice] = {}
        second, start = other_names(module), 0
        for name, tensor in _floating(module.state_dict(keep_vars=True)).items():
            place = self.places[name] = slice(start, start + tensor.numel())
            if name not in second:
                tensor.data = self.vector[place].view(tensor.shape)
                self.trained[place] = isinstance(tensor, nn.Parameter)
            start = place.stop

    def where(self, modules: Sequence[str]) -> Tensor:
        """Return the mask, bool [size], of the weights and statistics of the named modules.

        Raises `UserError` for a module that has none.
        """
        found = torch.zeros_like(self.vector, dtype=torch.bool)
        for module in modules:
            own = [at for name, at in self.places.items() if name.startswith(f"{module}.")]
            if not own:
                raise UserError(f"the network has no weights in a module {module!r}")
            for at in own:
                found[at] = True
        return found


def other_names(module: nn.Module) -> dict[str, str]:
    """Return the further names of tensors that have several, each with the first name."""
    first: dict[int, str] = {}
    kinds = module.named_parameters, module.named_buffers
    tensors = chain.from_iterable(kind(remove_duplicate=False) for kind in kinds)
    names = {name: first.setdefault(id(tensor), name) for name, tensor in tensors}
    return {name: known for name, known in names.items() if name != known}


def flatten(state: State) -> Tensor:
    """Return the floating-point tensors of a state dict, by name, as one vector [size]."""
    return torch.cat([tensor.reshape(-1) for tensor in _floating(state).values()])


def unflatten(vector: Tensor, like: State) -> State:
    """Return a state dict whose floating-point tensors, named and shaped as in `like`, are views.

    They are views of `vector` [size]; other tensors are those of `like`.
    """
    sizes = [tensor.numel() for tensor in _floating(like).values()]
    parts = zip(_floating(like).items(), vector.split(sizes), strict=True)
    return like | {name: part.view(tensor.shape) for (name, tensor), part in parts}


def save(state: State, path: Path) -> None:
    """Write a state dict as safetensors."""
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    path.write_bytes(serialise(content))  # `save_file` hides that a disk is full


def load(path: Path) -> State:
    """Read a state dict from safetensors; nothing is unpickled.

    Raises `UserError` where the file is missing, damaged, or holds a value that is not finite.
    """
    with _reading(path):
        state = load_file(path)
    check_finite(state, path)
    return state


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor in a safetensors file, of which only the header is read.

    Raises `UserError` as `load` does.
    """
    with _reading(path), safe_open(path, "pt") as tensors:
        names = tensors.keys()
        return {name: tuple(tensors.get_slice(name).get_shape()) for name in names}


def quantised(path: Path) -> str | None:
    """Return the first weight in a safetensors file that has 8 bits or fewer, None without one.

    Such numbers need scales that are stored elsewhere. Raises `UserError` as `load` does.
    """
    with _reading(path), safe_open(path, "pt") as tensors:
        weights = (name for name in tensors.keys() if name.endswith("weight"))  # noqa: SIM118
        kinds = ((name, tensors.get_slice(name).get_dtype()) for name in weights)
        return next((f"{name} is {kind}" for name, kind in kinds if kind.startswith(NARROW)), None)


def check_finite(state: State, path: Path) -> None:
    """Raise `UserError` where a floating-point tensor has a value that is not finite in float32."""
    for name, tensor in _floating(state).items():
        if not bool(tensor.float().isfinite().all()):
            raise UserError(f"{path}: {name} holds values that are not finite; train it again")


def in_common(state: State, like: State, prefix: str, where: object, remedy: str) -> State:
    """Return the base's tensors that a network also has, on its device and of its dtypes.

    Args:
        state: the base's tensors, by name.
        like: the network's.
        prefix: a prefix of names in `like` that may be missing in `state`, as for an encoder
            without a head.
        where: the base's name in error messages.
        remedy: the advice in them.

    Raises:
        UserError: no tensor is shared, or a shape differs; the message has `where` and `remedy`.
    """
    state = renamed(state, {**{name.removeprefix(prefix): t for name, t in like.items()}, **like})
    named = {**{prefix + name: tensor for name, tensor in state.items()}, **state}
    found = {name: named[name].to(like[name]) for name in like if name in named}
    if not found:
        raise UserError(f"{where}: no tensor of the models; {remedy}")
    for name, tensor in found.items():
        if tensor.shape != like[name].shape:
            shapes = f"{tuple(tensor.shape)}, in the models {tuple(like[name].shape)}"
            raise UserError(f"{where}: {name} is {shapes}; {remedy}")
    return found


def conformed(state: State, net: nn.Module, where: object) -> State:
    """Return a saved state under the names that `net` uses.

    It handles the prefixes of `WRAPPER`, LayerNorm's older `gamma` and `beta`, only one of the
    names of tied weights, BatchNorm's batch counters that are missing or not integers, on which no
    function depends, and equal non-persistent buffers of the network (`position_ids`). Raises
    `UserError`, naming `where`, if tied weights differ.
    """
    like, found = net.state_dict(), renamed(state, net.state_dict())
    for name, first in other_names(net).items():
        there = [found[n] for n in (name, first) if n in found]
        if len(there) == 2 and not _equal(*there):
            raise UserError(f"{where}: {name} and {first} are tied in the network, and differ here")
        found |= dict.fromkeys((name, first), there[0]) if there else {}
    for name, tensor in like.items():
        if name.endswith("num_batches_tracked"):
            found[name] = found.get(name, torch.zeros_like(tensor)).to(tensor.dtype)
    kept = {name: buffer for name, buffer in net.named_buffers() if name not in like}
    gone = {n for n, buffer in kept.items() if n in found and _equal(buffer, found[n])}
    gone |= {"n_averaged"} - like.keys()  # of torch's averaged models
    return {name: tensor for name, tensor in found.items() if name not in gone}


def renamed(state: State, like: State) -> State:
    """Return a state with the names of `like`, if names differ only by prefixes in `WRAPPER`."""
    depths = [{_renamed(name, k, like): t for name, t in state.items()} for k in range(4)]
    return max(depths, key=lambda one: (len(one.keys() & like.keys()), len(one)))


def misfit(state: State, like: State, types: bool = False) -> str | None:
    """Describe the tensors that differ from `like`: in shape, missing or additional ones.

    Return None if none differ. With `types`, dtypes must agree in kind: floating-point tensors of
    any precision match, and so do integers.
    """
    for name in sorted(state.keys() & like.keys()):
        found, wanted = state[name], like[name]
        if found.shape != wanted.shape:
            return f"{name} is {tuple(found.shape)}, not {tuple(wanted.shape)}"
        if types and _kind(found) != _kind(wanted):
            return f"{name} is {found.dtype}, not {wanted.dtype}"
    parts = [("it lacks", like, state), ("it has besides", state, like)]
    said = [
        f"{what} {listed({name: one[name] for name in sorted(one.keys() - other.keys())})}"
        for what, one, other in parts
        if one.keys() - other.keys()
    ]
    return "; ".join(said) or None


def listed(tensors: State) -> str:
    """Return how many tensors and numbers there are, and the first tensors with their shapes."""
    count, shown = sum(map(Tensor.numel, tensors.values())), list(tensors.items())[:LISTED]
    named = ", ".join(f"{name:.80} {tuple(tensor.shape)}" for name, tensor in shown)
    more = ", ..." if len(tensors) > LISTED else ""
    return f"{len(tensors)} tensor{'s' * (len(tensors) != 1)} ({count:,} numbers): {named}{more}"


def as_in(state: State, like: State) -> State:
    """Return a state with the dtypes of `like`."""
    return {name: tensor.to(like[name].dtype) for name, tensor in state.items()}


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn any error from reading a safetensors file into a one-line `UserError`."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; save the weights there") from None
    except (SafetensorError, OSError, LookupError, ValueError, RuntimeError) as error:
        line = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: damaged ({line}); delete it and make it again") from None


def _renamed(name: str, wrappers: int, like: State) -> str:
    """Return a name without that many prefixes, and with LayerNorm's newer name if in `like`."""
    for _ in range(wrappers):
        name = re.sub(WRAPPER, "", name)
    newer = re.sub(r"\bgamma$", "weight", re.sub(r"\bbeta$", "bias", name))
    return newer if newer in like and name not in like else name


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and (
        one.is_meta or other.is_meta or torch.equal(one, other.to(one))
    )


def _kind(tensor: Tensor) -> tuple[bool, bool, bool]:
    return tensor.is_floating_point(), tensor.is_complex(), tensor.dtype == torch.bool


def _floating(state: State) -> State:
    # By name, since a file and a module may list the same tensors in different orders.
    return {name: state[name] for name in sorted(state) if state[name].is_floating_point()}
