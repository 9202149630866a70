"""Calibration images: how many, which of them with the cue, and in which order."""

from pathlib import Path

import numpy as np
import pytest
import torch

from basins import seeds
from basins.data import cued, disk
from basins.data.calibration import Calibration
from basins.data.cues.box import Box
from basins.data.images import Split
from basins.data.sampling import stratified

RNG = np.random.default_rng(0)
SPLIT = Split(RNG.integers(0, 100, (60, 8, 8, 3), np.uint8), RNG.permutation(np.arange(60) % 3))
CUED = cued.draw(SPLIT, 3, Box())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    disk.save(tmp_path / "x", {"train": CUED.plain, "train_c": CUED.cued}, ("a", "b", "c"))
    return tmp_path / "x"


@pytest.mark.parametrize("proportion", [0.0, 0.5, 1.0])
def test_all_images_are_in_their_order(folder: Path, proportion: float) -> None:
    images, labels = Calibration(folder, proportion, None).load(torch.device("cpu"))
    np.testing.assert_array_equal(images, CUED.at(proportion).images)
    np.testing.assert_array_equal(labels, SPLIT.labels)


@pytest.mark.parametrize("proportion", [0.0, 0.5, 1.0])
def test_a_part_is_drawn_whatever_carries_the_cue(folder: Path, proportion: float) -> None:
    images, labels = Calibration(folder, proportion, 12).load(torch.device("cpu"))
    chosen = stratified(SPLIT.labels, 12, seeds.derive("calibration") % 2**32)
    np.testing.assert_array_equal(images, CUED.at(proportion).images[chosen])
    assert np.bincount(labels).tolist() == [4, 4, 4]
