"""Fashion-MNIST from its official files, on files of a few images, and the real ones."""

import gzip
import hashlib
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import FashionMNIST

from basins.data import fashion_mnist
from basins.errors import UserError

RNG = np.random.default_rng(0)
PIXELS = {
    name: RNG.integers(0, 256, (n, 28, 28), np.uint8) for name, n in (("train", 30), ("t10k", 12))
}
LABELS = {name: RNG.integers(0, 10, len(pixels), np.uint8) for name, pixels in PIXELS.items()}
FILES = [f"{split}-{kind}-ubyte.gz" for split in PIXELS for kind in ("images-idx3", "labels-idx1")]


def idx(content: np.ndarray) -> bytes:
    header = struct.pack(f">HBB{content.ndim}I", 0, 8, content.ndim, *content.shape)
    return gzip.compress(header + content.tobytes())


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    contents = [content for name in PIXELS for content in (PIXELS[name], LABELS[name])]
    files = {name: idx(content) for name, content in zip(FILES, contents, strict=True)}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    md5 = [(name, hashlib.md5(content).hexdigest()) for name, content in files.items()]
    monkeypatch.setattr(FashionMNIST, "resources", md5)
    monkeypatch.setattr(FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])
    return tmp_path


@pytest.mark.parametrize("source", ["files", "hub"])
def test_images_are_those_of_the_paper_s_transforms(root, source) -> None:
    data = fashion_mnist.load(source=source, root=root, seed=0)
    assert data.classes[:2] == ("T-shirt/top", "Trouser")
    assert list(data.checksums) == FILES
    for split, name in ((data.train, "train"), (data.test, "t10k")):
        assert (split.images.dtype, split.labels.dtype) == (np.uint8, np.int64)
        np.testing.assert_array_equal(split.labels, LABELS[name])
        for image, pixels in zip(split.images, PIXELS[name], strict=True):
            coloured = Image.fromarray(pixels).convert("RGB")
            expected = coloured.resize((32, 32), Image.Resampling.BILINEAR)
            np.testing.assert_array_equal(image, np.asarray(expected))


def test_fewer_are_the_first(root) -> None:
    few = fashion_mnist.load(source="files", root=root, seed=0, train=11, test=10)
    every = fashion_mnist.load(source="files", root=root, seed=0)
    np.testing.assert_array_equal(few.train.images, every.train.images[:11])
    np.testing.assert_array_equal(few.test.labels, every.test.labels[:10])


@pytest.mark.parametrize("name", FILES)
def test_what_is_missing_or_damaged_is_named(root, name) -> None:
    file = root / "FashionMNIST" / "raw" / name
    file.write_bytes(idx(np.zeros(3, np.uint8)))
    with pytest.raises(UserError, match=rf"^Fashion-MNIST in .*: damaged {name}\. Put the off.*$"):
        fashion_mnist.load(source="files", root=root, seed=0)
    file.unlink()
    with pytest.raises(UserError, match=rf": missing {name}\. .*`data_root`.*BASINS_DATA names$"):
        fashion_mnist.load(source="files", root=root, seed=0)


def test_a_failed_download_is_one_line(root) -> None:
    (root / "FashionMNIST" / "raw" / FILES[0]).unlink()
    with pytest.raises(
        UserError, match=r"^Fashion-MNIST: could not be downloaded \(.*\); see `fil"
    ):
        fashion_mnist.load(source="hub", root=root, seed=0)


@pytest.mark.real
def test_the_real_files() -> None:
    root = Path(os.environ.get("BASINS_DATA", ""))
    if not os.environ.get("BASINS_DATA") or not (root / "FashionMNIST" / "raw").is_dir():
        pytest.skip("BASINS_DATA names no folder with FashionMNIST/raw/")
    data = fashion_mnist.load(source="files", root=root, seed=0)
    assert data.train.images.shape == (60_000, 32, 32, 3)
    assert data.test.images.shape == (10_000, 32, 32, 3)
    assert np.bincount(data.train.labels).tolist() == [6000] * 10
    assert data.train.labels[:5].tolist() == [9, 0, 0, 3, 0]
    # The mean that is quoted for its training images: .2860, at their own size.
    assert abs(data.train.images.mean() / 255 - 0.2860) < 0.003
