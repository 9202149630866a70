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
    """A name of the interface that is imported on first use, as importing torch takes seconds.

    It is a descriptor of the package's class, since three names are also those of submodules:
    importing `basins.align` sets an attribute of the package, over which this has precedence.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, package: Any, kind: type | None = None) -> Any:
        from basins.checkpoints import interface

        return getattr(interface, self.name)

    def __set__(self, package: Any, room: Any) -> None:
        """Ignore a submodule; imports find it in `sys.modules`."""


class _Package(ModuleType):
    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


for _name in __all__:
    setattr(_Package, _name, _Lazily(_name))
sys.modules[__name__].__class__ = _Package
