"""Ensembles are means of probabilities; one network is evaluated as everywhere else."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from basins.data.resident import Resident, normalise
from basins.merges import evaluation, task_arithmetic, ties, uniform_soup, wise_ft
from basins.merges.evaluation import evaluations
from basins.merges.sources import Sources, mixed
from basins.nets import resnet
from basins.paths.engine import Engine
from basins.paths.evaluation import evaluate

CLASSES = 3


class Renamed(NamedTuple):
    """Images whose classes are fewer than the networks'."""

    resident: Resident
    merge: Tensor
    order: Tensor | None = None

    def batches(self):
        return self.resident.batches()


def network(seed: int) -> resnet.ResNet:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = resnet.build((8, 8, 3), CLASSES, depth=8, width=4)
        net.train()(torch.randn(32, 3, 8, 8))
    return net.eval()


@pytest.fixture
def setting():
    """Three networks, an engine of a fourth, rows to merge on and a set to evaluate on."""
    stream = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (150, 8, 8, 3), generator=stream, dtype=torch.uint8)
    data = Resident(pixels, torch.randint(0, CLASSES, (150,), generator=stream))
    rows = Resident(data.images[:100], data.labels[:100])
    nets = [network(k) for k in range(3)]
    engine = Engine(network(9))
    states = [net.state_dict() for net in nets]
    sources = Sources(states, None, engine.net, rows, np.random.default_rng(0))  # pyright: ignore
    return nets, engine, sources, data


def test_one_member_is_what_the_engine_makes_of_it(setting):
    nets, engine, sources, data = setting
    found = evaluations(engine, [sources.states[1]], sources, {"interpolate": None}, {"a": data})
    again = Engine(network(1))
    expected = evaluate(again.settle("interpolate", None), data)
    assert np.array_equal(found["interpolate", "a"].losses, expected.losses)
    assert np.array_equal(found["interpolate", "a"].correct, expected.correct)


def test_members_say_the_mean_of_their_probabilities(setting):
    nets, engine, sources, data = setting
    few = Renamed(data._replace(labels=data.labels.clamp(max=1)), torch.tensor([0, 1, 1]))
    sets = {"all": data, "merged": few}
    found = evaluations(engine, sources.states, sources, {"interpolate": None}, sets)
    with torch.no_grad():
        said = torch.stack([net(normalise(data.images)).softmax(1) for net in nets]).mean(0)
    own = said.gather(1, data.labels[:, None])[:, 0]
    np.testing.assert_allclose(found["interpolate", "all"].losses, -own.log(), atol=1e-5)
    right = (said.argmax(1) == data.labels).numpy()
    assert np.array_equal(found["interpolate", "all"].correct, right)
    two = torch.stack([said[:, 0], said[:, 1] + said[:, 2]], 1).gather(
        1, few.resident.labels[:, None]
    )
    np.testing.assert_allclose(found["interpolate", "merged"].losses, -two[:, 0].log(), atol=1e-5)


def test_batchnorm_of_merges_of_sources_and_of_ensembles(setting):
    """Reset re-estimates every member's; REPAIR is for a mixture alone."""
    _, engine, sources, data = setting
    modes = {"interpolate": None, "repair": None, "reset": data}
    mean = mixed(sources.states)

    def losses(members, mode):
        found = evaluations(engine, members, sources, {mode: modes[mode]}, {"a": data})
        return found[mode, "a"].losses

    for members in ([sources.states[0]], sources.states):
        assert np.array_equal(losses(members, "repair"), losses(members, "interpolate"))
        assert not np.allclose(losses(members, "reset"), losses(members, "interpolate"))
    assert not np.allclose(losses([mean], "repair"), losses([mean], "interpolate"))


@pytest.mark.parametrize(
    ("technique", "options", "shares"),
    [
        (uniform_soup, {}, {"0": 1 / 3, "1": 1 / 3, "2": 1 / 3}),
        (wise_ft, {"alpha": 0.6}, {"base": 0.4, "0": 0.2, "1": 0.2, "2": 0.2}),
        (task_arithmetic, {"coefficient": 0.1}, {"base": 0.7, "0": 0.1, "1": 0.1, "2": 0.1}),
        (task_arithmetic, {"coefficient": -0.4}, {"base": 2.2}),
        (ties, {}, {"0": 1, "1": 1, "2": 1}),
    ],
)
def test_repair_aims_at_the_mixtures_members(setting, monkeypatch, technique, options, shares):
    """By their shares; what negation takes away is no member."""
    _, engine, sources, data = setting
    sources = sources._replace(base=network(5).state_dict())
    seen = {}

    def spy(net, states, batches, weights):
        known = {"base": sources.base, **{str(k): s for k, s in enumerate(sources.states)}}
        for state, weight in zip(states, weights, strict=True):
            same = [torch.equal(k["head.weight"], state["head.weight"]) for k in known.values()]
            [name] = [n for n, is_it in zip(known, same, strict=True) if is_it]
            seen[name] = weight

    monkeypatch.setattr(evaluation, "repair", spy)
    members = technique.merge(sources, **options)
    evaluations(engine, members, sources, {"repair": None}, {"a": data})
    assert seen == pytest.approx(shares)
