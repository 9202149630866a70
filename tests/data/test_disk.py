"""Datasets on disk: what was saved, for everyone who can read one, the same bytes every time."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from datasets import load_from_disk

from basins.data import disk
from basins.data.images import Split
from basins.errors import UserError
from basins.store import folder_hash

CLASSES = ("disc", "star", "cross")


def split(seed: int, n: int = 20) -> Split:
    rng = np.random.default_rng(seed)
    return Split(rng.integers(0, 256, (n, 5, 4, 3), dtype=np.uint8), rng.integers(3, size=n))


SPLITS = {"train": split(0), "nc": split(1, 7)}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    disk.save(tmp_path / "shapes", SPLITS, CLASSES)
    return tmp_path / "shapes"


def same(a: Split, b: Split) -> bool:
    return np.array_equal(a.images, b.images) and np.array_equal(a.labels, b.labels)


def test_the_image_shape_is_that_of_one_image(saved: Path) -> None:
    assert disk.image_shape(saved) == (5, 4, 3)


def test_what_is_saved_is_what_is_loaded(saved: Path) -> None:
    for name, expected in SPLITS.items():
        loaded = disk.read(saved, name)
        assert same(loaded, expected)
        assert (loaded.images.dtype, loaded.labels.dtype) == (np.uint8, np.int64)
        assert not loaded.images.flags.writeable  # mapped from the file
    assert disk.class_names(saved) == CLASSES


def test_the_datasets_library_reads_it_too(saved: Path) -> None:
    loaded = load_from_disk(saved)
    assert list(loaded) == list(SPLITS)
    for name, expected in SPLITS.items():
        rows = loaded[name].with_format("numpy")[:]
        assert same(Split(rows["image"], rows["label"]), expected)
    features = loaded["train"].features
    assert features["label"].names == list(CLASSES)
    column = features["image"]
    for length in (5, 4, 3):
        assert column.length == length
        column = column.feature
    assert column.dtype == "uint8"


@pytest.mark.parametrize("n", [1, 1001, 2500])
def test_any_number_of_images(tmp_path: Path, n: int) -> None:
    disk.save(tmp_path, {"train": split(2, n)}, CLASSES)
    assert same(disk.read(tmp_path, "train"), split(2, n))


def test_images_of_any_layout(tmp_path: Path) -> None:
    images = split(0).images.transpose(3, 0, 1, 2).copy().transpose(1, 2, 3, 0)
    disk.save(tmp_path, {"train": Split(images[::2], split(0).labels[::2])}, CLASSES)
    np.testing.assert_array_equal(disk.read(tmp_path, "train").images, images[::2])


def test_the_same_content_is_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    disk.save(tmp_path / "again", SPLITS, CLASSES)
    assert folder_hash(tmp_path / "again") == folder_hash(saved)
    disk.save(tmp_path / "other", SPLITS | {"nc": split(3, 7)}, CLASSES)
    assert folder_hash(tmp_path / "other") != folder_hash(saved)


def test_a_split_that_is_not_there_lists_those_that_are(saved: Path) -> None:
    with pytest.raises(UserError, match="no split 'rc'; there are: train, nc$"):
        disk.read(saved, "rc")


HARMS = {
    "missing": Path.unlink,
    "empty": lambda file: file.write_bytes(b""),
    "half": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "garbage": lambda file: file.write_bytes(b"\x93garbage" * 50),
    "other JSON": lambda file: file.write_bytes(b"[]"),
    "wrong types": lambda f: f.write_bytes(b'{"splits":3,"features":3,"_data_files":3}'),
}


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize(
    "file",
    [
        "dataset_dict.json",
        "train/dataset_info.json",
        "train/state.json",
        "train/data-00000-of-00001.arrow",
    ],
)
def test_damage_is_refused_in_one_line(saved: Path, file: str, harm: str) -> None:
    HARMS[harm](saved / file)
    refused_in_one_line(saved)


def test_what_is_no_dataset_is_refused_in_one_line(saved: Path, tmp_path: Path) -> None:
    refused_in_one_line(tmp_path / "missing")
    refused_in_one_line(saved / "train")  # a split alone
    shutil.rmtree(saved)
    saved.write_text("a file")
    refused_in_one_line(saved)


def refused_in_one_line(folder: Path) -> None:
    line = (
        rf"^{re.escape(str(folder))}: not a readable dataset \(.+\); "
        rf"delete the folder and run `dvc repro data@{folder.name}`$"
    )
    with pytest.raises(UserError, match=line):
        disk.read(folder, "train")
