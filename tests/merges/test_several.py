"""Networks of several tasks: each with its rows and its head, and what techniques make of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from basins.data import disk
from basins.data.images import Split
from basins.data.resident import normalise, resident
from basins.errors import UserError
from basins.item import get
from basins.merges.fisher import diagonal
from basins.merges.merged import Merged, Part
from basins.merges.sources import ForEach, Sources, Task
from basins.nets import checkpoint
from basins.nets.permutation import Net, PermutationSpec
from basins.paths.evaluation import evaluate
from basins.registry import find, names
from basins.store import folder_hash
from basins.training.sample import Sample
from tests.merges.conftest import images, numbers
from tests.merges.test_merged import saved
from tests.paths.conftest import data
from tests.paths.test_points import CONFIG, CPU, models, nothing, sets

__all__ = ["data", "models", "sets"]  # fixtures
SIZES = (2, 3, 4)  # classes of the tasks
ONE_TASK = {"zipit", "ot_fusion", "cca_merge", "swa", "swag", "ema", "snapshot", "fast_geometric"}
ONE_TASK |= {"spro"}
"""Techniques that train on, or match activations, on rows of one task."""
ENSEMBLES = {"deep_ensemble", "simplicial", "routed"}


class Headed(Net):
    """A linear body of 12 numbers, which the base has, and a head of so many classes."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = nn.Linear(12, 8)
        self.head = nn.Linear(8, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images.flatten(1)).relu())

    def permutation_spec(self) -> PermutationSpec:
        return PermutationSpec({})


def several(same: bool = False, rows: Sequence[Any] = (), spread: float = 0.1) -> Sources:
    """Return networks of three tasks; `same` bodies are those of the base."""
    base = {"body.weight": numbers(99, 8, 12), "body.bias": numbers(98, 8)}
    states, tasks = [], []
    for k, classes in enumerate(SIZES):
        moved = {n: t + (0 if same else spread * numbers(k, *t.shape)) for n, t in base.items()}
        states.append({name: tensor.clone() for name, tensor in moved.items()})
        head = {"head.weight": numbers(10 + k, classes, 8), "head.bias": numbers(20 + k, classes)}
        own = images(40, k)
        own = rows[k] if rows else own._replace(labels=own.labels % classes)

        def fresh(head=head) -> dict[str, Tensor]:
            return base | {name: tensor / 2 for name, tensor in head.items()}

        tasks.append(Task(Headed(classes), head, own, lambda own=own: own, fresh))
    first = tasks[0]
    return Sources(states, base, first.net, first.data, np.random.default_rng(0), tasks)


def run(name: str, sources: Sources, **options: Any) -> list[dict[str, Tensor]]:
    return find("merges", name, "merge")(sources, **options)


@pytest.mark.parametrize("name", [n for n in names("merges", "merge") if n != "slerp"])
def test_heads_are_kept_out_of_every_technique(name: str):
    """Bodies that are the base's stay, whatever the heads; techniques of one task say so."""
    options: dict[str, Any] = {"rate": 1e-12} if name == "together" else {}
    if name in ONE_TASK:
        with pytest.raises(UserError, match="takes networks of one task, and these have 3"):
            run(name, several(same=True))
        return
    found = run(name, several(same=True), **options)
    assert len(found) == 1 or isinstance(found, ForEach) or name in ENSEMBLES
    for state in found:
        assert state.keys() - {"head.weight", "head.bias"} == {"body.weight", "body.bias"}
        assert name == "together" or len(state) == 2
        for key, tensor in several(same=True).states[0].items():
            torch.testing.assert_close(state[key], tensor, rtol=1e-4, atol=1e-5)


def test_fisher_weighs_each_network_by_its_own_task():
    sources = several()
    found = run("fisher", sources, floor=1e-6)
    total = mass = torch.zeros(0)
    for state, task in zip(sources.states, sources.tasks, strict=True):
        alone = Sources([state | task.head], None, task.net, task.data, sources.generator)
        every = diagonal(alone, alone.states[0])  # by name: body.bias, body.weight, head...
        own = every[: 8 + 8 * 12] + 1e-6
        flat = torch.cat([state["body.bias"], state["body.weight"].flatten()]).double()
        total = own * flat + (total if len(total) else 0)
        mass = own + (mass if len(mass) else 0)
    merged = torch.cat([found[0]["body.bias"], found[0]["body.weight"].flatten()]).double()
    torch.testing.assert_close(merged, total / mass, rtol=1e-4, atol=1e-5)


def test_regmean_keeps_what_each_task_makes_of_its_own_inputs():
    """Tasks read 4 inputs each, all others are grey: one layer can serve all three."""
    rows = []
    for k in range(3):
        given = images(60, k)
        flat = given.images.float().permute(0, 3, 1, 2).flatten(1)
        grey = torch.full_like(flat, 127.5)
        grey[:, 4 * k : 4 * k + 4] = flat[:, 4 * k : 4 * k + 4]
        rows.append(given._replace(images=grey.view(-1, 3, 2, 2).permute(0, 2, 3, 1)))
    float_rows = [Floats(row.images, row.labels) for row in rows]
    sources = several(rows=float_rows, spread=1.0)
    sources = sources._replace(states=[s | {"body.bias": torch.zeros(8)} for s in sources.states])
    [merged] = run("regmean", sources, shrink=1.0)
    for state, row in zip(sources.states, rows, strict=True):
        inputs = normalise(row.images.clone()).flatten(1)
        theirs, ours = (inputs @ s["body.weight"].T for s in (state, merged))
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
    soup = torch.stack([s["body.weight"] for s in sources.states]).mean(0)
    assert not torch.allclose(soup, merged["body.weight"], atol=1e-2)


class Floats:
    """Images whose pixels are no bytes."""

    merge = order = None

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def batches(self):
        yield (normalise(self.images.clone()),), self.labels  # it works in place


def test_what_is_learned_hears_every_task():
    """AdaMerging lowers the sum of the entropies on the tasks' own rows, with their heads."""
    sources = several(spread=1.0)
    [before] = run("adamerging", sources, steps=0)
    [after] = run("adamerging", several(spread=1.0), steps=30, rate=0.02)

    def entropy(state: dict[str, Tensor]) -> float:
        total = 0.0
        for k, task in enumerate(sources.tasks):
            with torch.no_grad():
                images: Any = task.data
                said = sources.at(state, k)(normalise(images.images)).log_softmax(1)
            total -= float((said.exp() * said).sum(1).mean())
        return total

    assert entropy(after) < entropy(before) - 0.05


def test_training_together_learns_all_tasks_and_their_heads():
    sources = several()
    found = run("together", sources, epochs=60, batch=10, rate=0.02)
    assert isinstance(found, ForEach)
    for k, (task, state) in enumerate(zip(sources.tasks, found, strict=True)):
        assert torch.equal(state["body.weight"], found[0]["body.weight"])
        task.net.load_state_dict(task.fresh())
        before = evaluate(task.net, task.data).losses.mean()
        task.net.load_state_dict(state)
        assert evaluate(task.net, task.data).losses.mean() < 0.6 * before, k


def test_statistics_are_those_of_training_together():
    """Networks that share their weights have the statistics of their own tasks."""

    def normed(classes: int) -> Headed:
        net = Headed(classes)
        net.body = nn.Sequential(nn.Linear(12, 8), nn.BatchNorm1d(8))  # pyright: ignore
        return net

    base = {n: t.clone() for n, t in normed(2).state_dict().items() if not n.startswith("head.")}
    given = several()
    tasks = [
        task._replace(net=normed(len(task.head["head.bias"])), fresh=lambda h=task.head: base | h)
        for task in given.tasks
    ]
    sources = given._replace(states=[base] * 3, base=base, net=tasks[0].net, tasks=tasks)
    found = run("together", sources, rate=0.02)
    for task, state in zip(tasks, found, strict=True):
        for name, buffer in task.net.named_buffers():
            assert torch.equal(state[name], buffer) and not torch.equal(buffer, base[name])
    means = [state["body.1.running_mean"] for state in found]
    assert not torch.equal(means[0], means[1])


def made(controls: list, technique: str, parts: tuple[Part, ...]) -> Merged:
    first = parts[0]
    return Merged(tuple(controls), None, {"name": technique}, first.rows, first.sets, parts)


@pytest.fixture
def parts(models, sets, data) -> tuple[list, tuple[Part, ...]]:
    """Two networks of 10 classes and of 4, each with a dataset."""
    config = CONFIG | {"num_classes": 4}
    torch.manual_seed(5)
    other = saved(checkpoint.initialise(config), "few/seed0", config)
    few = Split(data.train.images[:200], data.train.labels[:200] % 4)
    disk.save(Path("few"), {"train": few, "train_c": few, "test": few}, data.classes[:4])
    plain = sets._replace(batchnorm=("interpolate",))
    fewer = plain._replace(data=Path("few"), fingerprint=folder_hash(Path("few")))
    samples = [Sample(folder, 64) for folder in (Path("data"), Path("few"))]
    made = (Part("net", samples[0], plain), Part("few", samples[1], fewer))
    return [models[0], other], made


def test_each_task_is_evaluated_with_its_own_head(parts):
    controls, tasks = parts

    def rows(technique: str):
        item = made(controls, technique, tasks)
        return {row["eval_set"]: row for row in get(item, nothing)}

    single, soup = rows("single"), rows("uniform_soup")
    assert list(single) == list(soup) == ["net/test", "few/test"]
    nets = [checkpoint.load(control.model).eval() for control in controls]
    states = [net.state_dict() for net in nets]
    for k, name in enumerate(("data", "few")):
        examples = resident(disk.read(Path(name), "test"), CPU)
        own = [*single.values()][k]
        assert own["loss"] == pytest.approx(evaluate(nets[k], examples).losses.mean(), rel=1e-4)
        mean = {
            key: (states[0][key] + states[1][key]) / 2
            if states[0][key].is_floating_point() and not key.startswith("head.")
            else states[k][key]
            for key in states[k]
        }
        net = checkpoint.load(controls[k].model)
        net.load_state_dict(mean)
        together = [*soup.values()][k]
        assert together["loss"] == pytest.approx(evaluate(net, examples).losses.mean(), rel=1e-4)
        assert together["members"] == 1


def test_an_ensemble_of_several_tasks_is_refused(parts):
    controls, tasks = parts
    item = made(controls, "deep_ensemble", tasks)
    with pytest.raises(UserError, match="deep_ensemble: makes an ensemble"):
        get(item, nothing)
