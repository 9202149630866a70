"""Profiles are differences: what they change, what they take out, and what they leave alone."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from basins import profiles
from basins.errors import UserError

BASE = """\
# The head comment.
name: laptop             # of the run
workers: auto            # processes
train:
  nocue: &recipe
    epochs: 10           # passes
    seeds: [0, 1, 2]     # one model each
    method: {name: scratch, lr: 0.2}  # how
  cued:
    <<: *recipe
    epochs: 20           # longer
figures:
  a: {name: x}           # first figure
  b: {name: y}           # second figure
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "laptop.yaml").write_text(BASE)
    return tmp_path


def rendered(folder: Path, overlay: str) -> str:
    (folder / "other.yaml").write_text(overlay)
    return profiles.render(folder, "other")


def test_the_base_is_rendered_as_it_is_written(folder: Path) -> None:
    assert profiles.render(folder, "laptop") == BASE


def test_only_what_is_named_changes_and_comments_stay(folder: Path) -> None:
    text = rendered(folder, "name: other\ntrain:\n  nocue: {epochs: 2, seeds: [5]}\n")
    expected = BASE.replace("name: laptop             #", "name: other              #")
    expected = expected.replace("epochs: 10", "epochs: 2 ").replace("[0, 1, 2]", "[5]")
    assert [line.split() for line in text.splitlines()] == [
        line.split() for line in expected.splitlines()
    ]


def test_new_keys_come_with_their_comments(folder: Path) -> None:
    text = rendered(folder, "figures:\n  c:\n    name: z  # third figure\n")
    assert "name: z  # third figure" in text
    assert list(YAML(typ="safe").load(text)["figures"]) == ["a", "b", "c"]


def test_null_takes_a_key_out(folder: Path) -> None:
    text = rendered(folder, "workers: null\nfigures: {a: null}\n")
    content = YAML(typ="safe").load(text)
    assert "workers" not in content
    assert content["figures"] == {"b": {"name": "y"}}
    assert "null" not in text
    assert "second figure" in text


@pytest.mark.parametrize("overlay", ["figures: {z: null}\n", "train: {cued: {seeds: null}}\n"])
def test_null_for_what_is_not_there_is_refused(folder: Path, overlay: str) -> None:
    with pytest.raises(UserError, match="null for '(z|seeds)'"):
        rendered(folder, overlay)


def test_a_section_that_is_replaced_keeps_nothing_of_the_base(folder: Path) -> None:
    text = rendered(folder, "replaces: [figures, train]\nfigures: {c: {name: z}}\n")
    content = YAML(typ="safe").load(text)
    assert content["figures"] == {"c": {"name": "z"}} and content["train"] == {}
    assert content["workers"] and "replaces" not in content
    with pytest.raises(UserError, match="replaces 'pictures', which is no section"):
        rendered(folder, "replaces: [pictures]\n")


def test_with_the_sections_that_a_profile_replaces_go_their_labels(folder: Path) -> None:
    base = folder / "laptop.yaml"
    base.write_text(base.read_text() + "labels:\n  cued: cue-trained\n")
    read = YAML(typ="safe").load
    assert read(rendered(folder, "workers: 3\n"))["labels"] == {"cued": "cue-trained"}
    own = "replaces: [train]\ntrain: {text: {name: z}}\nlabels: {text: read}\n"
    assert read(rendered(folder, own))["labels"] == {"text": "read"}


def test_what_is_inherited_follows_the_recipe_it_is_from(folder: Path) -> None:
    content = YAML(typ="safe").load(rendered(folder, "train: {nocue: {seeds: [7]}}\n"))
    assert content["train"]["cued"]["seeds"] == [7]
    assert content["train"]["cued"]["epochs"] == 20


def test_a_change_to_what_is_inherited_stays_where_it_is_made(folder: Path) -> None:
    content = YAML(typ="safe").load(rendered(folder, "train: {cued: {method: {lr: 0.5}}}\n"))
    assert content["train"]["cued"]["method"] == {"name": "scratch", "lr": 0.5}
    assert content["train"]["nocue"]["method"] == {"name": "scratch", "lr": 0.2}


def test_an_unknown_profile_lists_those_there_are(folder: Path) -> None:
    (folder / "smoke.yaml").write_text("name: smoke\n")
    with pytest.raises(UserError, match=r"^no profile '../x'; there are: laptop, smoke$"):
        profiles.render(folder, "../x")


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("a: 1", "a: 1  # with a comment", []),
        ("a: 1", "a: 2", ["a: 1 -> 2"]),
        ("a: {b: 1, c: 2}", "a: {c: 2, b: 1}", []),
        ("a: {b: 1}", "a: {b: 1, c: [1, 2]}", ["a.c: absent -> [1, 2]"]),
        ("a: {b: 1, c: 2}", "a: {b: 1}", ["a.c: 2 -> absent"]),
        ("a: 1", "a: 1\nb: null", ["b: absent -> None"]),
        ("a: [1, 2]", "a: [2, 1]", ["a: [1, 2] -> [2, 1]"]),
        ("x: &x {b: 1}\ny: *x", "x: &x {b: 2}\ny: *x", ["x.b: 1 -> 2", "y.b: 1 -> 2"]),
    ],
)
def test_changes_name_every_leaf_that_differs(old: str, new: str, changed: list[str]) -> None:
    assert profiles.changes(old, new) == changed


def test_many_changes_are_counted_by_section() -> None:
    few = [f"a.{k}: 1 -> 2" for k in range(profiles.FEW)]
    assert profiles.summary(few) == few
    assert profiles.summary([*few, "b: 1 -> 2"]) == [f"a: {profiles.FEW} settings", "b: 1 settings"]
