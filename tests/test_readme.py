"""The README's ledger says what the reports say."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[1]
VERDICTS = ("reproduced", "undecided", "not reproduced")
CLAIM = re.compile(r"`(\w+)` `(\w+/\w+)` \|.*\| (\S+) \[(\S+), (\S+)\] \| ([a-z ]+) \|")
COUNT = re.compile(r"\| .+, `(\w+)` \| (\d+) \((\d+)\) \| (\d+) \((\d+)\) \| (\d+) \((\d+)\) \|")


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return (PROJECT / "README.md").read_text().splitlines()


def ledger(profile: str) -> list[dict[str, Any]]:
    return json.loads((PROJECT / "reports" / profile / "claims.json").read_text())


def test_claims_are_those_of_the_reports(lines):
    found = [match.groups() for line in lines if (match := CLAIM.search(line))]
    assert len(found) >= 10
    for profile, name, *numbers, verdict in found:
        (claim,) = [claim for claim in ledger(profile) if claim["id"] == name]
        assert claim["verdict"] == verdict, name
        for number, key in zip(numbers, ("estimate", "ci_low", "ci_high"), strict=True):
            places = len(number.partition(".")[2])
            assert float(number) == pytest.approx(claim[key], abs=0.5001 * 10**-places), name


def test_counts_are_those_of_the_reports(lines):
    rows = [
        (line.split(",")[0].strip("| "), match.groups())
        for line in lines
        if (match := COUNT.match(line))
    ]
    counted = Counter()
    for paper, (profile, *numbers) in rows:
        own = [claim for claim in ledger(profile) if claim["paper"].startswith(paper)]
        expected = [
            sum(claim[kind] == verdict for claim in own)
            for verdict in VERDICTS
            for kind in ("verdict", "verdict_holm")
        ]
        assert list(map(int, numbers)) == expected, (paper, profile)
        counted[profile] += len(own)
    assert counted and all(count == len(ledger(profile)) for profile, count in counted.items())
