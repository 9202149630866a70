"""Run small models (toys) of a paper's theory: params -> results/toy/."""

from __future__ import annotations

import common
from basins import devices, layout, results
from basins.errors import one_line
from basins.registry import find
from basins.store import whole_folder


def main() -> None:
    """Write each toy's pairs as `<name>.csv`, and its other tables as `<name>.<table>.csv`."""
    params, toys = common.section("toy", __doc__)
    devices.prepare()
    with whole_folder(layout.results(params, "toy")) as folder:
        for name, toy in toys.items():
            for key, table in find("toys", toy.name, "run")(**toy.options).items():
                table.insert(0, "toy", name)
                file = f"{name}.csv" if key == "pairs" else f"{name}.{key}.csv"
                results.write(table, folder / file)


if __name__ == "__main__":
    with one_line():
        main()
