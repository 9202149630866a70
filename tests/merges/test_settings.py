"""Which models a merge takes together, and what of its settings is refused."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from basins import layout, profiles
from basins.errors import UserError
from basins.params import read
from basins.settings import Params

PROFILES = Path(__file__).parents[2] / "profiles"
IMAGES = {
    "data": "shapes", "models": ["finetuned/small", "finetuned/cbft"],
    "sets": "seed",
    "base": "cued", "alignments": [{"name": "none"}], "batchnorm": ["reset", "repair"],
    "calibration": {"cue_proportion": 0.0, "size": 256}, "rows": 64,
    "techniques": [{"name": "uniform_soup"}, {"name": "ties", "density": 0.5}],
    "eval_sets": ["nc"],
}  # fmt: skip
TEXT = IMAGES | {
    "data": "nli", "models": ["nli"], "sets": 5, "base": "grammar",
    "batchnorm": ["interpolate"], "calibration": None, "eval_sets": ["test"],
}  # fmt: skip


@pytest.fixture
def check(tmp_path: Path):
    content = YAML(typ="safe").load(profiles.render(PROFILES, "laptop"))
    content["figures"], content["tables"], content["labels"] = {}, {}, {}
    content = json.loads(json.dumps(content))

    def check(merge: dict[str, Any]) -> Params:
        file = tmp_path / "params.yaml"
        file.write_text(json.dumps(copy.deepcopy(content) | {"merge": {"all": merge}}))
        return read(file, check=["merge"])

    return check


def ids(sets) -> list[tuple[list[str], str | None]]:
    return [
        ([m.relative_to("models").as_posix() for m in models], base and base.as_posix())
        for models, base in sets
    ]


def test_sets_by_seed_have_the_base_of_their_seed(check):
    params = check(IMAGES)
    found = ids(layout.merged(params, params.merge["all"]))
    assert found == [
        ([f"finetuned/small/seed{k}", f"finetuned/cbft/seed{k}"], f"models/cued/seed{k}")
        for k in range(3)
    ]


def test_sets_by_number_share_no_model(check):
    params = check(TEXT)
    found = ids(layout.merged(params, params.merge["all"]))
    # Twelve models make two sets of five; two are left over.
    assert found == [
        ([f"nli/seed{k}" for k in range(start, start + 5)], "models/grammar") for start in (0, 5)
    ]
    single = check(TEXT | {"base": "nli/seed3"})
    assert {b for _, b in ids(layout.merged(single, single.merge["all"]))} == {"models/nli/seed3"}
    none = check(TEXT | {"base": None})
    assert {b for _, b in ids(layout.merged(none, none.merge["all"]))} == {None}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"data": "shape"}, "merge.all.data: no 'shape'"),
        ({"models": ["finetuned/tiny"]}, "merge.all.models: no 'finetuned/tiny'"),
        ({"models": ["cued", "nli"]}, "merge.all.models: different nets"),
        ({"models": ["cued"]}, "merge.all.sets: 'seed' leaves no two models"),
        ({"sets": 9}, "merge.all.sets: 9 leaves no two models"),
        ({"sets": 2, "models": ["cued"]}, "merge.all.base: 'cued' has a model of each seed"),
        ({"base": "wide"}, "merge.all.base: no 'wide'"),
        ({"base": "cued/seed7"}, "merge.all.base: no 'cued/seed7'"),
        ({"calibration": None}, "merge.all.calibration: missing"),
        ({"techniques": [{"name": "soup"}]}, "merge.all.techniques.0: no 'soup'.*uniform_soup"),
        ({"techniques": [{"name": "ties", "density": 2.0}]}, r"techniques.0.density: 2.0 is not"),
        ({"techniques": [{"name": "best"}] * 2}, "'best' is there twice"),
        ({"batchnorm": ["repaired"]}, "batchnorm.0: 'repaired' is not allowed"),
    ],
)
def test_what_is_wrong_is_one_line(check, change, line):
    with pytest.raises(UserError, match=line) as caught:
        check(IMAGES | change)
    assert "\n" not in str(caught.value)
