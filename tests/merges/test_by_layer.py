"""Tensors by the technique that names them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from basins.errors import UserError
from basins.merges import by_layer, slerp, uniform_soup
from basins.merges.sources import Sources
from basins.registry import check_options
from tests.merges.conftest import numbers


def sources() -> Sources:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    states = [
        {
            name: numbers(10 * k + i, *tensor.shape) if tensor.is_floating_point() else tensor
            for i, (name, tensor) in enumerate(net.state_dict().items())
        }
        for k in range(2)
    ]
    return Sources(states, None, net, [], np.random.default_rng(0))  # pyright: ignore


def test_each_tensor_is_of_the_first_part_that_names_it():
    given = sources()
    parts = [
        {"tensors": "0.*", "name": "slerp", "t": 0.25},
        {"tensors": ["1.running_*", "0.bias"], "name": "fedavg", "rows": [1, 3]},
        {"tensors": "2.weight", "name": "slerp", "t": 1.0},
    ]
    check_options(by_layer.merge, {"parts": parts}, "here")
    [found] = by_layer.merge(given, parts=parts)
    [arc], [mean] = slerp.merge(given, t=0.25), uniform_soup.merge(given)
    first, second = given.states
    for name, tensor in found.items():
        if name.startswith("0."):
            expected = arc[name]
        elif "running" in name:
            expected = (first[name] + 3 * second[name]) / 4
        else:
            expected = second[name] if name == "2.weight" else mean[name]
        torch.testing.assert_close(tensor, expected)


def test_without_parts_all_is_averaged():
    [found], [mean] = by_layer.merge(sources()), uniform_soup.merge(sources())
    assert all(torch.equal(found[name], tensor) for name, tensor in mean.items())


@pytest.mark.parametrize(
    ("part", "line"),
    [
        ({"name": "slerp"}, "by_layer.parts.0: give the `name` .* and the `tensors`"),
        ({"tensors": "*", "name": "soup"}, "by_layer.parts.0: no 'soup'.*uniform_soup"),
        ({"tensors": "*", "name": "slerp", "t": 2.0}, "by_layer.parts.0.t: 2.0 is not allowed"),
        ({"tensors": [], "name": "slerp"}, "by_layer.parts.0: give"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(part, line):
    with pytest.raises(UserError, match=line):
        check_options(by_layer.merge, {"parts": [part]}, "here")


def test_what_cannot_be_done_is_named():
    with pytest.raises(UserError, match="by_layer.parts.0: no tensor is named as in 3.weight"):
        by_layer.merge(sources(), parts=[{"tensors": "3.weight", "name": "slerp"}])
    with pytest.raises(UserError, match="by_layer.parts.0: deep_ensemble makes an ensemble"):
        by_layer.merge(sources(), parts=[{"tensors": "*", "name": "deep_ensemble"}])
