"""Evaluation of a text classifier, compared with padding to 512 tokens and with the peak rate.

The baseline is the method of LCRGS's code: the tokeniser pads every row to BERT's maximum of 512
tokens, and rows keep the dataset's order. Its rows are in memory here, so that the ratio is that of
the padding alone. Rows are those of MNLI's dev_matched if `BASINS_DATA` has them, else random
tokens with MNLI's distribution of lengths.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

from basins import seeds
from basins.data import glue
from basins.data.mnli import COLUMNS, LABELS, MATCHED, UNDECIDED
from basins.data.tokens import tokens
from basins.errors import UserError
from basins.nets.bert import Bert, build_text
from basins.paths.evaluation import evaluate
from benchmarks.harness import Row, quantity, rounds, seconds, threads
from benchmarks.peak import peak_rate

CPU = torch.device("cpu")
ROWS, LIMIT, CLASSES, VOCABULARY = 512, 512, 3, 30522  # the first two are LCRGS's
TIMED = 128  # rows that the baseline runs; its time is scaled to all, as rows cost the same
BATCH = 8  # padded rows: on a CPU faster than LCRGS's 512, so the stricter baseline
TOLERANCE = 1e-5  # nats, of one example
MNLI, WORDS = "text/mnli", "bert-base-uncased/vocab.txt"
Column = list[list[int]]
Columns = tuple[Column, Column]  # token ids, and types, of each row
Batch = tuple[tuple[Tensor, Tensor, Tensor], Tensor]  # ids, attention mask and types; labels


def mnli(root: Path) -> Columns:
    """Return the first rows of MNLI's dev_matched, tokenised by BERT's tokeniser."""
    tokeniser = BertTokenizer(vocab=str(root / WORDS))
    file = glue.locate(root, MNLI, MATCHED)
    pairs = glue.read(file, COLUMNS, {**LABELS, **UNDECIDED})
    made = tokeniser(pairs["premise"][:ROWS], pairs["hypothesis"][:ROWS])
    return made["input_ids"], made["token_type_ids"]


def simulated() -> Columns:
    """Return random rows whose lengths are distributed as those of MNLI's dev_matched."""
    stream = seeds.generator("order", "benchmarks")
    lengths = np.rint(stream.lognormal(3.55, 0.48, ROWS)).clip(6, LIMIT).astype(int)
    ids = [stream.integers(1, VOCABULARY, n).tolist() for n in lengths]
    return ids, [[0] * len(row) for row in ids]


def padded(ids: list[list[int]], types: list[list[int]], labels: list[int]) -> list[Batch]:
    """Return batches in the dataset's order, every row padded to the limit."""

    def column(rows: list[list[int]]) -> tuple[Tensor, ...]:
        return torch.tensor([row + [0] * (LIMIT - len(row)) for row in rows]).split(BATCH)

    masks = column([[1] * len(row) for row in ids])
    inputs = zip(column(ids), masks, column(types), strict=True)
    return list(zip(inputs, torch.tensor(labels).split(BATCH), strict=True))


@torch.inference_mode()
def published(net: BertForSequenceClassification, batches: list[Batch]) -> np.ndarray:
    """Return the loss of each padded row, by Hugging Face's network."""
    losses = [
        functional.cross_entropy(net(*inputs).logits, answers, reduction="none")
        for inputs, answers in batches
    ]
    return torch.cat(losses).numpy()


def flops(
    lengths: list[int],
    config: BertConfig,
    kind: type[BertForSequenceClassification] = Bert,
    train: bool = False,
) -> int:
    """Count the FLOPs of matrix products, including attention, for rows of the given lengths.

    With `train`, those of the backward pass are included.
    """
    with torch.device("meta"):
        net = kind(config).eval()
    total = 0
    for length, rows in zip(*np.unique(lengths, return_counts=True), strict=True):
        ids = torch.zeros(1, int(length), dtype=torch.int64, device="meta")
        with FlopCounterMode(display=False) as counter:
            logits = net(ids, None, ids).logits
            if train:
                logits.sum().backward()
        total += int(rows) * counter.get_total_flops()
    return total


def measure(repetitions: int) -> Iterator[Row]:
    """Yield the share of the padding that is saved, then the shares of the peak rate."""
    ids, types, source = rows()
    labels = [row % CLASSES for row in range(ROWS)]
    with seeds.torch_stream("init", 0):
        net = build_text(VOCABULARY, CLASSES, positions=LIMIT).eval()
    data = tokens(ids, types, labels, pad=0, limit=LIMIT, device=CPU, where="benchmark")
    ours = partial(evaluate, net, data)
    plain = BertForSequenceClassification(net.config).eval()
    plain.load_state_dict(net.state_dict())
    loop = partial(published, plain, padded(ids[:TIMED], types[:TIMED], labels[:TIMED]))
    with threads(1):
        difference = float(np.abs(ours().losses[:TIMED] - loop()).max())
        if not difference <= TOLERANCE:
            raise UserError(f"text: losses differ from the padded ones by {difference} nats")
        before = peak_rate(1, torch.float32)
        slow, fast = rounds((loop, ours), repetitions)
        after = peak_rate(1, torch.float32)
    slow *= ROWS / TIMED

    lengths = [len(row) for row in ids]
    widths = [inputs.ids.shape[1] for inputs, answers in data.batches() for _ in answers]
    work, held = flops(lengths, net.config), flops(widths, net.config)
    wasteful = flops([LIMIT] * ROWS, net.config, BertForSequenceClassification)
    sizes = {
        "lengths": source,
        "rows": ROWS,
        "mean_length": float(np.mean(lengths)),
        "padding": data.padding,
        "dtype": "float32",
        "our_seconds": fast.tolist(),
    }
    yield quantity(
        "text: share of the padding factor gained over padding to 512",
        "x",
        slow / fast * work / wasteful,
        must=0.8,
        aim=0.95,
        flops=work / held,
        **sizes,
        padding_factor=wasteful / work,
        baseline_seconds=slow.tolist(),
        loss_difference=difference,
    )
    yield quantity(
        "BERT, width 128: share of the highest rate, one thread",
        "%",
        100 * work / fast / max(before, after),
        must=40,
        aim=60,
        **sizes,
        gflops_highest=[before / 1e9, after / 1e9],
        steady=abs(before - after) < 0.05 * max(before, after),
    )
    yield wide(repetitions)


def wide(repetitions: int) -> Row:
    """Return the share of the peak rate at the sizes of profile mnli's encoder."""
    ids, types, source = rows()
    net, labels = small_lm(), [row % CLASSES for row in range(ROWS)]
    data = tokens(ids, types, labels, pad=0, limit=LIMIT, device=CPU, where="benchmark")
    with threads(1):
        evaluate(net.eval(), data)
        before = peak_rate(1, torch.float32)
        taken = np.array([seconds(partial(evaluate, net, data)) for _ in range(repetitions)])
        after = peak_rate(1, torch.float32)
    work = flops([len(row) for row in ids], net.config)
    return quantity(
        "BERT, width 384: share of the highest rate, one thread",
        "%",
        100 * work / taken / max(before, after),
        must=60,
        aim=70,
        lengths=source,
        rows=ROWS,
        dtype="float32",
        our_seconds=taken.tolist(),
        gflops_highest=[before / 1e9, after / 1e9],
        steady=abs(before - after) < 0.05 * max(before, after),
    )


def small_lm(dropout: float = 0.1) -> Bert:
    """Return a new BERT of MiniLM's sizes: 6 layers of width 384."""
    sizes = {"layers": 6, "width": 384, "heads": 12}
    with seeds.torch_stream("init", 0):
        return build_text(VOCABULARY, CLASSES, positions=LIMIT, dropout=dropout, **sizes)


def rows() -> tuple[Column, Column, str]:
    """Return token ids, token types and source: MNLI's rows, or simulated ones."""
    root = Path(os.environ.get("BASINS_DATA", ""))
    found = any((root / MNLI / name).is_file() for name in MATCHED)
    if found and (root / WORDS).is_file():
        return *mnli(root), "MNLI dev_matched"
    return *simulated(), "simulated"
