"""Decide every claim by the averaged results: results/summary/ -> claims.json and metrics.json."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from basins import layout, results
from basins.claims.ledger import together
from basins.errors import one_line
from basins.params import read
from basins.registry import find
from basins.report.headline import metrics
from basins.store import whole_file


def main() -> None:
    """Write the ledger, and the numbers that `dvc metrics diff` compares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    params = read(parser.parse_args().params, check=["claims"])
    tables = results.read_all(layout.results(params))
    ledger = []
    for paper, claims in params.claims.items():
        settings = {name: claim.model_dump() for name, claim in claims.items()}
        ledger += find("claims", paper, "decide")(tables, settings, params.statistics.confidence)
    ledger = together(ledger, params.statistics.confidence)
    for name, content in (("claims", ledger), ("metrics", metrics(ledger, tables))):
        with whole_file(layout.reports(params) / f"{name}.json") as file:
            file.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    with one_line():
        main()
