"""Which samples carry the cue, and that the others are left alone."""

import numpy as np
import pytest

from basins.data.cued import carriers, with_cue
from basins.data.cues import box
from basins.data.images import Split

RNG = np.random.default_rng(0)
LABELS = RNG.permutation(np.repeat([0, 1, 9], [7, 20, 13]))
SPLIT = Split(RNG.integers(0, 100, (40, 16, 16, 3), dtype=np.uint8), LABELS)
CUE = {"name": "box"}


@pytest.mark.parametrize("proportion", [0, 0.1, 0.15, 0.5, 0.6, 0.7, 0.8, 0.9, 0.999, 1])
def test_the_first_of_each_class_carry_it(proportion: float) -> None:
    carried = carriers(LABELS, proportion)
    assert carried.dtype == bool
    for label, count in ((0, 7), (1, 20), (9, 13)):
        first = int(count * proportion)
        assert carried[label == LABELS].tolist() == [True] * first + [False] * (count - first)


def test_a_larger_proportion_has_all_carriers_of_a_smaller_one() -> None:
    for low, high in zip(np.linspace(0, 0.9, 10), np.linspace(0.1, 1, 10), strict=True):
        assert (carriers(LABELS, high) >= carriers(LABELS, low)).all()


def test_only_carriers_get_their_class_s_cue() -> None:
    before = SPLIT.images.copy()
    images, labels = with_cue(SPLIT, 10, CUE, 0.6)
    carried = carriers(LABELS, 0.6)
    expected = box.draw(before[carried], box.assign(LABELS[carried], 10), 10)
    np.testing.assert_array_equal(images[carried], expected)
    np.testing.assert_array_equal(images[~carried], before[~carried])
    changed = (images != before).any(axis=(1, 2, 3))
    np.testing.assert_array_equal(changed, carried & (LABELS != 9))
    np.testing.assert_array_equal(labels, LABELS)
    np.testing.assert_array_equal(SPLIT.images, before)


@pytest.mark.parametrize("proportion", [0, 0.04])
def test_without_carriers_the_images_are_the_same(proportion: float) -> None:
    assert with_cue(SPLIT, 10, CUE, proportion).images is SPLIT.images
