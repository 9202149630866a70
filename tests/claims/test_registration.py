"""Claims are written down before there are rows, and what comes later is exploratory."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from basins import profiles, results
from basins.claims.registration import Registration, rows_exist
from basins.errors import UserError
from basins.params import read
from tests.projects import PROJECT, stage


def run(folder: Path, params: str) -> object:
    """Let the stage register the claims of these params; return what it exits with."""
    (folder / "params.yaml").write_text(params, encoding="utf-8")
    return stage(folder, "stages/claims.py", "--register")


def register(folder: Path, params: str) -> dict[str, dict]:
    """Return the registration of mnli's claims after the stage has written down these."""
    assert run(folder, params) is None
    return json.loads((folder / "profiles/registered/mnli.json").read_text())


def test_a_claim_whose_rows_are_there_is_exploratory(tmp_path):
    mnli = PROJECT / "reports/mnli"
    params = (mnli / "params.yaml").read_text(encoding="utf-8")
    before = register(tmp_path, params)
    assert len(before) == len(json.loads((mnli / "claims.json").read_text()))
    assert not [key for key, claim in before.items() if "exploratory" in claim]
    for part in ("mnli/results", "published"):
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


def test_an_unfinished_run_is_named_and_nothing_is_registered(tmp_path):
    mnli = PROJECT / "reports/mnli"
    left = tmp_path / "reports/mnli/results"
    left.mkdir(parents=True)
    for name in ("clusters", "probes"):
        shutil.copy(results.file_of(mnli / "results", name), left)
    assert run(tmp_path, (mnli / "params.yaml").read_text(encoding="utf-8")) == (
        "error: reports/mnli/results has tables of an unfinished run: clusters.csv, "
        "probes.csv.gz; claims must be registered before their rows exist: register in a clean "
        "working tree (`git worktree add`)"
    )
    assert not (tmp_path / "profiles").exists()


def test_rows_exist_once_all_tables_do_and_a_part_of_them_is_refused(tmp_path):
    assert not rows_exist(tmp_path)
    (tmp_path / "data").mkdir()  # as for DVC, without a run
    assert not rows_exist(tmp_path)
    for name in results.TABLES:
        file = results.file_of(tmp_path, name)
        file.parent.mkdir(exist_ok=True)
        file.touch()
        if name != results.TABLES[-1]:
            with pytest.raises(UserError, match="unfinished run: .*register in a clean"):
                rows_exist(tmp_path)
    assert rows_exist(tmp_path)


def test_rows_of_an_experiment_that_was_added_later_are_of_an_unfinished_run(tmp_path):
    for name in results.TABLES:
        file = results.file_of(tmp_path, name)
        results.write(pd.DataFrame({"experiment": ["first"], "recipe": ["plain/5"]}), file)
    for left in ("connect/first", "connect/first.barriers", "probe/plain"):
        results.write(pd.DataFrame({"t": [0]}), tmp_path / f"{left}.csv")
    assert rows_exist(tmp_path)  # a run leaves these beside the gathered tables
    for left in ("connect/second", "probe/other"):
        results.write(pd.DataFrame({"t": [0]}), tmp_path / f"{left}.csv")
        with pytest.raises(UserError, match=f"unfinished run: {left}.csv; claims must"):
            rows_exist(tmp_path)
        (tmp_path / f"{left}.csv").unlink()


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
    params = (PROJECT / "reports/mnli/params.yaml").read_text(encoding="utf-8")
    before = register(tmp_path, params)
    (line,) = (line for line in params.splitlines() if line.strip().startswith("c1_ratio:"))
    without = register(tmp_path, params.replace(line, ""))
    retired = without["lcrgs/c1_ratio"].pop("retired")
    assert retired.startswith("no commit ") and without == before
    assert register(tmp_path, params) == before
    mark = {"lcrgs/c1_ratio": before["lcrgs/c1_ratio"] | {"retired": retired}}
    said = Registration(mark).of("lcrgs/c1_ratio", before["lcrgs/c1_ratio"]["settings"])
    assert said["registered"] == "no" and said["exploratory"] == f"retired since {retired}"
