"""Select the rows that a figure draws, or report which exist."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from basins.errors import UserError
from basins.figures import style


class Watched(dict[str, pd.DataFrame]):
    """Tables that record in `read` which of them were read, in order."""

    def __init__(self, tables: Mapping[str, pd.DataFrame]) -> None:
        """Wrap the same tables."""
        super().__init__(tables)
        self.read: dict[str, None] = {}

    def __getitem__(self, name: str) -> pd.DataFrame:
        """Return a table and record it as read."""
        self.read[name] = None
        return super().__getitem__(name)


def select(
    tables: Mapping[str, pd.DataFrame], table: str, **equal: str | int | Iterable[str] | None
) -> pd.DataFrame:
    """Return the rows of `table` whose columns equal `equal`, in their order.

    If several values are given for a column, all must exist, and rows are in their order; None
    selects any. Raises a `UserError` that names what exists for a missing table or no rows.
    """
    if table not in tables:
        raise UserError(f"no table {table!r}; there are: {_listed(tables)}")
    found = tables[table]
    for column, wanted in equal.items():
        if wanted is None:
            continue
        values = dict.fromkeys([wanted] if isinstance(wanted, str | int) else wanted)
        kept = {value: found.loc[found[column] == value] for value in values}
        for value, part in kept.items():
            if part.empty:
                raise UserError(
                    f"table {table!r} has no row with {column} {value!r}; "
                    f"there are: {_listed(found[column].unique())}"
                )
        found = pd.concat(kept.values())
    return found


def recipe(model: str) -> str:
    """Return the recipe of a model: `nocue` of `nocue/seed0`."""
    return model.rpartition("/")[0]


def seed(model: str) -> int:
    """Return the seed of a model: 0 of `nocue/seed0`."""
    return int(model.rpartition("/seed")[2])


def probed(tables: Mapping[str, pd.DataFrame], slice_: str, metric: str) -> pd.DataFrame:
    """Return the `model` and the `value` of a metric of all probes on a slice."""
    found = select(tables, "probes", slice=slice_, metric=metric)
    model = found["recipe"] + "/seed" + found["seed"].astype(str)
    return found.assign(model=model).loc[:, ["model", "value"]]


def clusters_shown(tables: Mapping[str, pd.DataFrame], experiment: str, measure: str) -> int | None:
    """Return the number of clusters that the test shows, or None without a test."""
    choice = tables["cluster_choice"] if "cluster_choice" in tables else pd.DataFrame()
    if choice.empty:
        return None
    own = choice.query("experiment == @experiment and measure == @measure")
    found = own.loc[own["statistic"] == "chosen", "k"]
    return int(found.iloc[0]) if len(found) else None


def part(tables: Mapping[str, pd.DataFrame], experiment: str, measure: str) -> str:
    """Return what a part of the best division is called: a group, if no clusters are shown."""
    return "group" if clusters_shown(tables, experiment, measure) == 1 else "cluster"


def called(models: Sequence[str]) -> list[str]:
    """Return short names of models: by seed alone if all have the same recipe."""
    several = len({recipe(model) for model in models}) > 1
    names = [f"{style.display(recipe(m))}, seed " if several else "" for m in models]
    return [f"{name}{seed(m)}" for name, m in zip(names, models, strict=True)]


def _listed(names: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, names))) or "none"
