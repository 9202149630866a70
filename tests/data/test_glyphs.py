"""The digits: balanced, reproducible, of the right segments, and easy to learn."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from basins import seeds
from basins.data import glyphs
from basins.data.images import ImageData
from basins.data.resident import normalise
from basins.errors import UserError
from basins.registry import check_options

OPTIONS = {"source": "synthetic", "root": Path(), "seed": 0, "train": 200, "test": 50}


def load(**options: object) -> ImageData:
    """Load a small dataset, checked as the pipeline checks it."""
    given = OPTIONS | options
    check_options(glyphs.load, given, "above")
    return glyphs.load(**given)


@pytest.mark.parametrize("size", [16, 32])
def test_splits_are_balanced_uint8_images(size: int) -> None:
    data = load(size=size)
    assert len(set(data.classes)) == 10
    assert data.checksums == {}
    for split, n in ((data.train, 200), (data.test, 50)):
        assert split.images.shape == (n, size, size, 3)
        assert (split.images.dtype, split.labels.dtype) == (np.uint8, np.int64)
        assert np.bincount(split.labels).tolist() == [n // 10] * 10
        assert (np.diff(split.labels) < 0).any()
        assert (split.images == split.images[..., :1]).all()


def test_the_seed_decides_every_byte() -> None:
    first, again, other = load(), load(), load(seed=1)
    for a, b, c in zip(first[:2], again[:2], other[:2], strict=True):
        np.testing.assert_array_equal(a.images, b.images)
        np.testing.assert_array_equal(a.labels, b.labels)
        assert (a.images != c.images).any()


def test_the_test_split_does_not_depend_on_the_training_split() -> None:
    np.testing.assert_array_equal(load(train=10).test.images, load(train=300).test.images)


def test_every_image_is_drawn_when_one_fills_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glyphs, "PIXELS_AT_ONCE", 1)
    assert (np.ptp(load().train.images, axis=(1, 2, 3)) > 50).all()


def test_digits_have_the_segments_of_a_display() -> None:
    images, labels = load(train=4000, noise=0.0).train
    means = np.stack([images[labels == digit, ..., 0].mean(0) for digit in range(10)])
    # Where a segment is on average: frames have a mean radius of .725 of half the picture.
    at = {"top": (0, 0.8), "middle": (0, 0), "bottom": (0, -0.8)}
    at |= {f"{row} {side}": (x, y) for row, y in (("upper", 0.4), ("lower", -0.4))
           for side, x in (("left", -0.45), ("right", 0.45))}  # fmt: skip
    lacking = {
        "top": [1, 4],
        "middle": [0, 1, 7],
        "bottom": [1, 4, 7],
        "upper left": [1, 2, 3, 7],
        "upper right": [5, 6],
        "lower left": [1, 3, 4, 5, 7, 9],
        "lower right": [2],
    }
    for segment, digits in lacking.items():
        x, y = at[segment]
        row, column = round(15.5 - 16 * 0.725 * y), round(15.5 + 16 * 0.725 * x)
        light = means[:, row - 1 : row + 2, column - 1 : column + 2].mean((1, 2))
        assert sorted(np.argsort(light)[: len(digits)].tolist()) == digits, segment


def test_a_small_network_learns_them_at_once() -> None:
    train, test = load(train=2000, test=300)[:2]
    with seeds.torch_stream("init", 0):
        net = nn.Sequential(
            nn.Conv2d(3, 8, 5, 2, 2), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(),
            nn.Flatten(), nn.Linear(1024, 10),
        )  # fmt: skip
        optimiser = torch.optim.Adam(net.parameters(), 2e-3)
        x, y = normalise(torch.from_numpy(train.images)), torch.from_numpy(train.labels)
        for _ in range(3):
            for rows in torch.randperm(len(y)).split(32):
                optimiser.zero_grad()
                nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
                optimiser.step()
    predicted = net(normalise(torch.from_numpy(test.images))).argmax(1)
    assert (predicted.numpy() == test.labels).mean() > 0.9


@pytest.mark.parametrize(
    ("option", "value"),
    [("source", "hub"), ("train", 9), ("test", 0), ("size", 7), ("noise", -0.1), ("colour", 1)],
)
def test_a_bad_option_is_refused_in_one_line(option: str, value: object) -> None:
    with pytest.raises(UserError, match=rf"^above\.{option}: .+$"):
        load(**{option: value})
