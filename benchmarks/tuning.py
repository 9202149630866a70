"""Fine-tuning a text classifier, compared with a plain loop, along the same trajectory.

The loop is Hugging Face's network and torch's AdamW, unmodified: rows padded to the longest of
their batch, the same rows in the same batches. The sizes are those of profile mnli's encoder, whose
word embeddings are half of all weights. Losses are compared without dropout, whose draws differ;
times include it. One thread each, as a worker has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW
from transformers import BertForSequenceClassification

from basins import devices, seeds
from basins.errors import UserError
from basins.training import adamw
from basins.training.rows import Rows
from basins.training.rows import rows as resident
from benchmarks.harness import Row, ratio, rounds, threads
from benchmarks.text import CLASSES, CPU, LIMIT, ROWS, flops, rows, small_lm

BATCH, RATE, DECAY, CLIP = 32, 1e-4, 0.01, 1.0
CHECKED, TIMED = 50, 4  # steps: whose losses must agree, and that are timed
TOLERANCE = 1e-4  # nats


def measure(repetitions: int) -> Iterator[Row]:
    """Yield the speed-up of a step, after checking that trajectories agree."""
    devices.prepare()
    ids, types, source = rows()
    labels = [row % CLASSES for row in range(ROWS)]
    data = resident(ids, types, labels, pad=0, limit=LIMIT, device=CPU, where="benchmark")
    batches = [part for epoch in range(4) for part in order(epoch).split(BATCH)]
    with threads(1):
        losses = [side(data, dropout=0.0)(batches[:CHECKED]) for side in (plain, ours)]
        difference = float(np.abs(losses[0] - losses[1]).max())
        if not difference <= TOLERANCE:
            raise UserError(f"tuning: the first {CHECKED} losses differ by {difference} nats")
        loop, fast = plain(data), ours(data)
        timed = batches[:TIMED]
        slow, quick = rounds((lambda: loop(timed), lambda: fast(timed)), repetitions)
    config = small_lm().config
    lengths = [[len(ids[row]) for row in batch.tolist()] for batch in timed]
    padded = [max(batch) for batch in lengths for _ in batch]
    wasteful = flops(padded, config, BertForSequenceClassification, train=True)
    yield ratio(
        "fine-tuning against a plain loop, same trajectory, one thread",
        slow,
        quick,
        must=3,
        aim=3.5,
        flops=wasteful / flops([n for batch in lengths for n in batch], config, train=True),
        lengths=source,
        batch=BATCH,
        steps=TIMED,
        dtype="float32",
        steps_compared=CHECKED,
        loss_difference=difference,
    )


def order(epoch: int) -> Tensor:
    """Return the indices of rows in an epoch's order, int64 [rows]."""
    return torch.randperm(ROWS, generator=seeds.torch_generator("order", epoch))


def ours(data: Rows, dropout: float = 0.1) -> Callable[[list[Tensor]], np.ndarray]:
    """Return a function that takes `classifier.tune`'s steps on batches and returns the losses."""
    net = small_lm(dropout).train()
    optimiser = adamw.optimiser([net], RATE, DECAY)

    def step(batch: Tensor) -> float:
        loss = functional.cross_entropy(net(*data.batch(batch)).logits, data.labels[batch])
        adamw.move(optimiser, loss, CLIP)
        return loss.item()

    return lambda batches: np.array([step(batch) for batch in batches])


def plain(data: Rows, dropout: float = 0.1) -> Callable[[list[Tensor]], np.ndarray]:
    """Return the plain loop, starting from the same weights, as such a function."""
    start = small_lm(dropout)
    net: nn.Module = BertForSequenceClassification(start.config).train()
    net.load_state_dict(start.state_dict())
    groups = [
        {"params": [weight for weight in net.parameters() if weight.ndim > 1]},
        {"params": [weight for weight in net.parameters() if weight.ndim < 2], "weight_decay": 0.0},
    ]
    optimiser = AdamW(groups, RATE, (0.9, 0.999), 1e-6, DECAY)

    def step(batch: Tensor) -> float:
        inputs, lengths = data.batch(batch), data.lengths[batch]
        mask = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
        logits = net(inputs.ids, attention_mask=mask, token_type_ids=inputs.types).logits
        loss = functional.cross_entropy(logits, data.labels[batch])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), CLIP)
        optimiser.step()
        return loss.item()

    return lambda batches: np.array([step(batch) for batch in batches])
