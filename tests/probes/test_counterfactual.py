"""The four sets, against what models of known strategy must score on them in closed form."""

from collections.abc import Callable

import numpy as np
import pytest

from basins.data.cue import Cue
from basins.data.cues.box import Box
from basins.data.cues.dominoes import Dominoes
from basins.data.images import Evaluation, Split
from basins.probes import counterfactual

BOX = Box()
COUNT = 10_000
READABLE = 0.75  # of the images show their class
PIXEL = (-12, 20)  # where an image shows it; no box covers it, and none is above it
ABOVE = (20, 20)  # where the image above does
LEGIBLE = 0.9  # of the images above show their class
Strategy = Callable[[np.ndarray], np.ndarray]


def images(num_classes: int) -> Split:
    """Return images whose red value at `PIXEL` is their label, or a wrong one for a quarter."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(COUNT) % num_classes)
    pixels = rng.integers(0, 100, size=(COUNT, 32, 32, 3), dtype=np.uint8)
    pixels[:, *PIXEL, 0] = shown(rng, labels, num_classes, READABLE)
    return Split(pixels, labels)


def shown(rng: np.random.Generator, labels: np.ndarray, classes: int, share: float) -> np.ndarray:
    """Return a share of the labels as they are, and the others wrong."""
    wrong = (labels + rng.integers(1, classes, len(labels))) % classes
    return np.where(rng.random(len(labels)) < share, labels, wrong)


def dominoes() -> Dominoes:
    """Return images whose value at `ABOVE` is 129 and their label, or a wrong one for a tenth."""
    rng = np.random.default_rng(1)
    labels = rng.permutation(np.arange(COUNT + 2000) % 10)
    pixels = np.full((len(labels), 32, 32, 3), 128, np.uint8)
    pixels[:, *ABOVE] += 1 + shown(rng, labels, 10, LEGIBLE)[:, None].astype(np.uint8)
    return Dominoes(Split(pixels, labels), 10, {})


def image(pixels: np.ndarray) -> np.ndarray:
    return pixels[:, *PIXEL, 0].astype(np.int64)


def cue(pixels: np.ndarray) -> np.ndarray:
    """Read the place of the box; where there is none, 9."""
    corners = [(r, c) for r in (0, 14, 29) for c in (0, 14, 29)]
    boxes = [(pixels[:, r : r + 3, c : c + 3] == (128, 255, 128)) for r, c in corners]
    found = np.stack([b.all(axis=(1, 2, 3)) for b in boxes], axis=1)
    return np.where(found.any(axis=1), found.argmax(axis=1), 9)


def cue_else_image(pixels: np.ndarray) -> np.ndarray:
    place = cue(pixels)
    return np.where(place < 9, place, image(pixels))


def above(pixels: np.ndarray) -> np.ndarray:
    """Read the image above; where it is black, take class 0."""
    return np.maximum(pixels[:, *ABOVE, 0].astype(np.int64) - 129, 0)


def above_else_image(pixels: np.ndarray) -> np.ndarray:
    return np.where(pixels[:, *ABOVE, 0] > 128, above(pixels), image(pixels))


def cue_of_hundred(pixels: np.ndarray) -> np.ndarray:
    """Read place and hue of the box as the class, of one hundred, whose box is nearest."""
    codes = BOX.assign(np.arange(100), 100)
    drawn = BOX.draw(np.zeros((100, 32, 32, 3), np.uint8), codes, 100)
    corners = [(r, c) for r in (0, 14, 29) for c in (0, 14, 29)] + [(6, 6)]
    at = tuple(np.array(corners).T)
    colours = pixels[:, *at].astype(int)
    place = (colours.min(axis=2) > 110).argmax(axis=1)
    own = colours[np.arange(len(pixels)), place]
    known = drawn[::10][:, 0, 0].astype(int)  # the ten colours, at the place of units digit 0
    tens = abs(own[:, None] - known).sum(axis=2).argmin(axis=1)
    return 10 * tens + place


# Accuracies on nc, c, rc, ri by the strategy's accuracy a on images alone and b on images above; a
# model that reads the cue was trained with cue proportion below 1, or, for `cue`, of 1: it takes no
# box for class 9. `above` takes black for some class, whichever.
A, B = READABLE, LEGIBLE
CLOSED_FORMS: list[tuple[Cue, Strategy, int, tuple[float, float, float, float]]] = [
    (BOX, cue_else_image, 10, (A, 0.9 + 0.1 * A, 0.9 * 0.1 + 0.1 * A, 0.9 + 0.1 * 0.1)),
    (BOX, image, 10, (A, A, A, 0.1)),
    (BOX, cue, 10, (0.1, 1, 0.1, 1)),
    (BOX, image, 100, (A, A, A, 0.01)),
    (dominoes(), above_else_image, 10, (A, B, 0.1, B)),
    (dominoes(), image, 10, (A, A, A, 0.1)),
    (dominoes(), above, 10, (0.1, B, 0.1, B)),
]


@pytest.mark.parametrize(("drawn", "strategy", "num_classes", "closed_form"), CLOSED_FORMS)
def test_pure_strategies_score_what_they_must(drawn, strategy, num_classes, closed_form) -> None:
    sets = counterfactual.sets(images(num_classes), num_classes, drawn, seed=0)
    assert tuple(sets) == counterfactual.SETS
    for (pixels, labels), expected in zip(sets.values(), closed_form, strict=True):
        accuracy = (strategy(pixels) == labels).mean()
        assert abs(accuracy - expected) <= 4 * np.sqrt(expected * (1 - expected) / COUNT)


def test_the_box_of_a_hundred_classes_tells_them_all() -> None:
    sets = counterfactual.sets(images(100), 100, BOX, seed=0)
    scores = {
        name: (cue_of_hundred(x) == y).mean() for name, (x, y) in sets.items() if name != "nc"
    }
    assert (scores["c"], scores["ri"]) == (1, 1)
    assert abs(scores["rc"] - 0.01) <= 4 * np.sqrt(0.01 * 0.99 / COUNT)


def test_sets_are_drawn_once_and_by_their_seed() -> None:
    test = Split(*(part[:200] for part in images(10)))
    first, again, other = (counterfactual.sets(test, 10, BOX, seed) for seed in (0, 0, 1))
    for name in counterfactual.SETS:
        np.testing.assert_array_equal(first[name].images, again[name].images)
        differs = (first[name].images != other[name].images).any()
        assert differs == (name in ("rc", "ri"))


def test_images_and_labels_are_those_of_the_test_split() -> None:
    test = Split(*(part[:200] for part in images(10)))
    kept = test.images.copy()
    sets = counterfactual.sets(test, 10, BOX, seed=0)
    for _, labels in sets.values():
        np.testing.assert_array_equal(labels, test.labels)
    np.testing.assert_array_equal(sets["nc"].images, kept)
    np.testing.assert_array_equal(test.images, kept)
    for name in ("c", "rc"):
        np.testing.assert_array_equal(image(sets[name].images), image(kept))
    # `ri` keeps the cue of the label on the image of another example, itself left in no class.
    np.testing.assert_array_equal(cue(sets["ri"].images), test.labels)
    centres = {row.tobytes() for row in kept[:, 18:24, 18:24]}
    moved = sets["ri"].images[:, 18:24, 18:24]
    assert all(row.tobytes() in centres for row in moved)
    assert (moved != kept[:, 18:24, 18:24]).any(axis=(1, 2, 3)).mean() > 0.9


def test_measures_are_accuracy_and_loss_of_every_set() -> None:
    evaluations = {
        name: Evaluation(np.full(3, i, np.float32), np.array([True, False, i > 1]))
        for i, name in enumerate(reversed(counterfactual.SETS))
    }
    rows = list(counterfactual.measures(evaluations, {}))
    assert [row[:2] for row in rows] == [
        (name, metric) for name in ("nc", "c", "rc", "ri") for metric in ("accuracy", "loss")
    ]
    for name, metric, values in rows:
        losses, correct = evaluations[name]
        np.testing.assert_array_equal(values, correct if metric == "accuracy" else losses)
