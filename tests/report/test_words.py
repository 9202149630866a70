"""What readers see of the committed reports is in words: no key of the settings stands there."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from basins import layout
from basins.figures import style
from basins.params import read
from basins.registry import find
from basins.report import contents, page, profile, site, words

PROJECT = Path(__file__).parents[2]
PROFILES = (
    "cifar",
    "cifar100",
    "cifar_control",
    "cifar_cue_only",
    "cifar_rates",
    "cola",
    "dominoes",
    "laptop",
    "merging",
    "merging_text",
    "mnli",
    "mnli_crossed",
    "mnli_curves",
    "mnli_factors",
    "mnli_regime",
    "paper_column",
    "paws",
    "paws_swept",
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


class Visible(HTMLParser):
    """The texts that readers of a page see or hear, but for code, settings and names of files."""

    UNSEEN = ("script", "style", "title", "code", "pre")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: dict[str, None] = {}
        self.unseen = 0
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.unseen += tag in self.UNSEEN
        said = [text for name, text in attrs if name in ("aria-label", "alt", "title")]
        self.found.update(dict.fromkeys(filter(None, said)))

    def handle_endtag(self, tag):
        self.unseen -= tag in self.UNSEEN

    def handle_data(self, data):
        text = data.strip()
        if text and not self.unseen and not text.endswith((".csv", ".csv.gz")):
            self.found[text] = None


def texts(name: str) -> list[str]:
    """Return what a reader sees of a profile's page in the site, before any is drawn."""
    params = read(PROJECT / "reports" / name / "params.yaml", check=[])
    _, rows, claims = profile.rows_of(params)
    sections = params.model_dump(include={"claims", "figures", "tables"})
    with style.labelled(layout.labels(params)):
        figures = {
            key: page.Drawing(
                profile.heading(choice.name, rows, choice.options),
                find("figures", choice.name, "caption")(**choice.options),
                '<svg xmlns="http://www.w3.org/2000/svg"/>',
            )
            for key, choice in params.figures.items()
        }
        tables = {
            key: find("tables", choice.name, "table")(rows, **choice.options)
            for key, choice in params.tables.items()
        }
    made = profile.Profile(
        params,
        rows,
        claims,
        figures,
        tables,
        contents.all_sources(sections),
        profile.presets(sections["claims"]),
        json.loads((PROJECT / "reports" / name / "provenance.json").read_text()),
    )
    html = profile.render(made, site.tabs(PROFILES, name))
    _, there, data = html.partition('id="explorer-data">')  # not in a profile without paths
    packed = json.loads(data.partition("</script>")[0]) if there else {}
    chosen = [
        word for kind in ("words", "titles", "measures") for word in packed.get(kind, {}).values()
    ]
    profiles = set(map(words.spaced, PROFILES))
    return [text for text in [*Visible(html).found, *chosen] if text not in profiles]


@pytest.mark.parametrize("name", PROFILES)
def test_no_key_of_the_settings_is_shown(name, monkeypatch):
    monkeypatch.chdir(PROJECT)
    shown = {text: keys(text) for text in texts(name)}
    assert {text: found for text, found in shown.items() if found} == {}


@pytest.mark.parametrize("name", PROFILES)
def test_the_words_of_experiments_tell_them_apart_and_are_no_keys(name):
    params = read(PROJECT / "reports" / name / "params.yaml", check=[])
    with style.labelled(layout.labels(params)):
        shown = [style.display(experiment) for experiment in params.connect]
    assert len(set(shown)) == len(shown)
    assert not [word for word in shown if keys(word) or word == "mechanisms"]


@pytest.mark.parametrize("name", PROFILES)
def test_the_line_at_the_top_names_data_and_networks(name):
    data, networks, seeds = profile.about(
        read(PROJECT / "reports" / name / "params.yaml", check=[])
    ).split("; ")
    assert data and networks and seeds.endswith(" seeds")
    assert name != "dominoes" or data == "Fashion-MNIST above CIFAR-10"


def labels(name: str) -> dict[str, str]:
    return layout.labels(read(PROJECT / "reports" / name / "params.yaml", check=[]))


def test_a_profile_names_its_keys_by_patterns_and_one_by_one():
    own = labels("cifar")
    assert own["cued_80"] == "cue-trained, {80} %" and "cued_60" not in own
    assert own["finetuned_80/cbft_no_barrier"] == "CBFT from 80 % cue without its {barrier} loss"
    shown = {key: style.display(key, own) for key in own}
    assert shown["finetuned_80"] == "fine-tuned from 80 % cue"
    assert shown["finetuned_80/small"] == "low-rate fine-tuning from 80 % cue"
    assert shown["finetuned_80/lpft"] == "LP-FT from 80 % cue"
    assert shown["finetuned_80/scratch"] == "training from scratch on clean images"


def test_profiles_of_one_site_use_their_own_words():
    claim = {
        "statistic": "mean accuracy on RI of cued_16", "confound": "", "reason": "", "unseen": 0,
        "p_holm": None, "matches": "", "reported": None,
        **dict.fromkeys(("estimate", "ci_low", "ci_high", "threshold", "smallest_effect"), 0.5),
    }  # fmt: skip
    named = contents.written({**claim, "labels": labels("study_images")})
    assert named["statistic"] == "mean accuracy on RI of cue-trained, width 16"
    assert contents.written({**claim, "labels": labels("cifar")})["statistic"].endswith("cued 16")
    assert contents.written(claim)["unit"] == " %"


def test_provenance_is_told_in_words():
    made = {
        "commit": "0" * 40,
        "data": {"nli": {"sha256": "ab", "files_md5": {}}, "cifar10": {"files_md5": {"a_1": "cd"}}},
        "double_entry": {"early": {"largest_difference": 4.919e-07, "by_batch": 0}},
    }
    assert words.facts(made) == {
        "commit": "0" * 40,
        "data": {
            "synthetic sentence pairs (NLI)": {"sha256": "ab"},
            "CIFAR-10": {"MD5 of its files": ["a_1: cd"]},
        },
        "losses computed twice": {
            "early": {
                "largest difference (nats, over the largest logit above 1)": "4.9e-07",
                "items whose losses depend on the rest of a batch": 0,
            }
        },
    }


def test_no_line_ends_between_a_number_and_its_sign():
    assert words.tied("65.8 % at n = 3 sets") == "65.8\u00a0% at n\u00a0=\u00a03 sets"
