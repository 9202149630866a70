"""Derivatives, directions and parts of sets against plain torch; aspects as jobs that are kept."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from ruamel.yaml import YAML
from torch import nn

from basins import layout, profiles, seeds, weights
from basins.data.calibration import Calibration
from basins.data.resident import normalise
from basins.errors import UserError
from basins.item import get
from basins.landscape import aspects, terrain
from basins.nets import bert, checkpoint, mlp, resnet
from basins.params import read
from basins.paths.engine import Engine
from basins.paths.evaluation import evaluate
from basins.store import folder_hash
from basins.training.sample import Sample
from tests.landscape.test_sharpness import images, texts
from tests.paths.conftest import data
from tests.paths.test_points import models, nothing, sets

__all__ = ["data", "models", "sets"]  # fixtures
CPU = torch.device("cpu")
PROJECT = Path(__file__).parents[2]


def ground(net, data, **more):
    return terrain.Terrain(
        models=("net/seed0",), vectors=(), engine=Engine(net), batchnorm="interpolate",
        calibration=None, sets={"test": data}, train=data, tables={},
        generator=np.random.default_rng(0), **more,
    )  # fmt: skip


def small():
    with seeds.torch_stream("init", 0):
        return mlp.build((4, 4, 3), 3, depth=1, width=3)


def test_derivatives_are_those_of_torch():
    net, data = small(), images(20, 3)
    here = ground(net, data)
    at = here.engine.flat.vector.clone()
    names = list(here.engine.flat.places)

    def loss(vector):
        state = weights.unflatten(vector, net.state_dict())
        logits = torch.func.functional_call(net, state, (normalise(data.images),))
        return nn.functional.cross_entropy(logits, data.labels)

    assert names == sorted(names)
    gradient = torch.func.grad(loss)(at)
    torch.testing.assert_close(here.gradient(at), gradient, atol=1e-6, rtol=1e-4)
    hessian = torch.func.hessian(loss)(at)
    direction = torch.randn(len(at), generator=torch.Generator().manual_seed(0))
    for keep in (False, True):
        product = here.hessian(at, keep=keep)
        for along in (direction, direction.flip(0)):
            torch.testing.assert_close(product(along), hessian @ along, atol=1e-5, rtol=1e-3)
            here.loss([2 * at])  # other weights in between change nothing
    assert here.loss([at]) == pytest.approx(float(loss(at)), rel=1e-5)
    assert here.loss([at, direction], (1.0, 0.1)) == pytest.approx(
        float(loss(at + 0.1 * direction)), rel=1e-5
    )


def test_directions_are_drawn_on_the_device_of_the_weights():
    flat = weights.FlatModule(small().to("meta"))
    here: Any = SimpleNamespace(engine=SimpleNamespace(flat=flat), generator=seeds.generator("a"))
    assert flat.trained.is_meta and flat.where([]).is_meta
    assert terrain.random_like(here, flat.vector).is_meta


def text_net():
    with seeds.torch_stream("init", 0):
        return bert.build_text(20, 3, layers=1, width=8, heads=2, positions=16)


def test_attention_has_a_curvature():
    net, data = text_net(), texts(slice(None), None)
    here = ground(net, data)
    at = here.engine.flat.vector.clone()
    direction = terrain.random_like(here, at)
    found = here.hessian(at)(direction)
    step = 1e-2
    sides = [here.gradient(at + s * step * direction).double() for s in (1, -1)]
    expected = (sides[0] - sides[1]) / (2 * step)
    assert float((found - expected).norm() / expected.norm()) < 0.02


@pytest.mark.parametrize("merge", [None, torch.tensor([0, 1, 1])])
def test_classes_that_merge_merge_in_the_gradient(merge):
    net, data = text_net(), texts(slice(None), merge)
    here = ground(net, data)
    at = here.engine.flat.vector.clone()
    gradient = here.gradient(at)
    step = 1e-2 * gradient / gradient.norm()
    rise = here.loss([at, step], (1.0, 1.0)) - here.loss([at, step], (1.0, -1.0))
    assert rise == pytest.approx(2 * float(gradient @ step), rel=1e-2)


def test_a_part_of_a_set_is_evaluated_as_within_it():
    net, whole = text_net(), texts(slice(None), torch.tensor([0, 1, 1]))
    rows = np.array([2, 3, 11, 29])
    part = terrain.subset(whole, rows)
    np.testing.assert_allclose(
        evaluate(net, part).losses, evaluate(net, whole).losses[rows], rtol=1e-5
    )
    pictures = images(20, 3)
    chosen = terrain.subset(pictures, rows[:3])
    assert torch.equal(chosen.images, pictures.images[[2, 3, 11]])
    assert terrain.few(pictures, 20, "test") is pictures
    drawn = terrain.few(pictures, 5, "test")
    assert torch.equal(drawn.images, terrain.few(pictures, 5, "test").images)
    assert sum(len(labels) for _, labels in drawn.batches()) == 5


def test_filters_of_a_direction_have_the_norms_of_the_model():
    net = resnet.build((16, 16, 3), 10, depth=8, width=4)
    here = ground(net, images(4, 10))
    at = here.engine.flat.vector.clone()
    state = weights.unflatten(terrain.filter_normalised(here, at), net.state_dict())
    for name, tensor in net.named_parameters():
        found = state[name].flatten(1).norm(dim=1) if tensor.ndim > 1 else state[name]
        expected = tensor.flatten(1).norm(dim=1) if tensor.ndim > 1 else torch.zeros_like(tensor)
        torch.testing.assert_close(found, expected.detach())
    drawn = terrain.random_like(here, at)
    assert float(drawn.norm()) == pytest.approx(float(at.norm()), rel=1e-5)
    assert not drawn[~here.engine.flat.trained].any()


def test_groups_and_kinds():
    here = ground(small(), images(4, 3))._replace(models=("a/seed0", "a/seed1", "a/seed2"))
    assert terrain.clusters(here) == dict.fromkeys(here.models, 0)
    rows = pd.DataFrame(
        {"model": [*here.models] * 2, "measure": ["convexity_gap"] * 3 + ["distance"] * 3,
         "cluster": [0, 1, 0, 1, 1, 1]}
    )  # fmt: skip
    labels = terrain.clusters(here._replace(tables={"clusters": rows}))
    assert labels == {"a/seed0": 0, "a/seed1": 1, "a/seed2": 0}
    assert terrain.groups(labels) == {0: ["a/seed0", "a/seed2"]}
    assert terrain.kind(labels, ["a/seed0", "a/seed2"]) == "within"
    assert terrain.kind(labels, here.models) == "between"
    few = terrain.clusters(here._replace(tables={"clusters": rows.iloc[:2]}))
    assert set(few.values()) == {0}


@pytest.fixture
def job(models, sets) -> aspects.Measurement:
    aspects._terrains.clear()
    return aspects.Measurement(
        aspect={"name": "convexity", "sizes": [2], "draws": 3}, test="A2", models=tuple(models),
        origins=(None,) * 3, early={}, data=Path("data"), fingerprint=folder_hash(Path("data")),
        sets=("test",), rows=40, train=Sample(Path("data"), 40), batchnorm="reset",
        calibration=Calibration(Path("data"), 0.0, 128), tables={}, device=CPU,
    )  # fmt: skip


def test_an_aspect_is_measured_once(job, monkeypatch):
    found = get(job, nothing)
    assert list(found) == list(aspects.COLUMNS)
    assert set(found["aspect"]) == {"convexity"} and len(found) == 3
    again = job.terrain()
    assert again.models == tuple(map(str, job.models))
    assert sum(len(labels) for _, labels in again.sets["test"].batches()) == 40
    monkeypatch.setattr(aspects.Measurement, "_read", lambda self: pytest.fail("read again"))
    pd.testing.assert_frame_equal(get(job, nothing), found)


def test_an_aspect_has_all_its_tests_or_the_one_that_is_named(job):
    given = {f.name: getattr(job, f.name) for f in fields(job) if f.name not in ("aspect", "test")}
    every = aspects.measurements({"name": "determinism"}, **given)
    assert [item.test for item in every] == ["B1", "B2", "B3", "B4"]
    named = aspects.measurements({"name": "determinism", "test": "B2"}, **given)
    assert [item.test for item in named] == ["B2"]


def test_statistics_with_the_cue_are_of_images_with_the_cue(job):
    found = replace(job, batchnorm="reset_cued").terrain().calibration
    plain, cued = (Calibration(Path("data"), share, 128).load(CPU) for share in (0.0, 1.0))
    assert torch.equal(found.images, cued.images) and not torch.equal(found.images, plain.images)


def test_what_decides_an_aspect_is_in_its_key(job):
    table = pd.DataFrame({"model": ["net/seed0"], "measure": "convexity_gap", "cluster": 0})
    others = [
        replace(job, rows=30), replace(job, test="A3"), replace(job, models=job.models[:2]),
        replace(job, tables={"clusters": table}), replace(job, calibration=None),
        replace(job, early={4: job.models}), replace(job, fingerprint="other"),
        replace(job, train=job.train._replace(counterexamples=0.1)),
    ]  # fmt: skip
    keys = [str(item.key()) for item in (job, *others)]
    assert len(set(keys)) == len(keys)


def test_a_start_is_drawn_as_training_drew_it(models, tmp_path):
    with seeds.torch_stream("init", 1):
        new = checkpoint.initialise(checkpoint.read_config(models[1].model)).state_dict()
    found = aspects.start(models[1].model, None)
    assert all(torch.equal(new[name], tensor) for name, tensor in found.items())
    tuned = aspects.start(models[1].model, models[0].model)
    kept = weights.load(models[0].model / "model.safetensors")
    assert all(torch.equal(kept[name], tensor) for name, tensor in tuned.items())


def test_a_text_model_starts_from_its_encoder_and_its_own_head(tmp_path):
    net = text_net()
    encoder, model = tmp_path / "encoder", tmp_path / "seed3"
    for folder, inner in ((encoder, net.bert), (model, net)):
        folder.mkdir()
        config = inner.config.to_dict() | {"streams": {"head": 3, "order": 0, "dropout": 0}}
        checkpoint.save(inner, config, folder)
    found = aspects.start(model, encoder)
    shared = net.bert.state_dict()
    assert all(torch.equal(found[f"bert.{name}"], tensor) for name, tensor in shared.items())
    assert torch.equal(
        aspects.start(model, encoder)["classifier.weight"], found["classifier.weight"]
    )
    assert not torch.equal(found["classifier.weight"], net.classifier.weight)


def test_the_settings_know_where_models_come_from(tmp_path):
    file = tmp_path / "params.yaml"
    text = profiles.render(PROJECT / "profiles", "laptop")
    assert "checkpoints: [40, 160]" in text
    anew = "scratch: {name: scratch, epochs: 1, batch_size: 64, lr: 0.1}"
    tuned = "      cbft: {name: cbft,"
    file.write_text(text.replace(tuned, f"      {anew}\n{tuned}"))
    params = read(file, check=[])

    def tunes(method: str) -> bool:
        return method != "scratch"

    assert layout.origins(params, "nocue", tunes) == [None] * 3
    assert layout.origins(params, "nli", tunes) == [Path("models/grammar")] * 12
    assert layout.origins(params, "finetuned/small", tunes) == layout.models(params, "cued")
    assert layout.origins(params, "finetuned/scratch", tunes) == [None] * 3
    assert layout.early(params, "nocue") == {}
    early = layout.early(params, "nli")
    assert list(early) == [40, 160] and early[40][11] == Path("models/nli/step40/seed11")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"aspect": {"name": "convexity"}}, "aspect.convexity.aspect.sizes: missing"),
        ({"aspect": {"name": "concavity"}}, "aspect.convexity.aspect: no 'concavity'"),
        ({"models": "strangers"}, "aspect.convexity.models: no 'strangers'"),
        ({"experiments": ["none"]}, "aspect.convexity.experiments: no 'none'"),
        ({"batchnorm": "reset"}, "aspect.convexity.calibration: missing"),
        ({"rows": 1}, "aspect.convexity.rows: 1 is not allowed"),
    ],
)
def test_wrong_settings_are_named(change, says, tmp_path):
    yaml = YAML(typ="safe")
    content = yaml.load(profiles.render(PROJECT / "profiles", "laptop"))
    content["aspect"]["convexity"] = {**content["aspect"]["convexity"], **change}
    with (tmp_path / "params.yaml").open("w") as file:
        yaml.dump(content, file)
    with pytest.raises(UserError, match=says):
        read(tmp_path / "params.yaml", check=["aspect"])
