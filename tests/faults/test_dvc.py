"""DVC as its users use it: metrics, plots, experiments, params and a remote of a finished run."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.faults import tiny_project as tiny
from tests.projects import Runner, commit, edit, refuse, succeed

pytestmark = pytest.mark.pipeline

METRICS = "reports/tiny/metrics.json"
CHANGED = ("train.cued.cue_proportion", "0.5")
READABLE = ("--only-changed", "--drop", r".*/|data$|models$|losses$|params\.yaml$")


@pytest.fixture(scope="module")
def project(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, committed as its user would."""
    folder = tmp_path_factory.mktemp("dvc") / "project"
    shutil.copytree(finished, folder)
    commit(folder)
    return folder


def dvc(runner: Runner, project: Path, *command: str) -> str:
    return runner.succeed(project, "-m", "dvc", *command)


def said(runner: Runner, project: Path, *command: str) -> dict:
    """Return what a command says as JSON, after the warnings that it begins with."""
    text = dvc(runner, project, *command, "--json")
    return json.loads(text[text.index("{") :])


def test_metrics_are_a_few_and_a_diff_names_what_changed(runner, project, tmp_path):
    copy = Path(shutil.copytree(project, tmp_path / "copy"))
    shown = json.loads((copy / METRICS).read_text())
    numbers = [value for value in shown.values() if isinstance(value, dict)]
    assert 0 < sum(map(len, numbers)) <= 40
    edit(copy, '"inconclusive": 1', '"inconclusive": 3', METRICS)
    changes = said(runner, copy, "metrics", "diff")[METRICS]
    assert {name: change["diff"] for name, change in changes.items()} == {
        "claims.inconclusive": 2,
        "claims_holm.inconclusive": 2,
    }


def test_plots_draw_the_rows_of_the_figures_and_a_diff_draws_both(runner, project, tmp_path):
    copy = Path(shutil.copytree(project, tmp_path / "copy"))
    rows = copy / "reports" / "tiny" / "results" / "summary"
    counts = {}
    for name in ("paths", "barriers", "probes"):
        header, first, *others = (rows / f"{name}.csv").read_text().splitlines()
        counts[name] = 2 * len(others) + 1  # in the commit one more than in the workspace
        (rows / f"{name}.csv").write_text("\n".join([header, *others]) + "\n")
    plots = said(runner, copy, "plots", "diff", "HEAD")["data"]
    assert {name.partition("::")[2] or name for name in plots} == set(counts)
    for name, [plot] in plots.items():
        content = plot["content"]
        values = content["data"]["values"]
        assert len(values) == counts[name.partition("::")[2] or name]
        assert {row["rev"] for row in values} == {"HEAD", "workspace"}
        encoding = content.get("spec", content)["encoding"]
        used = {encoding[axis]["field"] for axis in ("x", "y", "color")}
        assert used <= values[0].keys(), "columns that the rows do not have"


def test_an_experiment_changes_one_setting_and_leaves_the_tree(runner, project):
    before = tiny.content(project)
    command = ("exp", "run", "--temp", "--name", "half", "-S", "=".join(CHANGED), "train@cued")
    ran = dvc(runner, project, *command)
    assert "Running stage 'train@cued'" in ran and "'data@shapes' didn't change" in ran
    assert tiny.content(project) == before
    assert succeed(project, "git", "status", "--porcelain") == ""
    header, *lines = dvc(runner, project, "exp", "show", "--csv", *READABLE).strip().splitlines()
    columns = header.split(",")
    assert CHANGED[0] in columns and len(columns) < 12
    assert READABLE[2] in (tiny.PROJECT / "docs" / "reproduce.md").read_text()
    shown = [dict(zip(columns, line.split(","), strict=True)) for line in lines]
    values = {cells["Experiment"] or cells["rev"]: cells[CHANGED[0]] for cells in shown}
    assert values["half"] == CHANGED[1] and float(values["workspace"]) == 1.0
    assert CHANGED[0] in dvc(runner, project, "exp", "diff", "HEAD", "half")


def test_a_diff_of_params_names_what_changed(runner, project, tmp_path):
    copy = Path(shutil.copytree(project, tmp_path / "copy"))
    edit(copy, "cue_proportion: 1.0", "cue_proportion: 0.5")
    changes = said(runner, copy, "params", "diff")["params.yaml"]
    assert changes == {CHANGED[0]: {"old": 1.0, "new": 0.5, "diff": -0.5}}


def test_models_and_losses_go_to_a_remote_and_come_back(runner, project, tmp_path):
    copy, clone = Path(shutil.copytree(project, tmp_path / "copy")), tmp_path / "clone"
    succeed(tmp_path, "git", "clone", "--quiet", str(project), str(clone))
    for folder, command in ((copy, "push"), (clone, "pull")):
        remote = ("remote", "add", "--local", "--default", "storage", str(tmp_path / "remote"))
        dvc(runner, folder, *remote)
        dvc(runner, folder, command)
        assert succeed(folder, "git", "status", "--porcelain") == ""
    for name in ("models", "losses", "data"):
        kept = {place: value for place, value in tiny.content(project / name).items()}
        assert kept and tiny.content(clone / name) == kept


def test_a_clone_without_models_redraws_everything(runner, project, tmp_path):
    clone = tmp_path / "clone"
    succeed(tmp_path, "git", "clone", "--quiet", str(project), str(clone))
    for stage in ("claims", "figures", "report"):
        runner.succeed(clone, f"stages/{stage}.py", "--params", "reports/tiny/params.yaml")
    assert succeed(clone, "git", "status", "--porcelain") == ""
    assert "Running stage" not in dvc(runner, clone, "repro", "--allow-missing")


def test_a_change_of_a_figure_draws_and_nothing_else(runner, copy):
    edit(copy, "{name: path_curves,", "{name: path_curves, chance: 0.2,")
    said = dvc(runner, copy, "repro")
    ran = {line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage")}
    # analyze keeps the params beside the results
    assert ran == {"check", "analyze", "figures", "report"}


def test_dvc_reports_no_usage(runner, project):
    assert dvc(runner, project, "config", "core.analytics").strip() == "false"


def test_code_of_another_checkout_is_refused(project, tmp_path):
    """The package may be installed from one checkout, and a stage run in another."""
    copy = Path(shutil.copytree(project, tmp_path / "copy"))
    command = (sys.executable, "stages/check.py")
    assert succeed(copy, "env", f"PYTHONPATH={project}", *command) == ""
    edit(copy, "from __future__", "# changed\nfrom __future__", "basins/seeds.py")
    line = refuse(copy, "env", f"PYTHONPATH={project}", *command)
    assert "basins/seeds.py" in line and "PYTHONPATH=." in line
    assert succeed(copy, "env", "PYTHONPATH=.", *command) == ""
