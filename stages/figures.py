"""Draw every figure from rows: results/*.csv -> figures/*.svg, *.pdf and rows.json."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from basins import layout
from basins.errors import one_line
from basins.figures import rows, style
from basins.params import read
from basins.registry import find
from basins.statistics import failures
from basins.store import whole_folder


def main() -> None:
    """Draw from rows alone, without models, data or cache."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    params = read(parser.parse_args().params, check=["figures"])
    tables = failures.read_all(params)
    read_by = {}
    labels = style.labelled(layout.labels(params))
    with labels, whole_folder(layout.reports(params) / "figures") as folder:
        for key, choice in params.figures.items():
            watched = rows.Watched(tables)
            figure = find("figures", choice.name, "draw")(watched, **choice.options)
            style.save(figure, folder / key)
            read_by[key] = list(watched.read)
        (folder / "rows.json").write_text(json.dumps(read_by, indent=1) + "\n")


if __name__ == "__main__":
    with one_line():
        main()
