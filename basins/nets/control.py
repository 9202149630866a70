"""A control point of paths: a model on disk, possibly with its units permuted."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import load_file

from basins.nets import checkpoint


class Control(NamedTuple):
    """A model's folder, and the permutations that align its units to another's.

    `fingerprint` is the hash of the model's weights. `permutations` is a file written by
    `align/alignments.py`, and `key` the model's part of it; both are empty without permutation.
    `bend` says that it is the fitted bend of a path between others, not a trained network.
    """

    model: Path
    fingerprint: str
    permutations: str = ""
    key: str = ""
    bend: bool = False

    @classmethod
    def of(cls, model: Path) -> Control:
        """Return the model in a folder, not permuted; raises `UserError` if it is damaged."""
        return cls(model, checkpoint.fingerprint(model))

    def __str__(self) -> str:
        """Return the model's id: its folder, relative to `models/` if it is there."""
        below = self.model.relative_to("models") if self.model.is_relative_to("models") else None
        return (below or self.model).as_posix()

    def identity(self) -> list[str]:
        """Return what determines its weights and its inputs, as part of a key of the store."""
        # The folder of permutations is named after everything that determines them.
        weights = [self.fingerprint, Path(self.permutations).parent.name, self.key]
        return [*weights, checkpoint.encoding(self.model)]

    def net(self) -> dict[str, str]:
        """Return the file of this package that builds its network, as part of a store key."""
        return {"name": checkpoint.family(checkpoint.read_config(self.model))}

    def plain(self) -> Control:
        """Return the model without permutation."""
        return Control(self.model, self.fingerprint)

    def permuted(self, file: Path, number: int) -> Control:
        """Return the model with the permutations of a given number in a file of alignments."""
        return self._replace(permutations=str(file), key=str(number))

    def read(self) -> dict[str, np.ndarray]:
        """Return the model's permutations by group, empty without permutation."""
        if not self.permutations:
            return {}
        prefix = f"{self.key}/"
        file = load_file(self.permutations)
        return {name.removeprefix(prefix): p for name, p in file.items() if name.startswith(prefix)}


Pair = tuple[Control, Control]
