"""Strangers' classifiers of text and images, with the right losses worked out by their own code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict
from torch.nn import functional
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

from basins import cli

WORDS = ["the", "a", "dog", "cat", "bird", "sees", "hears"]
MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
MNLI = ("entailment", "neutral", "contradiction")
DRAW = np.random.default_rng(0)
PREMISES, HYPOTHESES = (
    [" ".join(DRAW.choice(WORDS, k)) for k in DRAW.integers(1, 6, 60)] for _ in range(2)
)
ANSWERS = DRAW.integers(0, 3, 60)  # by the names of MNLI


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("BASINS_STORE", str(tmp_path.with_name(f"{tmp_path.name}-store")))
    return tmp_path


def bert(
    name: str, outputs: Sequence[str] | None = MNLI, seed: int = 0, words: Sequence[str] = WORDS
) -> BertForSequenceClassification:
    """Save a classifier whose outputs have these names, or none, and the tokenizer of the words."""
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(vocab_size=12, intermediate_size=8, max_position_embeddings=16, **sizes)
    config.initializer_range = 1.0
    config.num_labels = 3
    if outputs is not None:
        config.id2label = dict(enumerate(outputs))
        config.label2id = {label: k for k, label in enumerate(outputs)}
    torch.manual_seed(seed)
    net = BertForSequenceClassification(config).eval()
    net.save_pretrained(name)
    Path("vocab.txt").write_text("\n".join([*MARKS, *words]))
    BertTokenizerFast("vocab.txt").save_pretrained(name)
    return net


def rows(labels: Sequence, feature: ClassLabel | None = None) -> Dataset:
    """Return the sentences with these labels."""
    columns = {"premise": PREMISES, "hypothesis": HYPOTHESES, "label": list(labels)}
    found = Dataset.from_dict(columns)
    return found if feature is None else found.cast_column("label", feature)


def saved(**splits: Dataset) -> list[str]:
    DatasetDict(splits).save_to_disk("data")
    return ["--data", "data"]


@torch.no_grad()
def right(net: BertForSequenceClassification, name: str, outputs: Sequence[int]) -> np.ndarray:
    """Losses of the answers, each row by itself; output `outputs[k]` is MNLI's class k."""
    tokenizer = BertTokenizerFast.from_pretrained(name)
    logits = [
        net(**tokenizer(one, two, return_tensors="pt")).logits[0]
        for one, two in zip(PREMISES, HYPOTHESES, strict=True)
    ]
    targets = torch.tensor(outputs)[torch.tensor(ANSWERS)]
    return functional.cross_entropy(torch.stack(logits), targets, reduction="none").numpy()


def probed(*command: str) -> Callable[[str], float]:
    """Run `probe`, and return a metric of the one model and set."""
    cli.main(["probe", *command, "--out", "found"])
    found = pd.read_csv("found/probes.csv").set_index("metric")["value"]
    return lambda metric: found[metric]
