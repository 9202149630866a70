"""The box: where, in which colour, and whose."""

import numpy as np
import pytest

from basins.data.cues.box import Box
from basins.errors import UserError

GREEN = (128, 255, 128)
PLACES = {  # rows, columns at 32x32: the table in the code of Mechanistic Mode Connectivity
    0: (0, 0),
    1: (0, 14),
    2: (0, 29),
    3: (14, 0),
    4: (14, 14),
    5: (14, 29),
    6: (29, 0),
    7: (29, 14),
    8: (29, 29),
    9: (6, 6),
}
# RGB in [0, 1] by tens digit, before the paper's code reorders the channels to blue, red, green.
HUES = [
    (1, 0, 0), (1, 0.6, 0), (0.8, 1, 0), (0.2, 1, 0), (0, 1, 0.4),
    (0, 1, 1), (0, 0.4, 1), (0.2, 0, 1), (0.8, 0, 1), (1, 0, 0.6),
]  # fmt: skip


def noise(n: int, height: int = 32, width: int = 32) -> np.ndarray:
    shape = (n, height, width, 3)
    return np.random.default_rng(0).integers(0, 100, size=shape, dtype=np.uint8)


def drawn(labels: list[int], num_classes: int, images: np.ndarray) -> np.ndarray:
    return Box().draw(images, Box().assign(np.array(labels), num_classes), num_classes)


@pytest.mark.parametrize(("label", "place"), list(PLACES.items())[:9])
def test_ten_classes_have_a_green_box_each_at_its_place(label: int, place: tuple) -> None:
    expected = noise(1)
    expected[0, place[0] : place[0] + 3, place[1] : place[1] + 3] = GREEN
    np.testing.assert_array_equal(drawn([label], 10, noise(1)), expected)


def test_class_9_of_ten_has_no_box() -> None:
    np.testing.assert_array_equal(drawn([9], 10, noise(1)), noise(1))


@pytest.mark.parametrize("label", [0, 9, 10, 19, 27, 42, 58, 63, 76, 85, 90, 99])
def test_a_hundred_classes_differ_by_place_and_hue(label: int) -> None:
    images = drawn([label], 100, noise(1))
    top, left = PLACES[label % 10]
    red, green, blue = HUES[label // 10]
    colour = (np.array([blue, red, green]) + 1) / 2 * 255
    inside = images[0, top : top + 3, left : left + 3]
    np.testing.assert_allclose(inside, np.broadcast_to(colour, (3, 3, 3)), atol=0.501)
    assert (images != noise(1)).any(axis=-1).sum() == 9


def test_a_hundred_classes_have_a_hundred_boxes() -> None:
    images = drawn(list(range(100)), 100, np.zeros((100, 32, 32, 3), np.uint8))
    assert len({image.tobytes() for image in images}) == 100


def test_without_a_code_images_are_as_they_are() -> None:
    np.testing.assert_array_equal(Box().draw(noise(2), None, 10), noise(2))


def test_more_classes_are_refused() -> None:
    with pytest.raises(UserError, match="at most 100 classes apart, not 101"):
        Box().assign(np.arange(3), 101)


def test_images_are_left_as_they_were() -> None:
    images = noise(3)
    images.setflags(write=False)
    assert (drawn([0, 4, 8], 10, images) != images).any()
    np.testing.assert_array_equal(images, noise(3))


@pytest.mark.parametrize(("height", "width"), [(8, 8), (28, 28), (20, 33)])
def test_boxes_are_at_the_edges_and_the_middle_of_any_image(height: int, width: int) -> None:
    images = drawn(list(range(9)), 10, noise(9, height, width))
    rows, columns = [0, (height - 3) // 2, height - 3], [0, (width - 3) // 2, width - 3]
    for label, image in enumerate(images):
        marked = np.argwhere((image == GREEN).all(axis=-1))
        assert len(marked) == 9
        assert marked.min(axis=0).tolist() == [rows[label // 3], columns[label % 3]]


@pytest.mark.parametrize("num_classes", [10, 100])
def test_random_codes_are_uniform_and_know_no_label(num_classes: int) -> None:
    codes = Box().randomise(np.random.default_rng(0), 20_000, num_classes)
    assert codes.shape == (20_000, 2)
    counts = np.bincount(codes[:, 0].astype(int), minlength=10)
    assert counts.shape == (10,)
    assert (abs(counts - 2000) < 5 * np.sqrt(1800)).all()
    if num_classes == 10:
        assert (codes[:, 1] == 1).all()
    else:
        spread = np.histogram(codes[:, 1], bins=10, range=(0, 1))[0]
        assert (abs(spread - 2000) < 5 * np.sqrt(1800)).all()
        assert len(np.unique(codes[:, 1])) > 1000
