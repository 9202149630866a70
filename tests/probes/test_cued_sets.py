"""The splits of a dataset on disk: training images twice, and diagnostic sets of test images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from basins.data import shapes
from basins.data.cues.box import Box
from basins.data.images import Split
from basins.probes import counterfactual, cued_sets

GIVEN = {"source": "synthetic", "root": Path(), "seed": 1}


def test_training_images_have_the_cue_in_one_copy_and_the_sets_are_of_test_images() -> None:
    loaded = shapes.load(**GIVEN, train=30, test=20, size=16)
    splits, checksums = cued_sets.splits("shapes", loaded, {"name": "box"}, GIVEN)
    images, labels = loaded.train
    cued = Box().draw(images, Box().assign(labels, 10), 10)
    expected = {
        "train": loaded.train,
        "train_c": Split(cued, labels),
        **counterfactual.sets(loaded.test, 10, Box(), 1),
        "nc": loaded.test,
    }
    assert (cued != images).any()
    assert splits.keys() == expected.keys() and checksums == {"cue_files_md5": {}}
    for name, split in expected.items():
        np.testing.assert_array_equal(splits[name].images, split.images, err_msg=name)
        np.testing.assert_array_equal(splits[name].labels, split.labels, err_msg=name)
