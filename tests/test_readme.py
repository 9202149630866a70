"""The README's ledger says what the reports say."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from basins.claims.ledger import KINDS
from basins.report.contents import VERDICTS

PROJECT = Path(__file__).parents[1]
WHOSE = {"paper": "the paper's", "control": "a control", "ours": "ours"}
ENDS = ("estimate", "ci_low", "ci_high")
INTERVAL = r"(?P<estimate>\S+) \[(?P<ci_low>\S+), (?P<ci_high>\S+)\]"
CLAIM = re.compile(
    r"`(?P<profile>\w+)` `(?P<id>\w+/\w+)` \| (?P<whose>[a-z' ]+) \| (?P<paper>[^|]+) \| "
    rf"(?:{INTERVAL}|p = (?P<p>\S+)) \| (?P<verdict>[a-z ]+?)(?P<star> \*)? \|"
)
COUNT = re.compile(
    r"\| (?P<paper>[^|,]+), `(?P<profile>\w+)`, (?P<kind>[a-z' ]+) \| (?P<counts>.+) \|"
)


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return (PROJECT / "README.md").read_text().splitlines()


def ledger(profile: str) -> list[dict[str, Any]]:
    return json.loads((PROJECT / "reports" / profile / "claims.json").read_text())


def test_claims_are_those_of_the_reports(lines):
    found = [match.groupdict() for line in lines if (match := CLAIM.search(line))]
    assert len(found) >= 10
    assert len(found) == sum(line.count("` `") for line in lines if line.startswith("| "))
    for said in found:
        (claim,) = [claim for claim in ledger(said["profile"]) if claim["id"] == said["id"]]
        assert claim["verdict"] == said["verdict"], said
        assert WHOSE[claim["kind"]] == said["whose"], said
        assert (claim["registered"] == "no") == bool(said["star"]), said
        assert ("matched" in said["paper"]) == (claim["reported"] is not None), said
        if claim["reported"] is not None:
            number, _, matched = said["paper"].partition(" (Table 1): ")
            assert (matched == "matched") == (claim["matches"] == "yes"), said
            assert float(number) == pytest.approx(claim["reported"], abs=0.00051), said
        for key, of in (*zip(ENDS, ENDS, strict=True), ("p", "estimate")):
            if (number := said[key]) is not None:
                places = len(number.partition(".")[2])
                assert float(number) == pytest.approx(claim[of], abs=0.5001 * 10**-places), said


def test_counts_are_those_of_the_reports(lines):
    counted: Counter[str] = Counter()
    for line in lines:
        if not (match := COUNT.match(line)):
            continue
        said = match.groupdict()
        own = [
            claim
            for claim in ledger(said["profile"])
            if claim["paper"].startswith(said["paper"]) and KINDS[claim["kind"]] == said["kind"]
        ]
        expected = [
            f"{sum(claim['verdict'] == word for claim in own)} "
            f"({sum(claim['verdict_holm'] == word for claim in own)})"
            for word in VERDICTS
        ]
        assert said["counts"].split(" | ") == expected, said
        counted[said["profile"]] += len(own)
    assert counted and all(count == len(ledger(profile)) for profile, count in counted.items())
