"""What is put together tensor by tensor is what is put together whole."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import basins
from basins.checkpoints import streamed
from basins.errors import UserError

X = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
DATA = (X, X.argmax(1))


def net(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 6))


@pytest.fixture(autouse=True)
def saved(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for seed, prefix in ((0, ""), (1, "module.")):
        state = {prefix + name: t for name, t in net(seed).state_dict().items()}
        save_file(state, f"m{seed}.safetensors")


def test_a_path_from_files_is_the_path_from_memory():
    files = ("m0.safetensors", "m1.safetensors")
    whole = basins.connect(*files, DATA, net=net(2), points=5)
    found = basins.connect(*files, DATA, net=net(2), points=5, stream=True)
    for name in ("loss", "accuracy"):
        assert found.paths[name].tolist() == pytest.approx(whole.paths[name].tolist(), 1e-6)
    assert found.rows["distance"].iloc[0] == pytest.approx(whole.rows["distance"].iloc[0], 1e-6)
    with pytest.raises(UserError, match="alignment='none'"):
        basins.connect(*files, DATA, net=net(2), stream=True, alignment="weight_matching")
    with pytest.raises(UserError, match="as paths of safetensors"):
        basins.connect(net(0), net(1), DATA, stream=True)
    save_file({"0.weight": torch.ones(8, 6)}, "m1.safetensors")
    with pytest.raises(UserError, match="it lacks 3 tensors: 0.bias, 2.bias, 2.weight"):
        basins.connect(*files, DATA, net=net(2), stream=True)


def test_a_mean_by_tensor_keeps_the_types_of_the_first(tmp_path):
    states = [{n: t.bfloat16() for n, t in net(seed).state_dict().items()} for seed in range(2)]
    paths = [tmp_path / f"h{seed}.safetensors" for seed in range(2)]
    for state, path in zip(states, paths, strict=True):
        save_file(state, path)
    streamed.mean(paths, (0.25, 0.75), tmp_path / "mean.safetensors")
    for name, tensor in load_file("mean.safetensors").items():
        one, other = (state[name].float() for state in states)
        assert torch.equal(tensor, (0.25 * one + 0.75 * other).bfloat16())
    save_file({"other": torch.ones(2)}, paths[1])
    with pytest.raises(UserError, match=r"h1\.safetensors: 0\.bias is not in it"):
        streamed.mean(paths, (0.5, 0.5), tmp_path / "mean.safetensors")
