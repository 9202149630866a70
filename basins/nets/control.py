"""A network that points are mixed from: a model on disk, perhaps with its units permuted."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import load_file

from basins.nets import checkpoint


class Control(NamedTuple):
    """A model by its folder, and the permutations that bring its units into another's order.

    `fingerprint` is the hash of the model's weights. `permutations` is a file of
    `align/alignments.py`, and `key` the model's part of it; both are empty for a model as it is.
    `bend` says that it was fitted to bend a path between others, and is no network by itself.
    """

    model: Path
    fingerprint: str
    permutations: str = ""
    key: str = ""
    bend: bool = False

    @classmethod
    def of(cls, model: Path) -> Control:
        """Return the model in a folder as it is; raises `UserError` where its files are damaged."""
        return cls(model, checkpoint.fingerprint(model))

    def __str__(self) -> str:
        """Return the model's id: its folder, below `models/` where it lies there."""
        below = self.model.relative_to("models") if self.model.is_relative_to("models") else None
        return (below or self.model).as_posix()

    def identity(self) -> list[str]:
        """Return what decides its weights, as a part of a store's key."""
        # The folder of permutations is named after all that decides them.
        return [self.fingerprint, Path(self.permutations).parent.name, self.key]

    def net(self) -> dict[str, str]:
        """Return the file of this room that builds its network, as a store's key names it."""
        return {"name": checkpoint.family(checkpoint.read_config(self.model))}

    def plain(self) -> Control:
        """Return the model as it is."""
        return Control(self.model, self.fingerprint)

    def permuted(self, file: Path, number: int) -> Control:
        """Return the model put through the permutations of that number in a file of alignments."""
        return self._replace(permutations=str(file), key=str(number))

    def read(self) -> dict[str, np.ndarray]:
        """Return the permutations to put the model through, by group; none for a plain one."""
        if not self.permutations:
            return {}
        prefix = f"{self.key}/"
        file = load_file(self.permutations)
        return {name.removeprefix(prefix): p for name, p in file.items() if name.startswith(prefix)}


Pair = tuple[Control, Control]
