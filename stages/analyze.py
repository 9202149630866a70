"""Gather what the other stages measured, and average it over seeds: results/ -> results/."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from basins import results
from basins.errors import one_line
from basins.landscape.barriers import BARRIERS
from basins.params import read
from basins.provenance import provenance
from basins.statistics.paths import on_common_points
from basins.statistics.seeds import summarise_models, summarise_pairs
from basins.store import whole_file

JOIN = ["experiment", "path", "alignment", "batchnorm", "eval_set"]


def main() -> None:
    """Write the gathered tables, their averages over seeds, and what they came from."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    params = read(check=[])
    folder = params.reports() / "results"
    confidence = params.statistics.confidence

    connect = folder / "connect"
    paths = results.gather(connect / f"{name}.csv" for name in params.connect)
    barriers = results.gather(connect / f"{name}.barriers.csv" for name in params.connect)
    probes = results.gather(folder / "probe" / f"{name}.csv" for name in params.probe)
    tables = {
        "paths": paths,
        "barriers": barriers,
        "probes": probes,
        "samples": results.gather(folder / "data" / f"{name}.csv" for name in params.data),
        "summary/paths": summarise_pairs(
            on_common_points(paths, JOIN),
            [*JOIN, "t"],
            ["loss", "accuracy"],
            "metric",
            confidence,
        ),
        "summary/barriers": summarise_pairs(
            barriers, [*JOIN, "metric"], list(BARRIERS), "definition", confidence
        ),
        "summary/probes": summarise_models(
            probes, ["recipe", "diagnostic", "slice", "metric"], confidence
        ),
    }
    for name, table in tables.items():
        results.write(table, folder / f"{name}.csv")
    made = provenance((folder / "data" / f"{name}.json" for name in params.data), params.device)
    with whole_file(params.reports() / "provenance.json") as file:
        file.write_text(json.dumps(made, indent=1) + "\n")
    with whole_file(params.reports() / "params.yaml") as file:
        file.write_text(Path("params.yaml").read_text())


if __name__ == "__main__":
    with one_line():
        main()
