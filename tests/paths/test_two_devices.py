"""With the settings of two devices on one: nothing a result depends on is read off the device.

All that is the device's are the sizes of batches of evaluation, of images and of text. What comes
out must be equal but for rounding, and choices must be the same.
"""

from __future__ import annotations

import shutil
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch

from basins import seeds
from basins.align import alignments
from basins.data import resident, tokens
from basins.data.resident import Resident
from basins.item import get
from basins.merges.sources import Sources
from basins.nets import bert, resnet
from basins.paths.evaluation import evaluate
from basins.paths.pairs import along, grid
from basins.registry import find, names
from tests.merges.test_every import TWO
from tests.paths import test_points
from tests.paths.test_points import CPU, LINEAR, losses, models, nothing, sets

__all__ = ["models", "sets"]  # fixtures
DEVICES = ("cpu", "cuda")
SIZES = {device: (resident.BATCH[device], tokens.BUDGET[device]) for device in DEVICES}
KINDS = ("images", "text")
CLASSES = 3
FEWER = {"spro": {"steps": 10}, "adamerging": {"steps": 20}}
FEWER |= {"annealing": {"steps": 20}, "straight_through": {"steps": 5}, "sinkhorn": {"steps": 10}}
"""Steps of the slowest, after which batches of the device's size still show."""


@pytest.fixture
def settings(monkeypatch):
    """Return what gives this CPU the settings of a device."""

    def give(device: str) -> None:
        batch, budget = SIZES[device]
        monkeypatch.setitem(resident.BATCH, "cpu", batch)
        monkeypatch.setitem(tokens.BUDGET, "cpu", budget)

    return give


def networks(kind: str) -> tuple[Any, list[dict[str, torch.Tensor]], Any]:
    """Return a network, the states of three like it, and labelled rows: several batches of them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        labels = torch.arange(150) % CLASSES
        if kind == "images":
            pixels = torch.randint(0, 256, (150, 8, 8, 3), dtype=torch.uint8)
            net, data = resnet.build((8, 8, 3), CLASSES, depth=8, width=2), Resident(pixels, labels)
            net.train()(torch.randn(16, 3, 8, 8))
        else:
            drawn = np.random.default_rng(0)
            ids = [drawn.integers(5, 30, size=n).tolist() for n in drawn.integers(3, 30, 150)]
            net = bert.build_text(30, CLASSES, layers=1, width=8, heads=2, positions=32)
            more: Any = {"pad": 0, "limit": 32, "device": CPU, "where": "here"}
            types = [[0] * len(row) for row in ids]
            data = tokens.tokens(ids, types, labels.tolist(), **more)
        states = [
            {
                key: tensor + 0.1 * torch.randn_like(tensor).abs()
                if tensor.is_floating_point()
                else tensor.clone()
                for key, tensor in net.eval().state_dict().items()
            }
            for _ in range(3)
        ]
    return net, states, data


@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_the_same(kind, settings):
    found, batches = [], []
    for device in DEVICES:
        settings(device)
        net, _, data = networks(kind)
        batches.append(len([*data.batches()]))
        found.append(evaluate(net, data))
    assert batches[0] > batches[1] == 1
    np.testing.assert_allclose(found[0].losses, found[1].losses, rtol=1e-4, atol=1e-5)
    assert (found[0].correct == found[1].correct).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", names("merges", "merge"))
def test_what_a_technique_makes_is_the_same(name, kind, settings):
    technique, found = find("merges", name, "merge"), []
    for device in DEVICES:
        settings(device)
        net, states, data = networks(kind)
        some, base = states[: 2 if name in TWO else 3], states[2]
        base = {key: 0.9 * t if t.is_floating_point() else t for key, t in base.items()}
        with seeds.torch_stream("dropout"):
            sources = Sources(some, base, net, data, np.random.default_rng(0))
            found.append(technique(sources, **FEWER.get(name, {})))
    for one, other in zip(*found, strict=True):
        for key in one:
            torch.testing.assert_close(one[key], other[key], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", names("align", "align"))
def test_alignments_and_the_paths_after_them_are_the_same(name, settings, models, sets):
    """The permutations too: the losses of other units would differ by more than rounding."""
    found = []
    for device in DEVICES:
        settings(device)
        shutil.rmtree(".cache", ignore_errors=True)
        test_points.points._states.clear()
        test_points.points._loaded.clear()
        pairs = list(combinations(models, 2))
        rest = (sets.calibration, sets.fingerprint, "corrected", CPU)
        work = alignments.plan(pairs, {"name": name, **FEWER.get(name, {})}, *rest)
        aligned = {pair: pair for pair in pairs}
        aligned |= alignments.aligned(work, [get(job, nothing) for job in work])
        curves = [along(LINEAR, aligned[pair], grid(3)) for pair in pairs]
        done = test_points.evaluate(curves, sets)
        found.append(np.stack([losses(curve, done) for curve in curves]))
    np.testing.assert_allclose(*found, rtol=1e-3, atol=1e-4)
