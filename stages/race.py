"""Decide which pairs are connected on few examples: models/ + data/ -> results/race/."""

from __future__ import annotations

from basins import parallel

if __name__ == "__main__":
    parallel.start("basins.paths.races", "basins.statistics.curves")

import argparse
from itertools import product

import pandas as pd

from basins import results
from basins.errors import one_line
from basins.params import pick, read
from basins.paths import races
from basins.paths.pairs import grid
from connect import prepare


def main() -> None:
    """Evaluate all ends, then race every curve on every set and in every BatchNorm mode."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment", help="a key of `race` in params.yaml")
    name = parser.parse_args().experiment
    params = read(check=["data", "race"])
    settings = pick(params.race, name, "race")
    experiment = prepare(params, settings, settings.eval_sets)

    ts = grid(settings.points)
    experiment.evaluate(dict.fromkeys(experiment.joined, (ts[0], ts[-1])))
    work = {
        (joined, mode, eval_set): races.Race(
            experiment.curve(joined, ts),
            ts,
            experiment.places(joined, (ts[0], ts[-1])),
            settings.decide,
            experiment.sets._replace(batchnorm=(mode,), names=(eval_set,)),
        )
        for joined, mode, eval_set in product(
            experiment.joined, experiment.sets.batchnorm, experiment.sets.names
        )
    }
    decisions = experiment.run(races.run, [*work.values()], title="races")
    rows = []
    for (joined, mode, eval_set), decision in zip(work, decisions, strict=True):
        ids = {"experiment": name, **joined.ids(), "batchnorm": mode, "eval_set": eval_set}
        found = decision._asdict()
        low, high = found.pop("interval")
        seen = {"points": len(found.pop("seen"))}
        rows.append(ids | settings.decide | found | {"ci_low": low, "ci_high": high} | seen)
    results.write(pd.DataFrame(rows), params.reports() / "results" / "race" / f"{name}.csv")


if __name__ == "__main__":
    with one_line():
        main()
