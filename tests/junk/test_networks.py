"""Networks that nobody here has written, generated: measured as a plain loop measures them."""

from __future__ import annotations

import copy
import re
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.nn.utils import spectral_norm as old_spectral_norm
from torch.optim.swa_utils import update_bn

import basins
from basins.align.batchnorm import Folded
from basins.data.resident import Resident, normalise
from basins.landscape.barriers import BARRIERS
from basins.merges import uniform_soup
from basins.merges.evaluation import evaluations
from basins.merges.sources import Sources
from basins.paths.engine import Engine
from basins.paths.evaluation import double_entry, evaluate
from basins.paths.pairs import grid
from basins.weights import flatten
from tests.conftest import CASES

WIDTH, CLASSES = 4, 3
TS = grid(4)
DRAW = np.random.default_rng(0)
IMAGES = torch.from_numpy(DRAW.integers(0, 256, (70, 6, 6, 3), dtype=np.uint8))
DATA = Resident(IMAGES, torch.from_numpy(DRAW.integers(0, CLASSES, 70)))


class Block(nn.Module):
    """Layers one after the other, called in one of the ways that people write."""

    def __init__(self, layers: list[nn.Module], style: str) -> None:
        super().__init__()
        self.layers, self.style = nn.ModuleList(layers), style
        self.register_buffer("gate", torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        start = x
        if self.style == "tensor" and not torch.is_tensor(x):
            x = -x
        if self.style == "buffer" and self.gate < 0.5:
            x = 2 * x
        for layer in self.layers:
            x = layer(x)
        if self.style == "twice":
            for layer in self.layers:
                x = layer(x)
        if self.style == "functional":
            x = functional.dropout(x, 0.5, self.training)
        return start + x if self.style == "residual" else functional.relu(x)


class Odd(nn.BatchNorm2d):
    """What folding would take for BatchNorm, and is more."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).tanh()


def wrapped(layer: nn.Module, how: str) -> nn.Module:
    if how == "weight_norm":
        return parametrizations.weight_norm(layer)
    if how == "spectral_norm":
        return parametrizations.spectral_norm(layer)
    if how == "old_spectral_norm":
        return old_spectral_norm(layer)
    if how == "hook":
        layer.register_forward_hook(lambda module, given, out: 1.5 * out)
    if how == "pre_hook":
        layer.register_forward_pre_hook(lambda module, given: (0.5 * given[0],))
    return layer


LAYERS = {
    "conv": lambda: nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
    "bare": lambda: nn.Conv2d(WIDTH, WIDTH, 1, bias=False),
    "batch": lambda: nn.BatchNorm2d(WIDTH),
    "plain_batch": lambda: nn.BatchNorm2d(WIDTH, affine=False),
    "odd": lambda: Odd(WIDTH),
    "group": lambda: nn.GroupNorm(2, WIDTH),
    "instance": lambda: nn.InstanceNorm2d(WIDTH, track_running_stats=True),
    "dropout": lambda: nn.Dropout(0.5),
    "dropout2d": lambda: nn.Dropout2d(0.5),
    "alpha": lambda: nn.AlphaDropout(0.5),
    "rrelu": lambda: nn.RReLU(),
    "relu": lambda: nn.ReLU(),
}
CONVS = ["none", "none", "weight_norm", "spectral_norm", "old_spectral_norm", "hook", "pre_hook"]


@st.composite
def networks(draw: st.DrawFn) -> nn.Module:
    torch.manual_seed(draw(st.integers(0, 99)))
    blocks: list[nn.Module] = [nn.Conv2d(3, WIDTH, 3)]
    for _ in range(draw(st.integers(1, 3))):
        layers = []
        for name in draw(st.lists(st.sampled_from(sorted(LAYERS)), min_size=1, max_size=4)):
            how = draw(st.sampled_from(CONVS)) if name in ("conv", "bare") else "none"
            how = draw(st.sampled_from(["none", "none", "hook"])) if name == "batch" else how
            layers.append(wrapped(LAYERS[name](), how))
        if draw(st.booleans()):  # what is folded, if anything is
            layers += [LAYERS["conv"](), LAYERS["batch"]()]
        styles = ["plain", "residual", "twice", "tensor", "buffer", "functional"]
        block = Block(layers, draw(st.sampled_from(styles)))
        if draw(st.integers(0, 4)) == 0:
            block.register_forward_hook(lambda module, given, out: out - 0.25)
        blocks.append(block)
    if draw(st.booleans()):
        blocks.append(blocks[-1])  # shared
    net = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(WIDTH * 16, CLASSES))
    if draw(st.integers(0, 4)) == 0:
        net.register_forward_hook(lambda module, given, out: 2 * out)
    return net


def another(net: nn.Module) -> dict[str, Tensor]:
    """Other weights, and statistics, of the same network."""
    with torch.no_grad():
        for tensor in net.parameters():
            tensor.add_(0.1 * torch.randn_like(tensor))
        for _ in range(3):
            net.train()(torch.randn(16, 3, 6, 6))
    return copy.deepcopy(net.eval().state_dict())


def mixed(t: float, a: dict[str, Tensor], b: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: (1 - t) * a[k] + t * b[k] if a[k].is_floating_point() else a[k] for k in a}


@torch.no_grad()
def by_hand(net: nn.Module, state: dict[str, Tensor], reset: bool) -> np.ndarray:
    """Losses of a network with these weights, in one batch, as torch's own tools measure them."""
    net.load_state_dict(state)
    if reset:
        for module in net.modules():  # the statistics of the network that is measured
            quiet = not isinstance(module, nn.modules.batchnorm._BatchNorm)
            module.train = lambda mode=True, self=module, quiet=quiet: _train(self, mode, quiet)
        update_bn([normalise(IMAGES).to(next(net.parameters()).dtype)], net)
    net.eval()
    images = normalise(IMAGES).to(next(net.parameters()).dtype)
    return functional.cross_entropy(net(images), DATA.labels, reduction="none").numpy()


def _train(module: nn.Module, mode: bool, quiet: bool) -> nn.Module:
    module.training = mode and not quiet
    for child in module.children():
        child.train(mode)
    return module


@settings(max_examples=max(15, CASES // 3))
@given(net=networks())
def test_every_network_is_measured_as_it_is(net: nn.Module) -> None:
    plain = copy.deepcopy(net)
    a, b = another(net), another(net)
    engine = Engine(net)
    controls = [flatten(a), flatten(b)]
    points = [(1 - t, t) for t in TS]
    calibrations = {"interpolate": None, "reset": DATA}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = engine.along(controls, points, calibrations, {"set": DATA})
        alone = engine.along([controls[0]] * 2, points, calibrations, {"set": DATA})
    for mode in calibrations:
        for t, evaluation in zip(TS, found[mode, "set"], strict=True):
            right = by_hand(plain, mixed(t, a, b), mode == "reset")
            # Norms that divide by next to nothing make rounding a part of the function.
            exact = by_hand(copy.deepcopy(plain).double(), mixed(t, a, b), mode == "reset")
            assume(np.abs(right - exact).max() < 2e-4)
            np.testing.assert_allclose(evaluation.losses, right, rtol=2e-3, atol=2e-3)
        curve = [e.losses.mean(dtype=np.float64) for e in alone[mode, "set"]]
        found_alone = {name: float(f(TS, curve)) for name, f in BARRIERS.items()}
        del found_alone["barrier_mid"]  # this grid has no middle
        assert set(found_alone.values()) == {0.0}
    sources = Sources([a, b], None, net, DATA, np.random.default_rng(0))  # type: ignore
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        soup = uniform_soup.merge(sources)
        measured = evaluations(engine, soup, sources, {"interpolate": None}, {"set": DATA})
    right = by_hand(plain, mixed(0.5, a, b), False)
    np.testing.assert_allclose(measured["interpolate", "set"].losses, right, rtol=2e-3, atol=2e-3)
    assert double_entry(engine.folded.function).compared > 0


def folds() -> nn.Module:
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
    net = nn.Sequential(conv, norm, nn.ReLU(), nn.Flatten(), nn.Linear(64, CLASSES))
    another(net)
    return net


def test_a_wrong_fold_is_caught_and_the_network_measured(monkeypatch) -> None:
    net, plain = folds(), folds()
    right = by_hand(plain, net.state_dict(), False)
    engine = Engine(net)
    assert len(engine.folded.pairs) == 1
    assert evaluate(engine.settle("interpolate", None), DATA).losses == pytest.approx(right, 1e-4)
    assert not engine.double_entry.plain and engine.double_entry.apart < 1e-5

    rightly = Folded.refresh

    def wrongly(self: Folded) -> nn.Module:
        function = rightly(self)
        with torch.no_grad():
            for folded, _, _ in self.pairs:
                folded.weight.mul_(1.05)
        return function

    monkeypatch.setattr(Folded, "refresh", wrongly)
    engine = Engine(folds())
    with pytest.warns(UserWarning, match=r"^Sequential: computed fast .* differs by up to .* nats"):
        found = evaluate(engine.settle("interpolate", None), DATA)
    np.testing.assert_allclose(found.losses, right, rtol=1e-6)
    assert engine.double_entry.plain


def test_a_fold_that_goes_wrong_later_is_caught_within_the_stated_examples(monkeypatch) -> None:
    from basins.paths import evaluation as room

    monkeypatch.setattr(room, "EVERY", 200)
    engine = Engine(folds())
    function = engine.settle("interpolate", None)
    evaluate(function, DATA)
    with torch.no_grad():
        engine.folded.pairs[0][0].weight.mul_(1.1)
    with pytest.warns(UserWarning, match="computed fast"):
        for _ in range(3):
            evaluate(function, DATA)


class Noisy(nn.Module):
    """It draws in evaluation, too: `functional.dropout` does unless it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.head = nn.Linear(64, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(functional.dropout(self.norm(self.conv(x)).relu().flatten(1)))


def test_what_draws_in_evaluation_is_named_and_draws_the_same_every_time() -> None:
    torch.manual_seed(0)
    net = Noisy()
    state = flatten(net.state_dict())
    before = torch.get_rng_state()
    with pytest.warns(UserWarning, match=r"^Noisy: "):
        points = [(1 - t, t) for t in TS]
        found = Engine(net).along([state, state], points, {"reset": DATA}, {"set": DATA})
    assert torch.equal(before, torch.get_rng_state())
    curve = [e.losses.mean(dtype=np.float64) for e in found["reset", "set"]]
    assert len(set(curve)) == 1


def test_an_answer_that_depends_on_the_batch_is_named() -> None:
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(108, track_running_stats=False))
    net.append(nn.Linear(108, CLASSES))
    with pytest.warns(UserWarning, match=r"depends on the others in the batch"):
        evaluate(net, DATA)
    assert not double_entry(net).alone and not double_entry(net).plain


def test_a_network_for_batches_of_one_size_is_measured_in_them() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(108, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(x.reshape(64, 108))

    net, whole = Fixed(), Resident(IMAGES[:64], DATA.labels[:64])
    with pytest.warns(UserWarning, match=r"depends on the others in the batch"):
        found = evaluate(net, whole)
    right = functional.cross_entropy(net(normalise(whole.images)), whole.labels)
    assert found.losses.mean() == pytest.approx(float(right.detach()), 1e-5)


@settings(max_examples=max(8, CASES // 8), suppress_health_check=[HealthCheck.too_slow])
@given(net=networks())
def test_connect_probe_merge_and_report_say_what_a_plain_loop_says(net: nn.Module) -> None:
    plain = copy.deepcopy(net)
    a, b = another(net), another(net)
    losses = {}
    for t in (0.0, 0.5, 1.0):
        losses[t] = by_hand(plain, mixed(t, a, b), False)
        exact = by_hand(copy.deepcopy(plain).double(), mixed(t, a, b), False)
        assume(np.abs(losses[t] - exact).max() < 2e-4)
    data = normalise(IMAGES), DATA.labels
    with warnings.catch_warnings(), TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        joined = basins.connect(a, b, data, net=net, points=3)
        probed = basins.probe({"a": a, "b": b}, data, net=net).probes
        merged = basins.merge([a, b], data, net=net).merge
        page = Path(basins.report(joined.save(Path(folder) / "rows"))).read_text()
    means = {t: float(each.mean(dtype=np.float64)) for t, each in losses.items()}
    assert dict(zip(joined.paths["t"], joined.paths["loss"], strict=True)) == about(means)
    barrier = means[0.5] - (means[0.0] + means[1.0]) / 2
    (row,) = joined.barriers.query("metric == 'loss'").to_dict("records")
    assert row["barrier_linear"] == pytest.approx(max(barrier, 0), abs=4e-3)
    shown = re.search(r">loss</td>\s*<td[^>]*>([^<]*)</td>\s*<td[^>]*>([^<]*)</td>", page)
    assert shown is not None
    written = [row["barrier_linear"], row["barrier_mean"]]
    assert [*map(float, shown.groups())] == pytest.approx(written, rel=6e-3, abs=1e-4)
    of = probed.query("metric == 'loss'").set_index("recipe")["value"]
    assert of.to_dict() == about({"a": means[0.0], "b": means[1.0]})
    soup = merged.loc[merged["technique"] == "uniform_soup", "loss"]
    assert soup.tolist() == about([means[0.5]])


def about(values):
    return pytest.approx(values, rel=2e-3, abs=2e-3)
