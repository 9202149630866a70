"""RegMean on what the merged layers before make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from basins.data.resident import Resident, normalise
from basins.errors import UserError
from basins.merges import regmean, regmean_plusplus, uniform_soup
from basins.merges.sources import Sources, Task
from basins.nets.permutation import Net, PermutationSpec
from basins.weights import State
from tests.merges.conftest import CLASSES, images, numbers


class Deep(Net):
    """Two blocks of two layers each, and a head."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(nn.Linear(n, 6), nn.Tanh(), nn.Linear(6, 5), nn.LayerNorm(5))
                for n in (12, 5)
            )
        )
        self.head = nn.Linear(5, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.blocks(images.flatten(1)))

    def permutation_spec(self) -> PermutationSpec:
        return PermutationSpec({})


def drawn(net: Net, count: int) -> list[State]:
    like = net.state_dict()
    return [
        {n: numbers(20 * k + i, *t.shape) / 2 for i, (n, t) in enumerate(like.items())}
        for k in range(count)
    ]


def several(count: int = 3) -> Sources:
    """Return networks of tasks, each with its rows, its number of classes and its head."""
    states, tasks = [], []
    for k, state in enumerate(drawn(Deep(), count)):
        classes = k + 2
        head = {"head.weight": numbers(70 + k, classes, 5), "head.bias": numbers(80 + k, classes)}
        own = images(60, k)
        own = own._replace(labels=own.labels % classes)
        states.append({n: t for n, t in state.items() if "head" not in n})
        tasks.append(Task(Deep(classes), head, own, lambda own=own: own, lambda head=head: head))
    generator = np.random.default_rng(0)
    return Sources(states, None, tasks[0].net, tasks[0].data, generator, tasks)


def read(state: State, task: Task, layer: str) -> Tensor:
    """Return what a layer reads of a task's rows, [rows, inputs] float64."""
    found, data = [], cast(Resident, task.data)
    task.net.load_state_dict(state | task.head)
    with task.net.get_submodule(layer).register_forward_pre_hook(lambda _, x: found.append(x[0])):
        task.net.eval()(normalise(data.images))
    return found[0].detach().double()


def least(rows: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """Return the layer whose outputs are nearest to each network's on its rows."""
    said = [x @ w.double().T for x, w in zip(rows, weights, strict=True)]
    return torch.linalg.lstsq(torch.cat(list(rows)), torch.cat(said)).solution.T.float()


def test_of_one_layer_it_is_regmean(make):
    one, other = numbers(0, 36), numbers(1, 36)
    for by in ("block", "layer"):
        [found] = regmean_plusplus.merge(make([one, other]), by=by, shrink=0.5)
        [expected] = regmean.merge(make([one, other]), shrink=0.5)
        torch.testing.assert_close(found, expected)


def test_what_a_layer_reads_is_made_by_the_merged_layers_before_it():
    sources = several()
    [merged] = regmean_plusplus.merge(sources, by="layer", shrink=1.0)
    made: State = dict(uniform_soup.merge(sources)[0])
    for block in range(2):
        for layer in (f"blocks.{block}.0", f"blocks.{block}.2"):
            weights = [state[f"{layer}.weight"] for state in sources.states]
            rows = [read(made, task, layer) for task in sources.tasks]
            made[f"{layer}.weight"] = least(rows, weights)
    torch.testing.assert_close(merged, made, rtol=1e-4, atol=1e-5)
    [plain] = regmean.merge(sources, shrink=1.0)
    first, second = "blocks.0.0.weight", "blocks.0.2.weight"
    torch.testing.assert_close(merged[first], plain[first])  # both read the images
    assert not torch.allclose(merged[second], plain[second], atol=1e-2)


def test_in_a_block_layers_read_what_each_network_makes():
    sources = several()
    [merged] = regmean_plusplus.merge(sources, shrink=1.0)
    made: State = dict(uniform_soup.merge(sources)[0])
    for block in ("blocks.0.", "blocks.1."):
        solved = {}
        for layer in (f"{block}0", f"{block}2"):
            rows = []
            for state, task in zip(sources.states, sources.tasks, strict=True):
                own = {name: t for name, t in state.items() if name.startswith(block)}
                rows.append(read(made | own, task, layer))
            solved[f"{layer}.weight"] = least(rows, [s[f"{layer}.weight"] for s in sources.states])
        made |= solved
    torch.testing.assert_close(merged, made, rtol=1e-4, atol=1e-5)
    [plain] = regmean.merge(sources, shrink=1.0)
    for name in ("blocks.0.0.weight", "blocks.0.2.weight"):  # the first block reads the images
        torch.testing.assert_close(merged[name], plain[name])
    assert not torch.allclose(merged["blocks.1.0.weight"], plain["blocks.1.0.weight"], atol=1e-2)


def test_of_one_task_layer_by_layer_it_is_the_mean():
    """All networks read the same rows then; in a block each makes its own of them."""
    sources = Sources(drawn(Deep(), 2), None, Deep(), images(60), np.random.default_rng(0))
    [found], [mean] = regmean_plusplus.merge(sources, by="layer"), uniform_soup.merge(sources)
    torch.testing.assert_close(found, mean, rtol=1e-4, atol=1e-5)
    [blocks] = regmean_plusplus.merge(sources)
    for name in ("blocks.0.0.weight", "blocks.1.0.weight", "head.weight"):
        torch.testing.assert_close(blocks[name], mean[name], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(blocks["blocks.0.2.weight"], mean["blocks.0.2.weight"], atol=1e-2)


def test_a_block_is_an_entry_of_the_outermost_list():
    names = {
        "bert.encoder.layer.3.attention.self.query": "bert.encoder.layer.3",
        "layer1.0.downsample.0": "layer1.0",
        "0": "0",
        "bert.pooler.dense": "bert.pooler.dense",
    }
    assert {name: regmean_plusplus.block(name) for name in names} == names


def test_what_is_wrong_is_one_line(make):
    given = make([numbers(0, 36), numbers(1, 36)], rows=5)
    with pytest.raises(UserError, match="layer head is singular: 12 inputs"):
        regmean_plusplus.merge(given, shrink=1.0)
    with pytest.raises(UserError, match="regmean_plusplus: weights: 1 numbers for 2 networks"):
        regmean_plusplus.merge(given, weights=[1.0])
