"""A folder of one's own images: of one size, in eight bits and opaque, or one line says why not."""

from __future__ import annotations

import shutil
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
                Image.fromarray(np.full((40, 20, 3), value, np.uint8)).save(folder / f"{index}.png")
    return tmp_path


def load(root: Path, **options):
    return image_folder.load(source="files", root=root, seed=0, folder="mine", **options)


def replaced(root: Path, image: Image.Image, **options: object) -> Path:
    """Save another image in place of the last but one of the training images."""
    file = root / "mine" / "train" / "light" / "1.png"
    image.save(file, **options)
    return file


def test_every_image_is_rgb_with_its_folder_as_class(root: Path):
    data = load(root)
    assert data.classes == ("dark", "light")
    assert data.train.images.shape == (6, 40, 20, 3)
    assert data.test.images.dtype == np.uint8
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.test.labels.tolist() == [0, 0, 1, 1]
    assert (data.test.images[data.test.labels == 0] == 30).all()
    assert (data.train.images[data.train.labels == 1] == 220).all()
    assert set(data.checksums) == {"train", "test"}


def test_mixed_sizes_are_refused_but_where_a_size_is_given(root: Path):
    file = replaced(root, Image.new("RGB", (24, 36), (220, 220, 220)))
    with pytest.raises(UserError) as raised:
        load(root)
    said = str(raised.value)
    assert said.startswith(f"{file}: 24 x 36 pixels, where ") and "has 20 x 40; give `size`" in said
    assert load(root, size=16).train.images.shape == (6, 16, 16, 3)


def test_grey_among_colour_is_said_once(root: Path, capsys):
    load(root)
    assert capsys.readouterr().err == ""
    file = replaced(root, Image.new("L", (20, 40), 220))
    assert (load(root).train.images[4] == 220).all()
    assert capsys.readouterr().err == (
        f"note: 1 of 10 images are grey, the others in colour; the first: {file}\n"
    )
    for path in (root / "mine").glob("*/*/*.png"):
        Image.open(path).convert("L").save(path)
    load(root)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (Image.new("RGBA", (20, 40)), {}, "has transparency; put it on a background"),
        (Image.new("LA", (20, 40)), {}, "has transparency"),
        (Image.new("P", (20, 40)), {"transparency": 0}, "has transparency"),
        (Image.new("I;16", (20, 40)), {}, "pixels of mode I;16; save it with 8 bits a channel"),
    ],
)
def test_what_has_no_place_in_rgb_is_refused(root: Path, image, options, message):
    file = replaced(root, image, **options)
    with pytest.raises(UserError) as raised:
        load(root)
    assert str(raised.value).startswith(f"{file}: {message}")
    assert "\n" not in str(raised.value)


def test_what_is_wrong_is_said_with_its_path(root: Path):
    broken = root / "mine" / "train" / "dark" / "0.png"
    broken.write_bytes(broken.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"dark/0\.png: not a readable image"):
        load(root)
    shutil.rmtree(root / "mine" / "train" / "light")
    (root / "mine" / "train" / "light").mkdir()
    with pytest.raises(UserError, match=r"train: .*light.*; it must hold one folder of images a"):
        load(root)
    (root / "mine" / "train" / "light").rmdir()
    with pytest.raises(UserError, match="differ in classes: light"):
        load(root)
    with pytest.raises(UserError, match="nothing"):
        image_folder.load(source="files", root=root, seed=0, folder="nothing")
