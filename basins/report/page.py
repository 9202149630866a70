"""The report: one HTML file with everything in it, readable offline, on a phone and in print."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from basins.claims.ledger import KINDS, Shown
from basins.report import contents, explorer
from basins.report import tables as text
from basins.tables.table import Table

_FOREIGN = {"metadata", "style", "script", "foreignobject", "iframe", "object", "embed"}


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
    figures: Mapping[str, Drawing],
    tables: Mapping[str, Table],
    params: str,
    provenance: Mapping[str, Any],
    sources: Mapping[str, Shown] | None = None,
    curves: Mapping[str, Any] | None = None,
) -> str:
    """Return the report as the text of one HTML file that loads nothing from anywhere.

    Args:
        title: what the report is about.
        profile: the profile it was made under.
        headline: sentences to stand on top, beside the count of verdicts.
        claims: the entries of `claims.json`.
        figures: the figures in their order, by key, inlined with ids of their own.
        tables: the tables in their order, by key.
        params: the parameters of the run, as YAML.
        provenance: where it all comes from; values may be mappings in turn.
        sources: what shows each claim, by its id: keys of `figures` and `tables`, names of rows.
        curves: what the explorer shows (`explorer.pack`); without, there is none.

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
    script = (Path(__file__).parent / "explorer.js").read_text(encoding="utf-8")
    numbered = {f"figure-{key}": f"Fig. {k}" for k, key in enumerate(figures, 1)}
    numbered |= {f"table-{key}": f"Table {k}" for k, key in enumerate(tables, 1)}
    return environment.get_template("page.html").render(
        title=title,
        profile=profile,
        headline=headline,
        counts=contents.counts(claims),
        together=contents.counts(claims, "verdict_holm"),
        verdicts=contents.VERDICTS,
        absent=text.ABSENT,
        uncommitted=_uncommitted(provenance),
        claims=claims,
        papers=_papers(claims, sources or {}, numbered),
        figures=[
            {
                "key": key,
                "title": figure.title,
                "caption": figure.caption,
                "svg": inline(figure.svg, prefix=f"figure{k}-", label=figure.title),
            }
            for k, (key, figure) in enumerate(figures.items(), 1)
        ],
        tables=[
            {
                "key": key,
                "title": table.title,
                "caption": table.caption,
                "columns": [str(name) for name in table.frame.columns],
                "numeric": text.right_aligned(table.frame),
                "rows": text.cells(table.frame).to_numpy().tolist(),
            }
            for key, table in tables.items()
        ],
        params=params,
        provenance=provenance,
        explorer=Markup(explorer.embed(curves)) if curves else "",
        script=Markup(script),
        digest=Markup(f"sha256-{b64encode(sha256(script.encode()).digest()).decode()}"),
    )


def inline(svg: str, *, prefix: str, label: str) -> Markup:
    """Return the text of an SVG file as markup to stand inside HTML among other figures.

    Every id and every reference to one gets `prefix`; comments, metadata, styles and scripts are
    left out; `label` is what a screen reader says.
    """
    root = ElementTree.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag).lower() in _FOREIGN:  # as HTML reads names
                parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        attributes = {_local(name): value for name, value in element.attrib.items()}
        element.attrib.clear()
        element.attrib.update(
            (name, _prefixed(name, value, prefix))
            for name, value in attributes.items()
            if not name.lower().startswith("on") and _stays(name, value)
        )
    natural = root.attrib.pop("width", "100%")
    root.attrib.pop("height", None)
    root.attrib |= {"role": "img", "aria-label": label, "style": f"--natural: {natural}"}
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _stays(name: str, value: str) -> bool:
    """Return whether an attribute does not lead out of the page."""
    return name.lower() != "href" or value.startswith(("#", "data:image/"))


def _prefixed(name: str, value: str, prefix: str) -> str:
    if name == "id":
        return prefix + value
    if name == "href" and value.startswith("#"):
        return f"#{prefix}{value[1:]}"
    return re.sub(r"url\(#", f"url(#{prefix}", value)


def _uncommitted(provenance: Mapping[str, Any]) -> bool:
    """Return whether the code that made the rows is in no commit."""
    commit = str(provenance.get("commit", ""))
    return "not in git" in commit or "with local changes" in commit


def _papers(
    claims: Sequence[Mapping[str, Any]],
    sources: Mapping[str, Shown],
    numbered: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Return the claims by paper, each with its links; `numbered` names the anchors of the page."""
    papers: dict[str, list[Mapping[str, Any]]] = {}
    for claim in claims:
        papers.setdefault(claim["paper"], []).append(claim)
    return [
        {
            "title": title,
            "counts": [
                (word, sum(claim["verdict"] == word for claim in own)) for word in contents.VERDICTS
            ],
            "kinds": [
                {
                    "words": words,
                    "claims": [_entry(c, sources, numbered) for c in own if c["kind"] == k],
                }
                for k, words in KINDS.items()
            ],
        }
        for title, own in papers.items()
    ]


def _entry(
    claim: Mapping[str, Any], sources: Mapping[str, Shown], numbered: Mapping[str, str]
) -> dict[str, Any]:
    links = _links(sources.get(claim["id"], Shown()), numbered)
    return contents.written(claim) | {"links": links}


def _links(found: Shown, numbered: Mapping[str, str]) -> list[dict[str, str]]:
    anchors = [f"figure-{key}" for key in found.figures] + [f"table-{key}" for key in found.tables]
    links = [{"text": numbered[anchor], "href": f"#{anchor}"} for anchor in anchors]
    return links + [{"text": f"{name}.csv", "href": contents.file(name)} for name in found.rows]
