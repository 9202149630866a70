"""Data given from Python: what the network sees is what was given, by its name and unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

import basins
from basins.checkpoints import files
from basins.checkpoints.objectives import RESERVED
from basins.errors import UserError
from tests.checkpoints.conftest import MARKS, WORDS

DRAW = torch.Generator().manual_seed(0)
X = torch.randn(60, 4, generator=DRAW)
Y = torch.randint(3, (60,), generator=DRAW)


def loss(net: Any, data: Any, **options: Any) -> float:
    rows = basins.probe(net, data, **options).rows
    return rows.set_index("metric")["value"]["loss"]


def right(logits: Tensor, labels: Tensor = Y) -> float:
    return functional.cross_entropy(logits, labels).item()


class Sides(nn.Module):
    """A network with several inputs, of which one is a flag."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(4, 3)

    def forward(
        self,
        left: Tensor | None = None,
        right: Tensor | None = None,
        negative: bool = False,
        *,
        last: Tensor | None = None,
    ) -> Tensor:
        given = [x * sign for x, sign in ((left, 1), (right, 2), (last, 3)) if x is not None]
        return self.head(sum(given)) * (-1 if negative else 1)


NAMED = {
    "right": ({"right": X}, lambda net: net(right=X)),
    "flag": ({"left": X, "negative": True}, lambda net: net(X, negative=True)),
    "keyword": ({"last": X}, lambda net: net(last=X)),
    "another name": ({"anything": X}, lambda net: net(X)),
    "arrays": ({"left": X.numpy(), "right": X.numpy()}, lambda net: net(X, X)),
    "not read": ({"left": X, "id": ["a"] * 60}, lambda net: net(X)),
}


@pytest.mark.parametrize("case", NAMED)
def test_columns_go_to_the_parameters_of_their_names(case):
    columns, expected = NAMED[case]
    labels = Y.numpy() if case == "arrays" else Y
    with torch.no_grad():
        found = right(expected(Sides()))
    assert loss(Sides(), [{**columns, "labels": labels}]) == pytest.approx(found, 1e-5)
    nets = [Sides(), Sides()]
    assert basins.connect(*nets, [{**columns, "labels": labels}], points=3).rows is not None


def test_arrays_in_batches_are_tensors():
    net = nn.Linear(4, 3)
    expected = right(net(X))
    assert loss(net, [(X.numpy(), Y.numpy())]) == pytest.approx(expected, 1e-5)
    assert loss(net, (X.numpy()[::-1], Y.numpy()[::-1])) == pytest.approx(expected, 1e-5)
    numbers = X[:, :3].numpy()
    found = loss(net, [(X.numpy(), numbers)], loss="regression")
    assert found == pytest.approx(functional.mse_loss(net(X), X[:, :3]).item(), 1e-5)


class Centred(nn.Module):
    """A network that changes its input in place."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.sub_(1))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_network_that_changes_its_input_is_refused_and_the_data_stay(mode):
    kept = X.clone()
    for data in ((X, Y), [(X[:30], Y[:30]), (X[30:], Y[30:])]):
        with mode(), pytest.raises(UserError, match="changes a batch in place.*x.clone"):
            basins.connect(Centred(), Centred(), data, points=3)
    assert torch.equal(X, kept)


def test_a_loader_may_refill_one_buffer():
    def refilled() -> Iterator[tuple[Tensor, Tensor]]:
        inputs, targets = torch.empty(20, 4), torch.empty(20, dtype=torch.long)
        for start in (0, 20, 40):
            inputs.copy_(X[start : start + 20])
            targets.copy_(Y[start : start + 20])
            yield inputs, targets

    net = nn.Linear(4, 3)
    assert loss(net, refilled()) == pytest.approx(right(net(X)), 1e-5)


def rows(**columns: Any) -> Dataset:
    return Dataset.from_dict({k: getattr(x, "tolist", lambda x=x: x)() for k, x in columns.items()})


def test_the_transform_of_a_dataset_is_applied():
    net = nn.Linear(4, 3)

    def doubled(batch: dict[str, list]) -> dict[str, Any]:
        return {"pixel_values": [2 * torch.tensor(x) for x in batch["x"]], "label": batch["label"]}

    given = rows(x=X, label=Y).with_transform(doubled)
    assert loss(net, given) == pytest.approx(right(net(2 * X)), 1e-5)
    failing = rows(x=X, label=Y).with_transform(lambda batch: {"x": [object()] * len(batch["x"])})
    with pytest.raises(UserError, match="^data, data: its transform gives no batches of tensors"):
        loss(net, failing)
    images = rows(image=torch.zeros(60, 2, 2, 3).int(), label=Y).with_transform(doubled)
    with pytest.raises(UserError, match="has a transform, .* give a DataLoader|gives no batches"):
        loss(net, images)


def test_columns_that_a_format_leaves_out_are_not_read():
    net, given = nn.Linear(4, 3), rows(x=X, label=Y, more=X, words=["a"] * 60)
    shown = given.with_format("torch", columns=["x", "label"])
    assert loss(net, shown) == pytest.approx(right(net(X)), 1e-5)


def test_labels_are_those_of_the_rows_that_are_selected():
    torch.manual_seed(0)
    net, pixels = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), torch.randint(256, (60, 2, 2, 3))
    order = torch.randperm(60, generator=DRAW)[:40]
    given = rows(image=pixels, label=Y).select(order.tolist())
    expected = right(net(pixels.permute(0, 3, 1, 2) / 127.5 - 1)[order], Y[order])
    assert loss(net, given) == pytest.approx(expected, 1e-5)


def test_rows_that_are_streamed_are_batches():
    net = nn.Linear(4, 3)
    found = loss(net, rows(x=X, label=Y).to_iterable_dataset())
    assert found == pytest.approx(right(net(X)), 1e-5)


def table(**more: Any) -> pd.DataFrame:
    return pd.DataFrame({**dict(zip("abcd", X.T.numpy(), strict=True)), "label": Y.numpy(), **more})


def test_columns_of_several_tables_are_in_one_order():
    net, one = nn.Linear(4, 3), table()
    found = basins.probe(net, {"one": one, "other": one[[*"dbca", "label"]]}).rows
    losses = found[found["metric"] == "loss"]["value"].to_list()
    assert losses == pytest.approx([right(net(X))] * 2, 1e-5)
    for odd in (one.drop(columns="b"), table(e=0.5)):
        with pytest.raises(UserError, match="^data, other: the column '[be]' is only in some"):
            basins.probe(net, {"one": one, "other": odd})


def test_one_column_of_a_table_is_a_column():
    net = nn.Linear(1, 3)
    found = loss(net, table()[["a", "label"]])
    assert found == pytest.approx(right(net(X[:, :1])), 1e-5)


@pytest.mark.parametrize("column", ["b", "label"])
def test_an_empty_cell_is_named(column):
    given = table(label=Y.numpy().astype(float))
    given.loc[33, column] = np.nan
    with pytest.raises(UserError, match=f"^data, data: row 33: column '{column}' has no value; "):
        loss(nn.Linear(4, 1), given, loss="regression")
    lists = Dataset.from_dict({"x": [[1.0, 2.0], [1.0, None]], "label": [0, 1]})
    with pytest.raises(UserError, match="row 1: column 'x' has no value"):
        loss(nn.Linear(2, 3), lists)


def test_rows_of_a_table_without_a_class_are_left_out_and_counted():
    net, labels = nn.Linear(4, 3), Y.numpy().astype(float)
    labels[:9], labels[9:12] = -1, np.nan
    expected = right(net(X[12:]), Y[12:])
    with pytest.warns(UserWarning, match="12 of 60 rows have no label and are left out"):
        assert loss(net, table(label=labels)) == pytest.approx(expected, 1e-5)
    gap = table(label=labels)
    gap.loc[33, "b"] = np.nan
    with pytest.warns(UserWarning), pytest.raises(UserError, match="row 33: column 'b' has no"):
        loss(net, gap)


def test_classes_of_a_table_may_be_words():
    net, given = nn.Linear(4, 3), table(label=[("owl", "cat", "dog")[k] for k in Y.tolist()])
    found = loss(net, given, labels=["owl", "cat", "dog"])
    assert found == pytest.approx(right(net(X)), 1e-5)
    both = loss(net, given.replace("dog", "cat"), labels=["owl", "cat", "cat"])
    logits = torch.stack([net(X)[:, 0], net(X)[:, 1:].logsumexp(1)], 1)
    assert both == pytest.approx(right(logits, Y.clamp(max=1)), 1e-5)
    with pytest.raises(UserError, match="which output of the network is which is not known"):
        loss(net, given)


@pytest.mark.parametrize("name", ["loss", "n", "loss_se", "t", "model_a", "technique", "f1"])
def test_metrics_do_not_overwrite_other_columns(name):
    with pytest.raises(UserError, match=f"^metrics: '{name}' is the name of a column of the rows"):
        loss(
            nn.Linear(4, 3), (X, X[:, :3]), loss="regression", metrics={name: lambda y, t: y[:, 0]}
        )


def test_the_names_that_metrics_may_not_have_are_the_columns():
    metrics = {"own": lambda y, t: y[:, 0]}
    nets, data = [nn.Linear(4, 3), nn.Linear(4, 3)], (X, X[:, :3])
    joined = basins.connect(*nets, data, loss="regression", metrics=metrics, points=3)
    merged = basins.merge(nets, data, loss="regression", metrics=metrics)
    written = {*joined.paths.columns, *merged.rows.columns}
    assert written - {"own", "absolute_error"} <= RESERVED


@pytest.mark.parametrize("labels", [[0.5, 1.25], [[0, 1], [1, 1]]], ids=["numbers", "lists"])
@pytest.mark.parametrize("known", [True, False])
def test_labels_that_are_no_classes_say_which_loss_they_are_for(labels, known):
    several = isinstance(labels[0], list)
    kind = "multi_label_classification" if several else "regression"
    config = {"num_labels": 2 if several else 1, "problem_type": kind} if known else {}
    save_bert("net", **config)
    data = rows(sentence=["a dog", "the cat"], label=labels)
    with pytest.raises(UserError, match="say --loss .*multilabel") as caught:
        basins.probe("net", data)
    assert "\n" not in str(caught.value)


def save_bert(name: str, **options: Any) -> BertForSequenceClassification:
    words = [*MARKS, *WORDS]
    Path("vocab.txt").write_text("\n".join(words))
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(words), intermediate_size=8, **sizes, **options)
    net = BertForSequenceClassification(config).eval()
    net.save_pretrained(name)
    BertTokenizerFast("vocab.txt").save_pretrained(name)
    return net


def test_rows_of_tokens_of_several_lengths_are_padded():
    net = save_bert("net", num_labels=1, problem_type="regression")
    ids, targets = [[2, 5, 7, 3], [2, 6, 8, 9, 3]], [0.5, 1.5]
    with torch.no_grad():
        found = torch.cat([net(torch.tensor([row])).logits[0] for row in ids])
    expected = functional.mse_loss(found, torch.tensor(targets)).item()
    given = rows(input_ids=ids, label=targets)
    assert loss("net", given, loss="regression") == pytest.approx(expected, 1e-4)


def test_a_missing_text_is_no_word():
    save_bert("net")
    with pytest.raises(UserError, match="row 1: column 'text' has no value"):
        loss("net", rows(text=["a dog", None]), loss="language")


def test_hidden_folders_are_no_classes():
    for name in ("cat/a", "dog/b", ".ipynb_checkpoints/a-checkpoint"):
        Path("pictures", name).parent.mkdir(parents=True)
        Image.new("RGB", (2, 2)).save(f"pictures/{name}.png")
    Path("pictures/dog/.b.png").write_bytes(b"no image")
    [split] = files.splits("pictures").values()
    assert split.features["label"].names == ["cat", "dog"] and split["label"][:] == [0, 1]
    Path("tables").mkdir()
    Path("tables/test.csv").write_text("a,label\n1,2\n")
    Path("tables/._test.csv").write_bytes(b"\0")
    assert [*files.splits("tables")] == ["test"]
