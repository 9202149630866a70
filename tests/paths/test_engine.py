"""The engine against losses computed the plain way, and against landscapes known in closed form."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from basins import seeds
from basins.align import weight_matching
from basins.align.batchnorm import MEMORY, Folded, moving, reset
from basins.align.permute import permute, random_permutations
from basins.align.repair import writers
from basins.data.resident import Resident, normalise
from basins.errors import UserError
from basins.landscape.barriers import BARRIERS, barrier_linear
from basins.nets import resnet, vgg
from basins.paths import bezier, chain, linear
from basins.paths.engine import Engine, combine
from basins.paths.evaluation import double_entry, evaluate
from basins.paths.pairs import grid
from basins.weights import flatten
from tests.paths.conftest import trained

TS = grid(5)
MODES = ("interpolate", "moving", "reset")


def curve(found, mode="interpolate"):
    return np.array([evaluation.losses.mean(dtype=np.float64) for evaluation in found[mode, "set"]])


def run(net, states, calibration, examples, ts=TS, modes=MODES):
    controls, points = [flatten(state) for state in states], list(map(linear.coefficients, ts))
    batchnorm = {mode: None if mode == "interpolate" else calibration for mode in modes}
    return Engine(net).along(controls, points, batchnorm, {"set": examples})


@pytest.mark.parametrize("mode", MODES)
def test_losses_equal_those_of_a_plain_loop(mode, data, calibration, examples):
    one, two = trained("resnet", 0, data), trained("resnet", 1, data)
    a, b = copy.deepcopy(one.state_dict()), copy.deepcopy(two.state_dict())
    found = run(one, [a, b], calibration, examples)[mode, "set"]
    plain = trained("resnet", 2, data)
    for t, evaluation in zip(TS, found, strict=True):
        state = {
            name: (1 - t) * a[name] + t * b[name] if a[name].is_floating_point() else a[name]
            for name in a
        }
        plain.load_state_dict(state)
        if mode == "reset":
            reset(plain, calibration)
        elif mode == "moving":
            plain.train()
            with torch.no_grad():
                for batch in calibration.images.split(128):
                    plain(normalise(batch))
        plain.eval()
        with torch.no_grad():
            logits = plain(normalise(examples.images))
        losses = functional.cross_entropy(logits, examples.labels, reduction="none").numpy()
        np.testing.assert_allclose(evaluation.losses, losses, atol=1e-5)
        assert (evaluation.correct == (logits.argmax(1) == examples.labels).numpy()).mean() > 0.99


def test_reset_is_the_mean_of_batch_statistics(data, calibration):
    net = trained("resnet", 0, data)
    first = net.stem.conv
    reset(net, calibration)
    with torch.no_grad():
        batches = [first(normalise(batch)) for batch in calibration.images.split(128)]
    mean = torch.stack([batch.mean((0, 2, 3)) for batch in batches]).mean(0)
    variance = torch.stack([batch.var((0, 2, 3)) for batch in batches]).mean(0)
    torch.testing.assert_close(net.stem.norm.running_mean, mean, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(net.stem.norm.running_var, variance, atol=1e-5, rtol=1e-4)


def test_identical_models_have_exactly_no_barrier(data, calibration, examples):
    net = trained("resnet", 0, data)
    state = copy.deepcopy(net.state_dict())
    found = run(net, [state, state], calibration, examples, ts=(0.0, 0.5, 1.0))
    for mode in MODES:
        losses = curve(found, mode)
        assert {
            name: float(f([0, 0.5, 1], losses)) for name, f in BARRIERS.items()
        } == dict.fromkeys(BARRIERS, 0.0)


@pytest.mark.parametrize("kind", ["mlp", "resnet"])
def test_a_model_and_its_own_permutation(kind, data, calibration):
    net = trained(kind, 0, data)
    state, spec = copy.deepcopy(net.state_dict()), net.permutation_spec()
    shuffled = permute(state, spec, random_permutations(state, spec, seeds.generator("test")))
    raw = curve(run(net, [state, shuffled], calibration, calibration))
    np.testing.assert_allclose(raw[0], raw[-1], atol=1e-5)
    assert barrier_linear(TS, raw) > 0.05
    found = weight_matching.align(state, shuffled, spec, generator=seeds.generator("test"))
    aligned = permute(shuffled, spec, found)
    matched = curve(run(net, [state, aligned], calibration, calibration))
    assert barrier_linear(TS, matched) < 1e-6


def test_ends_are_the_models_bit_for_bit(data):
    a, b = (flatten(trained("mlp", seed, data).state_dict()) for seed in (0, 1))
    out = torch.full_like(a, 7)
    for t, end in ((0.0, a), (1.0, b)):
        combine([a, b], linear.coefficients(t), out)
        assert torch.equal(out, end)


class Bowl(nn.Module):
    """Two weights w; on an image of brightness x the logits are (0, -log(expm1(potential)))."""

    def __init__(self, potential):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2))
        self.potential = potential

    def forward(self, images):
        wanted = self.potential(self.w).expand(len(images))
        return torch.stack([torch.zeros_like(wanted), wanted.expm1().log()], dim=1)


@pytest.mark.parametrize(
    ("potential", "barrier", "gap"),
    [
        (lambda w: 0.1 + (w**2).sum(), 0.0, 0.0),  # convex: no barrier at all
        (lambda w: 0.1 + (w[0] ** 2 - 1) ** 2, 1.0, 1.0),  # wells at -1 and 1, a ridge of 1 between
    ],
)
def test_landscapes_known_in_closed_form(potential, barrier, gap):
    """Cross-entropy of label 0 under those logits is log(1 + expm1(p)) = p, the potential."""
    images = torch.zeros(3, 2, 2, 3, dtype=torch.uint8)
    examples = Resident(images, torch.zeros(3, dtype=torch.int64))
    controls = [torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 0.0])]
    points = list(map(linear.coefficients, grid(9)))
    engine = Engine(Bowl(potential))
    losses = curve(engine.along(controls, points, {"interpolate": None}, {"set": examples}))
    expected = [float(potential(torch.tensor([2 * t - 1, 0.0]))) for t in grid(9)]
    np.testing.assert_allclose(losses, expected, atol=1e-5)
    assert BARRIERS["barrier_linear"](grid(9), losses) == pytest.approx(barrier, abs=1e-5)
    assert BARRIERS["convexity_gap"](grid(9), losses) == pytest.approx(gap, abs=1e-5)


@pytest.mark.parametrize("net", [vgg.build, partial(resnet.build, depth=18, width=8)])
def test_folding_follows_the_network(net, data, examples):
    net = net((16, 16, 3), 10)
    folded = Folded(net)
    assert len(folded.pairs) == sum(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    for _ in range(2):  # the second time, weights and statistics have changed under it
        with torch.no_grad():
            for tensor in net.parameters():
                tensor.add_(0.05 * torch.randn_like(tensor))
        net.train()(normalise(examples.images))
        plain, fast = evaluate(net, examples), evaluate(folded.refresh(), examples)
        np.testing.assert_allclose(plain.losses, fast.losses, atol=1e-5, rtol=1e-4)
        assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.function.modules())


def test_a_network_that_cannot_be_traced_is_evaluated_as_it_is(examples):
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(10)

        def forward(self, images):
            logits = self.norm(images.flatten(1)[:, :10])
            return logits if logits.sum() > 0 else -logits

    net = Branching()
    assert Folded(net).refresh() is net
    with pytest.warns(UserWarning, match="depends on the others in the batch"):
        assert len(evaluate(net, examples).losses) == len(examples.labels)


def test_a_moving_average_forgets_what_it_does_not_run(data, calibration):
    """A pass over twice `MEMORY` batches ends where the pass over the last `MEMORY` does."""
    images = calibration.images[:8].repeat(2 * MEMORY * 128 // 8, 1, 1, 1)
    net, plain = (nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)) for _ in range(2))
    plain.load_state_dict(net.state_dict())
    with torch.no_grad():
        for batch in images.split(128):
            plain(normalise(batch))
    moving(net, Resident(images, torch.zeros(len(images), dtype=torch.int64)))
    torch.testing.assert_close(net[1].running_mean, plain[1].running_mean, rtol=0, atol=1e-7)
    torch.testing.assert_close(net[1].running_var, plain[1].running_var, rtol=0, atol=1e-6)


def test_rows_come_back_in_the_order_of_the_dataset(data, examples):
    class Shuffled(Resident):
        @property
        def order(self):
            return torch.arange(len(self.labels)).flip(0)

    net = trained("mlp", 0, data)
    flipped = Shuffled(examples.images.flip(0), examples.labels.flip(0))
    for found, expected in zip(evaluate(net, flipped), evaluate(net, examples), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_classes_merge_by_their_probabilities_and_answers_by_the_largest(data, examples):
    """Two classes of three count as one: its probability is their sum (LCRGS, HANS)."""
    merge = torch.arange(10) % 2

    class Merged(Resident):
        @property
        def merge(self):
            return merge

    net = trained("mlp", 0, data)
    two = Merged(examples.images, examples.labels % 2)
    found = evaluate(net, two)
    with torch.inference_mode():
        chances = net(normalise(examples.images)).softmax(dim=1).double()
    right = torch.stack([chances[:, merge == k].sum(dim=1) for k in (0, 1)], dim=1)
    right = right.gather(1, two.labels[:, None])[:, 0]
    np.testing.assert_allclose(found.losses, -right.log(), atol=1e-4)
    answers = merge[chances.argmax(dim=1)]
    np.testing.assert_array_equal(found.correct, answers == two.labels)


def test_grids_end_at_exactly_0_and_1():
    for points in (3, 6, 7, 11, 50):  # the paper's own grid overshoots 1 at some sizes
        assert (grid(points)[0], grid(points)[-1], len(grid(points))) == (0, 1, points)


@pytest.mark.parametrize(
    ("net", "labels", "message"),
    [
        (nn.Linear(48, 1), torch.zeros(9, dtype=torch.int64), r"Sequential: it returns \[9, 1\]"),
        (nn.Linear(48, 3), torch.rand(9), r"labels are float32 \[9\]"),
        (nn.Linear(48, 3), torch.rand(9, 3), r"labels are float32 \[9, 3\]"),
        (nn.Linear(48, 3), torch.tensor([0] * 7 + [3, 4]), "2 labels are not among"),
        (nn.Linear(48, 3), torch.tensor([0] * 8 + [-100]), "1 labels are not among"),
        (nn.Unflatten(1, (3, 16)), torch.zeros(9, dtype=torch.int64), r"returns \[9, 3, 16\]"),
        (nn.Softmax(1), torch.zeros(9, dtype=torch.int64),
         "Sequential: it returns probabilities"),
    ],
)  # fmt: skip
def test_what_is_no_classification_is_refused(net, labels, message):
    images = torch.randint(0, 256, (9, 4, 4, 3), dtype=torch.uint8)
    whole = nn.Sequential(nn.Flatten(), nn.Linear(48, 48), net)
    engine = Engine(whole)
    with pytest.raises(UserError, match=message):
        engine.along(
            [engine.flat.vector.clone()], [(1.0,)], {"interpolate": None},
            {"set": Resident(images, labels)},
        )  # fmt: skip


def test_a_set_without_examples_is_refused():
    none = Resident(torch.zeros(0, 4, 4, 3, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(UserError, match="without examples"):
        evaluate(nn.Sequential(nn.Flatten(), nn.Linear(48, 3)), none)


def test_a_mixture_of_a_network_with_itself_is_the_network():
    a, out = torch.randn(1000), torch.empty(1000)
    for t in grid(11):
        combine([a, a.clone()], (1 - t, t), out)
        assert torch.equal(out, a)
    combine([a, a.clone()], (0.5, 0.4), out)  # a step, not a mixture
    torch.testing.assert_close(out, 0.9 * a)


def test_a_wrong_way_of_merging_classes_is_caught(data, examples, monkeypatch):
    """As if a class that merges had been left out of its sum."""

    class Merged(Resident):
        @property
        def merge(self):
            return torch.arange(10) % 2

    net = trained("mlp", 0, data)
    two = Merged(examples.images, examples.labels % 2)
    right = evaluate(net, two).losses
    assert not double_entry(net).plain
    net, rightly = trained("mlp", 0, data), torch.Tensor.logsumexp

    def wrongly(x, dim):
        return rightly(x, dim) + 0.1 * (dim == 1 and bool(x.isinf().any()))

    monkeypatch.setattr(torch.Tensor, "logsumexp", wrongly)
    with pytest.raises(UserError, match="defect of basins"):
        evaluate(net, two)
    assert len(right) == 200


def units(net, inputs):
    """Return mean and deviation of every unit's pre-activation, by the layer, as plain loops do."""
    found = {}

    def remember(name):
        def hook(module, given, output):
            values = output.movedim(1, -1).flatten(0, -2).double()
            found[name] = values.mean(0), values.std(0, correction=0)

        return hook

    layers = writers(net)
    handles = [net.get_submodule(name).register_forward_hook(remember(name)) for name in layers]
    with torch.no_grad():
        net.eval()(inputs)
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize("kind", ["mlp", "resnet"])
@pytest.mark.parametrize("path", [linear, bezier, chain])
def test_repaired_units_vary_as_those_of_the_ends(kind, path, data, calibration):
    """By 1 - t and t on every path, whatever the statistics of what bends it."""
    nets = [trained(kind, seed, data) for seed in (0, 1, 2)]
    states = [copy.deepcopy(net.state_dict()) for net in nets]
    goals = [units(nets[k], normalise(calibration.images)) for k in (0, 1)]
    t, engine = 0.25, Engine(nets[2])
    controls = [flatten(states[k]) for k in ((0, 1) if path is linear else (0, 2, 1))]
    bends = [] if path is linear else [1]
    settled = engine.mixer(controls, {"repair": calibration}, bends=bends)
    settled(path.coefficients(t), "repair")
    found = units(engine.net, normalise(calibration.images))
    for name, (mean, deviation) in found.items():
        (a, s), (b, z) = (goal[name] for goal in goals)
        torch.testing.assert_close(mean, (1 - t) * a + t * b, rtol=1e-3, atol=1e-3)
        live = deviation > 1e-4
        torch.testing.assert_close(
            deviation[live], ((1 - t) * s + t * z)[live], rtol=1e-3, atol=1e-3
        )


def test_repair_leaves_the_ends_and_a_network_mixed_with_itself(data, calibration, examples):
    net = trained("resnet", 0, data)
    states = [copy.deepcopy(net.state_dict()) for _ in range(2)]
    found = run(net, states, calibration, examples, modes=("interpolate", "repair"))
    for plain, repaired in zip(found["interpolate", "set"], found["repair", "set"], strict=True):
        np.testing.assert_array_equal(plain.losses, repaired.losses)


def test_repair_after_another_mode_starts_from_the_mixture(data, calibration, examples):
    nets = [trained("resnet", seed, data) for seed in (0, 1)]
    states = [copy.deepcopy(net.state_dict()) for net in nets]
    alone = run(nets[0], states, calibration, examples, modes=("repair",))
    beside = run(nets[0], states, calibration, examples, modes=("reset", "repair", "moving"))
    for one, other in zip(alone["repair", "set"], beside["repair", "set"], strict=True):
        np.testing.assert_array_equal(one.losses, other.losses)
    plain = run(nets[0], states, calibration, examples, modes=("moving",))
    for one, other in zip(plain["moving", "set"], beside["moving", "set"], strict=True):
        np.testing.assert_array_equal(one.losses, other.losses)


def test_repair_says_what_it_needs(data, calibration):
    net = trained("mlp", 0, data)
    control = flatten(net.state_dict()).clone()
    with pytest.raises(UserError, match="repair is measured on images"):
        Engine(net).mixer([control], {"repair": None})
    plain = nn.Sequential(nn.Flatten(), nn.Linear(16 * 16 * 3, 10))
    with pytest.raises(UserError, match="Sequential has no permutation_spec"):
        Engine(plain).mixer([flatten(plain.state_dict())], {"repair": calibration})


def test_padding_that_is_read_is_caught_in_whichever_row_it_is():
    """As XLNet reads a row's last place, by a network that packs its rows."""
    lengths, ids = torch.tensor([5, 5, 2, 5]), torch.arange(20).reshape(4, 5)

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(20, 3)

        def forward(self, ids, mask):
            return self.table(ids[:, -1])

        def plainly(self, ids, mask):
            ends = mask[:, 0, 0].isfinite().sum(1) - 1
            return self.table(ids[torch.arange(len(ids)), ends])

    class Rows:
        merge = order = None

        def batches(self):
            padding = torch.arange(5) >= lengths[:, None]
            mask = torch.zeros(4, 5).masked_fill(padding, -torch.inf)[:, None, None]
            yield (ids, mask), torch.tensor([0, 1, 2, 0])

    net = Last()
    with pytest.warns(UserWarning, match="from the network called as it is"):
        found = evaluate(net, Rows())
    logits = net.table(ids[torch.arange(4), lengths - 1])
    right = functional.cross_entropy(logits, torch.tensor([0, 1, 2, 0]), reduction="none")
    np.testing.assert_allclose(found.losses, right.detach(), rtol=1e-5)
