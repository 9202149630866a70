"""One HTML page for the rows in a folder: curves, barriers, clusters and their provenance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from basins.checkpoints import rows
from basins.figures import barrier_matrix, convexity_gaps, path_curves, plane, style
from basins.report import explorer
from basins.report.page import Drawing, render
from basins.statistics.examples import mean_interval
from basins.statistics.seeds import average_pairs, ends
from basins.store import whole_file
from basins.tables import clusters
from basins.tables.table import Table

TITLE = "Same loss, same mechanism?"
CONFIDENCE = 0.95
Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
JOIN = ["experiment", "path", "alignment", "batchnorm"]
FEW = 6
"""The most pairs of models whose curves can be told apart in one figure."""

CURVES = (
    "Position 0 is the first model of a pair, 1 the second. Bands: 95 % intervals, over examples "
    "where two names are one pair, else over their models."
)
PLAIN = (
    "Position 0 is the first model of a pair, 1 the second. Bands: 95 % intervals over examples."
)
CAPTIONS = {
    "barriers": "Nats, and shares of errors; intervals are of barrier_linear, over examples.",
    "probes": "Shares, and losses in nats, with 95 % intervals over examples.",
    "merge": "What was merged, and its sources as they are; losses in nats.",
}


def write(folder: Path) -> Path:
    """Write `index.html` and `figures/` from the rows in a folder; return the page's path.

    Raises `UserError` if there are no rows.
    """
    found = rows.read(folder)
    figures, curves = {}, None
    if "paths" in found and "barriers" in found and _classes(found):
        curves = explorer.pack(found, confidence=CONFIDENCE)
    for key, title, caption, figure in drawn(found, rows.provenance(folder)):
        svg, _ = style.save(figure, folder / "figures" / key)
        figures[key] = Drawing(title, caption, svg.read_text(encoding="utf-8"))
    text = render(
        title=TITLE,
        profile=folder.resolve().name,
        headline=[],
        claims=[],
        figures=figures,
        tables=dict(_tables(found)),
        params="",
        provenance=rows.provenance(folder),
        curves=curves,
        rows="{}.csv",
    )
    with whole_file(folder / "index.html") as file:
        file.write_text(text, encoding="utf-8")
    return folder / "index.html"


def summary(paths: pd.DataFrame) -> pd.DataFrame:
    """Return the mean curve for every two recipes, with its interval over models.

    For a single pair the interval is over examples. `init` is empty, as it is unknown.
    """
    named = paths.assign(**ends(paths)).assign(init="")
    groups = ["experiment", "recipe_a", "recipe_b", "init", *JOIN[1:], "eval_set", "t"]
    found = average_pairs(named, groups, ["loss", "accuracy"], "metric", CONFIDENCE)
    own = found[[*groups, "metric", "pairs"]].merge(named, on=groups, how="left")
    own = own.drop_duplicates([*groups, "metric"]).reset_index(drop=True)
    for k in np.flatnonzero(own["pairs"] == 1):
        loss, error, share, n = own.loc[k, ["loss", "loss_se", "accuracy", "n"]].astype(float)
        if own.at[k, "metric"] == "loss":
            interval = [loss - Z * error, loss + Z * error]
        else:  # Wilson's interval
            interval = mean_interval(np.arange(n) < round(share * n), CONFIDENCE)[1:]
        found.loc[k, ["ci_low", "ci_high"]] = interval
    return found


def drawn(
    found: Mapping[str, pd.DataFrame], origin: Mapping[str, Any]
) -> Iterator[tuple[str, str, str, Figure]]:
    """Yield key, title, caption and figure for each figure of a folder's tables.

    `origin` is their provenance, which states how clusters were formed.
    """
    yield from _planes(found)
    if "paths" not in found or "barriers" not in found:
        return
    classes = _classes(found)
    if classes:
        found = {**found, "summary/paths": summary(found["paths"])}
    for number, (_, part) in enumerate(found["barriers"].groupby(JOIN, sort=False), 1):
        chosen: dict[str, Any] = {column: part[column].iloc[0] for column in JOIN}
        what = f"{chosen['path']}, {chosen['alignment']}, {chosen['batchnorm']}"
        what = style.display(f"{chosen['experiment']}: {what}")
        pairs = len(part[["model_a", "model_b"]].drop_duplicates())
        if not classes:
            yield f"curves{number}", f"Curves, {what}", PLAIN, _curves(found["paths"], chosen)
        elif pairs <= FEW:
            yield f"curves{number}", f"Curves, {what}", CURVES, path_curves.draw(found, **chosen)
        for metric in dict.fromkeys(part["metric"]) if pairs > 1 else ():
            options = {**chosen, "metric": metric}
            caption = barrier_matrix.caption(**options)
            figure = barrier_matrix.draw(found, **options)
            yield f"{metric}{number}", f"Barriers of the {metric}, {what}", caption, figure
    if "clusters" in found:
        chosen = {"experiment": "cluster", **origin["clusters"]}
        caption = convexity_gaps.caption(**chosen)
        yield "clusters", "Gaps by cluster", caption, convexity_gaps.draw(found, **chosen)


def _classes(found: Mapping[str, pd.DataFrame]) -> bool:
    """Return whether all measurements along paths are of classification."""
    return bool((found["barriers"].groupby(JOIN + ["eval_set"])["metric"].nunique() == 2).all())


@style.styled()
def _curves(paths: pd.DataFrame, chosen: Mapping[str, Any]) -> Figure:
    """Plot the loss along the path, one panel per set and one line per pair."""
    part = paths.loc[(paths[list(chosen)] == pd.Series(chosen)).all(axis=1)]
    sets = list(dict.fromkeys(part["eval_set"]))
    figure = style.new(style.PAGE_WIDTH, 2.5)
    panels = figure.subplots(1, len(sets), squeeze=False)[0]
    for ax, name in zip(panels, sets, strict=True):
        here = part.loc[part["eval_set"] == name]
        for (a, b), line in here.groupby(["model_a", "model_b"], sort=False):
            spread = Z * line["loss_se"]
            low, high = line["loss"] - spread, line["loss"] + spread
            ax.plot(line["t"], line["loss"], label=f"{a} – {b}")
            ax.fill_between(line["t"], low, high, alpha=0.15)
        ax.set(title=name, xlabel="position on the path", ylabel="loss", xticks=(0, 0.5, 1))
    if len(part[["model_a", "model_b"]].drop_duplicates()) <= FEW:
        panels[0].legend()
    return figure


def _planes(found: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, str, str, Figure]]:
    """Yield key, title, caption and figure of every plane."""
    if "plane" not in found:
        return
    for number, (name, part) in enumerate(found["plane"].groupby("plane", sort=False), 1):
        options: dict[str, Any] = {"planes": [name], "eval_sets": [*part["eval_set"].unique()]}
        options["directions"] = str(name).rpartition(", ")[2]
        figure = plane.draw({f"plane/{name}": part}, **options)
        yield f"plane{number}", f"Plane, {name}", plane.caption(**options), figure


def _tables(found: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, Table]]:
    for name, caption in CAPTIONS.items():
        if name in found:
            rows_ = found[name].dropna(axis="columns", how="all")
            yield name, Table(name.capitalize(), caption, rows_)
    if "cluster_choice" in found and "clusters" in found:
        yield "clusters", clusters.table(found)
