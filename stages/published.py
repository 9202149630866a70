"""Reanalyse the paper's own models: published accuracies -> reports/published/."""

from __future__ import annotations

import argparse
from pathlib import Path

from basins import results, seeds
from basins.errors import one_line
from basins.params import read
from basins.statistics import published

FILE = Path("published", "berts_of_a_feather_accuracies_by_run.csv")
TABLE = Path("reports", "published", "published_models.csv")


def main() -> None:
    """Write how the published clusters relate to the published accuracies."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    params = read(check=[])
    accuracies = published.read(params.root() / FILE)
    results.write(published.analyse(accuracies, seeds.generator("published models")), TABLE)
    print(f"published models: {TABLE}")


if __name__ == "__main__":
    with one_line():
        main()
