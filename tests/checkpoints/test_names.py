"""Which class is which, and what a tokenizer reads, in strangers' folders and data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict
from safetensors.torch import save_file
from torch.nn import functional

from basins import cli
from tests.checkpoints.conftest import (
    ANSWERS,
    HYPOTHESES,
    MNLI,
    PREMISES,
    WORDS,
    bert,
    probed,
    right,
    rows,
    saved,
)

NAMED = ClassLabel(names=[*MNLI])


@pytest.mark.parametrize(
    ("outputs", "order"),
    [
        (("CONTRADICTION", "NEUTRAL", "ENTAILMENT"), (2, 1, 0)),
        (("Entailment", "Contradiction", "neutral"), (0, 2, 1)),
        (MNLI, (0, 1, 2)),
    ],
)
def test_outputs_are_the_classes_of_their_names(outputs, order):
    net = bert("model", outputs)
    data = saved(validation=rows(ANSWERS, NAMED))
    assert probed("model", *data)("loss") == pytest.approx(right(net, "model", order).mean(), 1e-4)


def test_nameless_outputs_are_what_the_option_says(capsys):
    net = bert("model", None)
    data = saved(validation=rows(ANSWERS, NAMED))
    with pytest.raises(SystemExit, match="not the network's .LABEL_0, LABEL_1, LABEL_2.*--labels"):
        cli.main(["probe", "model", *data])
    said = ["--labels", "neutral=0,contradiction=1,entailment=2"]
    expected = right(net, "model", (2, 0, 1)).mean()
    assert probed("model", *data, *said)("loss") == pytest.approx(expected, 1e-4)
    for wrong in ("neutral=0", "neutral", "neutral=0,a=0", "a=0,b=2", "a=0,b=1,c=2,d=3", "=0"):
        with pytest.raises(SystemExit, match=r"--labels|not the network's"):
            cli.main(["probe", "model", *data, "--labels", wrong])


@pytest.mark.parametrize("kind", ["integers", "texts", "encoded", "floats"])
def test_labels_that_are_numbers_keep_their_order(kind):
    """`class_encode_column` sorts numbers as texts: 0, 1, 10, 11, 2."""
    net = bert("model", None)
    labels = {
        "integers": ANSWERS,
        "texts": ANSWERS.astype(str),
        "encoded": ANSWERS,
        "floats": ANSWERS.astype(float),
    }[kind]
    split, order = rows(labels), (0, 1, 2)
    if kind == "encoded":
        split = rows(ANSWERS * 5).class_encode_column("label")  # 0, 10, 5
        assert split.features["label"].names == ["0", "10", "5"]
        net, order = bert("model", [f"LABEL_{k}" for k in range(12)]), (0, 5, 10)
    expected = right(net, "model", order).mean()
    assert probed("model", *saved(validation=split))("loss") == pytest.approx(expected, 1e-4)


def test_numbers_say_nothing_to_outputs_with_names():
    bert("model", MNLI)
    with pytest.raises(SystemExit, match=r"classes \(0, 1, 2\) are not the network's \(entail"):
        cli.main(["probe", "model", *saved(validation=rows(ANSWERS))])


@pytest.mark.parametrize("other", ["non-entailment", "Not_Entailment"])
def test_two_classes_of_three_count_as_the_negation_of_the_third(other):
    net = bert("model", ("CONTRADICTION", "NEUTRAL", "ENTAILMENT"))
    two = rows((ANSWERS > 0).astype(int), ClassLabel(names=["entailment", other]))
    found = probed("model", *saved(validation=two))  # there is no train with three classes
    chances = np.exp([-right_losses(net, k) for k in range(3)])
    losses = -np.log(np.where(ANSWERS == 0, chances[0], chances[1] + chances[2]))
    assert found("loss") == pytest.approx(losses.mean(), 1e-4)
    hits = np.where(ANSWERS == 0, chances.argmax(0) == 0, chances.argmax(0) > 0)
    assert found("accuracy") == pytest.approx(hits.mean())


@torch.no_grad()
def right_losses(net, answer: int) -> np.ndarray:
    """Losses where every answer is this class of MNLI's, of outputs in the opposite order."""
    from transformers import BertTokenizerFast

    tokenizer = BertTokenizerFast.from_pretrained("model")
    logits = [
        net(**tokenizer(*pair, return_tensors="pt")).logits
        for pair in zip(PREMISES, HYPOTHESES, strict=True)
    ]
    targets = torch.full((len(logits),), 2 - answer)
    return functional.cross_entropy(torch.cat(logits), targets, reduction="none").numpy()


def test_a_merge_of_two_classes_takes_no_labels_of_three():
    for seed in range(2):
        bert(f"m{seed}", MNLI, seed)
    two = rows((ANSWERS > 0).astype(int), ClassLabel(names=["entailment", "non-entailment"]))
    given = ["merge", "m0", "m1", *saved(train=two, validation=two), "--out", "soup"]
    cli.main([*given, "--technique", "uniform_soup"])
    with pytest.raises(SystemExit, match="fewer classes than the networks"):
        cli.main([*given[:-1], "fisher", "--technique", "fisher"])


@pytest.mark.parametrize("kind", ["number", "text"])
def test_a_row_without_a_label_is_left_out_and_counted(kind, capsys):
    net = bert("model")
    labels = ANSWERS.copy()
    labels[7] = -1
    split = rows(labels, NAMED) if kind == "number" else rows([(*MNLI, "")[k] for k in labels])
    given = saved(train=split, validation=split)
    kept = np.arange(60) != 7
    expected = right(net, "model", (0, 1, 2))[kept].mean()
    assert probed("model", *given)("loss") == pytest.approx(expected, 1e-4)
    assert "data, validation: 1 of 60 rows have no label" in capsys.readouterr().err
    cli.main(["merge", "model", "m=model", *given, "--technique", "fisher", "--out", "merged"])


@pytest.mark.parametrize(
    "columns",
    [
        {"sentence1": PREMISES, "sentence2": HYPOTHESES, "labels": ANSWERS},
        {"premise": PREMISES, "hypothesis": HYPOTHESES, "label": [MNLI[k] for k in ANSWERS]},
    ],
)
def test_columns_have_the_names_that_people_use(columns):
    net = bert("model", MNLI if "label" in columns else None)
    split = Dataset.from_dict(columns)
    expected = right(net, "model", (0, 1, 2)).mean()
    assert probed("model", *saved(validation=split))("loss") == pytest.approx(expected, 1e-4)


def test_every_model_is_read_with_its_own_tokenizer():
    nets = {"one": bert("one"), "two": bert("two", seed=1, words=WORDS[::-1])}
    data = saved(train=rows(ANSWERS, NAMED), validation=rows(ANSWERS, NAMED))
    cli.main(["probe", "one", "two", *data, "--out", "found"])
    found = pd.read_csv("found/probes.csv").query("metric == 'loss'").set_index("recipe")["value"]
    for name, net in nets.items():
        assert found[name] == pytest.approx(right(net, name, (0, 1, 2)).mean(), 1e-4)
    commands = (["connect"], ["merge", "--technique", "uniform_soup", "--out", "soup"])
    for command in commands:
        with pytest.raises(SystemExit, match=r"two/seed0: data, validation, row \d+: its"):
            cli.main([*command, "one", "two", *data])


def test_tokenizers_that_read_alike_are_one():
    """What their files say beside that is of no account."""
    bert("one")
    bert("two", seed=1)
    file = Path("two/tokenizer_config.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "note": "mine"}))
    cli.main(["connect", "one", "two", *saved(validation=rows(ANSWERS, NAMED)), "--points", "3"])


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({"layer_norm_eps": 0.1}, True),
        ({"hidden_act": "relu"}, True),
        ({"id2label": {"0": "neutral", "1": "entailment", "2": "contradiction"}}, True),
        ({"id2label": {"0": "ENTAILMENT", "1": "NEUTRAL", "2": "CONTRADICTION"}}, False),
        (
            {
                "hidden_dropout_prob": 0.5,
                "transformers_version": "0",
                "dtype": "bfloat16",
                "mine": 1,
            },
            False,
        ),
    ],
)
def test_configs_are_of_one_function(change, refused):
    bert("one")
    bert("two", seed=1)
    file = Path("two/config.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    given = ["connect", "one", "two", *saved(validation=rows(ANSWERS, NAMED)), "--points", "3"]
    if refused:
        with pytest.raises(SystemExit, match="two: .* in one .*; give models (of|whose outputs)"):
            cli.main(given)
    else:
        cli.main(given)


def test_a_sentence_that_is_missing_is_one_line():
    bert("model")
    split = Dataset.from_dict(
        {"premise": [None, *PREMISES[1:]], "hypothesis": HYPOTHESES, "label": ANSWERS}
    ).cast_column("label", NAMED)
    with pytest.raises(SystemExit, match="validation: 1 of 60 rows have no text in 'premise'"):
        cli.main(["probe", "model", *saved(validation=split)])


def test_long_rows_are_cut_where_that_is_asked_for(capsys):
    bert("model")
    longer = ["the dog sees " * 9, *PREMISES[1:]]
    columns = {"premise": longer, "hypothesis": HYPOTHESES, "label": [MNLI[k] for k in ANSWERS]}
    data = saved(validation=Dataset.from_dict(columns))
    with pytest.raises(SystemExit, match="1 of 60 rows do not have 1 to 16 tokens .*--truncate"):
        cli.main(["probe", "model", *data])
    cli.main(["probe", "model", *data, "--truncate"])
    assert "warning: data, validation: 1 of 60 rows cut to 16 tokens" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("named", [True, False])
def test_splits_may_be_files(kind, named):
    bert("model", ("neutral", "entailment", "contradiction") if named else None)
    labels = [MNLI[k] for k in ANSWERS] if named else [int(k) for k in ANSWERS]
    table = rows(labels).to_pandas()
    table.loc[0, "premise"] = 'the "dog",\na cat'  # what a line of CSV has to quote
    Path("data").mkdir()
    for split in ("test", "train"):
        file = Path("data") / f"{split}.{kind}"
        if kind == "csv":
            table.to_csv(file, index=False)
        elif kind == "jsonl":
            table.to_json(file, orient="records", lines=True)
        else:
            table.to_parquet(file, index=False)
    frame = Dataset.from_pandas(table)
    DatasetDict(test=frame, train=frame).save_to_disk("saved")
    found = {}
    for data in ("data", "saved"):
        found[data] = probed("model", "--data", data)("loss")
        shutil.rmtree("found")
    assert found["data"] == found["saved"]
    cli.main(["merge", "model", "b=model", "--technique", "fisher", "--data", "data", "--out", "m"])
    assert probed("m", "--data", "data")("loss") == pytest.approx(found["data"], 1e-4)


def test_images_may_be_in_parquet(folder):
    Path("net.py").write_text(
        "from torch import nn\ndef net(): return nn.Sequential(nn.Flatten(), nn.Linear(48, 3))\n"
    )
    torch.manual_seed(0)
    layer = torch.nn.Linear(48, 3)
    save_file({f"1.{name}": tensor for name, tensor in layer.state_dict().items()}, "a.safetensors")
    draw = np.random.default_rng(0)
    split = Dataset.from_dict(
        {"image": draw.integers(0, 256, (90, 4, 4, 3), dtype=np.uint8), "label": [0, 1, 2] * 30}
    )
    DatasetDict(test=split).save_to_disk("saved")
    Path("data").mkdir()
    split.to_parquet("data/test.parquet")
    found = {}
    for data in ("data", "saved"):
        found[data] = probed("a.safetensors", "--net", "net.py:net", "--data", data)("loss")
        shutil.rmtree("found")
    assert found["data"] == found["saved"]


def test_files_that_are_no_splits_are_refused():
    bert("model")
    Path("data").mkdir()
    rows(ANSWERS).to_csv("data/test.csv")
    rows(ANSWERS).to_parquet("data/test.parquet")
    with pytest.raises(SystemExit, match="two files of the split 'test'; keep one"):
        cli.main(["probe", "model", "--data", "data"])
    Path("data/test.csv").unlink()
    for torn in (b"", Path("data/test.parquet").read_bytes()[:-100], b"PAR1"):
        Path("data/test.parquet").write_bytes(torn)
        with pytest.raises(SystemExit, match=r"test\.parquet: not readable"):
            cli.main(["probe", "model", "--data", "data"])
    Path("data/test.parquet").unlink()
    for text in ("", "premise,label\na,b,c\n"):
        Path("data/test.csv").write_text(text)
        with pytest.raises(SystemExit, match=r"test\.csv: not readable"):
            cli.main(["probe", "model", "--data", "data"])
