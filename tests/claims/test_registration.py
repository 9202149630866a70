"""Claims are written down before there are rows, and what comes later is exploratory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

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
