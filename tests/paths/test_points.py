"""Experiments on checkpoints on disk, against the engine run by hand."""

from __future__ import annotations

import json
import shutil
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from basins import seeds
from basins.align import alignments
from basins.align.batchnorm import Folded
from basins.align.permute import permute
from basins.data import disk
from basins.data.calibration import Calibration
from basins.data.images import ImageData, Split
from basins.data.resident import resident
from basins.item import get
from basins.nets import checkpoint
from basins.nets.control import Control
from basins.paths import points
from basins.paths.engine import Engine
from basins.paths.pairs import along, grid
from basins.paths.plan import Curve
from basins.store import folder_hash
from basins.weights import flatten

CPU = torch.device("cpu")
NET = {"name": "resnet", "depth": 8, "width": 4}
CONFIG = {"net": NET, "image_shape": [16, 16, 3], "num_classes": 10}
LINEAR = {"name": "linear"}


def nothing() -> None:
    pass


written: list[Path] = []
"""The folder that `models` copies, once there is one."""


def write(folder: Path, data: ImageData) -> None:
    """Write three networks and a dataset."""
    cued = Split(255 - data.train.images, data.train.labels)
    splits = {"train": data.train, "train_c": cued, "test": data.test}
    disk.save(folder / "data", splits, data.classes)
    for seed in range(3):
        with seeds.torch_stream("init", seed):
            net = checkpoint.initialise(CONFIG)
        with torch.no_grad():
            net.train()(torch.randn(64, 3, 16, 16, generator=torch.Generator().manual_seed(seed)))
        own = folder / "models" / "net" / f"seed{seed}"
        own.mkdir(parents=True)
        checkpoint.save(net, CONFIG | {"seed": seed}, own)


@pytest.fixture
def models(tmp_path, tmp_path_factory, monkeypatch, data) -> list[Control]:
    """Three networks and a dataset, in a working folder of their own."""
    if not written:
        folder = tmp_path_factory.mktemp("written")
        write(folder, data)
        written.append(folder)
    shutil.copytree(written[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    points._states.clear()  # other tests' models have the same names
    folders = [Path("models/net") / f"seed{seed}" for seed in range(3)]
    return [Control(folder, checkpoint.fingerprint(folder)) for folder in folders]


@pytest.fixture
def sets(models) -> points.Sets:
    calibration = Calibration(Path("data"), 0.0, 256)
    hashed = folder_hash(Path("data"))
    return points.Sets(Path("data"), hashed, ("test",), calibration, ("reset",), "fp32", CPU)


def evaluate(
    curves: list[Curve], sets: points.Sets, done: points.Places | None = None
) -> points.Places:
    pieces = points.plan(curves, sets, done or {})
    found = points.places(pieces, [get(piece, nothing) for piece in pieces])
    return {**(done or {}), **found}


def by_hand(curve: Curve, sets: points.Sets) -> np.ndarray:
    net = checkpoint.load(curve.controls[0].model)
    spec, states = net.permutation_spec(), [checkpoint.load(c.model).state_dict() for c in curve[0]]
    moved = [permute(s, spec, c.read()) for s, c in zip(states, curve[0], strict=True)]
    found = Engine(net).along(
        [flatten(state) for state in moved],
        curve.points,
        {"reset": sets.calibration.load(CPU)},
        {"test": resident(disk.read(Path("data"), "test"), CPU)},
    )
    return np.stack([evaluation.losses for evaluation in found["reset", "test"]])


def losses(curve: Curve, done: points.Places) -> np.ndarray:
    return np.stack([e.losses for e in points.load(curve, done).curves["reset", "test"]])


def test_curves_are_put_together_from_shared_points(models, sets):
    curves = [along(LINEAR, pair, grid(5)) for pair in combinations(models, 2)]
    done = evaluate(curves, sets)
    assert len(done) == 3 * 3 + 3
    for curve in curves:
        np.testing.assert_allclose(losses(curve, done), by_hand(curve, sets), atol=1e-5)
        a, b = (checkpoint.load(c.model) for c in curve.controls)
        x, y = (torch.cat([p.detach().flatten() for p in net.parameters()]) for net in (a, b))
        distance = float(torch.dist(x.double(), y.double()))
        assert points.load(curve, done).distance == pytest.approx(distance, rel=1e-5)


def test_a_finer_grid_evaluates_only_what_is_new(models, sets):
    pair = tuple(models[:2])
    done = evaluate([along(LINEAR, pair, grid(3))], sets)
    finer = along(LINEAR, pair, grid(5))
    assert [len(piece.points) for piece in points.plan([finer], sets, done)] == [2]
    done = evaluate([finer], sets, done)
    np.testing.assert_allclose(losses(finer, done), by_hand(finer, sets), atol=1e-5)


def test_a_plane_costs_only_its_inside(models, sets):
    edges = [along(LINEAR, pair, grid(4)) for pair in combinations(models, 2)]
    done = evaluate(edges, sets)
    lattice = [((3 - i - j) / 3, i / 3, j / 3) for i in range(4) for j in range(4 - i)]
    plane = Curve(tuple(models), tuple(lattice))
    (inside,) = points.plan([plane], sets, done)
    assert len(inside.points) == 1
    done = evaluate([plane], sets, done)
    np.testing.assert_allclose(losses(plane, done), by_hand(plane, sets), atol=1e-5)


@pytest.mark.parametrize(
    "name",
    ["weight_matching", "activation_matching", "star", "universe", "straight_through", "annealing"],
)
def test_an_alignment_keeps_the_ends(name, models, sets):
    joined = list(combinations(models, 2))
    hashed = sets.fingerprint
    work = alignments.plan(joined, {"name": name}, sets.calibration, hashed, "corrected", CPU)
    aligned = alignments.aligned(work, [get(job, nothing) for job in work])
    assert aligned.keys() == set(joined)
    for pair in joined:
        raw = along(LINEAR, pair, grid(3))
        moved = along(LINEAR, aligned[pair], grid(3))
        done = evaluate([raw, moved], sets)
        assert len(done) == 4  # two ends and two middles
        expected = by_hand(moved, sets)
        np.testing.assert_allclose(losses(moved, done), expected, atol=1e-4, rtol=1e-4)
        if name != "annealing":  # which lowers the loss half-way, not the distance
            assert points.load(moved, done).distance < points.load(raw, done).distance


def test_activations_are_taken_in_blocks_that_fit(models, sets, monkeypatch):
    joined = list(combinations(models, 2))
    choice = {"name": "activation_matching"}
    plan = partial(alignments.plan, joined, choice, sets.calibration, sets.fingerprint)
    whole = plan("corrected", CPU)
    assert [job.pairs for job in whole] == [tuple(joined)]
    monkeypatch.setattr(alignments, "MEMORY", 0)
    single = plan("corrected", CPU)
    assert [job.pairs for job in single] == [(pair,) for pair in joined]
    (file,) = [get(job, nothing) for job in whole]
    for number, job in enumerate(single):
        apart = job.pairs[0][1].permuted(get(job, nothing), 0).read()
        together = job.pairs[0][1].permuted(file, number).read()
        assert apart.keys() == together.keys()
        for group in apart:
            np.testing.assert_array_equal(apart[group], together[group])


def test_a_missing_alignment_needs_no_job(models, sets):
    pairs = list(combinations(models, 2))
    calibration, choice = sets.calibration, {"name": "none"}
    assert alignments.plan(pairs, choice, calibration, "", "corrected", CPU) == []


def test_published_activations_are_those_of_the_last_batch(models, sets, data):
    """On all images as published, what is matched is as on the last 128 of them alone."""
    last = Split(data.train.images[-128:], data.train.labels[-128:])
    disk.save(Path("last"), {"train": last, "train_c": last}, data.classes)
    (pair, *_) = combinations(models, 2)

    def matched(folder: str, protocol: alignments.Protocol) -> dict[str, list[int]]:
        calibration, hashed = Calibration(Path(folder), 0.0, None), folder_hash(Path(folder))
        choice = {"name": "activation_matching"}
        (job,) = alignments.plan([pair], choice, calibration, hashed, protocol, CPU)
        found = pair[1].permuted(get(job, nothing), 0).read()
        return {group: permutation.tolist() for group, permutation in found.items()}

    assert matched("data", "published") == matched("last", "corrected")
    assert matched("data", "published") != matched("data", "corrected")


def test_items_are_found_again(models, sets):
    curves = [along(LINEAR, tuple(models[:2]), grid(3))]
    (*_, piece) = points.plan(curves, sets)
    file = get(piece, nothing)
    made = file.stat().st_mtime_ns
    assert get(piece, nothing) == file
    assert file.stat().st_mtime_ns == made


def test_models_are_read_once_unless_memory_is_short(models, sets, monkeypatch):
    read: list[Path] = []
    load_state = checkpoint.load_state

    def counted(folder, net):
        read.append(folder)
        return load_state(folder, net)

    monkeypatch.setattr(checkpoint, "load_state", counted)
    curves = [along(LINEAR, pair, grid(3)) for pair in combinations(models, 2)]
    evaluate(curves, sets)
    assert len(read) == 3
    points._states.clear()
    monkeypatch.setattr(points, "MEMORY", 0)
    evaluate([along(LINEAR, pair, grid(5)) for pair in combinations(models, 2)], sets)
    assert len(points._states) == 2


def test_what_came_of_the_double_entry_is_kept_and_is_that_of_the_item_alone(models, sets):
    curves = [along(LINEAR, pair, grid(3)) for pair in combinations(models, 2)]
    done = evaluate(curves, sets)
    files = {file.with_name(points.DOUBLE_ENTRY) for file, _ in done.values()}
    kept = [json.loads(file.read_text()) for file in files]
    assert {entry["compared"] for entry in kept} == {2}  # of less than `EVERY` examples each
    told = points.double_entry(done)
    assert told["examples"] == 2 * len(files) == 12
    assert 0 < told["largest_difference"] == max(entry["apart"] for entry in kept) < 1e-4
    assert told["plain"] == told["by_batch"] == 0
    assert points.double_entry({}) == dict.fromkeys(told, 0)


def test_a_wrong_fold_is_in_the_record_whichever_item_came_before(models, sets, monkeypatch):
    curves = [along(LINEAR, tuple(models[:2]), grid(3))]
    right = losses(curves[0], evaluate(curves, sets))
    rightly = Folded.refresh

    def wrongly(folded: Folded) -> torch.nn.Module:
        function = rightly(folded)
        for conv, _, _ in folded.pairs:
            conv.weight.data.mul_(1.2)
        return function

    monkeypatch.setattr(Folded, "refresh", wrongly)
    shutil.rmtree(".cache/points")
    with pytest.warns(UserWarning, match="computed fast"):
        done = evaluate(curves, sets)
    assert points.double_entry(done)["plain"] == 3
    np.testing.assert_allclose(losses(curves[0], done), right, rtol=1e-3, atol=1e-4)


def test_sets_are_encoded_for_each_tokenizer_and_order_of_classes(sets, tmp_path, monkeypatch):
    """One process may evaluate several encoders on one dataset; seeds of one encoder share it."""

    def encoder(name: str, classes: str, words: str, seed: int = 0) -> Path:
        config = {"model_type": "bert", "id2label": dict(enumerate(classes)), "seed": seed}
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config))
        (tmp_path / name / "vocab.txt").write_text(words)
        return tmp_path / name

    monkeypatch.setattr(points, "inputs", lambda folder, split, model, device: model.name)
    first, same = encoder("first", "ab", "one two"), encoder("same", "ab", "one two", seed=1)
    others = [encoder("order", "ba", "one two"), encoder("words", "ab", "two one")]
    found = [points._examples(sets, model)["test"] for model in (first, same, *others)]
    assert found == ["first", "first", "order", "words"]
    first, same, *others = (Control(m, "weights").identity() for m in (first, same, *others))
    assert first == same and first not in others and others[0] != others[1]
    for number in range(2 * points.KEPT):
        points._examples(sets, encoder(str(number), "ab", str(number)))
    assert len(points._loaded) == points.KEPT
    points._loaded.clear()
