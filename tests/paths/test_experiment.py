"""Experiments from folders of models to losses along their curves, fitted ones included."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from basins import seeds
from basins.data import cued, disk
from basins.data.calibration import Calibration
from basins.errors import UserError
from basins.item import runner
from basins.nets import checkpoint
from basins.nets.control import Control
from basins.paths import bezier
from basins.paths.experiment import Experiment, measured
from basins.statistics.curves import evaluated, tables
from basins.weights import flatten
from tests.paths.test_points import CONFIG, LINEAR, by_hand, losses, models, sets

__all__ = ["models", "sets"]  # fixtures
OPTIONS = {
    "cue_proportion": 1.0,
    "epochs": 2,
    "batch_size": 128,
    "lr": 0.05,
    "momentum": 0.9,
    "weight_decay": 1e-4,
}
BEZIER = {"name": "bezier", **OPTIONS}
TS = (0.0, 0.5, 1.0)


@pytest.fixture
def prepare(models, sets):
    """Return an experiment on the networks of seeds 0 and 1, and two of a group."""
    starts = [Path(f"models/net/seed{k}") for k in (0, 1)]
    for number, label in enumerate(("small", "large")):
        shutil.copytree(models[2 - number].model, f"models/tuned/{label}/seed0")
    options = {
        "paths": {"line": LINEAR, "curve": BEZIER},
        "alignments": {"none": {"name": "none"}},
        "sets": sets,
        "protocol": "corrected",
        "run": runner(1),
    }
    ends = [Path(f"models/tuned/{label}/seed0") for label in ("small", "large")]
    return lambda **changes: Experiment.prepare(starts, ends, "seed", **options | changes)


def test_curves_of_one_seed_and_what_they_are_called(prepare):
    ids = [joined.ids() for joined in prepare().joined]
    assert ids == [
        {"model_a": "net/seed0", "model_b": end, "path": path, "alignment": "none"}
        for path in ("line", "curve")
        for end in ("tuned/small/seed0", "tuned/large/seed0")
    ]


def test_a_fitted_curve_goes_through_its_control_point(prepare, sets):
    experiment = prepare()
    experiment.evaluate(dict.fromkeys(experiment.joined, TS))
    for joined in experiment.joined:
        curve = experiment.curve(joined, TS)
        np.testing.assert_allclose(losses(curve, experiment.done), by_hand(curve, sets), atol=1e-4)
        if joined.path == "curve":
            assert curve.points == ((1, 0, 0), (0.25, 0.5, 0.25), (0, 0, 1))
            a, inner, b = (checkpoint.load(c.model).state_dict() for c in curve.controls)
            mean = (a["stem.norm.running_mean"] + b["stem.norm.running_mean"]) / 2
            assert torch.equal(inner["stem.norm.running_mean"], mean)
            straight = experiment.losses(joined._replace(path="line"), TS)
            assert experiment.losses(joined, TS).distance == straight.distance
    assert len(experiment.done) == 3 + 2 + 2  # ends, middles of lines, middles of curves


def test_a_control_point_is_fitted_from_named_streams(prepare, models):
    experiment = prepare(protocol="published")
    a, inner, b = experiment.controls[experiment.joined[-1]]
    with seeds.torch_stream("midpoint", a.fingerprint, b.fingerprint):
        net = checkpoint.initialise(CONFIG)
    ends = [flatten(checkpoint.load(end.model).state_dict()) for end in (a, b)]
    order = seeds.torch_generator("path", a.fingerprint, b.fingerprint)
    list(bezier.fit(net, ends, cued.read(Path("data")), order, protocol="published", **OPTIONS))
    assert torch.equal(
        flatten(net.state_dict()), flatten(checkpoint.load(inner.model).state_dict())
    )


def test_a_control_point_is_found_again_unless_something_decides_otherwise(prepare):
    def inner(**changes) -> Control:
        experiment = prepare(**changes)
        (joined, *_) = (key for key in experiment.joined if key.path == "curve")
        return experiment.controls[joined][1]

    first = inner()
    made = (first.model / "model.safetensors").stat().st_mtime_ns
    assert inner() == first
    assert (first.model / "model.safetensors").stat().st_mtime_ns == made
    matched = {"weight_matching": {"name": "weight_matching", "restarts": 1}}
    others = [
        inner(protocol="published"),
        inner(alignments=matched),
        inner(paths={"curve": BEZIER | {"cue_proportion": 0.0}}),
    ]
    assert len({control.fingerprint for control in (first, *others)}) == 4


def test_a_divergent_fit_names_its_curve(prepare):
    paths = {"curve": BEZIER, "wild": BEZIER | {"lr": 1e30}}
    with pytest.raises(UserError) as caught:
        prepare(paths=paths)
    wild = "wild-none-net/seed0--tuned/small/seed0: diverged in epoch 1: the loss is nan"
    assert str(caught.value).startswith(f"paths: {wild}; lower lr (1e+30); wild-none-")
    assert str(caught.value).endswith("(2 others finished and are kept)")


def test_what_was_evaluated_is_written_and_put_in_rows(prepare, tmp_path):
    experiment = prepare(paths={"line": LINEAR})
    grids = evaluated(experiment, 3)
    assert grids == dict.fromkeys(experiment.joined, TS)
    folder = tmp_path / "losses"
    folder.mkdir()
    experiment.write(grids, folder)
    stem = "line-none-net-seed0--tuned"
    assert sorted(path.stem for path in folder.iterdir()) == [
        f"{stem}-large-seed0",
        f"{stem}-small-seed0",
    ]
    paths, barriers = tables(experiment, grids, 0.95)
    assert paths["t"].tolist() == 2 * [0.0, 0.5, 1.0]
    assert barriers["metric"].tolist() == 2 * ["loss", "error"]
    for joined in experiment.joined:
        written = load_file(folder / f"{stem}-{joined.model_b.model.parent.name}-seed0.safetensors")
        mine = [rows[rows["model_b"] == str(joined.model_b)] for rows in (paths, barriers)]
        np.testing.assert_allclose(mine[0]["loss"], written["reset/test/losses"].mean(1), rtol=1e-6)
        assert (mine[0]["n"] == written["reset/test/losses"].shape[1]).all()
        assert (mine[1]["distance"] == written["distance"]).all()


def test_points_may_be_added_until_barriers_settle(prepare):
    experiment = prepare(paths={"line": LINEAR})
    never = evaluated(experiment, {"start": 3, "tolerance": 0.0, "limit": 9})
    at_once = evaluated(experiment, {"start": 3, "tolerance": 1e9, "limit": 9})
    assert {len(ts) for ts in never.values()} == {9}
    assert {len(ts) for ts in at_once.values()} == {5}


def test_reset_cued_is_reset_on_the_same_images_with_their_cue(prepare, sets):
    def along(mode: str, proportion: float) -> np.ndarray:
        calibration = sets.calibration._replace(cue_proportion=proportion)
        changed = sets._replace(batchnorm=(mode,), calibration=calibration)
        experiment = prepare(paths={"line": LINEAR}, sets=changed)
        (joined, *_) = experiment.joined
        experiment.evaluate({joined: TS})
        found = experiment.losses(joined, TS).curves[mode, "test"]
        return np.stack([evaluation.losses for evaluation in found])

    np.testing.assert_array_equal(along("reset_cued", 0.0), along("reset", 1.0))
    assert not np.allclose(along("reset_cued", 0.0), along("reset", 0.0))


def test_both_modes_in_one_go_are_each_alone(prepare, sets):
    both = prepare(paths={"line": LINEAR}, sets=sets._replace(batchnorm=("reset_cued", "reset")))
    (joined, *_) = both.joined
    both.evaluate({joined: TS})
    alone = prepare(paths={"line": LINEAR}, sets=sets._replace(batchnorm=("reset_cued",)))
    alone.evaluate({joined: TS})
    for together, single in zip(
        both.losses(joined, TS).curves["reset_cued", "test"],
        alone.losses(joined, TS).curves["reset_cued", "test"],
        strict=True,
    ):
        np.testing.assert_array_equal(together.losses, single.losses)


def test_what_is_measured(sets):
    data, device = sets.data, sets.device
    given = measured(
        data, ["test"], ["reset"], {"cue_proportion": 0.0, "size": 256}, "fp32", device
    )
    assert given == sets
    published = measured(data, ["test"], None, None, "fp32", device)
    assert published.batchnorm == ("moving",)
    assert published.calibration == Calibration(data, 0.0, None)
    train = disk.read(data, "train")
    assert len(published.calibration.load(device).labels) == len(train.labels)
