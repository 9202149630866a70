"""Run the benchmarks: benchmarks/*.py -> a table, and benchmarks/results.json when all of them ran.

Rows appear as they are measured. What the columns mean is said in `benchmarks/harness.py`.
"""

from __future__ import annotations

import argparse
import json
import pkgutil
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

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
    """Measure the named files, or all."""
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
        raise UserError(f"--repetitions {arguments.repetitions}: at least one is needed")

    rows = []
    print(HEADER)
    for name in arguments.names or known:
        for row in files[name].measure(arguments.repetitions):
            print(row, flush=True)
            rows.append(row)
    print("GPU rows: none, all of these run on the CPU")
    if not arguments.names:
        with whole_file(RESULTS) as file:
            file.write_text(document(rows, arguments.repetitions))
        print("results: benchmarks/results.json")


def document(rows: Sequence[Row], repetitions: int) -> str:
    """Return the content of `results.json`: where and when it was measured, and every row."""
    content = {
        "date": datetime.now(UTC).date().isoformat(),
        **provenance([], "cpu"),
        "cores": CORES,
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "dtype": "float32",
        "threads_of_a_worker": 1,
        "threads_of_a_loop": CORES,
        "repetitions": repetitions,
        "rows": [asdict(row) | {"reached": row.reached} for row in rows],
    }
    return json.dumps(content, indent=1, default=np.ndarray.tolist) + "\n"


if __name__ == "__main__":
    with one_line():
        main()
