"""Gather the rows of the other stages, and average them over seeds: results/ -> results/."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from basins import layout, results
from basins.errors import one_line
from basins.params import read
from basins.provenance import provenance
from basins.statistics.strategies import TABLES
from basins.statistics.summary import COLUMNS, summarise
from basins.store import whole_file


def main() -> None:
    """Write the gathered tables, their averages over seeds, the provenance and the params."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    params = read(check=[])
    folder = layout.results(params)

    def gathered(
        stage: str, names: Iterable[str], kind: str = "", columns: Sequence[str] = ()
    ) -> pd.DataFrame:
        files = (folder / stage / f"{name}{kind}.csv" for name in names)
        return results.gather(files, columns)

    rows = {
        "paths": gathered("connect", params.connect, "", COLUMNS["paths"]),
        "barriers": gathered("connect", params.connect, ".barriers", COLUMNS["barriers"]),
        "probes": gathered("probe", params.probe, "", COLUMNS["probes"]),
    }
    trained_on = {name: (made.data, made.cue_proportion) for name, made in params.train.items()}
    averages = summarise(**rows, trained_on=trained_on, confidence=params.statistics.confidence)
    others = {"samples": gathered("data", params.data)}
    others |= {
        table: gathered("clusters", params.clusters, f"/{table}", columns)
        for table, columns in TABLES.items()
    }
    for name, table in {**rows, **averages, **others}.items():
        results.write(table, results.file_of(folder, name))
    datasets = (folder / "data" / f"{name}.json" for name in params.data)
    experiments = (folder / "connect" / f"{name}.json" for name in params.connect)
    made = provenance(datasets, experiments, params.device)
    with whole_file(layout.reports(params) / "provenance.json") as file:
        file.write_text(json.dumps(made, indent=1) + "\n")
    with whole_file(layout.reports(params) / "params.yaml") as file:
        file.write_text(Path("params.yaml").read_text())


if __name__ == "__main__":
    with one_line():
        main()
