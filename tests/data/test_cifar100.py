"""CIFAR-100 in its official format, on files of a few images."""

from __future__ import annotations

import hashlib
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import CIFAR100

from basins.data import cifar100
from basins.errors import UserError

NAMES = [f"class {i}" for i in range(100)]
FILES = ("train", "test", "meta")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with 20 images to train on and four to test; the i-th has fine label 99 - i."""
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for name, numbers in (("train", range(20)), ("test", range(20, 24))):
        content = {
            "data": np.repeat(np.array(numbers, dtype=np.uint8)[:, None], 3072, axis=1),
            "fine_labels": [99 - n for n in numbers],
            "coarse_labels": [0 for _ in numbers],
        }
        (folder / name).write_bytes(pickle.dumps(content))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": NAMES}))
    md5 = {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in FILES}
    monkeypatch.setattr(CIFAR100, "train_list", [["train", md5["train"]]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", md5["test"]]])
    monkeypatch.setattr(CIFAR100, "meta", CIFAR100.meta | {"md5": md5["meta"]})
    return tmp_path


@pytest.mark.parametrize("source", ["files", "hub"])
def test_fine_labels_are_read_in_order(root, source):
    data = cifar100.load(source=source, root=root, seed=0)
    assert data.classes == tuple(NAMES)
    assert set(data.checksums) == set(FILES)
    assert data.train.labels.tolist() == [99 - n for n in range(20)]
    assert data.test.images[:, 5, 5, 1].tolist() == [20, 21, 22, 23]
    assert data.test.images.shape == (4, 32, 32, 3)


@pytest.mark.parametrize("name", FILES)
def test_what_is_missing_or_damaged_is_named(root, name):
    file = root / "cifar-100-python" / name
    file.write_bytes(b"no pickle")
    with pytest.raises(UserError, match=f"^CIFAR-100 in .*: damaged {name}. Unpack the official"):
        cifar100.load(source="files", root=root, seed=0)
    file.unlink()
    with pytest.raises(UserError, match=f": missing {name}. .*cifar-100-python.tar.gz"):
        cifar100.load(source="files", root=root, seed=0)


@pytest.fixture
def by_class(tmp_path: Path) -> Path:
    """A folder of 100 classes, three images each to train on and one to test, of its value."""
    for split, count in (("train", 3), ("test", 1)):
        for label in range(100):
            folder = tmp_path / "hundred" / split / f"class{label:02}"
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = np.full((32, 32, 3), (label, index, 0), np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    return tmp_path


def test_a_folder_by_class_gives_the_classes_in_turn(by_class):
    options = {"source": "files", "root": by_class, "seed": 0, "folder": "hundred"}
    data = cifar100.load(**options, train=250, test=100)
    assert len(data.classes) == 100 and set(data.checksums) == {"train", "test"}
    assert data.train.labels.tolist() == [*range(100), *range(100), *range(50)]
    assert (data.train.images[:, 0, 0, 0] == data.train.labels).all()
    assert data.train.images[:, 0, 0, 1].tolist() == [0] * 100 + [1] * 100 + [2] * 50
    assert data.test.labels.tolist() == [*range(100)]
    with pytest.raises(UserError, match="test: 100 images, fewer than the 10000 asked for"):
        cifar100.load(**options, train=300)
    with pytest.raises(UserError, match="is read with source `files`, not 'hub'"):
        cifar100.load(**{**options, "source": "hub"})
    for split in ("train", "test"):
        shutil.rmtree(by_class / "hundred" / split / "class07")
    with pytest.raises(
        UserError, match="99 classes of images of 32 x 32 pixels; CIFAR-100 has 100"
    ):
        cifar100.load(**options, train=100, test=100)
