"""Names in params.yaml end up in commands and in what DVC removes: a bad one comes to neither."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.faults import tiny_project as tiny
from tests.projects import Runner

pytestmark = pytest.mark.pipeline


@pytest.mark.parametrize(
    ("section", "name", "more"),
    [
        ("train", "x; touch pwned", ()),
        ("train", "../precious", ("--keep-going",)),
        ("data", "$(touch pwned)", ()),
        ("profile", "../../precious", ()),
    ],
)
def test_dvc_by_itself_runs_and_removes_nothing_of_a_bad_name(
    section: str, name: str, more: tuple[str, ...], runner: Runner, copy: Path
) -> None:
    for folder in (copy / "precious", copy.parent / "precious" / "results"):
        folder.mkdir(parents=True)
        (folder / "kept").touch()
    file = copy / "params.yaml"
    params = YAML().load(file)
    if section == "profile":
        params["profile"] = name
    else:
        params[section][name] = {**next(iter(params[section].values()))}
    YAML().dump(params, file)
    before = tiny.content(copy)
    done = runner.run(copy, *tiny.DVC, *more)
    assert done.returncode and "error: params.yaml: " in done.stderr
    after = tiny.content(copy)
    code = {name for name in before if name.startswith(".cache/code")}
    kept = {name: hashed for name, hashed in before.items() if name not in code}
    assert code and after == kept  # that is the output of the stage that refused
    assert (copy.parent / "precious" / "results" / "kept").exists()
