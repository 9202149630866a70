import numpy as np
import pytest
import torch
from torch import nn

from basins.align import activations
from basins.errors import UserError
from basins.nets import mlp
from basins.nets.permutation import PermutationSpec, reads, writes


def recorded(net, name, batches):
    """Return a module's outputs [d, m] over all batches, its channels in front."""
    found = []
    handle = net.get_submodule(name).register_forward_hook(
        lambda module, inputs, output: found.append(
            output if isinstance(output, torch.Tensor) else output[0]
        )
    )
    with torch.no_grad():
        for batch in batches:
            net(*batch)
    handle.remove()
    dim = 1 if found[0].ndim == 4 else -1
    return np.concatenate([out.movedim(dim, 0).flatten(1).double().numpy() for out in found], 1)


def correlate(nets, batches, pairs=((0, 1),)):
    return activations.correlations(nets, nets[0].permutation_spec(), batches, list(pairs))


def test_equal_corrcoef_over_all_batches_at_once(family):
    nets = [family.trained(seed) for seed in range(3)]
    batches = [(family.inputs(seed),) for seed in range(4)]
    batches.append((family.inputs(9)[:3],))
    pairs = [(0, 1), (2, 0), (1, 1)]
    for (i, j), found in zip(pairs, correlate(nets, batches, pairs), strict=True):
        for name, ours in found.items():
            a, b = (recorded(nets[k], name, batches) for k in (i, j))
            live = np.outer(a.std(1) > 1e-5, b.std(1) > 1e-5)
            with np.errstate(invalid="ignore"):
                expected = np.corrcoef(a, b)[: len(a), len(a) :]
            assert live.any()
            np.testing.assert_allclose(ours[live], expected[live], atol=1e-5)
            assert not ours[~live].any()


def test_a_mean_far_from_zero_does_not_cancel():
    """Deviations of 1e-3 beside means of 1,000 that move from batch to batch."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(6, 50, 4)) + 100.0 * rng.normal(size=(6, 1, 4))
    net = Named()
    batches = [(torch.tensor(1e4 + batch, dtype=torch.float32),) for batch in values]
    a = np.concatenate([batch.double().numpy() for (batch,) in batches]).T
    found = activations.correlations([net], net.spec, batches, [(0, 0)])[0]["hidden"]
    np.testing.assert_allclose(found, np.corrcoef(a), atol=1e-5)


class Named(nn.Module):
    """Hands its inputs on, as the activations of four hidden units."""

    spec = PermutationSpec({"hidden": writes("first") + reads("second")})

    def __init__(self):
        super().__init__()
        self.hidden = nn.Identity()

    def forward(self, units):
        return self.hidden(units)


def test_constant_units_have_no_correlation():
    rng = np.random.default_rng(0)
    values = torch.tensor(rng.normal(size=(1000, 4)), dtype=torch.float32)
    values[:, 1] = 0
    values[:, 2] = 0.1234567
    net = Named()
    found = activations.correlations([net], net.spec, [(b,) for b in values.split(300)], [(0, 0)])
    expected = np.corrcoef(values[:, [0, 3]].double().numpy().T)
    np.testing.assert_allclose(found[0]["hidden"][np.ix_([0, 3], [0, 3])], expected, atol=1e-6)
    assert not found[0]["hidden"][1:3].any()
    assert not found[0]["hidden"][:, 1:3].any()


def test_leaves_no_hook_and_no_training_mode():
    net = mlp.build((2, 2, 1), 3, depth=2, width=4)
    before = [dict(module._forward_hooks) for module in net.modules()]
    correlate([net], [(torch.randn(5, 1, 2, 2),)], [(0, 0)])
    assert [dict(module._forward_hooks) for module in net.modules()] == before
    assert not net.training


def test_refuses_a_diverged_network():
    nets = [mlp.build((2, 2, 1), 3, depth=1, width=4) for _ in range(2)]
    with torch.no_grad():
        nets[1].hidden[0].linear.bias[2] = torch.inf
    with pytest.raises(UserError, match=r"'hidden.0' of network 1 is not finite"):
        correlate(nets, [(torch.randn(5, 1, 2, 2),)])


def test_refuses_no_data():
    net = mlp.build((2, 2, 1), 3, depth=1, width=4)
    with pytest.raises(UserError, match="no batch"):
        correlate([net, net], [])


def test_refuses_networks_of_different_width():
    nets = [mlp.build((2, 2, 1), 3, depth=1, width=width) for width in (4, 5)]
    with pytest.raises(UserError, match="'hidden.0' has 4 outputs in one network and 5"):
        correlate(nets, [(torch.randn(5, 1, 2, 2),)])
