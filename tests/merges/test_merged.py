"""Merges of checkpoints on disk: aligned, stored, and refused where they do not fit together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from basins import seeds
from basins.align.permute import permute, random_permutations
from basins.data import disk
from basins.data.resident import resident
from basins.errors import UserError
from basins.item import get
from basins.merges import experiment, merged, uniform_soup
from basins.merges.merged import FILE, Merged, base_state, check_shapes
from basins.nets import bert, checkpoint
from basins.nets.control import Control
from basins.paths.evaluation import double_entry, evaluate
from basins.paths.points import prepared
from basins.store import Store
from basins.training.sample import Sample
from basins.weights import save
from tests.paths.conftest import data
from tests.paths.test_points import CONFIG, CPU, models, nothing, sets

__all__ = ["data", "models", "sets"]  # fixtures
ROWS = Sample(Path("data"), 128)


def together(items, title):
    return [get(item, nothing) for item in items]


def job(controls, technique="uniform_soup", base=None, sets=None, **options):
    return Merged(tuple(controls), base, {"name": technique, **options}, ROWS, sets)


def losses_of(item):
    """Return the file of losses of a merge, made if it is not there."""
    get(item, nothing)
    return item.find() / FILE


def saved(net, name: str, config=CONFIG) -> Control:
    folder = Path("models") / name
    folder.mkdir(parents=True)
    checkpoint.save(net, config, folder)
    return Control(folder, checkpoint.fingerprint(folder))


def test_a_soup_is_the_mean_evaluated_once(models, sets):
    sets = sets._replace(batchnorm=("interpolate",))
    made = job(models, sets=sets)
    file = losses_of(made)
    states = [checkpoint.load(c.model).state_dict() for c in models]
    net = checkpoint.load(models[0].model)
    net.load_state_dict({k: torch.stack([s[k].float() for s in states]).mean(0) for k in states[0]})
    expected = evaluate(net, resident(disk.read(Path("data"), "test"), CPU))
    np.testing.assert_allclose(
        load_file(file)["interpolate/test/losses"], expected.losses, atol=1e-4
    )
    [row] = get(made, nothing)
    assert row["sources"] == "net/seed0 + net/seed1 + net/seed2"
    assert (row["members"], row["n"], row["eval_set"]) == (1, 200, "test")
    assert row["loss"] == pytest.approx(expected.losses.mean(), abs=1e-4)
    assert row["loss_se"] == pytest.approx(expected.losses.std(ddof=1) / 200**0.5, rel=1e-3)
    assert row["accuracy"] == pytest.approx(expected.correct.mean(), abs=0.006)
    assert Store().find("merges", made.key())
    before = file.stat().st_mtime_ns
    assert losses_of(made).stat().st_mtime_ns == before
    assert job(models, sets=sets, technique="slerp").key() != made.key()


@pytest.mark.parametrize("alignment", ["weight_matching", "star", "activation_matching"])
def test_a_permuted_copy_is_brought_back(models, sets, alignment):
    """The merge of a network and itself, its units in another order, is the network again."""
    net = checkpoint.load(models[0].model)
    spec, state = net.permutation_spec(), net.state_dict()
    state["head.weight"].mul_(100)  # untrained networks say next to nothing
    first = saved(net, "first/seed0")
    moved = random_permutations(state, spec, np.random.default_rng(1))
    net.load_state_dict(permute(state, spec, moved))
    pair = (first, saved(net, "copy/seed0"))

    def losses(controls, technique):
        file = losses_of(job(controls, technique, sets=sets))
        return load_file(file)["interpolate/test/losses"]

    sets = sets._replace(batchnorm=("interpolate",))
    alone, raw = losses([first], "best"), losses(pair, "uniform_soup")
    [group] = experiment.align([pair], {"name": alignment}, sets, together)
    np.testing.assert_allclose(losses(group, "uniform_soup"), alone, atol=1e-3)
    assert abs(raw - alone).mean() > 0.1


def test_sets_are_aligned_by_themselves(models, sets):
    groups = [(models[0], models[1]), (models[2], models[1])]
    found = experiment.align(groups, {"name": "weight_matching"}, sets, together)
    for group, (first, second) in zip(groups, found, strict=True):
        assert (first, second.plain()) == group
        assert second.read()
    assert found[0][1].read().keys() == found[1][1].read().keys()
    assert any(
        not np.array_equal(found[0][1].read()[g], found[1][1].read()[g]) for g in found[0][1].read()
    )
    assert experiment.align(groups, {"name": "none"}, sets, together) == groups


def test_a_base_goes_with_the_network_it_was_tuned_into(models, sets):
    """In a common frame the first network is permuted, and what it was tuned from with it."""
    net = checkpoint.load(models[0].model)
    [(first, _)] = experiment.align([(models[0], models[1])], {"name": "star"}, sets, together)
    plain = base_state(models[0], models[0], net)
    assert all(torch.equal(plain[k], t) for k, t in net.state_dict().items())
    permutations = {g: np.roll(np.arange(p.size), 1) for g, p in _identity(net).items()}
    moved = _Fixed(models[0], permutations)
    found = base_state(models[0], moved, net)  # pyright: ignore
    expected = permute(net.state_dict(), net.permutation_spec(), permutations)
    assert all(torch.equal(found[k], t) for k, t in expected.items())
    assert not all(torch.equal(found[k], t) for k, t in plain.items())
    assert first.plain() == models[0]


def _identity(net):
    spec = net.permutation_spec()
    return {g: np.arange(spec.size(net.state_dict(), g)) for g in spec.groups}


class _Fixed:
    def __init__(self, control, permutations):
        self.model, self.permutations = control.model, permutations

    def read(self):
        return self.permutations


def test_an_encoder_is_the_base_of_its_classifiers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = {"layers": 1, "width": 8, "heads": 2, "positions": 8}
    with seeds.torch_stream("init", 0):
        encoder = bert.encoder(11, **options)
        net = bert.build_text(11, 2, **options)
    base = saved(encoder, "grammar", encoder.config.to_dict())
    found = base_state(base, Control(Path("x"), ""), net)  # pyright: ignore
    assert set(net.state_dict()) - set(found) == {"classifier.weight", "classifier.bias"}
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(found[f"bert.{name}"], tensor)
    state = {n: t for n, t in encoder.state_dict().items() if "pooler" not in n}
    save(state, base.model / "model.safetensors")
    with pytest.warns(UserWarning, match=r"lacks 2 tensors \(72 numbers\): bert.pooler"):
        base_state(base, Control(Path("x"), ""), net)  # pyright: ignore
    other = saved(bert.encoder(12, **options), "other", encoder.config.to_dict())
    with pytest.raises(
        UserError, match=r"models?/?other|other: bert.*word_emb.*\(12, 8\).*\(11, 8\)"
    ):
        base_state(other, Control(Path("x"), ""), net)  # pyright: ignore


def test_what_a_technique_draws_from_torch_does_not_depend_on_earlier_draws(
    models, sets, tmp_path, monkeypatch
):
    drawn = []

    def drawing(sources):
        drawn.append(float(torch.rand(())))
        return [sources.states[0]]

    monkeypatch.setattr(merged, "find", lambda *names: drawing)
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        job(models, sets=sets).make(folder, nothing)
    assert drawn[0] == drawn[1]


def test_a_merge_is_evaluated_as_if_nothing_came_before(models, sets):
    """After a fold that went wrong, an earlier item evaluated the plain network."""
    engine, *_ = prepared(models, sets)
    nets = engine.net, engine.folded.function
    for net in nets:
        double_entry(net).plain = True
    get(job(models, sets=sets), nothing)
    assert not any(double_entry(net).plain for net in nets)


def test_what_does_not_fit_is_named(models, sets):
    wide = CONFIG | {"net": {"name": "resnet", "depth": 8, "width": 6}}
    other = saved(checkpoint.initialise(wide), "wide/seed0", wide)
    with pytest.raises(UserError, match="models/wide/seed0: blocks.0.*is .6.*models/net/seed0.*4"):
        losses_of(job([models[0], other], sets=sets))
    state = checkpoint.load(models[1].model).state_dict()
    del state["head.bias"]
    save(state, models[1].model / "model.safetensors")
    with pytest.raises(UserError, match="models/net/seed1: head.bias is absent"):
        check_shapes([models[0].model, models[1].model])
    empty = Path("models/empty")
    empty.mkdir()
    save({"nothing": torch.zeros(1)}, empty / "model.safetensors")
    with pytest.raises(UserError, match="empty: no tensor of the models"):
        net = checkpoint.load(models[0].model)
        base_state(Control(empty, ""), models[0], net)


def test_techniques_never_see_what_is_evaluated(models, sets, monkeypatch):
    """The rows are training images, and as many as are asked for."""
    seen = []

    def merge(sources):
        seen.append(sources)
        return uniform_soup.merge(sources)

    monkeypatch.setattr(merged, "find", lambda *_: merge)
    losses_of(job(models, sets=sets))
    [sources] = seen
    train = {image.tobytes() for image in disk.read(Path("data"), "train").images}
    own = [image.numpy().tobytes() for image in sources.data.images]
    assert len(own) == 128 and set(own) <= train
