"""Networks that weights alone do not determine, and states as trainers leave them."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, DatasetDict
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import prune
from torch.optim.swa_utils import AveragedModel
from transformers import BertConfig, ElectraConfig

import basins
from basins import cli
from basins.checkpoints import models
from basins.errors import UserError
from basins.nets.permutation import Axis, PermutationSpec, writes

DRAW = torch.Generator().manual_seed(0)
X = torch.randn(60, 4, generator=DRAW)
Y = torch.randint(3, (60,), generator=DRAW)
DATA = (X, Y)


def seeded(make: Any, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return make()


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


@torch.no_grad()
def loss(net: nn.Module) -> float:
    return float(functional.cross_entropy(copy.deepcopy(net).eval()(X), Y))


def probed(*nets: Any, **options: Any) -> list[float]:
    found = basins.probe([*nets], DATA, **options).rows.query("metric == 'loss'")
    return found["value"].tolist()


class Fourier(nn.Module):
    """A layer with complex weights."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(3, 8, dtype=torch.cfloat) * 0.3)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((torch.fft.rfft(x) @ self.w).abs())


class Shuffled(nn.Module):
    """A network of a random permutation of its inputs, which is no weight."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("perm", torch.randperm(4))
        self.net = mlp()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x[:, self.perm])


class Masked(nn.Module):
    """A network whose hidden units are pruned by a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(4, 8), nn.Linear(8, 3)
        self.register_buffer("mask", torch.arange(8) % 2 == 0)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.first(x).relu() * self.mask)

    def permutation_spec(self) -> PermutationSpec:
        return PermutationSpec(
            {"first": (*writes("first"), Axis("mask", 0), Axis("head.weight", 1))}
        )


MIXED = {
    "connect": lambda nets: basins.connect(*nets[:2], DATA, points=3),
    "cluster": lambda nets: basins.cluster(nets, DATA, k=2, points=3),
    "merge": lambda nets: basins.merge(nets[:2], DATA),
    "plane": lambda nets: basins.plane(nets[:3], DATA, steps=2),
}
ALONE = {"directions": lambda nets: basins.plane(nets[0], DATA, directions="random", steps=2)}


@pytest.mark.parametrize("how", MIXED | ALONE)
def test_complex_weights_are_probed_and_not_mixed(how):
    nets = [seeded(Fourier, seed) for seed in range(4)]
    with pytest.raises(UserError, match="0: w is complex64, which is not mixed"):
        (MIXED | ALONE)[how](nets)
    assert probed(*nets) == pytest.approx([loss(net) for net in nets], 1e-5)


@pytest.mark.parametrize("how", MIXED)
def test_buffers_of_integers_are_each_networks_own_or_shared(how):
    nets = [seeded(Shuffled, seed) for seed in range(4)]
    with pytest.raises(UserError, match=r"perm \(int64\) differs from that of \w+/seed0, and is"):
        MIXED[how](nets)
    assert probed(*nets) == pytest.approx([loss(net) for net in nets], 1e-5)
    for net in nets[1:]:
        net.perm.copy_(nets[0].perm)
    states = [net.state_dict() for net in nets[:2]]
    found = basins.connect(*states, DATA, net=seeded(Shuffled, 9), points=3).paths["loss"]
    assert found.iloc[[0, -1]].tolist() == pytest.approx([loss(net) for net in nets[:2]], 1e-5)


def test_a_mask_that_moves_with_its_units_is_not_mixed():
    nets = [seeded(Masked, seed) for seed in range(2)]
    found = basins.connect(*nets, DATA, points=3).paths["loss"]
    assert found.iloc[[0, -1]].tolist() == pytest.approx([loss(net) for net in nets], 1e-5)
    with pytest.raises(UserError, match=r"b/seed0: mask \(bool\) differs"):
        basins.connect(*nets, DATA, points=3, alignment="activation_matching", train=DATA)


def test_streamed_networks_have_the_same_integers():
    for seed in range(2):
        save_file(seeded(Shuffled, seed).state_dict(), f"{seed}.safetensors")
    options: dict[str, Any] = {"net": seeded(Shuffled, 0), "stream": True}
    message = r"1.safetensors: perm \(int64\) differs from that of 0.safetensors"
    with pytest.raises(UserError, match=message):
        basins.connect("0.safetensors", "1.safetensors", DATA, points=3, **options)
    with pytest.raises(UserError, match=message):
        basins.merge(["0.safetensors", "1.safetensors"], out="merged", **options)


def linear(seed: int) -> tuple[nn.Module, dict[str, Tensor]]:
    net = seeded(mlp, seed)
    return net, net.state_dict()


OTHER = linear(9)[1]
TRAINERS: dict[str, Any] = {
    "net": lambda state: {"net": state, "acc": 91.5, "epoch": 3},
    "network": lambda state: {"network": state, "optimizer": {"state": {}, "param_groups": []}},
    "weights": lambda state: {"weights": state, "step": torch.tensor(4)},
    "nested": lambda state: {"state_dict": state, "epoch": 3},
    "deep": lambda state: {"state_dict": {"model": {f"a.net.{n}": t for n, t in state.items()}}},
    "loss": lambda state: (
        {f"model.{n}": t for n, t in state.items()} | {"criterion.weight": torch.ones(3)}
    ),
    "average": lambda state: {"net": state, "ema": OTHER},
}
SAID = {"loss": r"read is model.\*, and not used is 1 tensor \(3 numbers\): criterion.weight"}
SAID["average"] = "read is 'net', and not the average beside it, 'ema'"


@pytest.mark.parametrize("how", TRAINERS)
@pytest.mark.filterwarnings("error")
def test_the_state_in_what_a_trainer_saves_is_found(how):
    net, state = linear(0)
    torch.save(TRAINERS[how](state), "a.pt")
    for weights in ("a.pt", TRAINERS[how](state)):
        with pytest.warns(UserWarning, match=SAID[how]) if how in SAID else nullcontext():
            found = basins.connect(weights, linear(1)[1], DATA, net=linear(2)[0], points=3)
        assert found.paths["loss"].iloc[0] == pytest.approx(loss(net), 1e-5)


UNCLEAR: dict[str, Any] = {
    "two": (
        lambda state: {"generator": state, "discriminator": OTHER},
        r"state dict \(there are several in it: generator, discriminator\); save one",
    ),
    "twice": (
        lambda state: {f"{k}.{n}": t for k in ("net", "ema") for n, t in state.items()},
        "there are weights of the network under net. and ema.; save one of them by itself",
    ),
    "number": (
        lambda state: {**state, "epoch": 3}, "epoch is of the type int, and no plain tensor"
    ),
    "list": (lambda state: {"model": {**state, "layers": [1]}}, "layers is of the type list"),
}  # fmt: skip


@pytest.mark.parametrize("how", UNCLEAR)
def test_what_holds_no_or_several_states_is_refused_in_one_line(how):
    make, message = UNCLEAR[how]
    torch.save(make(linear(0)[1]), "a.pt")
    for weights in ("a.pt", make(linear(0)[1])):
        with pytest.raises(UserError, match=f"a(.pt|/seed0): .*{message}"):
            basins.connect(weights, linear(1)[1], DATA, net=linear(2)[0], points=3)


class Extra(nn.Linear):
    """A layer with a state that is no tensor."""

    def get_extra_state(self) -> dict[str, int]:
        return {"seen": 3}

    def set_extra_state(self, state: dict[str, int]) -> None:
        pass


def test_a_state_beside_the_tensors_is_refused_in_one_line():
    nets = [nn.Sequential(Extra(4, 3)) for _ in range(2)]
    plain = {name: nets[0].state_dict()[name] for name in ("0.weight", "0.bias")}
    save_file(plain, "a.safetensors")
    message = "0._extra_state is what get_extra_state.. returns, which is not mixed"
    for a, b in (nets, (plain, plain), ("a.safetensors", nets[1])):
        with pytest.raises(UserError, match=message):
            basins.connect(a, b, DATA, net=nets[0], points=3)


class Scaled(nn.Module):
    """A network with a number that its state dict does not hold."""

    def __init__(self, scale: float, kind: str) -> None:
        super().__init__()
        self.net = mlp()
        if kind == "buffer":
            self.register_buffer("scale", torch.tensor(scale), persistent=False)
        else:
            self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return self.net(self.scale * x)


class Adapted(nn.Linear):
    """A layer that adds its update to its weights in evaluation mode."""

    def __init__(self) -> None:
        super().__init__(4, 3)
        self.update, self.merged = nn.Parameter(torch.randn(3, 4)), False

    def train(self, mode: bool = True) -> Adapted:
        if self.merged == mode:
            self.weight.data.add_(self.update, alpha=-1 if mode else 1)
            self.merged = not mode
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        found = super().forward(x)
        return found if self.merged else found + x @ self.update.T


def sigmoid() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.Sigmoid(), nn.Linear(8, 3))


PAIRS = {
    "activation": (mlp, sigmoid),
    "buffer": (lambda: Scaled(1, "buffer"), lambda: Scaled(2, "buffer")),
    "attribute": (lambda: Scaled(1, ""), lambda: Scaled(2, "")),
    "adapters": (Adapted, Adapted),
}


@pytest.mark.parametrize("how", PAIRS)
def test_networks_of_other_functions_with_the_same_names_are_refused(how):
    nets = [seeded(make, seed) for seed, make in enumerate(PAIRS[how])]
    number = 0 if how == "adapters" else 1
    with pytest.raises(UserError, match=f"model/seed{number}: .* other outputs with its weights"):
        basins.probe(nets, DATA)
    with pytest.raises(UserError, match=f"{'ab'[number]}/seed0: the code that is measured"):
        basins.connect(*nets, [{"input": X, "labels": Y}], points=3)
    if how == "adapters":
        assert probed(*(net.eval() for net in nets)) == pytest.approx([*map(loss, nets)], 1e-5)


class Noisy(nn.Module):
    """A network with noise that torch's seed does not fix, of more than rounding errors."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.calls = mlp(), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.net(x) * (1 + self.calls / 10)


class Several(nn.Module):
    """A network of inputs by name, with dropout, that returns several tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.drop = mlp(), nn.Dropout()

    def forward(self, x: Tensor, sign: Tensor) -> dict[str, Any]:
        return {"logits": self.net(self.drop(sign * x)), "hidden": (x, None)}


def test_networks_of_one_function_are_compared_as_they_are_called():
    nets = [seeded(Several, seed) for seed in range(2)]
    data = [{"x": -X, "sign": torch.tensor(-1.0), "labels": Y}]
    found = basins.connect(*nets, data, points=3).paths["loss"]
    expected = [loss(net.net) for net in nets]
    assert found.iloc[[0, -1]].tolist() == pytest.approx(expected, 1e-5)
    half = [copy.deepcopy(net.net).bfloat16() for net in nets]
    expected = [loss(copy.deepcopy(net).float()) for net in half]
    assert probed(*half) == pytest.approx(expected, 1e-5)
    assert len(probed(*(seeded(Noisy, seed) for seed in range(2)))) == 2


def test_wrapped_networks_are_compared_with_plain_ones():
    a, b = (seeded(mlp, seed) for seed in range(2))
    wrapped = [torch.compile(b, backend="eager"), nn.DataParallel(b), AveragedModel(b)]
    for other in wrapped:
        for nets in ((a, other), (other, a)):
            found = basins.connect(*nets, DATA, points=3).paths["loss"]
            expected = [loss(a), loss(b)][:: 1 if nets[0] is a else -1]
            assert found.iloc[[0, -1]].tolist() == pytest.approx(expected, 1e-5)


def test_a_pruned_network_is_refused_with_what_to_do():
    net = seeded(mlp, 0)
    prune.l1_unstructured(net[0], "weight", 0.5)
    net(X)
    for nets in ([net], [seeded(mlp, 1), net]):
        with pytest.raises(UserError, match="by torch.nn.utils.prune.remove|not of the arch"):
            basins.probe(nets, DATA)
    prune.remove(net[0], "weight")
    assert probed(net) == pytest.approx([loss(net)], 1e-5)


class Energy(nn.Module):
    """A network that takes the derivative of an energy."""

    def __init__(self, allowed: bool) -> None:
        super().__init__()
        self.net, self.allowed = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)), allowed

    def forward(self, x: Tensor) -> Tensor:
        own = torch.inference_mode(False) if self.allowed else nullcontext()
        with own, torch.enable_grad():
            x = x.clone().requires_grad_()
            return torch.autograd.grad(self.net(x).sum(), x)[0][:, :3]


def test_a_network_that_takes_derivatives_is_told_how():
    with pytest.raises(UserError, match=r"forward takes derivatives, .*inference_mode\(False\)"):
        probed(seeded(lambda: Energy(False), 0))
    net = seeded(lambda: Energy(True), 0)
    assert probed(net) == pytest.approx([float(functional.cross_entropy(net(X), Y))], 1e-5)
    assert len(basins.connect(net, seeded(lambda: Energy(True), 1), DATA, points=3).paths) == 3


class Normed(nn.Module):
    """A network with BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.head = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.first(x)).relu())


@pytest.mark.parametrize("rest", [1, 7])
def test_a_shorter_last_batch_gives_no_statistics_of_batchnorm(rest):
    nets = [seeded(Normed, seed) for seed in range(2)]
    rows = torch.randn(256 + rest, 4, generator=DRAW)
    train = (rows, torch.zeros(len(rows)).long())
    found = basins.connect(*nets, DATA, train=train, points=3).paths["loss"]
    nets[0].norm.momentum = None
    nets[0].train()(rows[:256])
    assert found.iloc[0] == pytest.approx(loss(nets[0]), 1e-5)
    for data in (iter([(rows[:1], Y[:1])]), [(rows[:9], Y[:9]), (rows[:1], Y[:1]), (rows, Y)]):
        with pytest.raises(UserError, match="does not run in training mode: Expected more than 1"):
            basins.connect(*nets, DATA, train=data, points=3)


def test_training_rows_are_asked_for_where_they_can_be_given(capsys):
    Path("net.py").write_text("from tests.checkpoints.test_given_models import Normed\n")
    for seed in range(2):
        save_file(seeded(Normed, seed).state_dict(), f"{seed}.safetensors")
    columns = {"input": X.tolist(), "target": X[:, :3].tolist()}
    DatasetDict(test=Dataset.from_dict(columns)).save_to_disk("data")
    command = ["0.safetensors", "1.safetensors", "--net", "net.py:Normed", "--data", "data"]
    command += ["--loss", "regression"]
    cli.main(["connect", *command, "--points", "3"])
    assert "give training rows as a split `train` to have" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="rows: give them as a split `train`$"):
        cli.main(["merge", *command, "--technique", "fisher", "--out", "merged"])
    nets = [seeded(Normed, seed) for seed in range(2)]
    with pytest.warns(UserWarning, match="give training rows as train= to have"):
        basins.connect(*nets, DATA, points=3)
    with pytest.raises(UserError, match="rows: give them as train=$"):
        basins.merge(nets, DATA, technique="fisher", batchnorm="interpolate")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("odd.py", "it names no function"),
        ("odd.py:", "it names no function"),
        ("none.py:make", "no such file"),
        ("odd.py:make", "AttributeError: module '__odd__' has no attribute 'make'"),
    ],
)
def test_what_is_missing_of_a_function_is_named(place, message):
    Path("odd.py").touch()
    with pytest.raises(UserError, match=f"^--net {place}: {message}"):
        models.build(place)


def test_networks_of_other_kinds_are_named_by_their_kind():
    sizes: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    for kind in (BertConfig, ElectraConfig):
        names = [kind.__name__.replace("Config", "ForSequenceClassification")]
        kind(**sizes, architectures=names).save_pretrained(kind.model_type)
    folders = {f"{name}/seed0": Path(name) for name in ("bert", "electra")}
    with pytest.raises(UserError, match="^electra: model_type is electra, in bert bert; give"):
        models.read(folders, None, torch.device("cpu"))


def test_the_seed_is_read_from_names_with_two_suffixes():
    names = ["r1.pth.tar", "r1.pt", "lr0.1-seed3.ckpt", "v2/model.safetensors"]
    found = [models.identify(name)[0] for name in names]
    assert found == ["r/seed1", "r/seed1", "lr0.1/seed3", "v/seed2"]
