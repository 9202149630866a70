"""Claims are written down before there are rows, and what comes later is exploratory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from basins import profiles
from basins.claims.registration import Registration
from basins.params import read

PROJECT = Path(__file__).parents[2]


def register(folder: Path, params: str) -> dict[str, dict]:
    """Return the registration of quora's claims after the stage has written down these."""
    (folder / "params.yaml").write_text(params, encoding="utf-8")
    command = [sys.executable, PROJECT / "stages/claims.py", "--register"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return json.loads((folder / "profiles/registered/quora.json").read_text())


def test_a_claim_whose_rows_are_there_is_exploratory(tmp_path):
    quora = PROJECT / "reports/quora"
    params = (quora / "params.yaml").read_text(encoding="utf-8")
    before = register(tmp_path, params)
    assert len(before) == len(json.loads((quora / "claims.json").read_text()))
    assert not [key for key, claim in before.items() if "exploratory" in claim]
    for part in ("quora/results", "published"):
        shutil.copytree(PROJECT / "reports" / part, tmp_path / "reports" / part)
    assert register(tmp_path, params) == before
    moved = params.replace("ratio: 3.0", "ratio: 2.0")
    assert moved != params
    after = register(tmp_path, moved)
    assert after["lcrgs/c1_ratio"]["exploratory"] == "written down when its rows were there"
    others = [
        {key: claims[key] for key in claims if key != "lcrgs/c1_ratio"}
        for claims in (before, after)
    ]
    assert others[0] == others[1]


@pytest.mark.parametrize(
    "profile", sorted(file.stem for file in (PROJECT / "profiles/registered").glob("*.json"))
)
def test_what_is_registered_and_not_retired_are_the_claims_of_the_profile(profile, tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text(profiles.render(PROJECT / "profiles", profile), encoding="utf-8")
    held = read(file, check=["claims"]).claims
    claims = {f"{p}/{k}": claim.model_dump() for p, of in held.items() for k, claim in of.items()}
    known = json.loads((PROJECT / "profiles/registered" / f"{profile}.json").read_text())
    current = {key: claim for key, claim in known.items() if "retired" not in claim}
    assert {key: claim["settings"] for key, claim in current.items()} == claims


def test_a_claim_that_a_profile_has_no_more_is_retired_until_it_is_written_down_anew(tmp_path):
    params = (PROJECT / "reports/quora/params.yaml").read_text(encoding="utf-8")
    before = register(tmp_path, params)
    (line,) = (line for line in params.splitlines() if line.strip().startswith("c1_ratio:"))
    without = register(tmp_path, params.replace(line, ""))
    retired = without["lcrgs/c1_ratio"].pop("retired")
    assert retired.startswith("no commit ") and without == before
    assert register(tmp_path, params) == before
    mark = {"lcrgs/c1_ratio": before["lcrgs/c1_ratio"] | {"retired": retired}}
    said = Registration(mark).of("lcrgs/c1_ratio", before["lcrgs/c1_ratio"]["settings"])
    assert said["registered"] == "no" and said["exploratory"] == f"retired since {retired}"
