"""Two workers compared with one, on the items of one experiment."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.evaluation import POINTS, ours
from benchmarks.fixtures import NET, dataset, models, pairs, start_workers
from benchmarks.harness import Row, ratio, rounds

SIDE, NETWORKS, CALIBRATION, EVALUATION = 16, 8, 640, 256


def measure(repetitions: int) -> Iterator[Row]:
    """Yield the speed-up without the start of the processes, then with it."""
    with tempfile.TemporaryDirectory() as folder:
        data = dataset(Path(folder), 1280, EVALUATION, SIDE)
        joined = pairs(models(Path(folder), data, NETWORKS))
        run = partial(ours, data, joined, "reset", CALIBRATION)
        sides = (partial(run, workers=1), partial(run, workers=2), partial(start_workers, 2))
        alone, together, start = rounds(sides, repetitions)
    sizes = {
        "net": NET,
        "side": SIDE,
        "networks": NETWORKS,
        "points": POINTS,
        "calibration_images": CALIBRATION,
        "evaluation_images": EVALUATION,
        "start_seconds": start.tolist(),
    }
    yield ratio(
        "two workers against one, start of the processes aside",
        alone,
        together - start,
        must=1.8,
        aim=1.95,
        **sizes,
    )
    yield ratio(
        "two workers against one, start of the processes included",
        alone,
        together,
        must=None,
        aim=None,
        **sizes,
    )
