"""What holds by construction, or nearly so, is checked over the committed rows: it is no claim."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from basins import results
from basins.params import read
from basins.statistics.seeds import summarise_models
from basins.statistics.summary import MODEL

PROJECT = Path(__file__).parents[2]
PROFILES = ("laptop", "cifar", "cifar_control", "mnli")


@pytest.fixture(scope="module")
def aspects() -> dict[str, pd.DataFrame]:
    files = (PROJECT / "reports/laptop/results/aspects").glob("*.csv")
    return {file.stem: results.read(file) for file in files}


def of(rows: pd.DataFrame, test: str, quantity: str, **equal: object) -> np.ndarray:
    for column, value in {"test": test, "quantity": quantity, **equal}.items():
        rows = rows.loc[rows[column] == value]
    assert len(rows) >= 3
    return rows["value"].to_numpy(float)


def test_runs_that_part_late_end_no_further_apart_than_those_that_part_early(aspects):
    late, early = (of(aspects["determinism"], "B1", "instability", x=step) for step in (40, 0))
    assert late.mean() <= early.mean() + 0.001  # a twentieth of a barrier, as both may be about 0
    assert late.mean() < 0.02


def test_the_loss_falls_from_the_start_to_a_model(aspects):
    assert of(aspects["directedness"], "C1", "violation").mean() < 0.02


def test_training_is_straighter_and_moves_in_fewer_directions_than_a_random_walk(aspects):
    for quantity, sign in (("straightness", 1), ("participation ratio", -1)):
        own, null = (of(aspects["directedness"], "C2", quantity, null=k).mean() for k in (0, 1))
        assert sign * (own - null) > 0


def test_training_ends_where_hardly_any_direction_curves_down(aspects):
    assert of(aspects["convexity"], "A5", "negative share, end").mean() < 0.01


def test_a_centroid_is_nearer_to_models_than_they_are_to_each_other(aspects):
    star = of(aspects["convexity"], "A4", "star barrier", group="within").mean()
    assert star < of(aspects["convexity"], "A1", "barrier_linear", group="within").mean()


def test_the_smaller_cluster_of_the_published_models_is_as_known():
    rows = results.read(PROJECT / results.PUBLISHED).set_index("metric")
    found = rows.astype({"small": float, "difference": float}).to_dict("index")
    assert found["ln_subject/object_swap"]["small"] < 0.01
    assert found["Lexical (entailed)"]["small"] > 0.95
    assert found["Constituent (nonent)"]["difference"] > 0


@pytest.mark.parametrize("profile", PROFILES)
def test_no_two_claims_of_a_profile_are_the_same_measurement(profile):
    ledger = json.loads((PROJECT / "reports" / profile / "claims.json").read_text())
    held = [(c["statistic"], c["direction"], c["threshold"]) for c in ledger]
    assert len(set(held)) == len(held)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_claim_is_in_the_registration_as_it_stands(profile):
    """There may be more: of experiments that have not been run yet."""
    known, settings = registration(profile), claims_with_rows(profile)
    assert {key: known[key]["settings"] for key in settings} == settings


@pytest.mark.parametrize("profile", [*PROFILES, "study", "study_followup"])
def test_the_averages_beside_the_rows_are_what_this_code_makes_of_them(profile):
    """Else tables and figures show other intervals than the claims decide by."""
    folder = PROJECT / "reports" / profile
    params = read(folder / "params.yaml", check=[])
    tables = results.read_all(folder / "results")
    made = summarise_models(tables["probes"], MODEL, params.statistics.confidence)
    there = tables["summary/probes"]
    there, made = (table.sort_values(MODEL).reset_index(drop=True) for table in (there, made))
    pd.testing.assert_frame_equal(there, made, check_dtype=False, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("alignment", ["none", "weight_matching", "activation_matching"])
def test_the_ledger_has_the_intervals_of_the_averages(alignment):
    names = {"none": "raw", "weight_matching": "matched", "activation_matching": "activations"}
    folder = PROJECT / "reports" / "cifar_control"
    claims = {claim["id"]: claim for claim in json.loads((folder / "claims.json").read_text())}
    claim = claims[f"mmc/c3_{names[alignment]}"]
    ids = {"recipe_a": "nocue", "recipe_b": "cued_80", "init": "separate", "path": "linear"}
    ids |= {"alignment": alignment, "batchnorm": "reset", "eval_set": "nc", "metric": "error"}
    ids |= {"experiment": "mechanisms_80", "definition": "barrier_linear"}
    rows = results.read(folder / "results" / "summary" / "barriers.csv")
    [row] = rows.loc[(rows[[*ids]] == pd.Series(ids)).all(axis=1)].to_dict("records")
    ends = [claim["estimate"], claim["ci_low"], claim["ci_high"]]
    assert ends == pytest.approx([row["mean"], row["ci_low"], row["ci_high"]], abs=1e-4)


def registration(profile: str) -> dict[str, Any]:
    return json.loads((PROJECT / "profiles/registered" / f"{profile}.json").read_text())


def claims_with_rows(profile: str) -> dict[str, Any]:
    """Return the settings of the claims that committed rows decide."""
    params = read(PROJECT / "reports" / profile / "params.yaml", check=["claims"])
    return {
        f"{paper}/{key}": claim.model_dump()
        for paper, claims in params.claims.items()
        for key, claim in claims.items()
    }


@cache  # claims that were written down together ask the same
def git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=PROJECT, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""


@pytest.mark.skipif(not git("cat-file", "-t", "b2871d6"), reason="needs the project's history")
@pytest.mark.parametrize("profile", PROFILES)
def test_what_counts_as_registered_was_committed_before_its_rows(profile):
    known = {key: registration(profile)[key] for key in claims_with_rows(profile)}
    registered = {key: claim for key, claim in known.items() if "exploratory" not in claim}
    assert registered
    run = json.loads((PROJECT / "reports" / profile / "provenance.json").read_text())["commit"]
    for key, claim in registered.items():
        if "rows" not in claim:  # the run's own commit has it
            there = json.loads(git("show", f"{run}:profiles/registered/{profile}.json"))
            assert there[key]["settings"] == claim["settings"], key
            continue
        since, rows = (claim[name].split()[0] for name in ("since", "rows"))
        assert git("rev-list", "--count", f"{rows}..{since}").strip() == "0", key  # not after
        assert git("rev-list", "--count", f"{since}..{rows}").strip() != "0", key  # but before
        threshold = claim["settings"]["threshold"]
        text = git("show", f"{since}:profiles/laptop.yaml")
        text += git("show", f"{since}:profiles/{profile}.yaml")
        assert f"threshold: {threshold}" in text, key
