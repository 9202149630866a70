"""Mixtures whose coefficients are learned, or given for each network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from basins.data.resident import normalise
from basins.errors import UserError
from basins.merges import (
    adamerging,
    breadcrumbs,
    dare,
    della,
    fedavg,
    fisher,
    karcher,
    learned_soup,
    multi_slerp,
    task_arithmetic,
    ties,
    uniform_soup,
)
from tests.merges.conftest import CLASSES, images, numbers

A, B, C, BASE = (numbers(k, 36) for k in range(4))


def vector(states) -> Tensor:
    [state] = states
    return state["head.weight"].flatten()


def predictions(weights: Tensor) -> Tensor:
    rows = normalise(images(40).images).flatten(1)
    return (rows @ weights.view(CLASSES, 12).T).log_softmax(1)


def entropy(weights: Tensor) -> float:
    said = predictions(weights)
    return float(-(said.exp() * said).sum(1).mean())


def loss(weights: Tensor) -> float:
    return float(functional.nll_loss(predictions(weights), images(40).labels))


@pytest.mark.parametrize("by", ["tensor", "network"])
def test_adamerging_without_steps_is_task_arithmetic(make, by):
    found = adamerging.merge(make([A, B], BASE), by=by, steps=0, coefficient=0.25)
    expected = task_arithmetic.merge(make([A, B], BASE), coefficient=0.25)
    torch.testing.assert_close(vector(found), vector(expected))


@pytest.mark.parametrize("by", ["tensor", "network"])
def test_adamerging_follows_the_entropy_and_no_label(make, by):
    """The first step of Adam is as long as the rate, against the slope by differences."""
    coefficients = torch.full((2,), 0.3)
    tasks = torch.stack([A - BASE, B - BASE])

    def at(c: Tensor) -> float:
        return entropy(BASE + c @ tasks)

    shift = 1e-2 * torch.eye(2)
    slopes = torch.tensor([at(coefficients + s) - at(coefficients - s) for s in shift])
    sources = make([A, B], BASE)
    found = adamerging.merge(sources, by=by, steps=1, rate=0.01, batch=40)
    expected = BASE + (coefficients - 0.01 * slopes.sign()) @ tasks
    torch.testing.assert_close(vector(found), expected, rtol=1e-4, atol=1e-5)
    blind = sources._replace(data=sources.data._replace(labels=0 * sources.data.labels))
    blind = blind._replace(generator=make([A]).generator)
    again = adamerging.merge(blind, by=by, steps=5, batch=40)
    seeing = adamerging.merge(make([A, B], BASE), by=by, steps=5, batch=40)
    assert torch.equal(vector(again), vector(seeing))
    more = vector(adamerging.merge(make([A, B], BASE), by=by, steps=50, rate=0.01))
    assert entropy(more) < at(coefficients) - 0.01


@pytest.mark.parametrize("by", ["tensor", "network"])
def test_a_learned_soup_starts_at_the_mean_and_finds_the_best(make, by):
    rows = normalise(images(40).images).flatten(1)
    good = torch.linalg.lstsq(rows, functional.one_hot(images(40).labels, CLASSES).float())
    good = 5 * good.solution.T.flatten()
    sources = make([good, A, B])
    start = learned_soup.merge(sources, by=by, steps=0)
    torch.testing.assert_close(vector(start), vector(uniform_soup.merge(sources)))
    [found] = learned_soup.merge(sources, by=by, steps=150)
    weights = found["head.weight"].flatten()
    assert loss(weights) < min(loss(good), loss(A), loss(B)) + 0.02
    assert loss(weights) < loss(vector(start)) - 0.1
    shares = torch.linalg.lstsq(torch.stack([good, A, B]).T, weights[:, None]).solution[:, 0]
    assert shares.sum() == pytest.approx(1, abs=1e-4) and shares.argmax() == 0
    if by == "network":
        parts = [share for _, share in found.parts]
        assert parts == pytest.approx(shares.tolist(), abs=1e-3)


def test_what_is_learned_repeats(make):
    for technique, base in ((learned_soup, None), (adamerging, BASE)):
        found = [vector(technique.merge(make([A, B], base, seed=s), batch=8)) for s in (3, 3, 4)]
        assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_fedavg_weighs_by_rows(make):
    found = fedavg.merge(make([A, B, C]), rows=[100, 300, 0])
    torch.testing.assert_close(vector(found), (A + 3 * B) / 4)
    assert [share for _, share in found[0].parts] == [0.25, 0.75, 0]
    torch.testing.assert_close(vector(fedavg.merge(make([A, B, C]))), (A + B + C) / 3)
    with pytest.raises(UserError, match="fedavg: rows: 2 numbers for 3 networks"):
        fedavg.merge(make([A, B, C]), rows=[1, 2])
    with pytest.raises(UserError, match="fedavg: rows: all are 0"):
        fedavg.merge(make([A, B]), rows=[0, 0])


def test_weights_by_network(make):
    twice = {"weights": [2.0, 1.0]}
    for technique in (karcher, fisher, dare, della, breadcrumbs, ties, multi_slerp):
        with pytest.raises(UserError, match="weights: 2 numbers for 3 networks"):
            technique.merge(make([A, A, B], BASE), **twice)
    for technique, more in (
        (karcher, {}),
        (fisher, {}),
        (dare, {"drop": 0.0, "coefficient": 0.5}),
        (dare, {"drop": 0.0, "then": "ties", "density": 1.0}),
        (della, {"drop": 1e-9, "window": 0.0}),
        (breadcrumbs, {"small": 0.0, "large": 0.0}),
        (breadcrumbs, {"small": 0.0, "large": 0.0, "then": "ties"}),
        (ties, {"density": 0.5}),
    ):
        found = vector(technique.merge(make([A, B], BASE), **twice, **more))
        torch.testing.assert_close(found, vector(technique.merge(make([A, A, B], BASE), **more)))
    found = vector(task_arithmetic.merge(make([A, B], BASE), coefficient=0.5, weights=[2, -1]))
    torch.testing.assert_close(found, BASE + (A - BASE) - 0.5 * (B - BASE))
    found = vector(ties.merge(make([A, B], BASE), density=1.0, weights=[1.0, 1e9]))
    torch.testing.assert_close(found, B, rtol=1e-4, atol=1e-4)
