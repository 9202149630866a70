"""The report: one self-contained HTML file, readable offline, on a phone and in print."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from basins.claims.ledger import Shown
from basins.report import contents, explorer, scorecard, words
from basins.report import tables as text
from basins.report.findings import Card
from basins.tables.table import Table

_FOREIGN = {"metadata", "style", "script", "foreignobject", "iframe", "object", "embed"}

_THEME = {
    "#222222": "ink",
    "#333333": "ink",
    "#000000": "ink",
    "#555555": "quiet",
    "#666666": "quiet",
    "#bbbbbb": "line",
    "#dddddd": "line",
    "#e4e4e4": "line",
    "#e8e8e8": "shade",
    "#ffffff": "page",
}
"""The neutral colours of the figures, and the colours of the page that replace them."""


class Drawing(NamedTuple):
    """A figure of the report; `svg` is the text of an SVG file, `rows` are its tables."""

    title: str
    caption: str
    svg: str
    rows: Sequence[str] = ()


class Tab(NamedTuple):
    """A link to another page of the site."""

    text: str
    href: str
    current: bool = False


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
    about: str = "",
    presets: Mapping[str, str] | None = None,
    cards: Sequence[Card] = (),
    tabs: Sequence[Tab] = (),
    rows: str = "results/{}.csv.gz",
) -> str:
    """Return the report as the text of one HTML file that loads no other files.

    Args:
        title: the title of the report.
        profile: the profile of the report.
        headline: sentences on what contradicts the papers.
        claims: the entries of `claims.json`.
        figures: the figures in their order, by key; they are inlined with unique ids.
        tables: the tables in their order, by key.
        params: the parameters of the run, as YAML.
        provenance: the origin of the rows; values may be nested mappings.
        sources: where each claim is shown, by its id: keys of `figures` and `tables`, and rows.
        curves: the data of the explorer (`explorer.pack`); if None, there is no explorer.
        about: the data, networks and seeds, in one line.
        presets: the explorer's state for the claims that it can show, by their ids.
        cards: the findings that summarise the claims.
        tabs: the other pages of the site; if there are any, files are stored beside the page.
        rows: where the tables of the explorer are, relative to the page, by their name.

    The output is deterministic.
    """
    anchors = {f"figure-{key}": f"Fig. {k}" for k, key in enumerate(figures, 1)}
    anchors |= {f"table-{key}": f"Table {k}" for k, key in enumerate(tables, 1)}
    scripts = [name for name, used in (("scorecard", claims), ("explorer", curves)) if used]
    return template("page.html").render(
        **frame(scripts, {"explorer-data": curves} if curves else {}, tabs, claims),
        **scores(claims, sources or {}, anchors, presets),
        title=title,
        rows=rows,
        description=f"{title} Rows, claims and figures of the profile {profile}.",
        profile=profile,
        about=about,
        headline=headline,
        uncommitted=_uncommitted(provenance),
        cards=[
            shown_card(
                card,
                {(profile, key): drawing for key, drawing in figures.items()},
                lambda _, key: f"#figure-{key}",
                lambda _, claim: f"#{scorecard.anchor({'id': claim})}",
            )
            for card in cards
        ],
        figures=[
            {
                "key": key,
                "title": figure.title,
                "caption": words.linked(words.tied(figure.caption)),
                "svg": inline(figure.svg, prefix=f"figure{k}-", label=figure.title),
                "rows": [(f"{name}.csv", contents.file(name)) for name in figure.rows],
            }
            for k, (key, figure) in enumerate(figures.items(), 1)
        ],
        files=bool(tabs),
        tables=[
            {
                "key": key,
                "title": table.title,
                "caption": words.linked(words.tied(table.caption)),
                "columns": [str(name) for name in shown.columns],
                "numeric": text.right_aligned(shown),
                "rows": shown.to_numpy().tolist(),
            }
            for key, table in tables.items()
            for shown in [text.readable(table.frame)]
        ],
        params=params,
        provenance=words.facts(provenance),
        commit=str(provenance.get("commit", "")),
        explorer=bool(curves),
    )


def template(name: str) -> Template:
    """Return a template of this folder, which escapes its inputs."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"spaced": words.spaced, "tied": words.tied}
    return environment.get_template(name)


def frame(
    scripts: Sequence[str],
    data: Mapping[str, Mapping[str, Any]],
    tabs: Sequence[Tab],
    terms: object = True,
) -> dict[str, Any]:
    """Return the parts of every page: scripts and their data, tabs, and terms if there are any."""
    files = [Path(__file__).parent / f"{name}.js" for name in scripts]
    script = "".join(file.read_text(encoding="utf-8") for file in files)
    return {
        "script": Markup(script),
        "digest": Markup(f"sha256-{b64encode(sha256(script.encode()).digest()).decode()}"),
        "embedded": {name: Markup(explorer.embed(packed)) for name, packed in data.items()},
        "tabs": tabs,
        "terms": words.GLOSSARY if terms else (),
        "anchor": words.anchor,
    }


def scores(
    claims: Sequence[Mapping[str, Any]],
    sources: Mapping[str, Shown],
    anchors: Mapping[str, str],
    presets: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the variables of the scorecard's template; see `scorecard.groups`."""
    return {
        "claims": claims,
        "counts": contents.counts(claims),
        "together": contents.counts(claims, "verdict_holm"),
        "verdicts": contents.VERDICTS,
        "absent": text.ABSENT,
        "papers": scorecard.groups(claims, sources, anchors, presets),
    }


def shown_card(
    card: Card,
    figures: Mapping[tuple[str, str], Drawing],
    figure_at: Callable[[str, str], str],
    claim_at: Callable[[str, str], str],
) -> dict[str, Any]:
    """Return a finding for the page's template.

    `figures` are by profile and key; `figure_at` and `claim_at` return the address of a figure and
    of a claim, given the profile.
    """
    drawing = figures.get(card.figure) if card.figure else None
    prefix = f"finding-{card.key}-"
    effects = [
        effect._asdict() | {"href": effect.claim and claim_at(effect.profile, effect.claim)}
        for effect in card.effects
    ]
    profiles = dict.fromkeys(effect.profile for effect in card.effects)
    return card._asdict() | {
        "several": len(profiles) > 1,
        "profiles": [(name, [e for e in effects if e["profile"] == name]) for name in profiles],
        "href": figure_at(*card.figure) if card.figure and drawing else "",
        "svg": inline(drawing.svg, prefix=prefix, label=drawing.title) if drawing else "",
        "effects": effects,
    }


def inline(svg: str, *, prefix: str, label: str) -> Markup:
    """Return the text of an SVG file as markup to stand inside HTML among other figures.

    All ids and references to them get `prefix`; comments, metadata, styles and scripts are removed;
    ink, grid and background take the page's colours; `label` is read by screen readers.
    """
    root = ElementTree.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag).lower() in _FOREIGN:  # HTML ignores case
                parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        attributes = {_local(name): value for name, value in element.attrib.items()}
        element.attrib.clear()
        element.attrib.update(
            (name, _themed(element.tag, name, _prefixed(name, value, prefix)))
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
    """Return whether an attribute does not refer outside the page."""
    return name.lower() != "href" or value.startswith(("#", "data:image/"))


def _prefixed(name: str, value: str, prefix: str) -> str:
    if name == "id":
        return prefix + value
    if name == "href" and value.startswith("#"):
        return f"#{prefix}{value[1:]}"
    return re.sub(r"url\(#", f"url(#{prefix}", value)


def _uncommitted(provenance: Mapping[str, Any]) -> bool:
    """Return whether the rows come from uncommitted code."""
    commit = str(provenance.get("commit", ""))
    return "not in git" in commit or "with local changes" in commit


def _themed(tag: str, name: str, value: str) -> str:
    """Return an attribute with the figures' neutral colours replaced by those of the page.

    White text is on dark cells and stays white.
    """
    if name not in ("style", "fill", "stroke"):
        return value
    for colour, variable in _THEME.items():
        if not (tag in ("text", "tspan") and colour == "#ffffff"):
            value = value.replace(colour, f"var(--{variable})")
    return value
