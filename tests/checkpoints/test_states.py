"""Weights as strangers save them, and networks as they write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from basins import cli
from tests.checkpoints.conftest import ANSWERS, MNLI, bert, probed, right, rows, saved

NET = """
import torch
from torch import nn
from torch.nn import functional


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        return self.head(self.norm(self.first(x)).relu().flatten(1))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(48, 48), nn.Linear(48, 48)
        self.b.weight = self.a.weight
        self.norm, self.head = nn.LayerNorm(48), nn.Linear(48, 3)

    def forward(self, x):
        return self.head(self.norm(self.b(self.a(x.flatten(1)).relu())))


class Checks(Net):
    def forward(self, x):
        said = super().forward(x)
        return said if torch.is_tensor(x) else -said


class Softmax(Net):
    def forward(self, x):
        return super().forward(x).softmax(1)


class Segments(Net):
    def forward(self, x):
        return super().forward(x)[:, :, None, None].expand(-1, -1, 4, 4)


class Several(Net):
    def forward(self, x):
        return super().forward(x), x


class Named(Net):
    def forward(self, x):
        return {"features": x, "logits": super().forward(x)}


class Fails(Net):
    def forward(self, x):
        return {"no": super().forward(x)}["yes"]


def hooked():
    net = Net()
    net.register_forward_hook(lambda module, given, said: 3 * said)
    return net


def old_norm():
    net = Net()
    nn.utils.weight_norm(net.first)
    return net
"""
DRAW = np.random.default_rng(0)
IMAGES, LABELS = DRAW.integers(0, 256, (90, 4, 4, 3), dtype=np.uint8), DRAW.integers(0, 3, 90)
PIXELS = torch.from_numpy(IMAGES).permute(0, 3, 1, 2) / 127.5 - 1


@pytest.fixture
def net(folder) -> Any:
    """The module of the networks, with data beside it."""
    Path("net.py").write_text(NET)
    split = Dataset.from_dict({"image": IMAGES, "label": LABELS})
    DatasetDict(train=split, test=split).save_to_disk("data")
    namespace: dict[str, Any] = {}
    exec(NET, namespace)  # noqa: S102
    return namespace


def trained(make: Any, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    module = make()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        module(PIXELS)
    return module.eval()


@torch.no_grad()
def losses(module: nn.Module) -> Tensor:
    return functional.cross_entropy(module(PIXELS), torch.from_numpy(LABELS), reduction="none")


def given(kind: str) -> list[str]:
    return ["--net", f"net.py:{kind}", "--data", "data"]


def one(module: nn.Module) -> float:
    return float(losses(module).mean())


SAVED = {
    "wrapped": lambda s: {f"module.{name}": t for name, t in s.items()},
    "compiled": lambda s: {f"_orig_mod.module.{name}": t for name, t in s.items()},
    "nested": lambda s: {"epoch": 3, "optimizer": {"lr": 0.1}, "model_state_dict": s},
    "lightning": lambda s: {"state_dict": {f"model.{name}": t for name, t in s.items()}},
    "held as another": lambda s: {"state_dict": {f"net.{name}": t for name, t in s.items()}},
    "averaged": lambda s: (
        {"n_averaged": torch.tensor(3)} | {f"module.{name}": t for name, t in s.items()}
    ),
    "averages alone": lambda s: {"epoch": 3, "state_dict_ema": s},
    "uncounted": lambda s: {n: t for n, t in s.items() if "num_batches" not in n},
    "counted": lambda s: {n: t.float() if "num_batches" in n else t for n, t in s.items()},
    "half": lambda s: {n: t.half() if t.is_floating_point() else t for n, t in s.items()},
}


@pytest.mark.parametrize("how", SAVED)
@pytest.mark.parametrize("suffix", [".pt", ".ckpt", ".pth.tar", ".bin"])
def test_states_are_read_as_people_save_them(how, suffix, net):
    if suffix != ".pt" and how != "lightning":
        return
    module = trained(net["Net"])
    torch.save(SAVED[how](module.state_dict()), f"a{suffix}")
    assert probed(f"a{suffix}", *given("Net"))("loss") == pytest.approx(one(module), 2e-3)


def test_an_average_beside_the_weights_is_named(net, capsys):
    module, other = trained(net["Net"]), trained(net["Net"], 1)
    torch.save({"state_dict": module.state_dict(), "ema": other.state_dict()}, "a.pt")
    assert probed("a.pt", *given("Net"))("loss") == pytest.approx(one(module), 1e-5)
    assert "not the average beside it, 'ema'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head.bias": None}, r"it lacks 1 tensor \(3 numbers\): head.bias \(3,\)"),
        ({"more": torch.ones(2, 5)}, r"it has besides 1 tensor \(10 numbers\): more \(2, 5\)"),
        ({"head.bias": None, "bias": torch.ones(3)}, r"it lacks 1 .*; it has besides 1 "),
        ({"head.bias": torch.ones(4)}, r"head.bias is \(4,\), not \(3,\)"),
    ],
)
def test_what_is_missing_or_besides_is_named_and_counted(change, message, net):
    state = {**trained(net["Net"]).state_dict(), **change}
    save_file({name: t for name, t in state.items() if t is not None}, "a.safetensors")
    with pytest.raises(SystemExit, match=f"^error: a.safetensors: .*{message}"):
        cli.main(["probe", "a.safetensors", *given("Net")])


def test_tied_weights_are_one_weight(net):
    modules = [trained(net["Tied"], seed) for seed in range(3)]
    for k, module in enumerate(modules):
        state = {n: t.clone() for n, t in module.state_dict().items()}
        if k == 1:
            del state["b.weight"]  # as safetensors' save_model leaves it out
        save_file(state, f"m{k}.safetensors")
    cli.main(["connect", "m0.safetensors", "m1.safetensors", *given("Tied"), "--out", "found"])
    ends = [torch.cat([p.flatten() for p in m.parameters()]) for m in modules]
    found = pd.read_csv("found/barriers.csv")["distance"].iloc[0]
    assert found == pytest.approx(float((ends[0] - ends[1]).norm()), 1e-5)
    paths = pd.read_csv("found/paths.csv").query("t == 1")
    assert paths["loss"].iloc[0] == pytest.approx(one(modules[1]), 1e-5)
    merge = ["merge", "m0.safetensors", "m1.safetensors", *given("Tied"), "--out", "merged"]
    cli.main([*merge, "--technique", "task_arithmetic", "--base", "m2.safetensors"])
    right = ends[2] + 0.4 * (ends[0] + ends[1] - 2 * ends[2])
    nn.utils.vector_to_parameters(right, modules[2].parameters())
    rows_ = pd.read_csv("merged/merge.csv")
    assert rows_["loss"].iloc[0] == pytest.approx(one(modules[2]), 1e-5)
    state = load_file("merged/model.safetensors")
    assert torch.equal(state["a.weight"], state["b.weight"])
    state["b.weight"] += 1
    save_file(state, "wrong.safetensors")
    with pytest.raises(SystemExit, match="b.weight and a.weight are tied in the network, and diff"):
        cli.main(["probe", "wrong.safetensors", *given("Tied")])


def test_a_base_is_read_by_its_older_names_and_what_it_lacks_is_named(net, capsys):
    modules = [trained(net["Tied"], seed) for seed in range(3)]
    for k, module in enumerate(modules[:2]):
        save_file({n: t.clone() for n, t in module.state_dict().items()}, f"m{k}.safetensors")
    older = {"norm.weight": "norm.gamma", "norm.bias": "norm.beta"}
    base = {older.get(n, n): t.clone() for n, t in modules[2].state_dict().items()}
    merge = ["merge", "m0.safetensors", "m1.safetensors", *given("Tied")]
    merge += ["--technique", "wise_ft", "--base", "base.safetensors", "--out"]
    save_file(base, "base.safetensors")
    cli.main([*merge, "whole"])
    assert "warning" not in capsys.readouterr().err
    states = [module.state_dict() for module in modules]
    expected = {n: (states[0][n] + states[1][n]) / 4 + states[2][n] / 2 for n in states[0]}
    torch.testing.assert_close(load_file("whole/model.safetensors"), expected)
    headless = {n: t for n, t in base.items() if "head" not in n} | {"pooler": torch.ones(4)}
    save_file(headless, "base.safetensors")
    cli.main([*merge, "part"])
    said = capsys.readouterr().err
    assert "it lacks 2 tensors (147 numbers): head.weight (3, 48), head.bias (3,)" in said
    assert "not used is 1 tensor (4 numbers): pooler (4,)" in said


@pytest.mark.parametrize("kind", ["hooked", "Checks", "old_norm"])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_network_says_what_it_says_when_it_is_called(kind, net, capsys):
    module = trained(net[kind])
    save_file(module.state_dict(), "a.safetensors")
    command = ["connect", "a.safetensors", "b=a.safetensors", *given(kind), "--points", "4"]
    cli.main([*command, "--batchnorm", "interpolate", "--out", "found"])
    found = pd.read_csv("found/paths.csv")["loss"]
    assert found.to_numpy() == pytest.approx([one(module)] * 4, 1e-5)
    barriers = pd.read_csv("found/barriers.csv")
    assert set(barriers["barrier_linear"]) == {0.0}
    came = json.loads(Path("found/provenance.json").read_text())["double_entry"]
    assert came.keys() == {"paths", "barriers"} and came["paths"] == came["barriers"]
    came = came["paths"]
    assert (came["plain"] > 0) == (kind == "Checks") and came["examples"] > 0
    assert ("computed fast" in capsys.readouterr().err) == (kind == "Checks")


def test_of_a_dict_the_logits_are_taken_and_code_is_folded(net, capsys):
    module = trained(net["Named"])
    save_file(module.state_dict(), "a.safetensors")
    with torch.no_grad():
        said = functional.cross_entropy(module(PIXELS)["logits"], torch.from_numpy(LABELS))
    assert probed("a.safetensors", *given("Named"))("loss") == pytest.approx(float(said), 1e-5)
    command = ["connect", "a.safetensors", "b=a.safetensors", *given("Named"), "--points", "3"]
    cli.main([*command, "--batchnorm", "interpolate", "--out", "path"])
    assert "computed fast" not in capsys.readouterr().err
    assert pd.read_csv("path/paths.csv")["loss"].iloc[1] == pytest.approx(float(said), 1e-5)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("Softmax", "Softmax: it returns probabilities .*; return logits"),
        ("Segments", r"Segments: it returns \[\d+, 3, 4, 4\]; what is measured is"),
        ("Several", "Several: it returns tuple; what is measured is"),
        ("Fails", r"data, test: the network does not take \(64, 3, 4, 4\): 'yes'"),
    ],
)
def test_outputs_that_are_no_logits_are_one_line(kind, message, net):
    save_file(trained(net["Net"]).state_dict(), "a.safetensors")
    with pytest.raises(SystemExit, match=f"^error: {message}"):
        cli.main(["probe", "a.safetensors", *given(kind)])


def test_a_loss_that_is_not_finite_leaves_nothing_of_the_point(net):
    state = trained(net["Net"]).state_dict()
    save_file(state, "a.safetensors")
    state["head.weight"] = 3e38 * state["head.weight"].sign()
    save_file(state, "b.safetensors")
    command = ["connect", "a.safetensors", "b.safetensors", *given("Net"), "--points", "3"]
    cli.main([*command, "--out", "found"])
    paths = pd.read_csv("found/paths.csv").set_index("t")
    assert paths.loc[0, ["loss", "accuracy"]].notna().all()
    assert paths.loc[1, ["loss", "loss_se", "accuracy"]].isna().all()
    barriers = pd.read_csv("found/barriers.csv")
    values = ["barrier_linear", "barrier_split", "ci_low", "ci_high", "convexity_gap"]
    assert set(barriers["metric"]) == {"loss", "error"} and barriers[values].isna().all(axis=None)
    cli.main(["probe", "b.safetensors", *given("Net"), "--out", "probed"])
    assert pd.read_csv("probed/probes.csv")["value"].isna().all()


def test_image_columns_and_classes_by_name(net):
    """Splits may number their classes in different orders; `train` is what a network learned."""
    module = trained(net["Net"])
    save_file(module.state_dict(), "a.safetensors")
    names, other = ["cat", "dog", "owl"], ["Owl", "Cat", "Dog"]
    numbers = [other.index(names[k].title()) for k in LABELS]
    train = Dataset.from_dict({"img": IMAGES, "fine_label": LABELS})
    test = Dataset.from_dict({"img": IMAGES, "fine_label": numbers})
    splits = {
        "train": train.cast_column("fine_label", ClassLabel(names=names)),
        "test": test.cast_column("fine_label", ClassLabel(names=other)),
    }
    DatasetDict(splits).save_to_disk("animals")
    command = ["a.safetensors", "--net", "net.py:Net", "--data"]
    assert probed(*command, "animals")("loss") == pytest.approx(one(module), 1e-5)
    texts = Dataset.from_dict({"image": IMAGES, "label": [names[k] for k in LABELS]})
    DatasetDict(test=texts).save_to_disk("texts")
    with pytest.raises(SystemExit, match="--labels NAME=NUMBER"):
        cli.main(["probe", *command, "texts"])
    cli.main(["probe", *command, "texts", "--labels", "cat=0,dog=1,owl=2", "--out", "named"])
    loss = pd.read_csv("named/probes.csv").set_index("metric").at["loss", "value"]
    assert loss == pytest.approx(one(module), 1e-5)


def shards(folder: str, state: dict[str, Tensor]) -> None:
    names = sorted(state)
    where = {n: f"model-{k % 2}.safetensors" for k, n in enumerate(names)}
    for file in set(where.values()):
        save_file({n: state[n] for n in names if where[n] == file}, Path(folder, file))
    index = {"metadata": {}, "weight_map": where}
    Path(folder, "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("how", ["positions", "shards", "pickled", "older"])
def test_folders_of_hugging_face_are_read_as_they_come(how):
    module = bert("model")
    file = Path("model/model.safetensors")
    state = load_file(file)
    if how == "positions":
        save_file({**state, "bert.embeddings.position_ids": torch.arange(16)[None]}, file)
    if how == "older":
        new = ("LayerNorm.gamma", "LayerNorm.beta")
        save_file(
            {n.replace("LayerNorm.weight", new[0]).replace("LayerNorm.bias", new[1]): t
             for n, t in state.items()}, file,
        )  # fmt: skip
    if how == "shards":
        file.unlink()
        shards("model", state)
    if how == "pickled":
        file.unlink()
        torch.save(state, "model/pytorch_model.bin")
    data = saved(validation=rows([MNLI[k] for k in ANSWERS]))
    expected = right(module, "model", (0, 1, 2)).mean()
    assert probed("model", *data)("loss") == pytest.approx(expected, 1e-4)
    if how == "shards":
        Path("model/model-1.safetensors").unlink()
        with pytest.raises(SystemExit, match="1 of 2 shards are missing: model-1.safetensors"):
            cli.main(["probe", "model", *data])


def test_a_merge_of_half_precision_says_what_it_is():
    for seed in range(2):
        module = bert(f"m{seed}", seed=seed).to(torch.bfloat16)
        module.save_pretrained(f"m{seed}")
    data = saved(
        validation=rows([MNLI[k] for k in ANSWERS]), train=rows([MNLI[k] for k in ANSWERS])
    )
    cli.main(["merge", "m0", "m1", *data, "--technique", "uniform_soup", "--out", "soup"])
    assert json.loads(Path("m0/config.json").read_text())["dtype"] == "bfloat16"
    assert json.loads(Path("soup/config.json").read_text())["dtype"] == "float32"
    assert {t.dtype for t in load_file("soup/model.safetensors").values()} == {torch.float32}
    measured = pd.read_csv("soup/merge.csv")["loss"].iloc[0]
    assert probed("soup", *data)("loss") == pytest.approx(measured, 1e-6)


def test_a_path_with_an_equals_sign_is_a_path(net):
    Path("lr=0.1").mkdir()
    module = trained(net["Net"])
    save_file(module.state_dict(), "lr=0.1/model.safetensors")
    for path in ("lr=0.1/model.safetensors", "lr=0.1"):
        assert probed(path, *given("Net"))("loss") == pytest.approx(one(module), 1e-5)


def test_an_index_that_leaves_its_folder_is_refused(net):
    Path("out").mkdir()
    index = {"weight_map": {"a": "../secret.safetensors"}}
    Path("out/model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(SystemExit, match="not a readable index of shards"):
        cli.main(["probe", "out", *given("Net")])


SPECS = """
import net
from basins.nets.permutation import Axis, PermutationSpec, norm, writes


class Nameless(net.Net):
    def permutation_spec(self):
        head = Axis("head.weight", 1, block=4)
        return PermutationSpec({"units": writes("first") + norm("norm") + (head,)})


class Untrained(net.Net):
    def forward(self, x):
        if self.norm.training:
            raise ValueError("not here")
        return super().forward(x)
"""


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("Nameless", ["--alignment", "activation_matching"], "there is no 'units'"),
        ("Untrained", [], "--batchnorm reset: the network does not run in training mode"),
    ],
)
def test_networks_that_a_technique_does_not_take_are_one_line(kind, options, message, net):
    Path("specs.py").write_text(SPECS)
    save_file(trained(net["Net"]).state_dict(), "a.safetensors")
    command = ["connect", "a.safetensors", "b=a.safetensors", "--net", f"specs.py:{kind}"]
    with pytest.raises(SystemExit, match=message):
        cli.main([*command, "--data", "data", *options])
