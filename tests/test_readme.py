"""The README says what the reports say."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from basins.claims.ledger import KINDS
from basins.params import read
from basins.report import profile, readme, site, words
from basins.report.contents import SHARE, VERDICTS

PROJECT = Path(__file__).parents[1]
NUMBER = re.compile(r": (-?[\d.]+) \[(-?[\d.]+), (-?[\d.]+)\]")
COUNT = re.compile(
    r"\| (?P<paper>[^|,]+), \[`(?P<profile>\w+)`\]\(reports/(?P=profile)/tables/ledger\.md\), "
    r"(?P<kind>[a-z' ]+) \| (?P<counts>.+) \|"
)


@pytest.fixture(scope="module")
def page() -> str:
    return (PROJECT / "README.md").read_text()


def ledger(name: str) -> list[dict[str, Any]]:
    return json.loads((PROJECT / "reports" / name / "claims.json").read_text())


def test_what_follows_from_rows_is_up_to_date(page, monkeypatch):
    monkeypatch.chdir(PROJECT)
    names = site.ordered([file.parent.name for file in Path("reports").glob("*/params.yaml")])
    rows = [profile.rows_of(read(Path("reports", name, "params.yaml"), check=[])) for name in names]
    for name, part in readme.parts(rows).items():
        assert f"<!-- {name} -->\n{part}<!-- end -->" in page, "run `make figures`"
    assert (PROJECT / "docs" / "glossary.md").read_text() == words.markdown()


def test_numbers_are_those_of_the_claims_beside_them(page):
    compared = 0
    for line in page.splitlines():
        known = re.findall(r"`(\w+/\w+)`", line)
        numbers = NUMBER.findall(line)
        if not line.startswith("| ") or not known or not numbers:
            continue
        names = re.findall(r"`([\w/]+)`", line.split(" | ")[2])
        claims, profile = [], ""
        for name in names:  # a profile, before its claims
            if "/" in name:
                claims += [claim for claim in ledger(profile) if claim["id"] == name]
            profile = profile if "/" in name else name
        assert [claim["id"] for claim in claims] == known and len(known) == len(numbers), line
        for claim, ends in zip(claims, numbers, strict=True):
            unit = 100 if SHARE.search(claim["statistic"]) else 1
            for said, key in zip(ends, ("estimate", "ci_low", "ci_high"), strict=True):
                places = len(said.partition(".")[2])
                assert float(said) == pytest.approx(unit * claim[key], abs=0.5001 * 10**-places)
                compared += 1
    assert compared >= 9


def test_counts_are_those_of_the_reports(page):
    counted: Counter[str] = Counter()
    for line in page.splitlines():
        if not (match := COUNT.match(line)):
            continue
        said = match.groupdict()
        own = [
            claim
            for claim in ledger(said["profile"])
            if claim["paper"].startswith(said["paper"]) and KINDS[claim["kind"]] == said["kind"]
        ]
        for word, cell in zip(VERDICTS, said["counts"].split(" | "), strict=True):
            alone, _, held = cell.rstrip(")").partition(" (")
            assert int(alone) == sum(claim["verdict"] == word for claim in own), said
            together = sum(claim["verdict_holm"] == word for claim in own)
            assert int(held or alone) == together, said
        counted[said["profile"]] += len(own)
    assert counted and all(count == len(ledger(name)) for name, count in counted.items())


def test_the_picture_is_there(page):
    (picture,) = re.findall(r"!\[[^\]]+\]\((docs/[^)]+)\)", page)
    assert (PROJECT / picture).stat().st_size > 10_000
