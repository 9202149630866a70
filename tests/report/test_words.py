"""What readers see of the committed reports is in words: no key of the settings stands there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from basins import results
from basins.figures import style
from basins.params import read
from basins.registry import find
from basins.report import contents, profile, words
from basins.report.tables import readable

PROJECT = Path(__file__).parents[2]
PROFILES = (
    "cifar",
    "laptop",
    "mnli",
    "mnli_regime",
    "quora",
    "study",
    "study_followup",
    "study_images",
)
KEYS = (
    r"\w*_\w*|(?!subject/object)[a-z]+/[a-z]\w*|nli|qqp|hans|mnli|paws|cola|cbft|llrt|lpft|nc|rc|ri|finetuned|nocue"
    r"|cued|cifar10|bezier|repair|ood|same complex|simple both"
)
"""What only settings are written in: names of several parts, and short names in small letters."""


def keys(text: str) -> list[str]:
    return re.findall(rf"(?<![\w/])(?:{KEYS})(?![\w/])", text)


def texts(name: str) -> list[str]:
    """Return what a report says of its claims, in its tables, in its captions and at its top."""
    folder = PROJECT / "reports" / name
    params = read(folder / "params.yaml", check=[])
    rows = results.read_all(folder / "results")
    claims = json.loads((folder / "claims.json").read_text())
    said = [words.plain(claim[field]) for claim in claims for field in ("statistic", "confound")]
    said += [contents.written(claim)["why"] for claim in claims]
    for choice in params.tables.values():
        made = find("tables", choice.name, "table")(rows, **choice.options)
        shown = readable(made.frame)
        said += [made.title, made.caption, *map(str, shown.columns)]
        said += [text for text in map(str, shown.to_numpy().ravel()) if text]
    for choice in params.figures.values():
        said.append(profile.heading(choice.name, rows, choice.options))
        said.append(find("figures", choice.name, "caption")(**choice.options))
    return [profile.about(params), *said]


@pytest.mark.parametrize("name", PROFILES)
def test_no_key_of_the_settings_is_shown(name):
    shown = {text: keys(text) for text in texts(name)}
    assert {text: found for text, found in shown.items() if found} == {}


@pytest.mark.parametrize("name", PROFILES)
def test_the_words_of_experiments_tell_them_apart_and_are_no_keys(name):
    params = read(PROJECT / "reports" / name / "params.yaml", check=[])
    shown = [words.plain(experiment) for experiment in params.connect]
    assert len(set(shown)) == len(shown)
    assert not [word for word in shown if keys(word) or word == "mechanisms"]


@pytest.mark.parametrize("name", PROFILES)
def test_the_line_at_the_top_names_data_and_networks(name):
    data, networks, seeds = profile.about(
        read(PROJECT / "reports" / name / "params.yaml", check=[])
    ).split("; ")
    assert data and networks and seeds.endswith(" seeds")


def test_a_key_that_is_an_english_word_is_one_where_it_stands_alone():
    assert style.display("mechanisms") == "no-cue to cue-trained"
    assert style.display("(mechanisms, reset)") == "(no-cue to cue-trained, BatchNorm recomputed)"
    assert style.display("their mechanisms differ") == "their mechanisms differ"


def test_a_number_is_the_width_or_the_share_of_the_cue():
    assert style.display("cued_16 to rates/cbft_01") == "cue-trained, width 16 to CBFT at rate .01"
    assert style.display("cued_60") == "cue-trained, 60 %"


def test_variants_and_steps_are_words():
    assert style.display("nli_forced/none") == "NLI models without counterexamples"
    assert style.display("nli/step160") == "NLI models, step 160"
    assert style.display("finetuned_80/cbft_no_barrier") == (
        "CBFT from 80 % cue without its barrier loss"
    )
