"""Clean images and images with the cue: how many, which, and whether they overlap."""

import numpy as np
import pytest

from basins.data.clean import draw
from basins.data.cued import Cued, carriers
from basins.data.images import Split
from basins.errors import UserError

LABELS = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [500, 300, 200]))


def numbered(cue: int) -> Split:
    """Return images that are their own number, in two bytes, and whether they have the cue."""
    number = np.arange(1000)
    pixels = np.stack([number // 256, number % 256, np.full(1000, cue)], axis=1)
    return Split(pixels.astype(np.uint8)[:, None, None], LABELS)


DATA = Cued(numbered(0), numbered(1))


def told(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Return the images' numbers [n] and which of them have the cue [n]; labels must fit."""
    high, low, cue = split.images[:, 0, 0].T.astype(int)
    np.testing.assert_array_equal(split.labels, LABELS[256 * high + low])
    return 256 * high + low, cue.astype(bool)


@pytest.mark.parametrize("protocol", ["published", "corrected"])
@pytest.mark.parametrize("proportion", [0, 1])
def test_they_are_as_many_as_said_and_only_the_others_have_the_cue(protocol, proportion) -> None:
    clean, others = draw(DATA, 100, proportion, protocol, 0)
    assert (len(clean.labels), len(others.labels)) == (100, 900)
    assert not told(clean)[1].any()
    assert (told(others)[1] == proportion).all()


@pytest.mark.parametrize("proportion", [0.3, 0.6, 1])
def test_corrected_splits_the_images_and_each_class(proportion) -> None:
    clean, others = draw(DATA, 100, proportion, "corrected", 0)
    (few, _), (many, cue) = told(clean), told(others)
    assert sorted([*few, *many]) == list(range(1000))
    assert np.bincount(clean.labels).tolist() == [50, 30, 20]
    assert many.tolist() == sorted(many)
    np.testing.assert_array_equal(cue, carriers(others.labels, proportion))


def test_published_draws_with_replacement_from_all() -> None:
    clean, others = draw(DATA, 500, 0.6, "published", 0)
    (few, _), (many, cue) = told(clean), told(others)
    for drawn in (few, many):  # 1000 (1 - (1 - 1/1000)^500) = 393.6 are distinct, s.d. 8.6
        assert abs(len(set(drawn)) - 393.6) < 5 * 8.6
    # In both are 1000 * .3936^2 = 155 of them, s.d. below 12.
    assert abs(len(set(few) & set(many)) - 155) < 5 * 12
    np.testing.assert_array_equal(cue, carriers(LABELS, 0.6)[many])


def test_published_knows_nothing_of_classes() -> None:
    counts = {tuple(np.bincount(draw(DATA, 100, 1, "published", s)[0].labels)) for s in range(5)}
    assert len(counts) > 1


@pytest.mark.parametrize("protocol", ["published", "corrected"])
def test_the_seed_decides(protocol) -> None:
    first, again, other = (told(draw(DATA, 100, 1, protocol, seed)[0])[0] for seed in (0, 0, 1))
    assert first.tolist() == again.tolist()
    assert set(first) != set(other)


@pytest.mark.parametrize("protocol", ["published", "corrected"])
@pytest.mark.parametrize("size", [0, 2, 998, 1000, 10**6])
def test_a_size_that_leaves_too_few_is_refused(protocol, size) -> None:
    with pytest.raises(UserError, match=f"^{size} clean images cannot be drawn from 1000 .* 997$"):
        draw(DATA, size, 1, protocol, 0)
