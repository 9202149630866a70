"""A folder of one's own images, of any size and mode."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from basins.data import image_folder
from basins.errors import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split, count in (("train", 3), ("test", 2)):
        for value, name in ((30, "dark"), (220, "light")):
            folder = tmp_path / "mine" / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                grey = Image.fromarray(np.full((40 + index, 20, 3), value, np.uint8))
                grey.convert("L" if index else "RGBA").save(folder / f"{index}.png")
    return tmp_path


def load(root: Path, **options):
    return image_folder.load(source="files", root=root, seed=0, folder="mine", **options)


def test_every_image_is_rgb_of_one_size_with_its_folder_as_class(root: Path):
    data = load(root, size=16)
    assert data.classes == ("dark", "light")
    assert data.train.images.shape == (6, 16, 16, 3)
    assert data.test.images.dtype == np.uint8
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert (data.test.images[data.test.labels == 0] == 30).all()
    assert set(data.checksums) == {"train", "test"}


def test_what_is_wrong_is_said_with_its_path(root: Path):
    (root / "mine" / "train" / "dark" / "0.png").write_bytes(b"not an image")
    with pytest.raises(UserError, match=r"dark/0\.png: not a readable image"):
        load(root)
    (root / "mine" / "test" / "light").rename(root / "mine" / "test" / "bright")
    with pytest.raises(UserError, match="differ in classes: bright, light"):
        load(root)
    with pytest.raises(UserError, match="nothing"):
        image_folder.load(source="files", root=root, seed=0, folder="nothing")
