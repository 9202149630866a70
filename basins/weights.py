"""A network's floating-point state as one flat vector, so that a path is vector arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialise
from torch import Tensor, nn

from basins.errors import UserError

State = dict[str, Tensor]


class FlatModule:
    """A module whose floating-point parameters and buffers are views of `vector`, float32 [size].

    Writing to `vector` changes the module, with no copy. BatchNorm's running statistics are part of
    it; integer buffers (its batch counters) are not, and are never interpolated. `trained`, bool
    [size], tells the parameters from the statistics; `places` says where a tensor is.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.vector = flatten(module.state_dict())
        self.trained = torch.zeros(len(self.vector), dtype=torch.bool)
        self.places: dict[str, slice] = {}
        start = 0
        for name, tensor in _floating(module.state_dict(keep_vars=True)).items():
            place = self.places[name] = slice(start, start + tensor.numel())
            tensor.data = self.vector[place].view(tensor.shape)
            self.trained[place] = isinstance(tensor, nn.Parameter)
            start = place.stop

    def where(self, modules: Sequence[str]) -> Tensor:
        """Return which entries, bool [size], are weights or statistics of the named modules.

        Raises `UserError` for a module that has none.
        """
        found = torch.zeros(len(self.vector), dtype=torch.bool)
        for module in modules:
            own = [at for name, at in self.places.items() if name.startswith(f"{module}.")]
            if not own:
                raise UserError(f"the network has no weights in a module {module!r}")
            for at in own:
                found[at] = True
        return found


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
    try:
        state = load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run `dvc repro` to make it") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: damaged ({error}); delete it and run `dvc repro`") from None
    for name, tensor in _floating(state).items():
        if not bool(tensor.isfinite().all()):
            raise UserError(f"{path}: {name} holds values that are not finite; train it again")
    return state


def _floating(state: State) -> State:
    # By name, since a file and a module may list the same tensors in different orders.
    return {name: state[name] for name in sorted(state) if state[name].is_floating_point()}
