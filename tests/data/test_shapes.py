"""The silhouettes: balanced, reproducible, and ten different things."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from basins.data import shapes
from basins.data.images import ImageData
from basins.errors import UserError
from basins.registry import check_options

OPTIONS = {"source": "synthetic", "root": Path(), "seed": 0, "train": 200, "test": 50}


def load(**options: object) -> ImageData:
    """Load a small dataset, checked as the pipeline checks it."""
    given = OPTIONS | options
    check_options(shapes.load, given, "data.shapes")
    return shapes.load(**given)


@pytest.mark.parametrize("size", [16, 28, 32])
def test_splits_are_balanced_uint8_images(size: int) -> None:
    data = load(size=size)
    assert len(data.classes) == len(set(data.classes)) == 10
    assert data.checksums == {}
    for split, n in ((data.train, 200), (data.test, 50)):
        assert split.images.shape == (n, size, size, 3)
        assert split.images.dtype == np.uint8
        assert split.labels.dtype == np.int64
        assert np.bincount(split.labels).tolist() == [n // 10] * 10
        assert (np.diff(split.labels) < 0).any()


def test_counts_that_ten_does_not_divide_differ_by_at_most_one() -> None:
    assert set(np.bincount(load(train=123).train.labels)) == {12, 13}


def test_the_seed_decides_every_byte() -> None:
    first, again, other = load(), load(), load(seed=1)
    for a, b, c in zip(first[:2], again[:2], other[:2], strict=True):
        np.testing.assert_array_equal(a.images, b.images)
        np.testing.assert_array_equal(a.labels, b.labels)
        assert (a.images != c.images).any()
        assert (a.labels != c.labels).any()


def test_the_test_split_does_not_depend_on_the_training_split() -> None:
    few, many = load(train=10), load(train=300)
    np.testing.assert_array_equal(few.test.images, many.test.images)
    np.testing.assert_array_equal(few.test.labels, many.test.labels)
    assert (many.train.images[:50] != many.test.images).any()


def test_every_image_is_drawn_when_one_fills_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "PIXELS_AT_ONCE", 1)
    assert (np.ptp(load().train.images, axis=(1, 2, 3)) > 0).all()


def test_silhouettes_differ_at_every_relative_size() -> None:
    y, x = -np.mgrid[-1.5:1.5:121j, -1.5:1.5:121j].astype(np.float32)
    masks = {
        name: [shape(x / s, y / s) < 0 for s in np.linspace(0.7, 1.3, 13)]
        for name, shape in shapes.SHAPES.items()
    }
    for a, b in combinations(masks, 2):
        overlap = max((masks[a][6] & m).sum() / (masks[a][6] | m).sum() for m in masks[b])
        assert overlap < 0.85, (a, b, overlap)


def test_silhouettes_stay_within_their_frame() -> None:
    y, x = -np.mgrid[-2:2:161j, -2:2:161j].astype(np.float32)
    for name, shape in shapes.SHAPES.items():
        inside = shape(x, y) < 0
        assert 0.1 < inside.sum() * (4 / 160) ** 2 < 3, name
        assert not inside[np.hypot(x, y) > 1.25].any(), name


def test_images_show_the_silhouette_of_their_label() -> None:
    clean = {"noise": 0.0, "texture": 0.0, "clutter": 0, "contrast": 0.3, "smallest": 0.4}
    data = load(train=2000, test=500, **clean)
    train, test = (_outline(split.images) for split in data[:2])
    centroids = np.stack([train[data.train.labels == k].mean(0) for k in range(10)])
    distances = ((test[:, None] - centroids) ** 2).sum((2, 3))
    assert (distances.argmin(1) == data.test.labels).mean() > 0.5


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("source", "hub"),
        ("train", 9),
        ("test", 0),
        ("size", 7),
        ("size", 32.5),
        ("noise", -0.1),
        ("noise", float("nan")),
        ("smallest", 0.0),
        ("contrast", 0.6),
        ("texture", 2.0),
        ("clutter", -1),
        ("colour", 1),
    ],
)
def test_a_bad_option_is_refused_in_one_line(option: str, value: object) -> None:
    with pytest.raises(UserError, match=rf"^data\.shapes\.{option}: .+$"):
        load(**{option: value})


def _outline(images: np.ndarray) -> np.ndarray:
    """Find each object by its difference from the corners' colour and move it to the middle."""
    pixels = images.astype(np.float32)
    ground = pixels[:, [0, 0, -1, -1], [0, -1, 0, -1]].mean(1)[:, None, None]
    masks = (np.abs(pixels - ground).max(-1) > 60).astype(np.float32)
    middle = images.shape[1] // 2
    moved = []
    for mask in masks:
        rows, columns = np.nonzero(mask)
        shift = (middle - int(rows.mean()), middle - int(columns.mean())) if len(rows) else (0, 0)
        moved.append(np.roll(mask, shift, (0, 1)))
    return np.stack(moved)
