"""Evaluate models on their diagnostics: models/ + data/ -> results/probe/."""

from __future__ import annotations

from basins import parallel

if __name__ == "__main__":
    parallel.start("basins.probes.probing")

from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

import common
from basins import layout
from basins.errors import one_line
from basins.nets.control import Control
from basins.probes.probing import Measure, Probing
from basins.statistics.examples import estimate
from basins.store import folder_hash


def main() -> None:
    """Evaluate every model on every set of its diagnostic, in parallel."""
    params, probes = common.section("probe", __doc__)
    device, run = common.work(params)
    items = []
    for name, probe in probes.items():
        data = layout.data(probe.data)
        given = (data, folder_hash(data), probe.diagnostic.model_dump(), device)
        models = [Control.of(folder) for folder in layout.models(params, name)]
        items += [(name, Probing(model, *given)) for model in models]
    values = run([item for _, item in items], title="probes")
    confidence = params.statistics.confidence
    rows = {name: [] for name in probes}
    for (name, item), measures in zip(items, values, strict=True):
        rows[name] += estimated(item, measures, confidence)
    common.write(params, "probe", ((name, pd.DataFrame(of)) for name, of in rows.items()))


def estimated(
    item: Probing, measures: Iterable[Measure], confidence: float
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a model, with intervals over examples."""
    recipe, _, seed = str(item.model).rpartition("/seed")
    for part, metric, values in measures:
        value, low, high = estimate(metric, values, confidence)
        ids = {"recipe": recipe, "seed": int(seed), "diagnostic": item.diagnostic["name"]}
        ids |= {"slice": part, "metric": metric, "value": value, "n": len(values)}
        yield ids | {"ci_low": low, "ci_high": high}


if __name__ == "__main__":
    with one_line():
        main()
