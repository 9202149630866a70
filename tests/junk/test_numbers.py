"""Numerical trouble: what is not a number is said to be none, and is never averaged away."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from basins.align import activation_matching, activations, repair, weight_matching
from basins.align.permute import permute
from basins.data.images import Evaluation, Split
from basins.data.resident import resident
from basins.errors import UserError
from basins.landscape.barriers import BARRIERS
from basins.merges import fisher, karcher, regmean, zipit
from basins.merges.sources import Sources
from basins.nets import mlp
from basins.paths.engine import Engine
from basins.paths.evaluation import evaluate
from basins.paths.racing import race
from basins.statistics import association, clusters, structure
from basins.statistics.paths import barrier_rows, path_rows
from basins.statistics.seeds import jackknife, summarise_pairs
from basins.statistics.verdict import p_value, verdict
from basins.weights import flatten

CPU = torch.device("cpu")
TS = (0.0, 0.5, 1.0)
SHAPE, CLASSES = (4, 4, 3), 3


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def data(count: int = 30, classes: int = CLASSES):
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (count, *SHAPE), dtype=np.uint8)
    return resident(Split(images, np.arange(count) % classes), CPU)


def net(seed: int, width: int = 6) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return mlp.build(SHAPE, CLASSES, depth=2, width=width)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_point_that_is_not_finite_has_no_right_answer_and_no_barrier(value: float) -> None:
    first, second = (flatten(net(k).state_dict()) for k in range(2))
    broken = second.clone()
    engine, sets = Engine(net(0)), {"test": data()}
    broken[engine.flat.places["head.weight"]] = value
    curves = engine.along(
        [first, second, broken],
        [(1.0, 0, 0), (0.5, 0, 0.5), (0, 1.0, 0)],
        {"interpolate": None},
        sets,
    )
    middle = curves["interpolate", "test"][1]
    assert not np.isfinite(middle.losses).any() and not middle.correct.any()
    rows = list(path_rows(TS, curves))
    assert np.isnan([rows[1][name] for name in ("loss", "loss_se", "accuracy")]).all()
    assert np.isfinite(rows[0]["loss"])
    loss, error = barrier_rows(TS, curves, 0.95)
    for name in (*BARRIERS, "barrier_split", "ci_low", "ci_high"):
        assert np.isnan([loss[name], error[name]]).all(), name
    pairs = [
        loss | {"experiment": "x", "model_a": "r/seed0", "model_b": f"r/seed{k}"} for k in (1, 2)
    ]
    pairs[1] |= dict.fromkeys(BARRIERS, 0.1)
    table = summarise_pairs(pd.DataFrame(pairs), ["experiment"], ["barrier_linear"], "d", 0.95)
    assert np.isnan(table["mean"]).all()  # not that of the pair which is left
    ends = table[["ci_low", "ci_high"]].to_numpy().tolist()
    for way in ("above", "below", "within"):
        assert {verdict(low, high, 0.5, way) for low, high in ends} == {"inconclusive"}
    with pytest.raises(UserError, match="clusters take all pairs"):
        clusters.matrix(pd.DataFrame(pairs), "barrier_linear")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("metric", ["loss", "error"])
def test_a_race_over_what_is_not_finite_is_never_won(value: float, metric: Any) -> None:
    good = Evaluation(np.full(40, 0.1, np.float32), np.ones(40, bool))
    bad = Evaluation(np.full(40, value, np.float32), np.zeros(40, bool))
    found = race(
        lambda t: lambda part: Evaluation(*(values[part] for values in bad)),
        (good, good), TS, metric=metric, threshold=0.05,
    )  # fmt: skip
    assert found.verdict == ("undefined" if metric == "loss" else "not connected")


@pytest.mark.parametrize("count", [1, 2, 50])
def test_losses_that_are_all_equal_have_barriers_of_nought(count: int) -> None:
    flat = Evaluation(np.full(count, 0.7, np.float32), np.ones(count, bool))
    curves = {("reset", "test"): [flat] * 3}
    for row in barrier_rows(TS, curves, 0.95):
        assert all(row[name] == 0 for name in BARRIERS)
        if count > 1:
            assert (row["barrier_split"], row["ci_low"], row["ci_high"]) == (0, 0, 0)
        else:  # of one example nothing is known about others
            assert np.isnan([row["ci_low"], row["ci_high"]]).all()
    for row in path_rows(TS, curves):
        assert row["loss"] == pytest.approx(0.7) and row["accuracy"] == 1
        assert (
            row["loss_se"] == pytest.approx(0, abs=1e-7) if count > 1 else np.isnan(row["loss_se"])
        )


def test_models_that_are_all_alike_are_one_cluster() -> None:
    generator = np.random.default_rng(0)
    for gaps in (np.zeros((6, 6)), 1 - np.eye(6)):
        assert not structure.several(gaps, generator, 0.05, 99).decides
        labels = clusters.partition(gaps, 2, generator)
        assert set(labels) <= {0, 1} and np.isfinite(clusters.score(gaps, generator)).all()


def test_correlations_without_variance_decide_nothing() -> None:
    x, flat = np.arange(8.0), np.full(8, 0.3)
    for statistic in (association.pearson, association.spearman):
        assert np.isnan(statistic(x, flat)) and np.isnan(statistic(flat, flat))
        ends = association.interval(statistic, (x, flat), 0.95)
        assert verdict(*ends, 0.0, "above") == "inconclusive"
    assert np.isnan(association.partial(x, x, x)) or abs(association.partial(x, x, x)) < 1e-6
    assert np.isnan(association.difference(np.zeros(8, bool), x))
    assert np.isnan(association.auc(np.ones(8, bool), x))
    p = association.permutation_p(association.pearson, x, flat, np.random.default_rng(0), 50)
    assert np.isnan(p) or p == 1


def test_a_single_pair_has_a_mean_and_no_interval() -> None:
    found = jackknife(np.array([0.4]), [np.array([0]), np.array([1])], 0.95)
    assert found["mean"] == 0.4 and np.isnan([found["ci_low"], found["ci_high"]]).all()
    assert verdict(found["ci_low"], found["ci_high"], 0.1, "above") == "inconclusive"
    assert np.isnan(p_value(0.4, np.nan, np.nan, 0.1, "above", 0.95, 2))


def sources(net: Any, states: list[Any], rows: Any) -> Sources:
    return Sources(states, None, net, rows, np.random.default_rng(0))


def dead(seed: int) -> Any:
    """A network of which two units are never awake, and whose first layer's first is constant."""
    made = net(seed)
    with torch.no_grad():
        for layer in (
            m for m in made.modules() if isinstance(m, nn.Linear) and m.out_features == 6
        ):
            layer.weight[:2] = 0
            layer.bias[0], layer.bias[1] = 3.0, -3.0
    return made


def is_permutation(found: dict[str, Any]) -> bool:
    return all(sorted(torch.as_tensor(p).tolist()) == list(range(len(p))) for p in found.values())


def test_units_that_never_change_are_matched_to_something() -> None:
    nets = [dead(0), dead(1)]
    spec, batches = nets[0].permutation_spec(), [inputs for inputs, _ in data().batches()]
    [found] = activations.correlations(nets, spec, batches, [(0, 1)])
    assert all(np.isfinite(np.asarray(r)).all() for r in found.values())
    states = [made.state_dict() for made in nets]
    stream = np.random.default_rng(0)
    for method in (activation_matching, weight_matching):
        more: dict[str, Any] = {"correlations": found} if method is activation_matching else {}
        align: Any = method.align
        matched = align(*states, spec, generator=stream, **more)
        assert is_permutation(matched)
        moved = permute(states[1], spec, matched)
        fresh = net(0)
        fresh.load_state_dict(moved)
        torch.testing.assert_close(
            fresh(batches[0][0]), nets[1](batches[0][0]), rtol=1e-4, atol=1e-5
        )


def test_repair_leaves_units_that_never_change_finite() -> None:
    nets = [dead(0), dead(1)]
    merged = dead(2)
    merged.load_state_dict(
        {k: (nets[0].state_dict()[k] + nets[1].state_dict()[k]) / 2 for k in merged.state_dict()}
    )
    batches = [inputs for inputs, _ in data().batches()]
    repair.repair(merged, [made.state_dict() for made in nets], batches)
    assert all(tensor.isfinite().all() for tensor in merged.state_dict().values())
    assert evaluate(merged, data()).losses.max() < 100


@pytest.mark.parametrize("make", [net, dead], ids=["awake", "dead"])
@pytest.mark.parametrize(
    "technique", [karcher, fisher, regmean, zipit], ids=lambda m: m.__name__[14:]
)
def test_a_merge_of_identical_networks_is_that_network(technique: Any, make: Any) -> None:
    if technique is zipit and make is dead:
        pytest.skip("units are told by their correlations, and one that never changes has none")
    made = make(0)
    given = sources(make(1), [made.state_dict()] * 3, data())
    (found,) = technique.merge(given)
    before = evaluate(made, data()).losses
    made.load_state_dict(found)
    np.testing.assert_allclose(evaluate(made, data()).losses, before, rtol=1e-3, atol=1e-4)


def test_zero_weights_have_no_direction() -> None:
    zero = {name: torch.zeros_like(tensor) for name, tensor in net(0).state_dict().items()}
    for states in ([zero, zero], [zero, net(0).state_dict()]):
        with pytest.raises(UserError, match="^spherical mean: "):
            karcher.merge(sources(net(0), states, data()))


def test_classes_that_are_missing_change_nothing_for_the_others() -> None:
    whole, part = evaluate(net(0), data(30, 3)), evaluate(net(0), data(30, 1))
    same = np.arange(30) % 3 == 0
    np.testing.assert_allclose(whole.losses[same], part.losses[same], rtol=1e-5)
