"""One thing worth remembering: what decides it, how it is made, and where the store has it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch

from basins import code, devices, parallel
from basins.store import Store

Step = Callable[[], None]
Run = Callable[..., list[Any]]  # makes items, in parallel, and returns their results in order


class Item(ABC):
    """A trained network, an alignment, the losses on a path: made once, and found again.

    Subclasses are frozen dataclasses, which other processes and machines are handed. `kind` is the
    folder of the store that they lie in, and `device` is where they are made.
    """

    kind: ClassVar[str]
    device: torch.device

    @abstractmethod
    def decides(self) -> dict[str, Any]:
        """Return all that decides the content but for code and machine, as JSON can say it.

        What is chosen from a room stands there as `{"name": ...}`; see `code.closure`.
        """

    @abstractmethod
    def make(self, folder: Path, step: Step) -> None:
        """Fill an empty folder with the item; `step` is called now and then, as work gets on."""

    def result(self, folder: Path) -> Any:
        """Return what is wanted of a finished item's folder: here, where it is."""
        return folder

    def steps(self) -> int:
        """Return about how many steps `make` takes."""
        return 1

    def key(self) -> dict[str, Any]:
        """Return what the store knows the item by: all that decides it."""
        decides = self.decides()
        roots = [cls.__module__ for cls in type(self).__mro__ if cls.__module__ != __name__]
        ours = [name for name in roots if name.startswith("basins.")]
        machine = devices.identity(self.device)
        # Workers are set up by `devices`: threads, rounding, determinism.
        return {**decides, "code": code.identity([*ours, "basins.devices"], decides), **machine}

    def find(self) -> Path | None:
        """Return the item's folder where the store has it."""
        return Store().find(self.kind, self.key())


def runner(workers: int, scheduler: str | None = None) -> Run:
    """Return what makes items in so many processes here, or on a Dask cluster.

    It takes them with a title, and perhaps `spare` ones; see `parallel.run`.
    """

    def run(items: Sequence[Item], **options: Any) -> list[Any]:
        steps = max((item.steps() for item in items), default=1)
        return parallel.run(
            get, items, workers=workers, scheduler=scheduler, steps=steps, **options
        )

    return run


def get(item: Item, step: Step) -> Any:
    """Return the result of an item, from the store, or made and put there."""
    store, key = Store(), item.key()
    folder = store.find(item.kind, key)
    if folder is None:
        with store.making(item.kind, key) as empty:
            item.make(empty, step)
        folder = store.folder(item.kind, key)
    return item.result(folder)
