"""A spec that changes a network's function is found before anything is aligned by it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from basins.align import equivalence
from basins.errors import UserError
from basins.nets import checkpoint
from basins.nets.permutation import PermutationSpec


def test_a_spec_that_keeps_the_function_changes_nothing_but_rounding(family):
    net = family.trained()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert equivalence.change(net, [family.inputs(3)], np.random.default_rng(0)) < 1e-5
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize("dropped", ["0.linear.weight", "1.linear.bias", "head.weight"])
def test_a_spec_that_forgets_an_axis_is_refused_in_one_line(dropped, tmp_path, monkeypatch):
    config = {"net": {"name": "mlp", "depth": 2, "width": 8}, "image_shape": [6, 6, 1]}
    config |= {"num_classes": 3}
    net = checkpoint.initialise(config)
    checkpoint.save(net, config, tmp_path)
    equivalence.check(tmp_path)
    spec = net.permutation_spec()
    wrong = {
        group: tuple(axis for axis in axes if not axis.tensor.endswith(dropped))
        for group, axes in spec.groups.items()
    }
    assert wrong != spec.groups, list(spec.groups.values())
    monkeypatch.setattr(type(net), "permutation_spec", lambda self: PermutationSpec(wrong))
    with pytest.raises(UserError, match=r"basins/nets/mlp.py changes its outputs by \d+%"):
        equivalence.check(tmp_path)
