"""Which samples carry the cue, and that the others are left alone."""

from pathlib import Path

import numpy as np
import pytest

from basins.data import cued, disk
from basins.data.cued import carriers
from basins.data.cues.box import Box
from basins.data.images import Split

RNG = np.random.default_rng(0)
LABELS = RNG.permutation(np.repeat([0, 1, 9], [7, 20, 13]))
SPLIT = Split(RNG.integers(0, 100, (40, 16, 16, 3), dtype=np.uint8), LABELS)
CUED = cued.draw(SPLIT, 10, Box())


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
    images, labels = CUED.at(0.6)
    carried = carriers(LABELS, 0.6)
    expected = Box().draw(SPLIT.images[carried], Box().assign(LABELS[carried], 10), 10)
    np.testing.assert_array_equal(images[carried], expected)
    np.testing.assert_array_equal(images[~carried], SPLIT.images[~carried])
    changed = (images != SPLIT.images).any(axis=(1, 2, 3))
    np.testing.assert_array_equal(changed, carried & (LABELS != 9))
    np.testing.assert_array_equal(labels, LABELS)


def test_what_is_mixed_from_is_left_as_it_was() -> None:
    before = CUED.plain.images.copy(), CUED.cued.images.copy()
    CUED.at(0.6)
    np.testing.assert_array_equal(CUED.plain.images, before[0])
    np.testing.assert_array_equal(CUED.cued.images, before[1])


def test_rows_are_picked_in_any_order_and_more_than_once() -> None:
    rows, carried = np.array([5, 0, 5]), np.array([True, False, False])
    images, labels = CUED.pick(rows, carried)
    expected = [CUED.cued.images[5], CUED.plain.images[0], CUED.plain.images[5]]
    np.testing.assert_array_equal(images, expected)
    np.testing.assert_array_equal(labels, LABELS[rows])


@pytest.mark.parametrize("proportion", [0, 0.04])
def test_without_carriers_nothing_is_copied(proportion: float) -> None:
    assert CUED.at(proportion) is CUED.plain


def test_with_carriers_only_nothing_is_copied() -> None:
    assert CUED.at(1) is CUED.cued


def test_images_are_read_as_mapped_from_the_folder(tmp_path: Path) -> None:
    disk.save(tmp_path / "x", {"train": CUED.plain, "train_c": CUED.cued}, tuple("abcdefghij"))
    found = cued.read(tmp_path / "x")
    for split, expected in zip(found, CUED, strict=True):
        np.testing.assert_array_equal(split.images, expected.images)
        np.testing.assert_array_equal(split.labels, LABELS)
        assert not split.images.flags.owndata
    assert found.at(1).images is found.cued.images


def test_the_fingerprint_is_that_of_both(tmp_path: Path) -> None:
    def fingerprint(plain: Split, with_cue: Split) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        disk.save(folder, {"train": plain, "train_c": with_cue}, tuple("abcdefghij"))
        return cued.fingerprint(folder)

    first = fingerprint(*CUED)
    assert first == fingerprint(*CUED)
    assert len({first, fingerprint(SPLIT, SPLIT), fingerprint(CUED.cued, CUED.cued)}) == 3
