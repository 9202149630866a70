"""The last layer and its features."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from basins.errors import UserError
from basins.nets import mlp, vgg
from basins.training.features import features, last_layer


@pytest.mark.parametrize(
    "build", [lambda: mlp.build((8, 8, 3), 5, width=6), lambda: vgg.build((8, 8, 3), 5, width=2)]
)
def test_the_head_maps_the_features_to_the_logits(build):
    net = build().eval()
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    read, logits = features(net, images)
    assert read.shape == (4, net.head.in_features)
    assert torch.equal(logits, net(images))
    torch.testing.assert_close(nn.functional.linear(read, net.head.weight, net.head.bias), logits)


def test_nothing_stays_behind_on_the_net():
    net = mlp.build((8, 8, 3), 5, width=6)
    features(net, torch.zeros(1, 3, 8, 8))
    assert not net.head._forward_pre_hooks


@pytest.mark.parametrize("net", [nn.Linear(2, 2), nn.Sequential(OrderedDict(head=nn.ReLU()))])
def test_a_net_without_a_linear_head_is_named(net):
    with pytest.raises(UserError, match=rf"^{type(net).__name__}: .*`head`"):
        last_layer(net)
