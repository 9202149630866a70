"""Items of the store: what determines them, and how they are made and found."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch

from basins import code, devices, parallel
from basins.store import Store

Step = Callable[[], None]
Run = Callable[..., list[Any]]  # makes items in parallel; returns their results in order


class Item(ABC):
    """A trained network, an alignment or the losses on a path: made once, then reused.

    Subclasses are frozen dataclasses, which are sent to other processes and machines. `kind` is
    their folder in the store, and `device` the device on which they are made.
    """

    kind: ClassVar[str]
    device: torch.device

    @abstractmethod
    def decides(self) -> dict[str, Any]:
        """Return everything that determines the content, except code and machine, as JSON values.

        A file chosen from a package is given as `{"name": ...}`; see `code.closure`.
        """

    @abstractmethod
    def make(self, folder: Path, step: Step) -> None:
        """Fill an empty folder with the item; `step` is called to report progress."""

    def result(self, folder: Path) -> Any:
        """Return the result from a finished item's folder; by default the folder itself."""
        return folder

    def steps(self) -> int:
        """Return the approximate number of calls of `step` in `make`."""
        return 1

    def key(self) -> dict[str, Any]:
        """Return the item's key in the store: everything that determines it.

        Raises `UserError` if its code was edited during the run.
        """
        decides = self.decides()
        roots = [cls.__module__ for cls in type(self).__mro__ if cls.__module__ != __name__]
        ours = [name for name in roots if name.startswith("basins.")]
        # `devices` sets up workers: threads, rounding, determinism.
        digest = code.identity([*ours, "basins.devices"], decides)
        code.check()
        return {**decides, "code": digest, **devices.identity(self.device)}

    def find(self) -> Path | None:
        """Return the item's folder in the store, or None."""
        return Store().find(self.kind, self.key())


def runner(workers: int, scheduler: str | None = None) -> Run:
    """Return a function that makes items in `workers` processes, or on a Dask cluster.

    Its arguments are items, a title, and possibly `spare` items; see `parallel.run`.
    """

    def run(items: Sequence[Item], **options: Any) -> list[Any]:
        steps = max((item.steps() for item in items), default=1)
        return parallel.run(
            get, items, workers=workers, scheduler=scheduler, steps=steps, **options
        )

    return run


def get(item: Item, step: Step) -> Any:
    """Return an item's result from the store, after making it if necessary.

    Raises `UserError`, and stores nothing, if its code was edited during the run.
    """
    store, key = Store(), item.key()
    folder = store.find(item.kind, key)
    if folder is None:
        with store.making(item.kind, key) as empty:
            item.make(empty, step)
            code.check()  # it may have imported modules that its key does not name
        folder = store.folder(item.kind, key)
    return item.result(folder)
