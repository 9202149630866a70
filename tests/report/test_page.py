"""The report is one file: nothing loads, nothing breaks out, no two ids are the same."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from basins.claims.ledger import Shown
from basins.figures import style
from basins.report import explorer, page
from basins.tables.table import Table
from tests.report import planted

HOSTILE = "<script>alert('x')</script>\"><img src=http://bad.example/x onerror=y>"
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Elements(HTMLParser):
    """The elements of a page, and whether each that opens also closes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def svg(tmp_path_factory) -> str:
    figure = style.new(2, 2)
    ax = figure.subplots()
    ax.plot([0, 1], [0, 1], marker="o", label=HOSTILE)
    ax.imshow([[0, 1]])
    ax.set_title(HOSTILE)
    return _saved(figure, tmp_path_factory.mktemp("svg"))


def _saved(figure: Figure, folder) -> str:
    return style.save(figure, folder / "figure")[0].read_text()


def _arguments(svg: str) -> dict:
    claim = {
        "id": HOSTILE, "paper": HOSTILE, "where": HOSTILE, "statement": HOSTILE,
        "statistic": HOSTILE, "estimate": 0.41234, "ci_low": 0.3, "ci_high": None,
        "threshold": 0.05, "direction": "> " + HOSTILE, "n": 12, "verdict": "supported",
        "p_holm": None, "verdict_holm": "inconclusive", "kind": "paper", "reason": HOSTILE,
        "unseen": None, "confound": HOSTILE, "smallest_effect": 0.2, "reported": 0.7,
        "matches": HOSTILE, "registered": HOSTILE, "since": HOSTILE, "exploratory": HOSTILE,
    }  # fmt: skip
    return {
        "title": HOSTILE,
        "profile": HOSTILE,
        "headline": [HOSTILE],
        "claims": [
            {**claim, "verdict": verdict, "id": HOSTILE + str(k)}
            for k, verdict in enumerate(("supported", "inconclusive", HOSTILE))
        ],
        "figures": {
            "one": page.Drawing(HOSTILE, HOSTILE, svg),
            "two": page.Drawing("two", "caption", svg),
        },
        "tables": {"one": Table(HOSTILE, HOSTILE, pd.DataFrame({HOSTILE: [HOSTILE], "n": [3]}))},
        "sources": {
            f"{HOSTILE}{k}": Shown(("two",), ("one",), ("probes", "published_models"))
            for k in range(3)
        },
        "params": HOSTILE,
        "provenance": {HOSTILE: HOSTILE, "data": {"toys": [1, HOSTILE]}},
    }  # fmt: skip


@pytest.fixture(scope="module")
def html(svg) -> str:
    return page.render(**_arguments(svg))


@pytest.fixture(scope="module")
def interactive(svg) -> str:
    curves = explorer.pack(planted.tables(HOSTILE), confidence=0.95)
    return page.render(**_arguments(svg), curves=curves)


def test_hostile_text_is_shown_and_not_run(html):
    elements = Elements(html)
    assert not {"img", "iframe", "link"} & {tag for tag, _ in elements.found}
    assert [tag for tag, _ in elements.found].count("script") == 1
    assert not [name for _, attrs in elements.found for name in attrs if name.startswith("on")]
    assert "".join(elements.text).count(HOSTILE) >= 20
    assert elements.open == []


def test_nothing_is_loaded(html):
    shown = (
        html.replace("http://bad.example", "")
        .replace("http:--bad.example", "")
        .replace("http-equiv", "")
    )
    assert "http" not in shown and "@import" not in shown
    urls = re.findall(r"url\(([^)]*)\)", html)
    references = [
        value for _, attrs in Elements(html).found for name, value in attrs.items()
        if name in {"href", "src", "xlink:href"}
    ]  # fmt: skip
    beside = ("#", "data:image/png", "results/", "../published/")
    assert references and all(str(v).startswith(beside) for v in references)
    assert urls and all(url.startswith("#") for url in urls)
    assert "default-src 'none'" in html


def test_ids_are_unique_and_every_reference_meets_one(html):
    found = Elements(html).found
    ids = [attrs["id"] for _, attrs in found if "id" in attrs]
    assert len(ids) == len(set(ids))
    wanted = {str(a["href"])[1:] for _, a in found if str(a.get("href", "")).startswith("#")}
    wanted |= set(re.findall(r"url\(#([^)]*)\)", html))
    assert any(name.startswith("figure2-") for name in wanted)
    assert wanted <= set(ids)


def test_a_claim_leads_to_its_figure_table_and_rows(html):
    found = Elements(html).found
    links = [str(a["href"]) for tag, a in found if tag == "a"]
    wanted = ["#figure-two", "#table-one", "results/probes.csv.gz"]
    assert [href for href in links if href in wanted] == 3 * wanted
    assert links.count("../published/published_models.csv") == 3


def test_only_the_script_that_the_policy_names_may_run(interactive):
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", interactive, re.DOTALL)
    assert len(scripts) == 2 and scripts[0].startswith("{")
    digest = b64encode(sha256(scripts[1].encode()).digest()).decode()
    [policy] = [a["content"] for _, a in Elements(interactive).found if "http-equiv" in a]
    assert str(policy).endswith(f"script-src 'sha256-{digest}'")


def test_without_claims_and_curves_nothing_may_run(html, svg):
    empty = page.render(**{**_arguments(svg), "claims": []})
    assert "script-src" not in empty and "<script" not in empty
    assert 'id="explorer"' not in html


def test_the_explorer_loads_nothing_either(interactive):
    code = (Path(page.__file__).parent / "explorer.js").read_text()
    for way in ("fetch(", "XMLHttpRequest", "import(", "innerHTML", "eval(", "new Function"):
        assert way not in code
    assert "<noscript>" in interactive


def test_the_same_arguments_give_the_same_page(html, svg):
    assert page.render(**_arguments(svg)) == html


def test_kinds_of_claims_are_counted_apart(svg):
    arguments = _arguments(svg)
    claim = {**arguments["claims"][0], "verdict_holm": "supported"}
    claims = [claim, {**claim, "verdict": "not applicable"}, {**claim, "kind": "ours"}]
    html = page.render(**{**arguments, "claims": [*claims, {**claim, "kind": "ours"}]})
    (table,) = re.findall(r'<table class="counts">(.*?)</table>', html, re.DOTALL)
    rows = [re.findall(r">([^<>]+)<", row) for row in unescape(table).split("<tr>")[2:]]
    counts = {row[0]: [word.strip() for word in row[1:] if word.strip()] for row in rows}
    assert counts == {
        "the paper's": ["1", "(2)", "0", "0", "1", "(0)"], "ours": ["2", "0", "0", "0"],
    }  # fmt: skip
    kinds = re.findall(r'data-kind="([^"]*)"', html)
    assert [unescape(kind) for kind in kinds] == ["the paper's", "ours"]


def test_the_numbers_of_a_claim_are_rounded_alike(html):
    assert '0.412 <span class="interval">[0.300, –]</span>' in html
    assert "supported from 0.200" in html


def test_a_verdict_stands_above_how_much_it_leaves_out_or_why_there_is_none(svg):
    arguments = _arguments(svg)
    claim = {**arguments["claims"][0], "verdict_holm": "supported"}
    for reason, unseen, said in (
        ("", 0.31, "up to 31 % of seeds may be"),
        ("too few", None, "too few"),
    ):
        claims = [{**claim, "reason": reason, "unseen": unseen}]
        html = page.render(**{**arguments, "claims": claims})
        assert f"supported</span> <small>{said}" in html
        assert ("may be of a kind that was not sampled" in html) == bool(unseen)


def test_what_does_not_hold_among_all_claims_is_said(svg):
    arguments = _arguments(svg)
    claim = arguments["claims"][0]
    for verdict, said in (("inconclusive", 1), ("supported", 0)):
        claims = [{**claim, "p_holm": 0.2, "verdict_holm": verdict}]
        shown = page.render(**{**arguments, "claims": claims})
        assert shown.count("inconclusive after correction: p = 0.2 (Holm)") == said


@pytest.mark.parametrize(
    ("commit", "marked"), [("0" * 40, 0), ("not in git", 1), ("0" * 40 + " with local changes", 1)]
)
def test_rows_of_code_in_no_commit_are_marked(svg, commit, marked):
    html = page.render(**{**_arguments(svg), "provenance": {"commit": commit}})
    assert html.count('<p class="warning"') == marked


def test_a_figure_of_the_site_leads_to_its_files_rows_and_command(svg):
    drawn = {"one": page.Drawing("One", "A figure.", svg, ["paths", "summary/paths"])}
    arguments = {**_arguments(svg), "profile": "laptop", "figures": drawn}
    alone, beside = (page.render(**arguments, tabs=tabs) for tabs in ([], [page.Tab("a", "b")]))
    for kind in ("figures/one.svg", "figures/one.pdf", "results/summary/paths.csv"):
        assert f'href="{kind}"' in beside and f'href="{kind}"' not in alone
    assert "python stages/figures.py --params reports/laptop/params.yaml" in beside


def test_numbers_stand_right(html):
    assert '<td class="number">3</td>' in html


def test_an_empty_report_says_so():
    html = page.render(
        title="t", profile="smoke", headline=[], claims=[], figures={}, tables={}, params="",
        provenance={},
    )  # fmt: skip
    assert "No figure was drawn." in html and 'id="tables"' not in html
    assert 'id="claims"' not in html and 'id="params"' not in html


def test_scripts_in_a_drawing_are_left_out():
    drawing = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="10pt"><script>bad()</script>'
        '<g onclick="bad()" id="a"/><use href="#a"/></svg>'
    )
    assert page.inline(drawing, prefix="p-", label="x") == (
        '<svg role="img" aria-label="x" style="--natural: 10pt"><g id="p-a" />'
        '<use href="#p-a" /></svg>'
    )
