"""Thumbnails: the images themselves, the same example of a class in every set."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from basins.data.images import Split
from basins.data.samples import thumbnails

RNG = np.random.default_rng(0)


def sets(labels: list[int]) -> dict[str, Split]:
    shape = (len(labels), 6, 5, 3)
    return {
        name: Split(RNG.integers(0, 256, shape, dtype=np.uint8), np.array(labels))
        for name in ("nc", "rc")
    }


def decoded(png: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))


def test_rows_hold_the_first_image_of_each_class_in_each_set() -> None:
    given = sets([2, 0, 2, 0])
    rows = thumbnails("shapes", given, ("disc", "star", "cross"))
    assert list(rows.columns) == ["dataset", "eval_set", "label", "class", "png"]
    assert rows[["dataset", "eval_set", "label", "class"]].to_numpy().tolist() == [
        ["shapes", "nc", 0, "disc"],
        ["shapes", "nc", 2, "cross"],
        ["shapes", "rc", 0, "disc"],
        ["shapes", "rc", 2, "cross"],
    ]
    for row in rows.itertuples():
        expected = given[row.eval_set].images[{0: 1, 2: 0}[row.label]]
        np.testing.assert_array_equal(decoded(row.png), expected)


@pytest.mark.parametrize(("present", "shown"), [(range(12), 10), (range(3, 12), 9)])
def test_at_most_ten_classes_are_shown(present: range, shown: int) -> None:
    rows = thumbnails("x", sets(list(present)), tuple(map(str, range(12))))
    assert rows.groupby("eval_set").label.apply(list).tolist() == [list(present)[:shown]] * 2


def test_the_same_images_are_the_same_rows() -> None:
    given = sets([0, 1])
    assert thumbnails("x", given, ("a", "b")).equals(thumbnails("x", given, ("a", "b")))
