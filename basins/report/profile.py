"""A profile's report: the outputs of its stages, read once, and the page made from them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pandas as pd

from basins import layout, results
from basins.claims.ledger import Shown
from basins.figures import style
from basins.registry import find, keywords, module
from basins.report import contents, explorer, findings, page
from basins.settings import Params
from basins.settings.models import Data
from basins.statistics import failures
from basins.store import file_hash
from basins.tables.table import Table
from basins.training.packages import PACKAGES

TITLE = "Same loss, same mechanism?"
ROWS = "results/**/*.csv*"
LINKED = ("*.csv", "*.json", "*.md", "*.tex", "*.yaml", "figures/*", ROWS, "tables/*")
"""Files beside a page to which it links."""

NETS = {
    "resnet": "ResNet-{depth} of width {width}",
    "bert": "BERT of {layers} layers and width {width}",
}


class Rows(NamedTuple):
    """A profile's settings, rows and claims."""

    params: Params
    rows: Mapping[str, pd.DataFrame]
    claims: list[dict[str, Any]]


class Profile(NamedTuple):
    """The contents of a profile's report."""

    params: Params
    rows: Mapping[str, pd.DataFrame]
    claims: list[dict[str, Any]]
    figures: dict[str, page.Drawing]
    tables: dict[str, Table]
    sources: dict[str, Shown]
    presets: dict[str, str]
    provenance: dict[str, Any]


def rows_of(params: Params) -> Rows:
    """Read the rows and the claims of a profile."""
    reports = layout.reports(params)
    rows = failures.read_all(params)
    if outcomes := sorted((reports / "results" / "outcomes").glob("*.csv")):
        rows["outcomes"] = results.gather(outcomes)
    return Rows(params, rows, json.loads((reports / "claims.json").read_text()))


def load(params: Params) -> Profile:
    """Read the outputs of the stages before the report, including figures."""
    reports = layout.reports(params)
    _, rows, claims = rows_of(params)
    sections = params.model_dump(include={"claims", "figures", "tables"})
    read = json.loads((reports / "figures" / "rows.json").read_text())
    with style.labelled(layout.labels(params)):
        return Profile(
            params,
            rows,
            claims,
            {
                key: page.Drawing(
                    heading(choice.name, rows, choice.options),
                    find("figures", choice.name, "caption")(**choice.options),
                    (reports / "figures" / f"{key}.svg").read_text(),
                    read[key],
                )
                for key, choice in params.figures.items()
            },
            {
                key: find("tables", choice.name, "table")(rows, **choice.options)
                for key, choice in params.tables.items()
            },
            contents.all_sources(sections),
            presets(sections["claims"]),
            json.loads((reports / "provenance.json").read_text()),
        )


def heading(name: str, rows: Mapping[str, pd.DataFrame], options: Mapping[str, Any]) -> str:
    """Return a figure's title: its result, or if its file has no title, its subject."""
    figure = module("figures", name, "draw")
    if hasattr(figure, "title"):
        return figure.title(rows, **options)
    return (figure.__doc__ or name).partition(" (")[0].partition(":")[0].splitlines()[0].rstrip(".")


def presets(claims: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, str]:
    """Return the explorer's address for every claim about the paths of an experiment, by id."""
    shown = {}
    for paper, made in claims.items():
        declared = module("claims", paper, "paper").paper.claims
        for key, setting in made.items():
            claim = declared[setting["name"]]
            known = keywords(claim.measure.function)
            options = {name: p.default for name, p in known.items() if p.default is not p.empty}
            options |= {**claim.fixed, **setting}
            names = {"experiment": "", "path": "", "alignment": "", "batchnorm": ""}
            names |= {"eval_set": "set", "metric": "metric", "measure": "measure"}
            asked = {to or name: options.get(name) for name, to in names.items()}
            asked = {name: value for name, value in asked.items() if isinstance(value, str)}
            if "group" in options and "method" in options:
                asked["end"] = f"{options['group']}/{options['method']}"
            if "experiment" in asked:
                shown[f"{paper}/{key}"] = f"#explorer?{urlencode(asked)}"
    return shown


def about(params: Params, data_of: str = "") -> str:
    """Return data, networks and the number of seeds in one line, optionally of one dataset."""
    trained = [r for r in params.train.values() if data_of in ("", r.data)]
    texts = [r for r in params.classify.values() if data_of in ("", r.data)]
    data = dict.fromkeys(recipe.data for recipe in (*trained, *texts))
    encoders = params.pretrain.values() if texts else ()
    nets = [recipe.net for recipe in (*trained, *encoders)]
    called = [
        NETS.get(net.name, net.name).format(**net.model_dump()) for net in nets if net is not None
    ]
    brought = [e.method.options["model"] for e in encoders if "model" in e.method.options]
    called += [
        PACKAGES[name].about.partition(";")[0] if name in PACKAGES else name for name in brought
    ]
    counts = {len(recipe.seeds) for recipe in trained} | {len(recipe.streams) for recipe in texts}
    least, most = min(counts, default=0), max(counts, default=0)
    many = f"{least}" if least == most else f"{least} to {most}"
    return "; ".join(
        [
            style.joined(dict.fromkeys(_called(params.data[name]) for name in data)),
            style.joined(dict.fromkeys(called)),
            f"{many} seeds",
        ]
    )


def _called(data: Data) -> str:
    """Return the name of a dataset, and of the one that its cue shows above it."""
    above = data.cue.options.get("above") if data.cue else None
    name = style.dataset(data.name)
    return f"{style.dataset(above['name'])} above {name}" if above else name


def render(profile: Profile, tabs: Sequence[page.Tab] = ()) -> str:
    """Return a profile's page."""
    params = profile.params
    with style.labelled(layout.labels(params)):
        return page.render(
            title=TITLE,
            profile=params.profile,
            headline=contents.headline(profile.claims),
            claims=profile.claims,
            figures=profile.figures,
            tables=profile.tables,
            params=(layout.reports(params) / "params.yaml").read_text(),
            provenance=profile.provenance,
            sources=profile.sources,
            curves=None
            if profile.rows["paths"].empty
            else explorer.pack(
                profile.rows,
                confidence=params.statistics.confidence,
                datasets=datasets(params),
            ),
            about=about(params),
            presets=profile.presets,
            cards=findings.cards(
                {params.profile: profile.claims},
                {params.profile: profile.rows},
                {params.profile: [*profile.figures]},
                params.statistics.confidence,
            ),
            tabs=tabs,
        )


def datasets(params: Params) -> dict[str, str]:
    """Return the dataset of each experiment."""
    return {name: made.data for name, made in params.connect.items()}


def hashes(reports: Path) -> str:
    """Return the SHA-256 of the figures and the page, as `sha256sum --check` reads them."""
    files = [*sorted((reports / "figures").glob("*.svg")), reports / "index.html"]
    return "".join(f"{file_hash(file)}  {file.relative_to(reports)}\n" for file in files)


def copy(reports: Path, folder: Path) -> None:
    """Copy what a profile's page links to into the folder that the page stands in."""
    for file in (file for pattern in LINKED for file in reports.glob(pattern)):
        target = folder / file.relative_to(reports)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
