"""The real pipeline at smoke size, in a copy of the project: rerun, interrupted, extended.

Tests run in the order of the file and share one finished run, which none of them changes.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from basins import results
from basins.store import file_hash
from tests.processes import LIMIT, within
from tests.projects import PROJECT, Runner, commit, edit, environment, lay_out, succeed

pytestmark = pytest.mark.pipeline

RECIPES = ("nocue", "cued")
METHODS = {"small", "medium", "large", "llrt", "lpft", "cbft", "scratch"}


def new_project(runner: Runner, folder: Path) -> Path:
    lay_out(folder)
    succeed(folder, "git", "init", "--quiet")
    commit(folder)
    runner.succeed(folder, "stages/switch.py", "smoke", "--discard")
    edit(folder, "workers: auto", "workers: 1")  # the cores are shared with the other tests
    return folder


def repro(runner: Runner, project: Path, *targets: str) -> str:
    return runner.succeed(project, "-m", "dvc", "repro", *targets)


def key(item: Path) -> dict[str, Any]:
    """Return what an item of the store was made from."""
    return json.loads((item / "item.json").read_text())["key"]


@pytest.fixture(scope="module")
def finished(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = new_project(runner, tmp_path_factory.mktemp("finished"))
    repro(runner, project)
    commit(project)
    return project


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def test_one_command_leaves_everything(finished: Path):
    tuned = [f"finetuned/{method}" for method in METHODS]
    for recipe in (*RECIPES, *tuned):
        for seed in (0, 1):
            folder = finished / "models" / recipe / f"seed{seed}"
            assert {path.name for path in folder.iterdir()} == {
                "model.safetensors",
                "config.json",
                "log.csv",
            }
    for seed in (0, 1, 2, 3):
        folder = finished / "models" / "nli" / f"seed{seed}"
        text = AutoModelForSequenceClassification.from_pretrained(folder)
        assert set(text.config.label2id) == {"entailment", "non-entailment"}
        assert AutoTokenizer.from_pretrained(folder)("the", "the")["token_type_ids"][-1] == 1
    reports = finished / "reports" / "smoke"
    for name in ("index.html", "claims.json", "metrics.json", "provenance.json", "params.yaml"):
        assert (reports / name).stat().st_size > 0
    for name in ("paths", "barriers", "probes", "invariance", "summary/paths", "clusters"):
        assert len(results.read(results.file_of(reports / "results", name))) > 3
    params = YAML(typ="safe").load(finished / "params.yaml")
    assert {path.stem for path in (reports / "figures").glob("*.svg")} == set(params["figures"])
    assert {path.stem for path in (reports / "tables").glob("*.md")} == {
        *params["tables"],
        "ledger",
    }
    twice = json.loads((reports / "provenance.json").read_text())["double_entry"]
    assert set(twice) == set(params["connect"])
    for came in twice.values():
        assert came["examples"] > 0 and came["plain"] == 0 and came["largest_difference"] < 1e-3
    # Four models, every two, as they are and with their units matched in two ways.
    assert len(list((finished / "losses" / "mechanisms").glob("*.safetensors"))) == 18
    # Every method with the model that it started from, seed by seed.
    assert len(list((finished / "losses" / "finetuned").glob("*.safetensors"))) == 2 * len(METHODS)
    rows = (reports / "results" / "connect" / "published.csv").read_text()
    assert rows.count(",moving,") > 0 and ",reset," not in rows
    assert not list((finished / ".cache" / "tmp").iterdir())


def test_repro_again_does_nothing(runner: Runner, finished: Path):
    before = (finished / "dvc.lock").read_text()
    assert "Running stage" not in repro(runner, finished)
    assert (finished / "dvc.lock").read_text() == before
    assert succeed(finished, "git", "status", "--porcelain") == ""


@pytest.mark.parametrize("stage", ["clusters", "analyze", "claims", "figures", "report"])
def test_dvc_knows_what_a_stage_reads(runner: Runner, copy: Path, stage: str):
    of = YAML(typ="safe").load(copy / "dvc.yaml")["stages"][stage]
    outs = [next(iter(out)) if isinstance(out, dict) else out for out in of["outs"]]
    known = [*(item.replace("${profile}", "smoke") for item in [*of["deps"], *outs]), "params.yaml"]
    runner.succeed(copy, str(PROJECT / "tests/opened.py"), "opened", f"stages/{stage}.py")
    read = [Path(line) for line in (copy / "opened").read_text().splitlines()]
    read = [file for file in read if (copy / file).is_file()]  # some are only looked for
    # Losses are written with the rows of `connect`, on which a stage depends that reads them.
    rows = [file for file in read if file.parts[0] in ("data", "models", "reports")]
    unknown = [file for file in rows if not any(file.is_relative_to(item) for item in known)]
    assert rows and not unknown


def test_pretraining_leaves_another_process_to_train_images(runner: Runner, copy: Path):
    store = copy / ".cache"
    for kind in ("text", "train"):
        shutil.rmtree(store / kind)
    edit(copy, "workers: 1", "workers: 2")
    runner.succeed(copy, "stages/pretrain.py", "grammar")
    assert len(list((store / "text").iterdir())) == 1
    assert {key(item)["method"]["name"] for item in (store / "train").iterdir()} == {"scratch"}


def test_adding_a_seed_trains_that_seed_only(runner: Runner, copy: Path):
    made = {item: item.stat().st_mtime_ns for item in (copy / ".cache" / "train").iterdir()}
    edit(copy, "seeds: [0, 1]", "seeds: [1, 0, 2]")
    repro(runner, copy, "train@nocue")
    assert sorted(path.name for path in (copy / "models" / "nocue").iterdir()) == [
        "SHA256SUMS",
        "seed0",
        "seed1",
        "seed2",
    ]
    after = {item: item.stat().st_mtime_ns for item in (copy / ".cache" / "train").iterdir()}
    assert made.items() <= after.items()
    # The recipe's own, and perhaps the other recipe's, which shares its list and an idle core.
    added = [key(item) for item in after.keys() - made]
    assert {one["seed"] for one in added} == {2}
    assert [(one["cue_proportion"], one["order"]) for one in added].count((0.0, 0)) == 1


def test_interrupted_it_says_so_and_leaves_nothing_half_written(finished: Path, tmp_path: Path):
    project = tmp_path / "interrupted"
    project.mkdir()
    for name in ("basins", "stages", "data"):
        (project / name).symlink_to(finished / name)
    shutil.copy(finished / "params.yaml", project)
    edit(project, "epochs: 2", "epochs: 2000")
    edit(project, "workers: 1", "workers: 2")
    command = [sys.executable, "stages/train.py", "nocue"]
    env = environment(project)
    hears = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a script's background does not
    training = subprocess.Popen(
        command, cwd=project, env=env, stderr=subprocess.PIPE, text=True, preexec_fn=hears
    )
    temporary = project / ".cache" / "tmp"
    try:
        assert within(LIMIT, lambda: temporary.exists() and len(list(temporary.iterdir())) == 2)
        training.send_signal(signal.SIGINT)
        _, said = training.communicate(timeout=60)
    finally:
        training.kill()  # where it does not hear, it would train for hours
    assert training.returncode == 130
    assert said.strip() == (
        "interrupted: finished items are kept; run the same command to continue"
    )
    assert not (project / "models").exists()
    assert not list((project / ".cache").glob("train/*")) and not list(temporary.iterdir())


def test_a_divergent_method_is_named_and_the_others_are_kept(runner: Runner, copy: Path):
    edit(copy, "        lr: 0.001\n", "        lr: 1.0e+30\n")
    made = set((copy / ".cache" / "train").iterdir())
    edit(copy, "llrt: {name: llrt, ", "llrt: {name: llrt, epochs: 100, ")
    line = runner.refuse(copy, "stages/finetune.py", "finetuned")
    assert "finetune finetuned: small, seed 0: diverged in epoch 1" in line
    assert "small, seed 1: diverged" in line and "others finished and are kept" in line
    added = set((copy / ".cache" / "train").iterdir()) - made
    assert len(added) == 2  # the method that has changed beside it
    assert (copy / "models" / "finetuned" / "small" / "seed0" / "model.safetensors").exists()


def documented(file: str) -> str:
    """Return the code that the README or `docs/extend.md` gives for a new file."""
    pages = "".join((PROJECT / page).read_text() for page in ("README.md", "docs/extend.md"))
    _, _, after = pages.partition(f"`{file}`:\n\n```python\n")
    code, _, _ = after.partition("```")
    assert code
    return code


def test_the_documented_files_are_all_that_is_added(runner: Runner, copy: Path):
    """A dataset, a net and a path, each one file, then its name in the params."""
    for file in ("basins/data/stripes.py", "basins/nets/lenet.py", "basins/paths/arc.py"):
        (copy / file).write_text(documented(file))
    made, evaluated = (set((copy / ".cache" / kind).iterdir()) for kind in ("train", "points"))
    # Nothing names them yet: they are looked at, and nothing is run again.
    assert "Running stage 'connect" not in repro(runner, copy, "connect@mechanisms")
    assert set((copy / ".cache" / "points").iterdir()) == evaluated
    edit(copy, "  shapes:\n    name: shapes ", "  stripes:\n    name: stripes ")
    edit(copy, "    size: 16             # pixels per side\n", "")
    edit(copy, "data: shapes", "data: stripes")
    edit(copy, "dataset: shapes", "dataset: stripes")
    resnet, lenet = ["name: resnet", "depth: 8", "width: 8"], ["name: lenet", "width: 6"]
    edit(copy, *("".join(f"      {line}\n" for line in net) for net in (resnet, lenet)))
    edit(copy, "- {name: linear}", "- {name: linear}\n      - {name: arc}")
    repro(runner, copy, "connect@mechanisms")
    assert made < set((copy / ".cache" / "train").iterdir())
    assert '"lenet"' in (copy / "models" / "cued" / "seed1" / "config.json").read_text()
    rows = copy / "reports" / "smoke" / "results" / "connect" / "mechanisms.csv"
    rows = rows.read_text().splitlines()
    assert sum(",arc," in row for row in rows) == sum(",linear," in row for row in rows) > 0


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("cue_proportion: 0.7", "cue_proportion: 1.5", "train.cued.cue_proportion: 1.5"),
        ("seeds: [0, 1]", "seeds: [0, 0]", "train.nocue.seeds: [0, 0]"),
        ("name: resnet", "name: resnest", "no 'resnest' in basins/nets/; there are: "),
        ("name: shapes ", "name: shapez ", "no 'shapez' in basins/data/; there are: "),
        ("  confidence:", "  confidense:", "statistics.confidence: missing"),
        ("data: shapes", "data: shape", "no 'shape'; there are: shapes"),
    ],
)
def test_bad_params_are_refused_before_any_work(runner, finished, tmp_path, old, new, expected):
    project = tmp_path / "bad"
    project.mkdir()
    for name in ("basins", "stages"):
        (project / name).symlink_to(finished / name)
    shutil.copy(finished / "params.yaml", project)
    edit(project, old, new)
    assert expected in runner.refuse(project, "stages/train.py", "cued")
    assert not (project / ".cache").exists() and not (project / "models").exists()


def test_names_that_are_not_there_are_refused(runner: Runner, finished: Path):
    for stage, section in (("data", "data"), ("train", "train"), ("connect", "connect")):
        line = runner.refuse(finished, f"stages/{stage}.py", "nothing")
        assert f"{section}: no 'nothing'; there are: " in line
    assert "no profile 'nothing'" in runner.refuse(finished, "stages/switch.py", "nothing")


def test_missing_real_data_is_said_file_by_file(runner: Runner, tmp_path: Path):
    project = new_project(runner, tmp_path / "real")
    runner.succeed(project, "stages/switch.py", "cifar", "--discard")
    batches = tmp_path / "cifar-10-batches-py"
    batches.mkdir()
    (batches / "data_batch_1").write_bytes(b"not a batch")
    line = runner.refuse(project, "stages/data.py", "cifar10", BASINS_DATA=str(tmp_path))
    assert "missing data_batch_2" in line and "damaged data_batch_1" in line
    assert list((project / "data").iterdir()) == [project / "data" / ".gitignore"]


def test_edits_by_hand_survive_a_switch(runner: Runner, copy: Path):
    edit(copy, "epochs: 2", "epochs: 3")
    edited = file_hash(copy / "params.yaml")
    line = runner.refuse(copy, "stages/switch.py", "laptop")
    assert "train.nocue.method.epochs: 2 -> 3" in line and "--discard" in line
    assert "edited" in runner.succeed(copy, "stages/switch.py", "smoke")
    assert file_hash(copy / "params.yaml") == edited
