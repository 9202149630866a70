import pytest
import torch

from basins.nets import mlp, resnet, vgg


def count(net):
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize(
    ("build", "classes", "options", "parameters"),
    [
        (vgg.build, 10, {}, 9_413_066),
        (vgg.build, 100, {}, 9_459_236),
        (resnet.build, 10, {"depth": 18}, 11_173_962),
        (resnet.build, 10, {"depth": 8, "width": 16}, 78_330),
        (mlp.build, 10, {"depth": 2, "width": 8}, 3072 * 8 + 8 + 8 * 8 + 8 + 8 * 10 + 10),
    ],
)
def test_parameter_counts(build, classes, options, parameters):
    with torch.device("meta"):
        assert count(build((32, 32, 3), classes, **options)) == parameters


@pytest.mark.parametrize("build", [vgg.build, resnet.build, mlp.build])
def test_full_size_logits(build):
    net = build((32, 32, 3), 10).eval()
    with torch.no_grad():
        logits = net(torch.randn(2, 3, 32, 32))
    assert logits.shape == (2, 10)
    assert logits.isfinite().all()
    assert not torch.equal(logits[0], logits[1])
    net.permutation_spec().check(net.state_dict())


@pytest.mark.parametrize("build", [vgg.build, resnet.build, mlp.build])
@pytest.mark.parametrize("shape", [(64, 32, 3), (28, 28, 1), (7, 5, 4), (1, 1, 2)])
def test_any_image_size(build, shape):
    height, width, channels = shape
    net = build(shape, 3, width=4).eval()
    assert net(torch.randn(2, channels, height, width)).shape == (2, 3)


def test_strides_halve_the_image():
    images = torch.randn(1, 3, 32, 32)
    assert vgg.build((32, 32, 3), 2, width=2).features(images).shape == (1, 16, 2, 2)
    short = resnet.build((32, 32, 3), 2, depth=8, width=2)
    assert short.blocks(short.stem(images)).shape == (1, 8, 4, 4)
    long = resnet.build((32, 32, 3), 2, depth=18, width=2)
    assert long.blocks(long.stem(images)).shape == (1, 16, 4, 4)


def test_streams_are_shared_where_the_shortcut_is_the_identity():
    groups = resnet.build((8, 8, 3), 2, depth=18, width=2).permutation_spec().groups
    streams = [name for name in groups if not name.endswith("inner")]
    assert streams == ["stem", "blocks.2", "blocks.4", "blocks.6"]
    first = {axis.tensor for axis in groups["stem"]}
    assert {"blocks.0.outer.conv.weight", "blocks.1.outer.conv.weight"} < first
    groups = resnet.build((8, 8, 3), 2, depth=8, width=2).permutation_spec().groups
    assert [g for g in groups if not g.endswith("inner")] == [
        "stem", "blocks.0", "blocks.1", "blocks.2",
    ]  # fmt: skip


@pytest.mark.parametrize("build", [vgg.build, resnet.build, mlp.build])
def test_groups_are_named_after_the_module_that_outputs_their_units(build):
    net = build((9, 8, 3), 2, width=3).eval()
    outputs = {}
    for name, module in net.named_modules():
        module.register_forward_hook(lambda _, __, out, name=name: outputs.update({name: out}))
    net(torch.randn(2, 3, 9, 8))
    spec = net.permutation_spec()
    for group in spec.groups:
        assert outputs[group].shape[1] == spec.size(net.state_dict(), group)
        assert (outputs[group] >= 0).all()
