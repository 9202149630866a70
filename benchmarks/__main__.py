"""Run the benchmarks: benchmarks/*.py -> a table, and benchmarks/results.json.

Rows are printed as they are measured; `benchmarks/harness.py` explains the columns. Each file's
part of the results has its date and machine; naming files replaces only their parts.
"""

from __future__ import annotations

import argparse
import json
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

import benchmarks
from basins.errors import UserError, one_line
from basins.provenance import provenance
from basins.store import whole_file
from benchmarks.fixtures import CORES
from benchmarks.harness import HEADER, Row

RESULTS = Path(__file__).with_name("results.json")


def main() -> None:
    """Run the named benchmarks, or all."""
    files = {
        info.name: import_module(f"benchmarks.{info.name}")
        for info in pkgutil.iter_modules(benchmarks.__path__)
        if info.name != "__main__"
    }
    known = [name for name, module in files.items() if hasattr(module, "measure")]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=main.__doc__)
    parser.add_argument("names", nargs="*", help=f"of: {', '.join(known)}")
    parser.add_argument("--repetitions", type=int, default=5)
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(known):
        raise UserError(f"no benchmark {sorted(unknown)[0]!r}; there are: {', '.join(known)}")
    if arguments.repetitions < 1:
        raise UserError(f"--repetitions {arguments.repetitions}: must be at least 1")

    print(HEADER)
    for name in arguments.names or known:
        rows = []
        for row in files[name].measure(arguments.repetitions):
            print(row, flush=True)
            rows.append(row)
        there = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        with whole_file(RESULTS) as file:
            file.write_text(document({**there, name: part(rows, arguments.repetitions)}))
    print("GPU rows: none, all of these run on the CPU")
    print("results: benchmarks/results.json")


def part(rows: Sequence[Row], repetitions: int) -> dict[str, Any]:
    """Return one file's part of the results: date, machine and every row."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        **provenance([], [], "cpu"),
        "cores": CORES,
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "repetitions": repetitions,
        "rows": [asdict(row) | {"reached": row.reached} for row in rows],
    }


def document(parts: Mapping[str, Any]) -> str:
    """Return the content of `results.json`."""
    return json.dumps(parts, indent=1, sort_keys=True, default=np.ndarray.tolist) + "\n"


if __name__ == "__main__":
    with one_line():
        main()
