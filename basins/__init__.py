"""When two trained networks reach the same loss, did they learn the same mechanism?

From Python, for any networks and batches: `connect`, `cluster`, `probe`, `plane`, `merge`, `align`
and `report`. They return `Found`; their options are those of `Measuring`, `Settling`, `Mixing` and
`Joining`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from basins.checkpoints.found import Found
    from basins.checkpoints.interface import align, cluster, connect, merge, plane, probe, report
    from basins.checkpoints.options import Joining, Measuring, Mixing, Settling

__all__ = ["Found", "Joining", "Measuring", "Mixing", "Settling", "align", "cluster", "connect"]
__all__ += ["merge", "plane", "probe", "report"]


class _Lazily:
    """A name of the interface, which is imported when somebody asks for it: torch takes seconds.

    It stands on the package's class, since three names are those of rooms, too: importing
    `basins.align` makes the room an attribute of the package, which has less force than this.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, package: Any, kind: type | None = None) -> Any:
        from basins.checkpoints import interface

        return getattr(interface, self.name)

    def __set__(self, package: Any, room: Any) -> None:
        """Leave a room to `sys.modules`, where imports find it."""


class _Package(ModuleType):
    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


for _name in __all__:
    setattr(_Package, _name, _Lazily(_name))
sys.modules[__name__].__class__ = _Package
