"""Draw every figure from the gathered results: results/*.csv -> figures/*.svg and *.pdf."""

from __future__ import annotations

import argparse
from pathlib import Path

from basins import layout, results
from basins.errors import one_line
from basins.figures import style
from basins.params import read
from basins.registry import find
from basins.store import whole_folder


def main() -> None:
    """Draw from rows alone, so that no model, data or cache is needed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    params = read(parser.parse_args().params, check=["figures"])
    tables = results.read_all(layout.results(params))
    with whole_folder(layout.reports(params) / "figures") as folder:
        for key, choice in params.figures.items():
            figure = find("figures", choice.name, "draw")(tables, **choice.options)
            style.save(figure, folder / key)


if __name__ == "__main__":
    with one_line():
        main()
