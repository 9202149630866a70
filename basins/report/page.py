"""The report: one HTML file with everything in it, readable offline, on a phone and in print."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from basins.report import tables as text
from basins.tables.table import Table

VERDICTS = ("reproduced", "not reproduced", "undecided")
"""The verdicts on a claim, in the order in which they are counted."""

_FOREIGN = {"metadata", "style", "script", "foreignObject"}


class Drawing(NamedTuple):
    """A figure of the report; `svg` is the text of an SVG file."""

    title: str
    caption: str
    svg: str


def render(
    *,
    title: str,
    profile: str,
    headline: Sequence[str],
    claims: Sequence[Mapping[str, Any]],
    figures: Sequence[Drawing],
    tables: Sequence[Table],
    params: str,
    provenance: Mapping[str, Any],
) -> str:
    """Return the report as the text of one HTML file that loads nothing from anywhere.

    Args:
        title: what the report is about.
        profile: the profile it was made under.
        headline: sentences to stand on top, beside the count of verdicts.
        claims: the entries of `claims.json`.
        figures: the figures in their order, inlined with ids of their own.
        tables: the tables in their order.
        params: the parameters of the run, as YAML.
        provenance: where it all comes from; values may be mappings in turn.

    The same arguments give the same text.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html").render(
        title=title,
        profile=profile,
        headline=headline,
        counts=_counts(claims),
        claims=[_claim(claim) for claim in claims],
        figures=[
            {
                "title": figure.title,
                "caption": figure.caption,
                "svg": inline(figure.svg, prefix=f"figure{k}-", label=figure.title),
            }
            for k, figure in enumerate(figures, 1)
        ],
        tables=[
            {
                "title": table.title,
                "caption": table.caption,
                "columns": [str(name) for name in table.frame.columns],
                "numeric": text.right_aligned(table.frame),
                "rows": text.cells(table.frame).to_numpy().tolist(),
            }
            for table in tables
        ],
        params=params,
        provenance=provenance,
    )


def inline(svg: str, *, prefix: str, label: str) -> Markup:
    """Return the text of an SVG file as markup to stand inside HTML among other figures.

    Every id and every reference to one gets `prefix`; comments, metadata, styles and scripts are
    left out; `label` is what a screen reader says.
    """
    root = ElementTree.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in _FOREIGN:
                parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        attributes = {_local(name): value for name, value in element.attrib.items()}
        element.attrib.clear()
        element.attrib.update(
            (name, _prefixed(name, value, prefix))
            for name, value in attributes.items()
            if not name.startswith("on")
        )
    natural = root.attrib.pop("width", "100%")
    root.attrib.pop("height", None)
    root.attrib |= {"role": "img", "aria-label": label, "style": f"--natural: {natural}"}
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _prefixed(name: str, value: str, prefix: str) -> str:
    if name == "id":
        return prefix + value
    if name == "href" and value.startswith("#"):
        return f"#{prefix}{value[1:]}"
    return re.sub(r"url\(#", f"url(#{prefix}", value)


def _counts(claims: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    found = Counter(claim["verdict"] for claim in claims)
    known = [(verdict, found.pop(verdict, 0)) for verdict in VERDICTS]
    return known + sorted(found.items())


def _claim(claim: Mapping[str, Any]) -> dict[str, Any]:
    """Return `claim` with its numbers as text, all to the decimals of that claim."""
    names = ("estimate", "ci_low", "ci_high", "threshold")
    values = {k: float("nan") if claim[k] is None else float(claim[k]) for k in names}
    places = text.decimals(values.values())
    return {**claim, **{k: text.number(value, places) for k, value in values.items()}}
