"""Rows in batches of any size: the same rows, without the padding of the batches they came in."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from basins.data.resident import Resident, normalise
from basins.data.rows import Rows
from basins.data.tokens import tokens

IDS = [[5, 6, 7], [1, 2], [8, 9, 3, 4], [2, 1], [7, 7, 7]]


def text(budget: int) -> Rows:
    more: Any = {"pad": 0, "limit": 4, "device": torch.device("cpu"), "where": "here"}
    types = [[0, *[1] * (len(row) - 1)] for row in IDS]
    return Rows(tokens(IDS, types, range(5), budget=budget, **more))


def test_text_is_padded_to_its_batch_alone():
    for budget in (4, 1000):
        rows = text(budget)
        (ids, mask, types), labels = rows.batch(np.array([0, 4, 2]))
        order = [1, 3, 0, 4, 2]  # by length
        assert labels.tolist() == [order[k] for k in (0, 4, 2)]
        assert ids.tolist() == [[1, 2, 0, 0], [8, 9, 3, 4], [5, 6, 7, 0]]
        assert types.tolist() == [[0, 1, 0, 0], [0, 1, 1, 1], [0, 1, 1, 0]]
        assert mask.shape == (3, 1, 1, 4)
        assert (mask[:, 0, 0] == -torch.inf).tolist() == [
            [False, False, True, True], [False] * 4, [False] * 3 + [True],
        ]  # fmt: skip
        (_, none, _), _ = rows.batch(np.array([0, 1]))
        assert none is None


def test_pieces_are_of_one_length():
    shapes = [tuple(inputs[0].shape) for inputs, _ in text(1000).pieces(2)]
    assert shapes == [(2, 2), (2, 3), (1, 4)]
    assert [len(labels) for _, labels in text(1000).pieces(1)] == [1] * 5


def test_images_and_other_single_inputs():
    stream = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (5, 2, 2, 3), generator=stream, dtype=torch.uint8)
    images = Resident(pixels, torch.arange(5))
    (taken,), labels = Rows(images).batch(np.array([3, 1]))
    assert labels.tolist() == [3, 1]
    assert torch.equal(taken, normalise(pixels[[3, 1]])) and taken.is_contiguous()

    class Numbers:
        def batches(self):
            for part in torch.arange(5.0).split(2):
                yield (part,), part.long()

    found = [inputs[0].tolist() for inputs, _ in Rows(Numbers()).pieces(4)]
    assert found == [[0, 1, 2, 3], [4]]


def test_an_epoch_takes_every_row_once():
    batches = text(1000).shuffled(2, np.random.default_rng(0))
    for _ in range(3):
        epoch = [label for _ in range(2) for label in next(batches)[1].tolist()]
        assert len(set(epoch)) == 4
