"""Decide every claim by the rows: results/ -> claims.json and metrics.json; or register claims."""

from __future__ import annotations

import argparse
import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from basins import layout, results
from basins.claims.headline import metrics
from basins.claims.ledger import entries, together
from basins.claims.registration import FOLDER, Registration
from basins.claims.results import Results
from basins.errors import UserError, one_line
from basins.params import Params, read
from basins.registry import module
from basins.store import whole_file


def main() -> None:
    """Write the ledger, and the numbers that `dvc metrics diff` compares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument(
        "--register", action="store_true", help="write down the claims of the profile instead"
    )
    arguments = parser.parse_args()
    params = read(arguments.params, check=["claims"])
    registered = Registration.read(params.profile)
    folder = layout.results(params)
    seen = not arguments.register or any(folder.rglob("*.csv"))
    tables = results.read_all(folder) if seen else {}
    found = Results.of(params, tables)
    if arguments.register:
        register(params, found, registered)
        return
    ledger = []
    for name, claims in params.claims.items():
        settings = {key: claim.model_dump() for key, claim in claims.items()}
        paper = module("claims", name, "paper").paper
        ledger += entries(paper, found, settings, registered)
    ledger = together(ledger, params.statistics.confidence)
    numbers = {**metrics(ledger, tables), "registered_sha256": registered.digest()}
    for name, content in (("claims", ledger), ("metrics", numbers)):
        with whole_file(layout.reports(params) / f"{name}.json") as file:
            file.write_text(json.dumps(content, indent=1) + "\n")


def register(params: Params, found: Results, registered: Registration) -> None:
    """Write down every claim that is not in the registration as it stands.

    One whose rows are there already is marked as exploratory.
    """
    words = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
    since = f"{commit or 'no commit'} {datetime.now(UTC).date()}"
    for name, claims in params.claims.items():
        paper = module("claims", name, "paper").paper
        for key, claim in claims.items():
            setting = claim.model_dump()
            known = registered.claims.get(f"{name}/{key}")
            if known and known["settings"] == setting:
                continue
            try:
                seen = bool([*entries(paper, found, {key: setting}, registered)])
            except UserError:  # of rows that are not there
                seen = False
            registered.add(f"{name}/{key}", setting, since, seen)
            print(f"{name}/{key}: {'exploratory, its rows are there' if seen else 'registered'}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with whole_file(FOLDER / f"{params.profile}.json") as file:
        file.write_text(registered.text())
    print(f"commit {FOLDER / params.profile}.json before the run")


if __name__ == "__main__":
    with one_line():
        main()
