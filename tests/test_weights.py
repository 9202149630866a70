"""One vector for all floating-point state, and files that are either right or refused."""

import errno
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from basins import weights
from basins.errors import UserError
from basins.nets import resnet


@pytest.fixture
def net() -> nn.Module:
    """A net with running statistics and integer buffers, none at its initial value."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = resnet.build((8, 8, 3), 4, depth=8, width=2)
        net(torch.randn(16, 3, 8, 8))
    return net.eval()


IMAGES = torch.linspace(-1, 1, 2 * 3 * 8 * 8).view(2, 3, 8, 8)


def test_a_flat_module_is_the_same_function(net: nn.Module) -> None:
    before = net(IMAGES)
    flat = weights.FlatModule(net)
    assert torch.equal(flat.module(IMAGES), before)
    assert flat.vector.dtype == torch.float32
    floating = [tensor for tensor in net.state_dict().values() if tensor.is_floating_point()]
    assert flat.vector.shape == (sum(tensor.numel() for tensor in floating),)


def test_writing_to_the_vector_moves_the_module(net: nn.Module) -> None:
    other = resnet.build((8, 8, 3), 4, depth=8, width=2).eval()
    flat = weights.FlatModule(net)
    flat.vector.copy_(weights.flatten(other.state_dict()))
    assert torch.equal(net(IMAGES), other(IMAGES))


def test_every_entry_is_a_view_statistics_included_and_counters_not(net: nn.Module) -> None:
    flat = weights.FlatModule(net)
    flat.vector.fill_(7)
    for name, tensor in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            assert tensor == 1
        else:
            assert (tensor == 7).all(), name
    net.train()(torch.randn(16, 3, 8, 8))  # running statistics are written through to the vector
    assert (flat.vector != 7).any()
    assert torch.equal(flat.vector, weights.flatten(net.state_dict()))


def test_order_is_by_name(net: nn.Module) -> None:
    state = net.state_dict()
    backwards = OrderedDict(reversed(state.items()))
    assert torch.equal(weights.flatten(backwards), weights.flatten(state))
    pair = {"b": torch.tensor([2.0]), "n": torch.tensor(5), "a": torch.tensor([[0.0, 1.0]])}
    assert weights.flatten(pair).tolist() == [0, 1, 2]


def test_unflatten_undoes_flatten_without_a_copy(net: nn.Module) -> None:
    state = net.state_dict()
    vector = weights.flatten(state)
    views = weights.unflatten(vector, state)
    assert views.keys() == state.keys()
    assert all(torch.equal(views[name], state[name]) for name in state)
    vector.zero_()
    assert all(not v.any() for v in views.values() if v.is_floating_point())


def test_what_is_saved_is_what_is_loaded(net: nn.Module, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    flat = weights.FlatModule(net)
    weights.save(net.state_dict(), file)
    loaded = weights.load(file)
    assert loaded.keys() == net.state_dict().keys()
    for name, tensor in net.state_dict().items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)
    assert torch.equal(weights.flatten(loaded), flat.vector)
    first = file.read_bytes()
    weights.save(OrderedDict(reversed(loaded.items())), file)
    assert file.read_bytes() == first


def test_tensors_of_any_layout_are_saved(tmp_path: Path) -> None:
    tensor = torch.arange(24.0).view(1, 2, 3, 4).to(memory_format=torch.channels_last)
    weights.save({"a": tensor, "b": tensor[0, 0].T}, tmp_path / "x")
    assert torch.equal(weights.load(tmp_path / "x")["a"], tensor)
    assert torch.equal(weights.load(tmp_path / "x")["b"], tensor[0, 0].T)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["head.bias", "stem.norm.running_var"])
def test_values_that_are_not_finite_are_refused(net, tmp_path, name: str, value: float) -> None:
    net.state_dict()[name][-1] = value
    weights.save(net.state_dict(), tmp_path / "x")
    with pytest.raises(UserError, match=rf"^.*/x: {name} holds values that are not finite.*$"):
        weights.load(tmp_path / "x")


@pytest.mark.parametrize("content", [b"", b"\x00" * 8, b"{}", b"\x93" * 99, "half", "short"])
def test_a_damaged_file_is_refused_in_one_line(net, tmp_path: Path, content: bytes | str) -> None:
    file = tmp_path / "x"
    weights.save(net.state_dict(), file)
    whole = file.read_bytes()
    cuts = {"half": whole[: len(whole) // 2], "short": whole[:-1]}
    file.write_bytes(cuts[content] if isinstance(content, str) else content)
    with pytest.raises(UserError, match=r"^.*/x: damaged \(.+\); delete it and make it again$"):
        weights.load(file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^.*/x: no such file; save the weights there$"):
        weights.load(tmp_path / "x")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_told_as_one(net: nn.Module) -> None:
    with pytest.raises(OSError) as caught:
        weights.save(net.state_dict(), Path("/dev/full"))
    assert caught.value.errno == errno.ENOSPC


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.b, self.a = nn.Linear(3, 3), nn.Linear(3, 3)
        self.a.weight = self.b.weight


def test_tied_weights_are_trained_once_and_one_tensor() -> None:
    net = Tied()
    flat = weights.FlatModule(net)
    assert weights.other_names(net) == {"a.weight": "b.weight"}
    assert flat.trained.sum() == 9 + 3 + 3 and len(flat.vector) == 9 + 9 + 3 + 3
    flat.vector[flat.places["b.weight"]] = 7
    assert (net.a.weight == 7).all() and net.a.weight is net.b.weight


def test_a_base_is_read_by_its_older_names() -> None:
    like = {"bert.norm.weight": torch.zeros(3), "bert.norm.bias": torch.zeros(3)}
    base = {"module.norm.gamma": torch.ones(3), "module.norm.beta": torch.full((3,), 2.0)}
    found = weights.in_common(base, like, "bert.", "here", "no")
    assert {name: t.tolist() for name, t in found.items()} == {
        "bert.norm.weight": [1, 1, 1],
        "bert.norm.bias": [2, 2, 2],
    }


def test_what_a_network_keeps_itself_is_not_besides_where_it_is_equal() -> None:
    class Places(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("places", torch.arange(4), persistent=False)

    net = Places()
    assert weights.conformed({"places": torch.arange(4)}, net, "here") == {}
    other = weights.conformed({"places": torch.arange(4) + 1}, net, "here")
    assert weights.misfit(other, {}) == "it has besides 1 tensor (4 numbers): places (4,)"
