"""Decide from few examples which pairs are connected: models/ + data/ -> results/race/."""

from __future__ import annotations

from basins import parallel

if __name__ == "__main__":
    parallel.start("basins.paths.races", "basins.statistics.curves")

from itertools import product

import pandas as pd

import common
from basins import layout, results
from basins.errors import one_line
from basins.paths.pairs import grid
from basins.paths.races import Race
from connect import prepare


def main() -> None:
    """Evaluate all endpoints, then decide every curve on every set and in every BatchNorm mode."""
    params, name, settings = common.entry("race", __doc__)
    experiment = prepare(params, settings)
    ts = grid(settings.points)
    experiment.evaluate(dict.fromkeys(experiment.joined, (ts[0], ts[-1])))
    work = {
        (joined, mode, eval_set): Race(
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
    decisions = experiment.run([*work.values()], title="races")
    rows = []
    for (joined, mode, eval_set), decision in zip(work, decisions, strict=True):
        columns = decision._asdict()
        low, high = columns.pop("interval")
        seen = {"points": len(columns.pop("seen"))}
        ids = {"experiment": name, **joined.ids(), "batchnorm": mode, "eval_set": eval_set}
        rows.append(ids | settings.decide | columns | {"ci_low": low, "ci_high": high} | seen)
    results.write(pd.DataFrame(rows), layout.results(params, "race") / f"{name}.csv")


if __name__ == "__main__":
    with one_line():
        main()
