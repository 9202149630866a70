"""The interface's results: tidy tables, their figures, and a merged network."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from torch import nn

from basins.checkpoints import models, page, rows
from basins.checkpoints.models import Models
from basins.errors import UserError
from basins.weights import State


@dataclass(frozen=True)
class Found:
    """The results of a function: tidy tables, described in docs/formats.md, and their figures.

    Attributes:
        tables: those of the function, by name, of `paths`, `barriers`, `probes`, `clusters`,
            `cluster_choice`, `association`, `merge` and `plane`.
        first: the name of the main table.
        provenance: hashes of the models and data, and the check of losses computed a second time.
        net: the network with the merged weights, in evaluation mode; None without a merge.
        models: the networks that were measured.
        remembered: how many steps were found in the store, or "" if none.
    """

    tables: dict[str, pd.DataFrame]
    first: str
    provenance: dict[str, Any]
    net: nn.Module | None = None
    models: Models | None = field(default=None, repr=False)
    remembered: str = ""

    @property
    def rows(self) -> pd.DataFrame:
        """The main table; raises `UserError` if nothing was measured."""
        if self.first not in self.tables:
            raise UserError("nothing was measured; give data")
        return self.tables[self.first]

    @property
    def state(self) -> State:
        """The weights of a merge; raises `UserError` if nothing was merged."""
        if self.net is None:
            raise UserError("only a merge has weights")
        return self.net.state_dict()

    def __getattr__(self, name: str) -> pd.DataFrame:
        """Return a table by its name."""
        tables = self.__dict__.get("tables", {})
        if name not in tables:
            raise AttributeError(f"{name!r}; there are: {', '.join(tables)}")
        return tables[name]

    def figures(self) -> dict[str, Figure]:
        """Return the figures of the tables, by title."""
        return {title: figure for _, title, _, figure in page.drawn(self.tables, self.provenance)}

    @property
    def figure(self) -> Figure:
        """The first figure; raises `UserError` if there is nothing to draw."""
        found = self.figures()
        if not found:
            raise UserError(f"nothing to draw of {', '.join(self.tables)}")
        return next(iter(found.values()))

    def save(self, folder: str | Path) -> Path:
        """Add the tables to the rows in a folder; return the folder.

        A merge is saved there as a checkpoint, so its folder must be new or empty: it loads like
        the first model if that is a folder, and else is a state dict, `model.safetensors`. Raises
        `UserError` if the folder has rows of other models or data.
        """
        target = Path(folder)
        if self.net is not None and self.models is not None:
            models.save(self.models, self.state, target)
        rows.add(target, self.tables, self.provenance)
        return target

    def _repr_html_(self) -> str:
        drawn = []
        for title, figure in self.figures().items():
            written = io.StringIO()
            figure.savefig(written, format="svg")
            svg = written.getvalue()
            drawn.append(f"<h4>{title}</h4>{svg[svg.index('<svg') :]}")
        if not self.tables:
            return "nothing was measured"
        shown = self.rows.dropna(axis="columns", how="all")
        return shown.to_html(index=False, float_format="{:.4g}".format) + "".join(drawn)
