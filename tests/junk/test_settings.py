"""Params and profiles with junk in them: taken as they are meant, or refused in one line.

There are `BASINS_CASES` of each property (tests/conftest.py).
"""

from __future__ import annotations

import copy
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from basins import params, profiles
from basins.errors import UserError
from tests.junk.mangle import line, mangled

PROFILES = Path(__file__).parents[2] / "profiles"
# What is kept of the laptop's profile: something of every kind, and what that refers to.
KEPT = {
    "data": ["shapes", "grammar", "nli"],
    "train": ["nocue", "cued"],
    "finetune": ["finetuned"],
    "classify": ["nli", "nli_forced", "nli_forks"],
    "connect": ["mechanisms", "nli", "nli_forced", "nli_forks"],
    "probe": ["nli"],
    "plane": ["nli"],
    "merge": ["seeds"],
    "sharpness": ["nli"],
    "aspect": ["connectivity"],
    "clusters": ["nli_forced"],
    "toy": ["theory"],
    "figures": ["published"],
    "tables": ["published"],
}
CLAIMS = {"mmc": "c12_separate", "lcrgs": "control_forced", "sok": "d7_volume"}

At = tuple[str | int, ...]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("junk")


@cache
def small() -> dict[str, Any]:
    whole = YAML(typ="safe").load(profiles.render(PROFILES, "laptop"))
    for section, names in KEPT.items():
        whole[section] = {name: whole[section][name] for name in names}
    whole["claims"] = {paper: {key: whole["claims"][paper][key]} for paper, key in CLAIMS.items()}
    return json.loads(json.dumps(whole))  # what aliases share is no longer the same object


def places(value: Any, at: At = ()) -> list[At]:
    """Return where every value is, sections and lists included."""
    found = [at] if at else []
    if nested(value):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        found += [place for key, inner in items for place in places(inner, (*at, key))]
    return found


def nested(value: Any) -> bool:
    return isinstance(value, dict | list)


def inside(content: Any, at: At) -> Any:
    for key in at:
        content = content[key]
    return content


KEYS = st.text(max_size=8) | st.sampled_from(["name", "root", "options", "model_config", "self"])
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**30, -(10**400), "name", "../x", "resnet", "nocue", 0, -1, [], {}])
    | st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e308, "", "x" * 9999, "\x1b[2J"])
    | st.floats(allow_subnormal=False)  # this process may flush them to zero by now
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=4,
)


def judged(content: Any) -> None:
    """Check that a content is refused in one line, or taken with every value as it is."""
    try:
        taken = params.checked(content)
    except UserError as error:
        said = line(error)
        assert re.match(r"[^ ].*: ", said)
        return
    made = taken.model_dump()
    for section in ("data", "train", "finetune", "connect", "merge", "statistics", "figures"):
        for at in places(content[section]):
            if not nested(written := inside(content[section], at)):
                kept = inside(made[section], at)
                assert kept == written and isinstance(kept, type(written) | float)


@given(at=st.sampled_from(places(small())), junk=JUNK)
@example(at=("device",), junk="\x85")
def test_junk_in_the_place_of_anything(at: At, junk: Any) -> None:
    content = copy.deepcopy(small())
    inside(content, at[:-1])[at[-1]] = junk
    judged(content)


@given(at=st.sampled_from(places(small())), junk=JUNK, extra=KEYS)
@example(at=("train", "nocue", "net", "depth"), junk=8, extra="\x1b\r\n")
def test_junk_beside_anything(at: At, junk: Any, extra: str) -> None:
    content = copy.deepcopy(small())
    section = inside(content, at[:-1])
    if isinstance(section, list):
        section.append(junk)
    else:
        section[extra] = junk
    judged(content)


@given(at=st.lists(st.sampled_from(places(small())), min_size=1, max_size=3))
def test_anything_may_be_missing(at: list[At]) -> None:
    content = copy.deepcopy(small())
    for place in sorted(at, key=str, reverse=True):
        try:
            del inside(content, place[:-1])[place[-1]]
        except (KeyError, IndexError):
            continue  # it went with another
    judged(content)


@given(st.sampled_from(places(small())), st.sampled_from(places(small())))
def test_anything_may_stand_elsewhere(one: At, other: At) -> None:
    content = copy.deepcopy(small())
    moved = copy.deepcopy(inside(content, other))
    inside(content, one[:-1])[one[-1]] = moved
    judged(content)


FLAT = "profile: x\ndevice: auto\ntrain: &a {k: [1, 2.5, null, 'q']}\nprobe: {<<: *a, b: .nan}\n"


@given(mangled(FLAT.encode()))
def test_a_torn_file_is_refused(folder: Path, content: bytes) -> None:
    (folder / "params.yaml").write_bytes(content)
    with pytest.raises(UserError) as caught:
        params.read(folder / "params.yaml", check=[])
    assert line(caught.value).startswith(f"{folder / 'params.yaml'}: ")


BASE = (
    "a: 1\ndata:\n  x: {name: shapes}\n  y: &y {name: nli, seed: 0}\n"
    "train:\n  z: {<<: *y, seed: 1}\n"
)
OVER = "a: 2\nextends: laptop\nreplaces: [data]\ntrain: {z: {seed: null}, w: {name: q}}\n"


@given(st.one_of(mangled(OVER.encode()), JUNK.map(lambda of: json.dumps(of).encode())))
def test_a_profile_of_junk_is_refused(folder: Path, content: bytes) -> None:
    (folder / "profiles").mkdir(exist_ok=True)
    (folder / "profiles" / "laptop.yaml").write_text(BASE)
    (folder / "profiles" / "other.yaml").write_bytes(content)
    try:
        text = profiles.render(folder / "profiles", "other")
    except UserError as error:
        line(error)
        return
    assert isinstance(YAML(typ="safe").load(text), dict)
