"""What is put together tensor by tensor is what is put together whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

import basins
from basins.checkpoints import streamed
from basins.errors import UserError
from basins.merges.traits import traits
from basins.registry import find, keywords, names

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


def test_a_path_between_folders_in_shards():
    config = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    for seed in range(2):
        torch.manual_seed(seed)
        made = BertForSequenceClassification(config).eval()
        made.save_pretrained(f"bert{seed}", max_shard_size="20KB")
        assert not Path(f"bert{seed}", "model.safetensors").exists()
    rows = torch.randint(9, (6, 5)), torch.randint(2, (6,))
    whole = basins.connect("bert0", "bert1", rows, points=3)
    found = basins.connect("bert0", "bert1", rows, points=3, stream=True)
    assert found.paths["loss"].tolist() == pytest.approx(whole.paths["loss"].tolist(), 1e-5)


class Tied(nn.Module):
    """A network with statistics, counters and tied weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.head = nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, 6)
        self.head.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.first(x)).relu())


def tied(seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    made = Tied()
    made(X + seed)
    return {n: t.clone() for n, t in made.state_dict().items() if n != "head.weight"}


OPTIONS: dict[str, dict[str, Any]] = {"ties": {"scope": "tensor"}, "fedavg": {"rows": [1, 3]}}


@pytest.mark.parametrize("technique", names("merges", "merge"))
def test_a_merge_by_tensor_is_the_merge_of_whole_networks(technique):
    for seed in range(3):
        save_file(tied(seed), f"t{seed}.safetensors")
    save_file({n: t for n, t in tied(3).items() if n != "head.bias"}, "base.safetensors")
    given = (["t0.safetensors", "t1.safetensors"], DATA)
    function, options = find("merges", technique, "merge"), OPTIONS.get(technique, {})
    known = {name: value for name, value in options.items() if name in keywords(function)}
    more: dict[str, Any] = {"net": Tied(), "technique": technique, "options": known}
    more["base"] = "base.safetensors" if traits(technique).base else None
    if technique not in streamed.BY_TENSOR:
        with pytest.raises(UserError, match=f"{technique}: it takes whole networks; by tensor are"):
            basins.merge(*given, **more, stream=True, out="new")
        return
    try:
        by_tensor = basins.merge(*given, **more, stream=True, out="new").rows
    except UserError as error:
        assert "scope 'vector' takes all weights at once" in str(error)
        more["options"] = {"scope": "tensor"}
        by_tensor = basins.merge(*given, **more, stream=True, out="new").rows
    whole = basins.merge(*given, **more, batchnorm="interpolate")
    found = load_file("new/model.safetensors")
    assert found.keys() == tied(0).keys()
    for name, tensor in found.items():
        assert torch.equal(tensor, whole.state[name]), name
    assert by_tensor["loss"].tolist() == pytest.approx(whole.rows["loss"].tolist(), 1e-6)


def test_a_merge_by_tensor_keeps_the_types_of_the_first_and_is_cut_into_shards(monkeypatch):
    monkeypatch.setattr(streamed, "SHARD", 200)
    for seed in range(2):
        state = {n: t.bfloat16() for n, t in net(seed).state_dict().items()}
        save_file(state, f"h{seed}.safetensors")
    paths = ["h0.safetensors", "h1.safetensors"]
    found = basins.merge(paths, net=net(2), stream=True, out="new")
    with pytest.raises(UserError, match="nothing was measured"):
        _ = found.rows
    whole = basins.merge(paths, DATA, net=net(2)).state
    index = json.loads(Path("new/model.safetensors.index.json").read_text())["weight_map"]
    assert set(index) == set(whole) and len(set(index.values())) == 2
    for name, tensor in whole.items():
        shard = load_file(f"new/{index[name]}")
        assert torch.equal(shard[name], tensor.bfloat16())
    assert basins.probe("new", DATA, net=net(2)).rows["value"].notna().all()
    save_file({"other": torch.ones(2)}, paths[1])
    with pytest.raises(UserError, match=r"h1\.safetensors: it lacks 4 tensors"):
        basins.merge(paths, net=net(2), stream=True, out="other")
    assert not Path("other").exists()
