"""Run one toy: params -> results/toy/."""

from __future__ import annotations

import argparse

from basins import devices, results
from basins.errors import one_line
from basins.params import pick, read
from basins.registry import find


def main() -> None:
    """Write the toy's pairs as `<name>.csv`, and its other tables as `<name>.<table>.csv`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("toy", help="a key of `toy` in params.yaml")
    name = parser.parse_args().toy
    params = read(check=["toy"])
    toy = pick(params.toy, name, "toy")
    devices.prepare()

    tables = find("toys", toy.name, "run")(**toy.options)
    for key, table in tables.items():
        table.insert(0, "toy", name)
        file = f"{name}.csv" if key == "pairs" else f"{name}.{key}.csv"
        results.write(table, params.reports() / "results" / "toy" / file)


if __name__ == "__main__":
    with one_line():
        main()
