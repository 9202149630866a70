"""Decide every claim from the rows: results/ -> claims.json, metrics.json; or register claims."""

from __future__ import annotations

import argparse
import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from basins import layout, results
from basins.claims.headline import metrics
from basins.claims.ledger import ledger, register
from basins.claims.registration import Registration, rows_exist
from basins.claims.results import Results
from basins.errors import one_line
from basins.params import read
from basins.statistics import failures
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
    claims, folder = params.model_dump(include={"claims"})["claims"], layout.results(params)
    registered = Registration.read(params.profile)
    if arguments.register:
        tables = failures.read_all(params) if rows_exist(folder) else {}
        for line in register(claims, Results.of(params, tables), registered, since()):
            print(line)
        print(f"commit {registered.write(params.profile)} before the run")
        return
    tables = failures.read_all(params)
    decided = ledger(claims, Results.of(params, tables), registered)
    numbers = {**metrics(decided, tables), "registered_sha256": registered.digest()}
    for name, content in (("claims", decided), ("metrics", numbers)):
        with whole_file(layout.reports(params) / f"{name}.json") as file:
            file.write_text(json.dumps(results.rounded(content), indent=1) + "\n")


def since() -> str:
    """Return the current commit and today's date (UTC)."""
    words = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
    return f"{commit or 'no commit'} {datetime.now(UTC).date()}"


if __name__ == "__main__":
    with one_line():
        main()
