"""Put every model of a recipe or group to its diagnostic: models/ + data/ -> results/probe/."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from basins import devices, results
from basins.data.examples import columns
from basins.errors import one_line
from basins.nets import checkpoint
from basins.nets.inputs import inputs
from basins.params import pick, read
from basins.paths.engine import evaluate
from basins.registry import module
from basins.statistics.examples import estimate


def main() -> None:
    """Evaluate every model as it was trained on every set of the diagnostic."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", help="a key of `probe` in params.yaml")
    name = parser.parse_args().recipe
    params = read(check=["probe"])
    probe = pick(params.probe, name, "probe")
    diagnostic = module("probes", probe.diagnostic.name, "measures")
    device = devices.pick(params.device)
    devices.prepare()

    data, models = Path("data") / probe.data, params.models(name)
    sets = {key: inputs(data, key, models[0], device) for key in diagnostic.SETS}
    known = {key: columns(data, key) for key in diagnostic.SETS}
    rows = []
    for model in models:
        recipe = model.parent.relative_to("models").as_posix()
        checkpoint.fingerprint(model)  # refuses a damaged file, as the other stages do
        net = checkpoint.load(model).to(device)
        evaluations = {key: evaluate(net, examples) for key, examples in sets.items()}
        for slice_, metric, values in diagnostic.measures(evaluations, known):
            value, low, high = estimate(metric, values, params.statistics.confidence)
            ids = {"recipe": recipe, "seed": int(model.name.removeprefix("seed"))}
            ids |= {"diagnostic": probe.diagnostic.name}
            ids |= {"slice": slice_, "metric": metric, "value": value, "n": len(values)}
            rows.append({**ids, "ci_low": low, "ci_high": high})
    results.write(pd.DataFrame(rows), params.reports() / "results" / "probe" / f"{name}.csv")


if __name__ == "__main__":
    with one_line():
        main()
