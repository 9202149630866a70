"""dvc.yaml has a stage for every script, and every stage depends on the code that it comes to."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from basins import layout, profiles
from basins.params import read

PROJECT = Path(__file__).parents[1]
STAGES = YAML(typ="safe").load((PROJECT / "dvc.yaml").read_text())["stages"]


@pytest.mark.parametrize("name", [name for name in STAGES if name != "check"])
def test_a_stage_depends_on_its_code_and_on_no_module_by_name(name):
    stage = STAGES[name].get("do", STAGES[name])
    each = "@${key}" if "do" in STAGES[name] else ""
    assert stage["deps"][0] == f".cache/code/{name}{each}"
    assert not [dep for dep in stage["deps"] if dep.startswith(("basins", "stages"))]
    assert stage["cmd"] == f"python stages/{name}.py" + (" ${key}" if each else "")
    assert STAGES[name].get("foreach", f"${{{name}}}") == f"${{{name}}}"


def test_labels_concern_only_the_stages_that_write_words():
    """The report depends on them through the copy of all params, and the ledger is in keys."""
    stages = {name: stage.get("do", stage) for name, stage in STAGES.items()}
    assert [name for name in stages if "labels" in stages[name].get("params", [])] == ["figures"]
    assert "reports/${profile}/params.yaml" in stages["report"]["deps"]
    params = read(PROJECT / "params.yaml", check=[])
    bare = params.model_copy(update={"labels": {}})
    assert params.labels and [*layout.stages(params)] == [*layout.stages(bare)]


def test_the_layout_knows_the_same_stages():
    params = read(PROJECT / "params.yaml", check=[])
    expected = set()
    for name, stage in STAGES.items():
        keys = getattr(params, name) if "foreach" in stage else None
        expected |= {name} if keys is None else {f"{name}@{key}" for key in keys}
    assert {stage for stage, _, _ in layout.stages(params)} == expected - {"check"}


def test_the_lock_holds_the_stages_of_the_laptop_and_no_others(tmp_path):
    lock = PROJECT / "dvc.lock"
    file = tmp_path / "params.yaml"
    file.write_text(profiles.render(PROJECT / "profiles", "laptop"))
    stages = {stage for stage, _, _ in layout.stages(read(file, check=[]))}
    assert set(YAML(typ="safe").load(lock.read_text())["stages"]) == stages | {"check"}
    assert len(stages) < 40 and lock.stat().st_size < 120_000


def test_every_stage_script_says_what_it_does_in_sixty_lines():
    for script in (PROJECT / "stages").glob("*.py"):
        text = script.read_text()
        docstring = ast.get_docstring(ast.parse(text))
        assert docstring and docstring.split("\n\n")[0].endswith("."), script
        assert text.count("\n") <= 60, script
