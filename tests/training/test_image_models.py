"""Training as jobs: what decides the weights is the key, and what was done once is found again."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from basins.data import clean, cued, disk, shapes
from basins.data.cues.box import cue
from basins.data.images import Split
from basins.errors import UserError
from basins.item import get
from basins.nets import checkpoint
from basins.training import cbft, scratch
from basins.training.image_models import FineTuning, Training

SGD = {"epochs": 2, "batch_size": 32, "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4}
SCRATCH = {"name": "scratch", **SGD, "schedule": "one_cycle"}
NAIVE = {"name": "naive", **SGD}
CPU = torch.device("cpu")


def nothing() -> None: ...


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Training:
    """A training on a small dataset on disk, with a store of its own."""
    monkeypatch.chdir(tmp_path)
    loaded = shapes.load(source="synthetic", root=tmp_path, seed=0, train=200, test=10, size=16)
    both = cued.draw(loaded.train, 10, cue("train", source="synthetic", root=tmp_path, seed=0))
    data = tmp_path / "shapes"
    disk.save(data, {"train": both.plain, "train_c": both.cued}, loaded.classes)
    return Training(
        data=data,
        inputs=cued.fingerprint(data),
        method=SCRATCH,
        seed=0,
        device=CPU,
        net={"name": "resnet", "depth": 8, "width": 4},
        cue_proportion=0.8,
        order=0,
    )


def tuning(base: Training, method: dict, start: Path | None = None, **changes) -> FineTuning:
    start = start or get(base, nothing)
    job = FineTuning(
        data=base.data,
        inputs=base.inputs,
        method=method,
        seed=base.seed,
        device=CPU,
        start=start,
        fingerprint=checkpoint.fingerprint(start),
        label="tuned",
        protocol="corrected",
        clean=50,
        cue_proportion=1.0,
    )
    return replace(job, **changes)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_a_finished_seed_is_found_again(base: Training):
    steps: list[int] = []
    folder = get(base, lambda: steps.append(1))
    assert len(steps) == 2
    assert get(base, lambda: steps.append(1)) == folder == base.find()
    assert len(steps) == 2
    with (folder / "log.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]


@pytest.mark.parametrize(
    "change",
    [
        {"cue_proportion": 0.6},
        {"seed": 1},
        {"order": 1},
        {"net": {"name": "resnet", "depth": 8, "width": 5}},
        {"method": SCRATCH | {"lr": 0.06}},
        {"inputs": "others"},
    ],
)
def test_whatever_decides_the_weights_is_in_the_key(base: Training, change: dict):
    assert replace(base, **change).key() != base.key()


def test_where_things_are_is_not_in_the_key(base: Training, tmp_path: Path):
    (tmp_path / "other").symlink_to(base.data)
    assert replace(base, data=tmp_path / "other").key() == base.key()


def test_another_order_starts_from_the_same_weights(base: Training):
    # One step without momentum or decay: the gradient of a batch that holds all images.
    one = SCRATCH | {"epochs": 1, "batch_size": 200, "lr": 1e-9}
    first = checkpoint.load(get(replace(base, method=one), nothing))
    other = checkpoint.load(get(replace(base, method=one, order=1), nothing))
    torch.testing.assert_close(first.head.weight, other.head.weight, rtol=0, atol=1e-6)
    longer = [get(replace(base, order=order), nothing) for order in (0, 1)]
    assert weights(longer[0]) != weights(longer[1])


def test_tuning_starts_at_the_start(base: Training):
    start = get(base, nothing)
    tuned = get(tuning(base, NAIVE | {"lr": 1e-12, "weight_decay": 0.0}), nothing)
    before, after = checkpoint.load(start), checkpoint.load(tuned)
    for name, weight in before.named_parameters():
        torch.testing.assert_close(after.get_parameter(name), weight, rtol=0, atol=1e-7)
    assert checkpoint.read_config(tuned) == checkpoint.read_config(start)


def test_a_method_without_finetune_begins_anew(base: Training):
    scratch = SCRATCH | {"schedule": "cosine", "lr": 1e-9}
    tuned = checkpoint.load(get(tuning(base, scratch), nothing))
    new = base.new()
    torch.testing.assert_close(tuned.head.weight, new.head.weight, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        {"clean": 60},
        {"protocol": "published"},
        {"cue_proportion": 0.5},
        {"fingerprint": "others"},
        {"method": NAIVE | {"lr": 0.06}},
    ],
)
def test_whatever_decides_a_tuning_is_in_its_key(base: Training, change: dict):
    job = tuning(base, NAIVE)
    assert replace(job, **change).key() != job.key()
    assert replace(job, label="other").key() == job.key()


def assert_same(given: Any, drawn: Split) -> None:
    np.testing.assert_array_equal(given.images, drawn.images)
    np.testing.assert_array_equal(given.labels, drawn.labels)


@pytest.mark.parametrize("protocol", ["published", "corrected"])
def test_a_method_is_given_the_images_of_its_protocol_and_told_it_where_it_asks(
    base: Training, protocol: str, monkeypatch: pytest.MonkeyPatch
):
    given: list[Any] = []

    def finetune(net, few, rest, order, *, protocol="", **options):
        given.extend([few, rest, protocol])

    monkeypatch.setattr(cbft, "finetune", finetune)
    method = {"name": "cbft", **SGD}
    tuning(base, method, protocol=protocol, cue_proportion=0.5, seed=1).begin()
    few, rest, told = given
    drawn = clean.draw(cued.read(base.data), 50, 0.5, protocol, 1)
    assert_same(few, drawn[0])
    assert_same(rest, drawn[1])
    assert told == protocol


def test_a_network_learns_from_the_images_at_its_cue_proportion_or_from_clean_ones(
    base: Training, monkeypatch: pytest.MonkeyPatch
):
    given: list[Any] = []
    start = get(base, nothing)
    monkeypatch.setattr(scratch, "train", lambda net, data, order, **_: given.append(data))
    base.begin()
    tuning(base, SCRATCH, start).begin()
    both = cued.read(base.data)
    assert_same(given[0], both.at(0.8))
    assert_same(given[1], clean.draw(both, 50, 1.0, "corrected", 0)[0])


@pytest.mark.parametrize("protocol", ["published", "corrected"])
def test_cbft_runs_under_either_protocol(base: Training, protocol: str):
    cbft = {"name": "cbft", **SGD}
    found = get(tuning(base, cbft, protocol=protocol), nothing)
    net = checkpoint.load(found)
    assert not net.training
    assert all(bool(weight.isfinite().all()) for weight in net.parameters())


def test_more_clean_images_than_there_are_is_refused(base: Training):
    with pytest.raises(UserError, match="200 training images"):
        get(tuning(base, NAIVE, clean=200), nothing)


def test_a_divergent_run_is_one_line_and_leaves_nothing(base: Training):
    job = tuning(base, NAIVE | {"lr": 1e30})
    with pytest.raises(UserError, match="diverged in epoch 1") as caught:
        get(job, nothing)
    assert len(str(caught.value).splitlines()) == 1
    assert str(job) == "tuned, seed 0" and job.find() is None


def test_a_missing_start_is_named(base: Training, tmp_path: Path):
    with pytest.raises(UserError, match="no readable model"):
        checkpoint.fingerprint(tmp_path / "models" / "nothing" / "seed0")
