"""The initial state of a classifier's fine-tuning: an encoder's weights with a new head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from basins import seeds
from basins.errors import UserError
from basins.nets import checkpoint
from basins.nets.permutation import Net
from basins.training.text_models import written

POOLER = "pooler."  # part of the names of its weights


class Streams(NamedTuple):
    """Seeds of the random streams of fine-tuning: the new head, the order of batches, dropout.

    A head with a fractional number is interpolated between those of the two adjacent integers.
    `pooler` is the seed of the head with which a new pooler is drawn; None means the encoder's
    pooler, or that of `head` if the encoder has none.
    """

    head: float
    order: int
    dropout: int
    pooler: float | None = None


def started(encoder: Path, classes: Sequence[str], streams: Streams) -> Net:
    """Return the classifier that training starts from: the encoder's weights, with a new head.

    Raises `UserError` if a pooler is given and the network has none.
    """
    net: Any = between(lambda: checkpoint.classifier(encoder, classes), streams.head)
    if streams.pooler is not None:
        new = between(lambda: checkpoint.initialise(written(net.config)), streams.pooler)
        pooler = {name: w for name, w in new.state_dict().items() if POOLER in name}
        if not pooler:
            raise UserError("seeds: the network has no pooler; leave out that stream")
        net.load_state_dict({**net.state_dict(), **pooler})
    return net


def between(build: Callable[[], Net], number: float) -> Net:
    """Return the network with head `number`, interpolated if the number is not an integer."""

    def drawn(head: int) -> Net:
        with seeds.torch_stream("head", head):
            return build()

    net, share = drawn(int(number)), number % 1
    if share:
        other = drawn(int(number) + 1).state_dict()
        with torch.no_grad():
            for name, weight in net.named_parameters():
                weight.lerp_(other[name], share)
    return net
