"""From Python: what is measured is what plain torch measures, for any network, batches and loss."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import basins
from basins.errors import UserError

DRAW = torch.Generator().manual_seed(0)
X = torch.randn(90, 6, generator=DRAW)
CLASSES = torch.randint(3, (90,), generator=DRAW)
NUMBERS, SEVERAL = X[:, :2] * 2, (X[:, :4] > 0).long()
TOKENS = torch.randint(7, (30, 9), generator=DRAW)
LOADER = DataLoader(TensorDataset(X, CLASSES), batch_size=32)


def net(seed: int, outputs: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, outputs))


class Language(nn.Module):
    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embedding, self.head = nn.Embedding(7, 5), nn.Linear(5, 7)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        return self.head(self.embedding(input_ids).cumsum(1))


@torch.no_grad()
def halfway(a: nn.Module, b: nn.Module, like: nn.Module, measure) -> float:
    """Return a mean loss half-way, by torch's own tools."""
    one, other = a.state_dict(), b.state_dict()
    like.load_state_dict({name: (one[name] + other[name]) / 2 for name in one})
    return float(measure(like).mean())


def at_half(found: basins.Found, column: str = "loss") -> float:
    return found.paths.query("t == 0.5")[column].iloc[0]


def cross_entropy(net: nn.Module) -> Tensor:
    return functional.cross_entropy(net(X), CLASSES, reduction="none")


@pytest.mark.parametrize(
    "data",
    [
        LOADER,
        (X, CLASSES),
        (X.numpy(), CLASSES.numpy()),
        [{"input": X[:50], "labels": CLASSES[:50]}, {"input": X[50:], "labels": CLASSES[50:]}],
        Dataset.from_dict({"input": X.tolist(), "label": CLASSES.tolist()}),
        lambda net: cross_entropy(net),
    ],
    ids=["loader", "tensors", "arrays", "named", "dataset", "function"],
)
def test_two_networks_and_any_batches(data):
    a, b = net(0), net(1)
    before = [t.clone() for t in a.parameters()]
    found = basins.connect(a, b, data, points=5)
    assert at_half(found) == pytest.approx(halfway(a, b, net(2), cross_entropy), 1e-5)
    assert found.paths["loss"].iloc[0] == pytest.approx(float(cross_entropy(a).mean()), 1e-5)
    assert all(torch.equal(one, two) for one, two in zip(before, a.parameters(), strict=True))
    assert a.training


@pytest.mark.parametrize(
    "data",
    [
        (X.double(), CLASSES.int()),
        (X.double().numpy(), CLASSES.numpy().astype(np.uint8)),
        [(X, CLASSES.tolist())],
        TensorDataset(X, CLASSES),
        pd.DataFrame(X.numpy(), columns=[*"abcdef"]).assign(label=CLASSES.numpy()),
    ],
    ids=["double, int32", "uint8", "list", "torch dataset", "table"],
)
def test_numbers_of_any_type(data):
    found = basins.probe(net(0), data).rows.set_index("metric")
    assert found.at["loss", "value"] == pytest.approx(float(cross_entropy(net(0)).mean()), 1e-5)


def test_inputs_without_targets():
    loader = DataLoader(TensorDataset(X), 20)
    found = basins.probe(net(0, 1), loader, loss="reward").rows
    assert found["value"].iloc[0] == pytest.approx(-float(net(0, 1)(X).mean()), 1e-5)


def test_classification_has_accuracy_and_figures():
    found = basins.connect(net(0), net(1), LOADER, points=3)
    right = float((net(0)(X).argmax(1) == CLASSES).float().mean())
    assert found.paths["accuracy"].iloc[0] == pytest.approx(right)
    assert set(found.rows["metric"]) == {"loss", "error"}
    page = found._repr_html_()
    assert "<svg" in page and "barrier_linear" in page
    assert found.provenance["double_entry"]["examples"] > 0
    with pytest.raises(AttributeError, match="there are: paths, barriers"):
        _ = found.nothing


LOSSES = {
    "regression": (2, NUMBERS, lambda y, t: ((y - t) ** 2).mean(1), "absolute_error"),
    "binary": (
        1,
        SEVERAL[:, 0],
        lambda y, t: functional.binary_cross_entropy_with_logits(
            y[:, 0], t.float(), reduction="none"
        ),
        "accuracy",
    ),
    "multilabel": (
        4,
        SEVERAL,
        lambda y, t: functional.binary_cross_entropy_with_logits(
            y, t.float(), reduction="none"
        ).mean(1),
        "exact",
    ),
    "reward": (1, torch.zeros(90), lambda y, t: -y[:, 0], None),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_by_name(name):
    outputs, targets, right, metric = LOSSES[name]
    a, b = net(0, outputs), net(1, outputs)
    found = basins.connect(a, b, (X, targets), loss=name, points=3)
    expected = halfway(a, b, net(2, outputs), lambda net: right(net(X), targets))
    assert at_half(found) == pytest.approx(expected, 1e-5)
    assert set(found.rows["metric"]) == {"loss"} and "<svg" in found._repr_html_()
    if metric:
        assert np.isfinite(at_half(found, metric))
    probed = basins.probe(a, (X, targets), loss=name).rows.set_index("metric")
    assert probed.at["loss", "value"] == pytest.approx(float(right(a(X), targets).mean()), 1e-5)


def test_a_loss_and_metrics_of_ones_own():
    found = basins.connect(
        net(0),
        net(1),
        LOADER,
        loss=lambda y, t: functional.cross_entropy(y, t, reduction="none", label_smoothing=0.1),
        metrics={"top2": lambda y, t: (y.topk(2).indices == t[:, None]).any(1).float()},
        points=3,
    )
    right = functional.cross_entropy(net(0)(X), CLASSES, label_smoothing=0.1)
    assert found.paths["loss"].iloc[0] == pytest.approx(float(right), 1e-5)
    top = (net(0)(X).topk(2).indices == CLASSES[:, None]).any(1).float().mean()
    assert found.paths["top2"].iloc[0] == pytest.approx(float(top))


def test_a_language_model_has_a_loss_per_token():
    mask = torch.ones_like(TOKENS)
    mask[:10, 6:] = 0
    batches = [{"input_ids": TOKENS, "attention_mask": mask}]
    found = basins.probe(Language(0), batches, loss="language").rows.set_index("metric")
    rows = []
    for ids, real in zip(TOKENS, mask.bool(), strict=True):
        ids = ids[real]
        rows.append(functional.cross_entropy(Language(0)(ids[None])[0, :-1], ids[1:]))
    assert found.at["loss", "value"] == pytest.approx(float(torch.stack(rows).mean()), 1e-5)


def test_clusters_merges_and_pages(tmp_path):
    nets = [net(seed) for seed in range(4)]
    sets = {"one": LOADER, "other": (X[:40], CLASSES[:40])}
    found = basins.cluster(nets, sets, k=2, points=3)
    assert set(found.clusters["model"]) == {f"model/seed{k}" for k in range(4)}
    assert len(found.barriers) == 6 * 2 * 2
    merged = basins.merge(nets[:2], LOADER, technique="uniform_soup")
    right = halfway(nets[0], nets[1], net(2), cross_entropy)
    assert merged.rows["loss"].iloc[0] == pytest.approx(right, 1e-5)
    assert float(cross_entropy(merged.net).mean()) == pytest.approx(right, 1e-5)
    page = basins.report(found, tmp_path / "page")
    assert "model/seed3" in page.read_text() and basins.report(page.parent) == page
    with pytest.raises(UserError, match="it has rows of other data"):
        basins.report(merged, page.parent)
    numbers = basins.connect(net(0, 2), net(1, 2), (X, NUMBERS), loss="regression", points=3)
    assert "<svg" in basins.report(numbers, tmp_path / "numbers").read_text()


def test_clusters_where_nothing_is_right_or_wrong():
    sets = {"one": (X, NUMBERS), "other": (X[:40], NUMBERS[:40])}
    found = basins.cluster([net(k, 2) for k in range(5)], sets, loss="regression", k=2, points=3)
    assert set(found.clusters["model"]) == {f"model/seed{k}" for k in range(5)}
    assert set(found.association["metric"]) == {"loss"}


def test_few_networks_are_not_tested_for_clusters_and_a_warning_says_so():
    with pytest.warns(UserWarning, match="4 models are too few .* takes 12"):
        found = basins.cluster([net(k) for k in range(4)], LOADER, points=3)
    assert set(found.clusters["cluster"]) == {0}


def test_a_merge_of_modules_is_saved_as_a_state_dict(tmp_path):
    made = basins.merge([net(0), net(1)], LOADER, out=tmp_path / "soup")
    file = tmp_path / "soup" / "model.safetensors"
    torch.testing.assert_close(load_file(file), dict(made.state))
    found = basins.probe(file, LOADER, net=net(2)).rows.set_index("metric")
    assert found.at["loss", "value"] == pytest.approx(made.rows["loss"].iloc[0], 1e-5)


def test_a_merge_does_not_depend_on_earlier_draws():
    """Training in it has dropout, which draws from torch's global generator."""
    nets = [nn.Sequential(nn.Dropout(), net(seed)) for seed in range(3)]
    more = {"technique": "together", "base": nets[2], "train": (X, CLASSES)}
    one, other = (basins.merge(nets[:2], LOADER, **more).state["1.0.weight"] for _ in range(2))
    assert torch.equal(one, other)


def test_aligning_undoes_a_permutation():
    a, b = net(0), net(0)
    order = torch.randperm(8, generator=DRAW)
    with torch.no_grad():
        b[0].weight.copy_(a[0].weight[order])
        b[0].bias.copy_(a[0].bias[order])
        b[2].weight.copy_(a[2].weight[:, order])
    with pytest.warns(UserWarning, match="traced"):
        brought = basins.align(a, b, LOADER)
    torch.testing.assert_close(brought.state_dict(), a.state_dict())


class Named(nn.Module):
    def __init__(self, seed: int) -> None:
        super().__init__()
        self.inner = net(seed)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.inner(x), "inputs": x}


@pytest.mark.parametrize("loss", ["classification", "multilabel"])
def test_of_a_network_that_returns_a_dict_the_logits_are_taken(loss):
    data = (X, CLASSES) if loss == "classification" else (X, SEVERAL[:, :3])
    found = basins.connect(Named(0), Named(1), data, loss=loss, points=3)
    plain = basins.connect(net(0), net(1), data, loss=loss, points=3)
    pd.testing.assert_frame_equal(found.rows, plain.rows)
    made = basins.merge([Named(0), Named(1)], data, loss=loss)
    assert type(made.net) is Named and made.net(X).keys() == {"logits", "inputs"}


@pytest.mark.filterwarnings("error")
def test_a_set_of_one_row_has_no_intervals_and_is_no_warning():
    row, nets = (X[:1], CLASSES[:1]), [net(seed) for seed in range(4)]
    assert basins.connect(*nets[:2], row, points=3).rows["ci_low"].isna().all()
    assert len(basins.merge(nets, row).rows) == 5
    assert len(basins.cluster(nets, row, points=3, k=2).clusters) > 0


@pytest.mark.filterwarnings("error")
def test_what_is_traced_is_said_once():
    with pytest.warns(UserWarning, match="traced") as said:
        basins.align(net(0), net(1), LOADER)
    assert len(said) == 1


def test_statistics_of_batchnorm_are_taken_from_training_rows():
    def normed(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        found = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
        found(X)
        return found

    a, b = normed(0), normed(1)
    with pytest.warns(UserWarning, match="give training rows as train="):
        mixed = basins.connect(a, b, LOADER, points=3)
    assert set(mixed.rows["batchnorm"]) == {"interpolate"}
    found = basins.connect(a, b, LOADER, train=[(X, CLASSES)], points=3)
    assert set(found.rows["batchnorm"]) == {"reset"}

    def after_reset(net: nn.Module) -> Tensor:
        net[1].reset_running_stats()
        net[1].momentum = None
        net.train()(X)
        return cross_entropy(net.eval())

    assert at_half(found) == pytest.approx(halfway(a, b, normed(2), after_reset), 1e-4)


class Once(nn.Module):
    """A module that is no sum of parameters alone: it fails."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("not today")


REFUSED = {
    "architecture": (lambda: basins.connect(net(0), net(1, 4), LOADER), "not of the architecture"),
    "no network": (lambda: basins.probe(net(0).state_dict(), LOADER), "give it as net="),
    "points": (lambda: basins.connect(net(0), net(1), LOADER, points=2), "3 or more"),
    "loss": (lambda: basins.probe(net(0), LOADER, loss="hinge"), "'hinge': there are classif"),
    "mean": (
        lambda: basins.probe(net(0), LOADER, loss=functional.cross_entropy),
        "not a number for each example.*reduction='none'",
    ),
    "metrics": (lambda: basins.probe(net(0), LOADER, metrics={"a": len}), "has accuracy, F1"),
    "forward": (lambda: basins.probe(Once(), LOADER), "does not take .*not today"),
    "labels": (
        lambda: basins.probe(net(0), (X, CLASSES + 5)), "90 labels are not among the network's"
    ),
    "empty": (lambda: basins.probe(net(0), iter([])), "empty after its first use"),
    "rows": (lambda: basins.probe(net(0), (X, CLASSES[:9])), "tensors of 9 and 90 rows"),
    "batch": (lambda: basins.probe(net(0), [(X, X, X)]), r"give \(inputs, targets\)"),
    "form": (lambda: basins.probe(net(0), 4), "give a loader"),
    "few": (lambda: basins.cluster([net(0)], LOADER), "clusters take 4 or more"),
    "mode": (
        lambda: basins.connect(net(0), net(1), LOADER, batchnorm="moving"),
        "batchnorm='moving': there are only interpolate, reset, repair",
    ),
    "clusters": (
        lambda: basins.cluster([net(k) for k in range(4)], LOADER, k=4), "k=4 .*give 2 to 3"
    ),
    "directions": (
        lambda: basins.plane(net(0), LOADER, directions="pca"), "only random and hessian"
    ),
    "steps": (
        lambda: basins.plane(net(0), LOADER, directions="random", steps=0), "give 2 or more"
    ),
    "base": (
        lambda: basins.merge([net(0), net(1)], LOADER, technique="ties"), "give it as `base`"
    ),
    "train": (
        lambda: basins.merge([net(0), net(1)], LOADER, technique="fisher"),
        "takes training rows: give them as train=",
    ),
    "path": (lambda: basins.connect("no", "where", LOADER), "no folder with a config.json"),
    "shapes": (
        lambda: basins.probe(net(0), (X, NUMBERS), loss="regression"),
        r"outputs \[90, 3\] and targets \[90, 2\] differ",
    ),
    "nothing": (lambda: basins.probe([], LOADER), "no networks"),
    "no sets": (lambda: basins.probe(net(0), {}), "no sets"),
    "no network at all": (lambda: basins.probe([3], LOADER), "int; give a module"),
    "lazy": (lambda: basins.probe(nn.LazyLinear(3), LOADER), "call it once on a batch"),
    "half a point": (lambda: basins.connect(net(0), net(1), LOADER, points=5.5), "3 or more"),
    "no targets": (lambda: basins.probe(net(0), [X, X]), "targets of a batch are nothing"),
    "words": (lambda: basins.probe(net(0), [(X, ["a"] * 90)]), "are a list of no numbers"),
    "no labels": (
        lambda: basins.probe(net(0, 4), (X, SEVERAL + 1), loss="multilabel"), "from 1 to 2; give 0"
    ),
    "report": (lambda: basins.report(basins.probe(net(0), LOADER)), "give the folder"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_measured_is_one_line(case):
    run, message = REFUSED[case]
    with pytest.raises(UserError, match=message) as caught:
        run()
    assert "\n" not in str(caught.value)


def test_a_state_dict_and_a_file_have_the_network_that_is_given(tmp_path):
    a = net(0)
    torch.save({"state_dict": {f"module.{n}": t for n, t in a.state_dict().items()}}, "a.ckpt")
    for weights in (a.state_dict(), "a.ckpt"):
        found = basins.probe(weights, LOADER, net=net(1)).rows.set_index("metric")
        right = float(cross_entropy(a).mean())
        assert found.at["loss", "value"] == pytest.approx(right, 1e-5)


def test_importing_takes_no_torch_and_rooms_stay_importable():
    script = (
        "import sys, basins; assert 'torch' not in sys.modules;"
        "import basins.align.permute, basins.report.page, basins.cluster;"
        "from basins.align import permute; from basins.cluster import died;"
        "assert basins.align.__name__ == 'align' and 'connect' in dir(basins);"
        "assert basins.cluster is basins.checkpoints.interface.cluster"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=sys.path[0] or None)
