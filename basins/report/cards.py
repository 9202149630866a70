"""Cards of a profile's models (Mitchell et al. 2019) and data, as one page of Markdown."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from basins.figures import style
from basins.report import tables

INTRODUCTION = """\
# Models of the profile `{profile}`

Generated from the settings and the rows of this profile; each recipe is trained once per seed.

- **Intended use**: studying how networks with the same loss differ (paths between them, merges,
  probes).
- **Not intended** for classification. The networks are small, and their behaviour on other data
  was not measured. Cues and heuristics in the data of a recipe were added so that networks can
  learn the wrong feature, and some did, as their accuracies show.
- **Performance** is measured on evaluation sets on which no network was trained. Accuracies are
  in percent; {confidence} intervals are over seeds, not over examples.
- **Format and loading**: `models/README.md`. Licence: that of the project; models trained on real
  data are also subject to the terms of these data.
"""

DATA = """\
# Data of the profile `{profile}`

Each dataset, described by its file in `basins/data/`, and its settings in this profile. These fix
splits and seeds; `results/data/<name>.json` has the digest of the resulting data. Real data are
subject to the terms of their sources, and are not stored here.
"""

SCORES = {"accuracy": (100, ".1f"), "f1": (1, ".2f"), "mcc": (1, ".2f")}
"""The metrics on cards: a factor, and a number format."""

DEPTH = 1
"""Slices are shown up to this depth, so that not every template of HANS is."""


def markdown(settings: Mapping[str, Any], probes: pd.DataFrame) -> str:
    """Return a card for every recipe, tuned group's method, text classifier and dataset.

    `settings` are the sections of `params.yaml` as plain values, and `probes` the rows of
    `summary/probes`.
    """
    confidence = style.percent(settings["statistics"]["confidence"])
    cards = [INTRODUCTION.format(profile=settings["profile"], confidence=confidence)]
    for name, facts in _recipes(settings):
        lines = [f"- **{what}**: {_told(value)}" for what, value in facts.items()]
        cards.append("\n".join([f"## {name}\n", *lines]) + f"\n\n{_scores(name, probes)}")
    cards.append(DATA.format(profile=settings["profile"]))
    for name, options in settings["data"].items():
        file = Path(__file__).parents[1] / "data" / f"{options['name']}.py"
        about = ast.get_docstring(ast.parse(file.read_text())) or ""
        lines = [f"- **{what}**: {_told(of)}" for what, of in options.items() if of is not None]
        cards.append("\n".join([f"## data/{name}\n", f"{about}\n", *lines, ""]))
    return "\n".join(cards)


def _recipes(settings: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name of each recipe in rows, and the facts of its card."""
    data = settings["data"]
    for name, recipe in settings["train"].items():
        yield name, _facts(data, recipe) | {"Network": recipe["net"], "Training": recipe["method"]}
    for group, recipe in settings["finetune"].items():
        start = settings["train"][recipe["start"]]
        for label, method in recipe["methods"].items():
            clean = f"{recipe['clean']} images without the cue"
            if method["name"] == "cbft":
                clean += f", and others with it on {style.percent(recipe['cue_proportion'])}"
            facts = _facts(data, {"data": recipe["data"], "seeds": start["seeds"]})
            facts |= {"Network": start["net"], "Tuned from": f"`{recipe['start']}`"}
            if method["name"] == "scratch":
                del facts["Tuned from"]
            yield f"{group}/{label}", facts | {"Trained on": clean, "Training": method}
    for name, recipe in settings["classify"].items():
        for label, changes in (recipe["variants"] or {"": {}}).items():
            changed = {key: value for key, value in changes.items() if value is not None}
            method = {**recipe["method"], **changed.get("method", {})}
            own = {**recipe, **changed, "method": method}
            facts = _facts(data, own) | {
                "Counterexamples, wrong labels": ", ".join(
                    style.percent(own[share]) for share in ("counterexamples", "noise")
                )
                + " of the training examples",
                "Tuned from": f"`{own['encoder']}`",
                "Training": method,
            }
            yield f"{name}/{label}" if label else name, facts
    for name, encoder in settings["pretrain"].items():
        facts = _facts(data, {**encoder, "seeds": [encoder["seed"]]})
        facts |= {"Network": encoder["net"], "Vocabulary": encoder["vocabulary"]}
        yield name, {k: v for k, v in facts.items() if v} | {"Training": encoder["method"]}


def _facts(data: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    chosen = data[recipe["data"]]
    facts: dict[str, Any] = {"Data": f"`{recipe['data']}`, {chosen['source']}"}
    if "cue_proportion" in recipe and chosen.get("cue"):
        facts["Cue"] = (
            f"{chosen['cue']['name']}, on {style.percent(recipe['cue_proportion'])} of each class"
        )
    return facts | {"Seeds": recipe["seeds"]}


def _told(value: Any) -> str:
    """Return a name with its options, a list or a text, in words."""
    if isinstance(value, Mapping):
        name = [str(value["name"])] if "name" in value else []
        options = (f"{key} {_told(of)}" for key, of in value.items() if key != "name")
        return ", ".join([*name, *options])
    text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return " ".join(escape(text, quote=False).split())


def _scores(name: str, probes: pd.DataFrame) -> str:
    """Return the scores of a recipe on each slice, or that it was not probed."""
    own = probes.loc[(probes["recipe"] == name) & probes["metric"].isin(list(SCORES))]
    own = own.loc[own["slice"].str.count("/") <= DEPTH]
    if own.empty:
        return "Not probed separately in this profile.\n"
    shown = own[["slice", "metric"]].assign(value=own.apply(_written, axis="columns"))
    return tables.markdown(shown.assign(seeds=own["seeds"]))


def _written(row: pd.Series) -> str:
    unit, form = SCORES[str(row["metric"])]
    mean, low, high = (f"{unit * row[name]:z{form}}" for name in ("mean", "ci_low", "ci_high"))
    return f"{mean} [{low}, {high}]"
