"""A dataset that is not what it should be is said in one line."""

from __future__ import annotations

import numpy as np
import pytest

from basins.data.images import ImageData, Split, check
from basins.errors import UserError

GOOD = Split(np.zeros((4, 5, 6, 3), np.uint8), np.array([0, 1, 1, 0]))


def test_a_good_dataset_passes():
    check(ImageData(GOOD, GOOD, ("a", "b"), {}), "mine")


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        (Split(GOOD.images.astype(np.float32), GOOD.labels), "must be uint8"),
        (Split(GOOD.images[..., 0], GOOD.labels), "must be uint8"),
        (Split(GOOD.images[..., :1], GOOD.labels), "must be uint8"),
        (Split(GOOD.images[:3], GOOD.labels), "3 images"),
        (Split(GOOD.images[:0], GOOD.labels[:0]), "0 images"),
        (Split(GOOD.images, GOOD.labels + 1), "labels must be int64 from 0 to 1"),
        (Split(GOOD.images, GOOD.labels - 1), "labels must be int64 from 0 to 1"),
        (Split(GOOD.images, GOOD.labels.astype(np.int32)), "labels must be int64"),
        (Split(GOOD.images[:, :4], GOOD.labels), "differ in size"),
    ],
)
def test_what_is_wrong_is_said(split, expected):
    with pytest.raises(UserError, match=expected) as caught:
        check(ImageData(GOOD, split, ("a", "b"), {}), "mine")
    assert "mine" in str(caught.value) and "\n" not in str(caught.value)
