"""The page in a real browser, opened as a file: by mouse, by keyboard, on a phone, in the dark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from basins.claims.ledger import KINDS, Shown
from basins.report import explorer, page
from basins.report.contents import VERDICTS
from basins.tables.table import Table
from tests.report import planted

playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium or google-chrome")

REPORT = Path(__file__).parents[2] / "reports" / "laptop" / "index.html"
DESK, PHONE = {"width": 1100, "height": 800}, {"width": 390, "height": 800}
DRAWING = '<svg xmlns="http://www.w3.org/2000/svg" width="300pt" viewBox="0 0 9 9"/>'

# Every text's contrast with what lies behind it (WCAG 2), worst first.
CONTRASTS = """() => {
  const channels = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (rgb) => {
    const linear = (c) => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
    const [r, g, b] = rgb.map((c) => linear(c / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = channels(getComputedStyle(node).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const node of document.querySelectorAll("body *:not(figure svg *):not(script)")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!own || !node.checkVisibility()) continue;
    const style = getComputedStyle(node);
    const text = channels(node instanceof SVGElement ? style.fill : style.color);
    const [low, high] = [light(text.slice(0, 3)), light(behind(node))].sort((a, b) => a - b);
    found.push([(high + .05) / (low + .05), node.textContent.slice(0, 40)]);
  }
  return found.sort((a, b) => a[0] - b[0]);
}"""


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    claim = {
        "paper": "A paper", "where": "Fig. 1", "statement": "Paths have barriers.",
        "statistic": "mean barrier", "estimate": 0.4, "ci_low": 0.3, "ci_high": 0.5,
        "threshold": 0.05, "direction": "above", "n": 3, "p_holm": 0.01, "kind": "paper",
        "reason": "too few", "unseen": None, "confound": "luck", "smallest_effect": 0.2,
        "reported": 0.35, "matches": "yes", "registered": "yes",
        "since": "2026-01-01", "exploratory": "seen",
    }  # fmt: skip
    verdicts = [(verdict, kind) for verdict in VERDICTS for kind in KINDS]
    curves = explorer.pack(
        planted.tables(), confidence=0.95, datasets={"toys": "shapes", "alone": "texts"}
    )
    html = page.render(
        title="Planted",
        profile="smoke",
        headline=["One is contradicted."],
        claims=[
            {
                **claim,
                "id": f"a/{v} {kind}",
                "verdict": v,
                "verdict_holm": v,
                "kind": kind,
                "statement": f"It is {v}, {kind}.",
            }
            for v, kind in verdicts
        ],
        figures={"one": page.Drawing("one", "A figure.", DRAWING)},
        tables={"one": Table("Numbers", "All.", pd.DataFrame({"n": [3], "name": ["x" * 200]}))},
        params="profile: smoke",
        provenance={"commit": "not in git"},
        sources={f"a/{v} {k}": Shown(("one",), ("one",), ("probes",)) for v, k in verdicts},
        curves={**curves, "first": {}},
    )
    path = tmp_path_factory.mktemp("report") / "index.html"
    path.write_text(html, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium, file, request):
    """Return a page that was opened as a file; afterwards nothing may have gone wrong."""
    options = {"viewport": DESK, **getattr(request, "param", {})}
    path = options.pop("path", file)
    shown = chromium.new_page(**options)
    wrong: list[str] = []
    known = (path.as_uri(), "data:image/png")
    shown.on("console", lambda message: wrong.append(message.text))
    shown.on("pageerror", lambda error: wrong.append(str(error)))
    shown.on("request", lambda asked: asked.url.startswith(known) or wrong.append(asked.url))
    shown.goto(path.as_uri())
    yield shown
    shown.close()
    assert wrong == []


def _curve(shown) -> str:
    return shown.locator('[data-part="loss"] .line').first.get_attribute("d")


def _models(shown) -> list[str]:
    """Return the models of the matrix, which it calls `plain, seed 0`, by their keys."""
    texts = shown.locator(".matrix tbody th").all_text_contents()
    assert all(", seed " in text for text in texts)
    return [text.replace(", seed ", "/seed") for text in texts]


def _cells(shown) -> list[str]:
    return shown.locator('.matrix [role="gridcell"]').all_text_contents()


def test_the_matrix_shows_every_pair_twice_and_sorts(opened):
    name = ["odd/seed2", "plain/seed0", "plain/seed1", "plain/seed10"]
    assert _models(opened) == name
    assert _cells(opened)[:4] == ["", "3.00", "4.00", "5.00"]
    assert _cells(opened)[::4] == ["", "3.00", "4.00", "5.00"]
    opened.select_option('[name="order"]', "mean")
    assert _models(opened) == [*planted.MODELS]
    opened.select_option('[name="order"]', "cluster")
    assert _models(opened) == [planted.MODELS[k] for k in (0, 2, 1, 3)]
    opened.select_option('[name="set"]', "c")
    assert _cells(opened)[1] == "20.0"
    opened.select_option('[name="measure"]', "distance")
    assert opened.locator('[name="metric"]').is_disabled()
    assert set(_cells(opened)) == {"", "12.3"}


def test_pointing_at_a_cell_says_its_value_and_a_click_shows_its_path(opened):
    before = _curve(opened)
    cell = opened.get_by_role("gridcell", name="odd, seed 2 and plain, seed 10")
    cell.hover()
    said = opened.locator('[data-part="cell"]')
    assert said.inner_text() == "odd, seed 2 and plain, seed 10: 5.00 [0.500, 0.750]"
    cell.click()
    assert opened.input_value('[name="pair"]') == "plain/seed10 → odd/seed2"
    assert opened.locator('[aria-selected="true"]').count() == 2
    assert _curve(opened) != before


def test_an_experiment_is_chosen_and_keeps_what_it_can(opened):
    opened.select_option('[name="path"]', "bezier")
    opened.select_option('[name="experiment"]', "alone")
    assert opened.input_value('[name="path"]') == "bezier"
    # No model is at both ends, so no square; all are of one recipe, so by seed alone.
    assert opened.locator(".matrix tbody th").all_text_contents() == ["seed 0"]
    assert opened.locator('[name="order"] option').all_text_contents() == [
        "name",
        "mean of the row",
    ]


def tab_to(page, reached):
    for _ in range(100):
        page.keyboard.press("Tab")
        if page.evaluate(reached):
            return
    pytest.fail(f"after 100 steps of the keyboard not {reached}")


def test_everything_can_be_done_by_keyboard(opened):
    opened.locator('[name="experiment"]').focus()
    opened.keyboard.press("ArrowDown")
    assert opened.input_value('[name="experiment"]') == "alone"
    opened.keyboard.press("ArrowUp")
    tab_to(opened, "document.activeElement.role === 'gridcell'")
    opened.keyboard.press("End")
    opened.keyboard.press("ArrowDown")
    said = opened.locator('[data-part="cell"]')
    assert said.inner_text() == "plain, seed 1 and plain, seed 10: 3.00 [0.500, 0.750]"
    opened.keyboard.press("Enter")
    assert opened.input_value('[name="pair"]') == "plain/seed1 → plain/seed10"
    opened.keyboard.press("Tab")
    assert not opened.evaluate("document.activeElement.role === 'gridcell'")
    tab_to(opened, "document.activeElement.name === 'step'")
    opened.keyboard.press("ArrowRight")
    slider = opened.locator('[name="step"]')
    assert slider.get_attribute("aria-valuetext") == "t = 0.5"
    row = opened.locator('[data-part="readout"] tr').first.inner_text().split("\t")
    assert row == ["0.5", "NC: without cue", "4.00 [3.80, 4.20]", "50.0 [36.6, 63.4]", "50"]


def test_pointing_at_a_plot_shows_its_values(opened):
    plot = opened.locator('[data-part="accuracy"] > svg')
    plot.hover()
    tip = opened.locator('[data-part="accuracy"] .tip')
    assert tip.is_visible()
    assert "t = 0.5" in tip.inner_text() and "50.0 [36.6, 63.4]" in tip.inner_text()


def test_sets_are_lines_that_can_be_left_out(opened):
    lines = opened.locator('[data-part="loss"] .line')
    assert lines.count() == 2
    opened.uncheck('[name="sets"][value="c"]')
    assert lines.count() == 1
    opened.uncheck('[name="sets"][value="nc"]')
    assert lines.count() == 0
    assert opened.locator('[data-part="points"] tr').count() == 0
    opened.check('[name="sets"][value="nc"]')
    assert opened.locator('[data-part="points"] tr').count() == len(planted.GRID)


def test_examples_say_what_becomes_of_them_and_those_that_change_come_first(opened):
    def told() -> list[str]:
        return opened.locator('[data-part="samples"] ul').first.inner_text().split()

    assert told() == ["square", "wrong", "disc", "right"]
    opened.locator('[name="step"]').fill("2")
    assert told() == ["square", "right", "disc", "right"]
    images = opened.locator('[data-part="samples"] img')
    assert images.count() == 4
    assert images.evaluate_all("them => them.every((it) => it.naturalWidth === 1)")
    opened.uncheck('[name="sets"][value="nc"]')
    opened.uncheck('[name="sets"][value="c"]')
    assert not opened.locator('[data-part="examples"]').is_visible()


def _text(opened) -> list[list[str]]:
    """Return what is read of every sample of text, word by word."""
    opened.select_option('[name="experiment"]', "alone")
    opened.locator('[name="step"]').fill("1")
    items = opened.locator('[data-part="samples"] li')
    return [text.split() for text in items.all_inner_texts()]


def test_texts_are_shown_sentence_by_sentence_and_those_that_change_come_first(opened):
    assert _text(opened) == [
        ["Three", "Four", "no", "wrong"],
        ["One", "Two", "no", "right"],
        ["Five", "yes", "right"],
    ]
    assert opened.locator('[data-part="samples"] h4').all_text_contents() == ["C: with cue"]
    opened.locator('[name="step"]').press("ArrowRight")
    assert opened.locator('[data-part="samples"] b').all_text_contents() == 3 * ["right"]
    framed = opened.locator('[data-part="samples"] [data-changes="true"]')
    assert framed.inner_text().split() == ["Three", "Four", "no", "right"]
    boxes = [part.bounding_box() for part in framed.locator("p, p ~ span, b").all()]
    assert [box["x"] for box in boxes] == sorted(box["x"] for box in boxes)
    assert max(box["y"] for box in boxes) < boxes[0]["y"] + boxes[0]["height"]  # one beside another
    assert opened.evaluate(CONTRASTS)[0][0] >= 4.5


def test_claims_are_filtered_searched_and_lead_to_their_figure(opened):
    rows, count = opened.locator("details.claim"), opened.locator('#claims [name="count"]')

    def shown() -> list[str | None]:
        return [row.get_attribute("data-verdicts") for row in rows.all() if row.is_visible()]

    assert len(shown()) == len(VERDICTS) * len(KINDS)
    for verdict in VERDICTS:
        word = verdict.replace(" ", "-")
        opened.select_option('#claims [name="verdict"]', word)
        assert shown() == [word] * len(KINDS)
        assert opened.url.endswith(f"#claims?verdict={word}")
    opened.fill('#claims [name="q"]', "it is not applicable, ours")
    assert len(shown()) == 1 and count.inner_text() == "1 of 12 claims"
    opened.locator("details.claim > summary:visible").first.click()
    opened.locator(".measured a:visible", has_text="Fig. 1").first.click()
    assert opened.url.endswith("#figure-one")


def test_the_address_of_a_claim_opens_it(chromium, file):
    shown = chromium.new_page(viewport=DESK, reduced_motion="reduce")
    shown.goto(f"{file.as_uri()}#claim-a-contradicted ours")
    row = shown.locator('[id="claim-a-contradicted ours"]')
    assert row.is_visible()
    box = row.bounding_box()
    assert box is not None and 0 <= box["y"] < DESK["height"]
    shown.close()


def test_what_is_chosen_is_in_the_address_which_brings_it_back(opened, chromium):
    opened.select_option('[name="path"]', "bezier")
    opened.select_option('[name="set"]', "c")
    opened.select_option('[name="pair"]', "plain/seed1 → odd/seed2")
    opened.locator('[name="step"]').fill("2")
    opened.locator('[name="step"]').press("ArrowLeft")
    state = {name: opened.input_value(f'[name="{name}"]') for name in ("path", "set", "pair")}
    again = chromium.new_page(viewport=DESK)
    again.goto(opened.url)
    assert {name: again.input_value(f'[name="{name}"]') for name in state} == state
    assert again.locator('[data-part="t"]').inner_text() == "t = 0.5"
    again.close()


def test_another_path_between_the_same_models_is_drawn_beside(opened):
    lines = opened.locator('[data-part="loss"] .line')
    assert lines.count() == 2
    opened.select_option(
        '[name="beside"]', label="Bézier path, units not matched, BatchNorm recomputed"
    )
    assert lines.count() == 4
    assert opened.locator('[data-part="readout"] th').all_text_contents()[2:] == [
        "NC: without cue, Bézier path", "C: with cue, Bézier path",
    ]  # fmt: skip


@pytest.mark.parametrize(("what", "holds"), [("svg", "<svg"), ("csv", "pair,path")])
def test_the_curves_can_be_taken_away(opened, what, holds):
    with opened.expect_download() as started:
        opened.click(f'[data-do="{what}"]')
    assert Path(started.value.path()).read_text().startswith(holds)


@pytest.mark.parametrize(
    "opened",
    [{"color_scheme": "light"}, {"color_scheme": "dark"}],
    ids=["light", "dark"],
    indirect=True,
)
def test_all_text_is_readable(opened):
    opened.locator('[data-part="loss"] > svg').hover()
    contrasts = opened.evaluate(CONTRASTS)
    assert len(contrasts) > 100
    assert contrasts[0][0] >= 4.5, contrasts[:5]


@pytest.mark.parametrize("opened", [{"viewport": PHONE}], indirect=True)
def test_a_phone_scrolls_no_further_than_down(opened):
    assert opened.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    plot = opened.locator('[data-part="loss"] > svg').bounding_box()
    assert plot is not None and 300 < plot["width"] <= PHONE["width"]
    assert len(_text(opened)) == 3
    assert opened.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    box = "getBoundingClientRect()"
    below = f"text => text.{box}.bottom <= text.nextSibling.{box}.top"  # at one moment
    assert opened.locator('[data-part="samples"] p').first.evaluate(below)


@pytest.mark.parametrize("opened", [{"java_script_enabled": False}], indirect=True)
def test_without_scripts_the_page_says_where_the_rows_are(opened):
    assert opened.get_by_role("link", name="results/paths.csv.gz").is_visible()
    assert not opened.locator("#explorer-app").is_visible()


@pytest.mark.skipif(not REPORT.exists(), reason="needs `make figures`")
@pytest.mark.parametrize("opened", [{"viewport": PHONE, "path": REPORT}], indirect=True)
def test_the_drawn_report_opens(opened):
    assert opened.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    opened.select_option('[name="experiment"]', "nli")
    assert opened.locator(".matrix tbody th").count() == 12
    assert opened.locator('[data-part="loss"] .line').count() == 2
