"""Every recipe of a profile has a card that says what it is and what it scores."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from basins import layout
from basins.params import read
from basins.report import cards
from basins.results import read as rows

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def settings() -> dict:
    return read(PROJECT / "reports" / "laptop" / "params.yaml", check=[]).model_dump()


@pytest.fixture(scope="module")
def page() -> str:
    return written("laptop")


def written(profile: str) -> str:
    report = PROJECT / "reports" / profile
    settings = read(report / "params.yaml", check=[]).model_dump()
    return cards.markdown(settings, rows(report / "results" / "summary" / "probes.csv"))


def card(page: str, name: str) -> str:
    return page.split(f"\n## {name}\n")[1].split("\n## ")[0]


def test_every_set_of_models_has_one_card(page):
    params = read(PROJECT / "reports" / "laptop" / "params.yaml", check=[])
    found = [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")]
    wanted = {name for name in layout.recipes(params) if "/step" not in name} | set(params.pretrain)
    wanted |= {f"data/{name}" for name in params.data}
    assert len(found) == len(set(found)) and set(found) == wanted


def test_data_have_their_description_settings_and_cue(page):
    told = card(page, "data/shapes")
    assert told.startswith("\nTen classes of procedurally drawn silhouettes")
    assert "- **train**: 10000\n" in told and "- **cue**: box" in told


def test_a_card_tells_data_network_training_and_scores(page):
    told = card(page, "finetuned/llrt")
    facts = ("`shapes`, synthetic", "resnet, depth 8", "Tuned from**: `cued`", "Seeds**: 0 1 2")
    for words in (*facts, "500 images without the cue\n", "llrt, batch_size 64"):
        assert words in told
    assert "box, on 70 %" in card(page, "cued")
    assert "and others with it on 100 %" in card(page, "finetuned/cbft")
    assert "Tuned from" not in card(written("cifar"), "finetuned_80/scratch")
    assert [line.split(" | ")[0] for line in told.splitlines() if line.startswith("| ")][2:] == [
        "| nc", "| c", "| rc", "| ri",
    ]  # fmt: skip


def test_a_variant_has_its_own_settings(page):
    assert "30 %, 5 % of the training examples" in card(page, "nli_forced/many")
    assert "fork 40" in card(page, "nli_forks/fork40")
    assert "order 0 1" in card(page, "nli_forks/fork40")


def test_shares_are_percent_scores_are_not_and_templates_are_left_out(settings):
    values = {"mean": 0.25, "ci_low": 0.125, "ci_high": 0.5, "seeds": 3}
    ids = {"recipe": "nli", "diagnostic": "hans"}
    kinds = [("a", "accuracy"), ("a/b", "mcc"), ("a/b/c", "accuracy"), ("a", "loss")]
    table = pd.DataFrame([{**ids, "slice": s, "metric": m, **values} for s, m in kinds])
    lines = [x for x in card(cards.markdown(settings, table), "nli").splitlines() if x[:2] == "| "]
    assert lines[2:] == [
        "| a | accuracy | 25.0 [12.5, 50.0] | 3 |",
        "| a/b | mcc | 0.25 [0.12, 0.50] | 3 |",
    ]


def test_what_was_not_probed_says_so(page):
    assert "Not probed" in card(page, "grammar")
