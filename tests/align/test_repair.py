"""Units of a merged network vary as their sources' do, and a network that needs no repair stays."""

import copy

import pytest
import torch

from basins.align.repair import repair, writers
from basins.errors import UserError
from basins.nets import mlp
from tests.align.conftest import FAMILIES


def batches(family, count=4):
    return [(family.inputs(seed),) for seed in range(count)]


def outputs(net, layers, inputs):
    """Return every layer's outputs as float64 [m, d], by hooks of the test's own."""
    found = {name: [] for name in layers}
    handles = [
        net.get_submodule(name).register_forward_hook(
            lambda module, given, output, name=name: found[name].append(
                output.transpose(1, -1).flatten(0, -2).double()
                if output.ndim == 4
                else output.flatten(0, -2).double()
            )
        )
        for name in layers
    ]
    with torch.no_grad():
        for given in inputs:
            net.eval()(*given)
    for handle in handles:
        handle.remove()
    return {name: torch.cat(parts) for name, parts in found.items()}


def average(build, *nets):
    merged, states = build().eval(), [net.state_dict() for net in nets]
    merged.load_state_dict(
        {
            name: torch.stack([s[name] for s in states]).mean(0) if t.is_floating_point() else t
            for name, t in states[0].items()
        }
    )
    return merged


def test_a_network_that_needs_no_repair_stays(family):
    net = family.trained()
    before, states = copy.deepcopy(net.state_dict()), [net.state_dict()] * 2
    repair(net, [copy.deepcopy(s) for s in states], batches(family))
    for name, tensor in net.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=1e-5, atol=1e-6)


def test_the_collapse_of_an_average_is_undone(family):
    """Mean and standard deviation of every unit are the averages of the sources', and were not."""
    nets = [family.trained(seed) for seed in range(2)]
    merged, given = average(family.build, *nets), batches(family)
    layers = writers(merged)
    before = outputs(merged, layers, given)
    repair(merged, [net.state_dict() for net in nets], given)
    goals = [outputs(net, layers, given) for net in nets]
    shares = []
    for name, values in outputs(merged, layers, given).items():
        live = before[name].std(0) > 1e-6
        mean = torch.stack([goal[name].mean(0) for goal in goals]).mean(0)
        deviation = torch.stack([goal[name].std(0, correction=0) for goal in goals]).mean(0)
        torch.testing.assert_close(values.mean(0), mean, rtol=1e-4, atol=1e-5)
        got = values.std(0, correction=0)
        torch.testing.assert_close(got[live], deviation[live], rtol=1e-4, atol=1e-5)
        shares.append(float((before[name].std(0, correction=0) / deviation).median()))
    assert min(shares) < 0.9


def test_a_layer_that_was_scaled_down_gets_its_scale_back(family):
    net = family.trained()
    state, broken = copy.deepcopy(net.state_dict()), copy.deepcopy(net)
    for name in writers(net):
        layer = broken.get_submodule(name)
        with torch.no_grad():
            layer.weight.mul_(0.3)
            layer.bias.sub_(0.2)
    assert (family.logits(broken) - family.logits(net)).abs().max() > 0.01
    repair(broken, [state], batches(family))
    torch.testing.assert_close(family.logits(broken), family.logits(net), rtol=0, atol=1e-4)
    for name in writers(net):
        torch.testing.assert_close(
            broken.get_submodule(name).weight, net.get_submodule(name).weight, rtol=1e-4, atol=1e-5
        )


def test_a_hand_computed_unit():
    """Sources of deviation 1 and 3 and mean 0 and 2; the merged unit has deviation 1, mean 5."""
    net = mlp.build((1, 1, 1), 2, depth=1, width=1)
    state = net.state_dict()

    def unit(weight, bias):
        return state | {
            "hidden.0.linear.weight": torch.tensor([[weight]]),
            "hidden.0.linear.bias": torch.tensor([bias]),
        }

    net.load_state_dict(unit(1.0, 5.0))
    inputs = [(torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1),)]
    repair(net, [unit(1.0, 0.0), unit(-3.0, 2.0)], inputs)
    assert net.hidden[0].linear.weight.item() == pytest.approx(2)
    assert net.hidden[0].linear.bias.item() == pytest.approx(1)


def test_shares_weigh_the_statistics():
    """Three parts of deviation 1 and mean 0, one of 3 and 2: 1.5 and .5."""
    net = mlp.build((1, 1, 1), 2, depth=1, width=1)
    state = net.state_dict()

    def unit(weight, bias):
        return state | {
            "hidden.0.linear.weight": torch.tensor([[weight]]),
            "hidden.0.linear.bias": torch.tensor([bias]),
        }

    net.load_state_dict(unit(1.0, 5.0))
    inputs = [(torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1),)]
    repair(net, [unit(1.0, 0.0), unit(-3.0, 2.0)], inputs, [0.3, 0.1])
    assert net.hidden[0].linear.weight.item() == pytest.approx(1.5)
    assert net.hidden[0].linear.bias.item() == pytest.approx(0.5)


def test_which_layers_are_repaired():
    found = {name: writers(FAMILIES[name].build()) for name in ("mlp", "resnet8", "bert")}
    assert found["mlp"] == [f"hidden.{k}.linear" for k in range(3)]
    assert found["resnet8"][:2] == ["stem.norm", "blocks.0.inner.norm"]
    assert found["bert"] == [
        *(f"bert.encoder.layer.{k}.intermediate.dense" for k in range(2)),
        "bert.pooler.dense",
    ]


def test_refuses_no_data_and_what_is_not_finite():
    net = mlp.build((1, 1, 1), 2, depth=1, width=1)
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(UserError, match="no batch"):
        repair(net, [state], [])
    broken = state | {"hidden.0.linear.bias": torch.tensor([torch.nan])}
    with pytest.raises(UserError, match="'hidden.0.linear' is not finite"):
        repair(net, [broken], [(torch.zeros(2, 1, 1, 1),)])
