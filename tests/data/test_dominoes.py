"""Dominoes: which image lies above, in which grey, and on files in their official formats."""

import gzip
import hashlib
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torchvision.datasets import CIFAR10, FashionMNIST

from basins.data import cifar10, cued, fashion_mnist, glyphs
from basins.data.cues.dominoes import Dominoes, cue
from basins.data.images import Split
from basins.errors import UserError
from basins.probes import counterfactual

BANK = Split(  # every image above is its own number, from 128
    np.arange(128, 134, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 4, 3), np.uint8),
    np.array([0, 0, 1, 1, 0, 1]),
)
DOMINOES = Dominoes(BANK, 2, {})
GLYPHS = {"name": "glyphs", "train": 30, "test": 20, "size": 8}
GIVEN: dict[str, Any] = {"source": "synthetic", "root": Path(), "seed": 5}


def test_the_nth_of_a_class_is_tied_to_the_nth_of_that_class() -> None:
    assert DOMINOES.assign(np.array([1, 0, 1, 0, 1]), 2).tolist() == [2, 0, 3, 1, 5]


def test_random_codes_are_uniform_over_as_many_as_there_are_images() -> None:
    bank = Split(np.zeros((30_000, 1, 1, 3), np.uint8), np.zeros(30_000, np.int64))
    codes = Dominoes(bank, 1, {}).randomise(np.random.default_rng(0), 20_000, 1)
    assert (codes.shape, codes.min() >= 0, codes.max() < 20_000) == ((20_000,), True, True)
    counts = np.histogram(codes, bins=10, range=(0, 20_000))[0]
    assert (abs(counts - 2000) < 5 * np.sqrt(1800)).all()


def test_images_lie_below_those_of_their_codes_or_black() -> None:
    below = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), np.uint8)
    below.setflags(write=False)
    for codes, above in ((np.array([4, 1]), [132, 129]), (None, [128, 128])):
        images = DOMINOES.draw(below, codes, 2)
        assert (images.shape, images.dtype) == ((2, 8, 4, 3), np.uint8)
        np.testing.assert_array_equal(images[:, 3:], below)
        for image, value in zip(images, above, strict=True):
            assert (image[:3] == value).all()


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_bank_is_the_same_split_of_the_dataset_above(split) -> None:
    made = cue(split, **GIVEN, above=GLYPHS)
    data = glyphs.load(**GIVEN, train=30, test=20, size=8)
    images, labels = getattr(data, split)
    np.testing.assert_array_equal(made.bank.labels, labels)
    # 0 to 255 above is 0 to 1 where 0 to 255 below is -1 to 1.
    exact = (images / 255 + 1) / 2 * 255
    assert abs(made.bank.images - exact).max() < 0.5 + 1e-9
    assert made.bank.images.min() == 128


def test_the_dataset_above_may_have_a_source_and_a_seed_of_its_own() -> None:
    own = GLYPHS | {"source": "synthetic", "seed": 5}
    made = cue("test", source="files", root=Path(), seed=0, above=own)
    np.testing.assert_array_equal(made.bank.images, cue("test", **GIVEN, above=GLYPHS).bank.images)


@pytest.mark.parametrize(
    ("labels", "num_classes", "message"),
    [
        ([0, 1, 2], 3, "the images above are of 2 classes and those below of 3"),
        ([0, 1, 1, 1, 1, 0], 2, "class 1 has 3 images above for the 4 below"),
    ],
)
def test_a_bank_of_other_or_too_few_images_is_refused(labels, num_classes, message) -> None:
    with pytest.raises(UserError, match=f"^the dominoes cue: {message}; .+$"):
        DOMINOES.assign(np.array(labels), num_classes)


def test_too_few_images_for_random_cues_are_refused() -> None:
    with pytest.raises(UserError, match="^the dominoes cue: 6 images above for 7 random cues; .+$"):
        DOMINOES.randomise(np.random.default_rng(0), 7, 2)


def test_another_width_is_refused() -> None:
    with pytest.raises(UserError, match="above are 4 pixels wide and those below 5; .+ same width"):
        DOMINOES.draw(np.zeros((2, 4, 5, 3), np.uint8), None, 2)


@pytest.mark.parametrize(
    ("source", "above", "message"),
    [
        ("synthetic", {"train": 10}, "name: missing"),
        ("synthetic", {"name": 3}, "name: missing"),
        ("synthetic", {"name": "glyph"}, "no 'glyph' in basins/data/; there are: .*glyphs"),
        ("synthetic", GLYPHS | {"colour": 1}, "colour: unknown key; there are: .*noise"),
        ("synthetic", GLYPHS | {"root": "/"}, "root: unknown key"),
        ("synthetic", {"name": "glyphs", "test": 20}, "train: missing"),
        ("files", GLYPHS, "source: 'files' is not allowed: .*'synthetic'"),
    ],
)
def test_a_bad_dataset_above_is_refused_in_one_line(source, above, message) -> None:
    with pytest.raises(UserError, match=rf"^the dominoes cue, above[:.] ?{message}[^\n]*$"):
        cue("train", source=source, root=Path(), seed=0, above=above)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CIFAR-10 with 20 images to train on and ten to test, Fashion-MNIST with 40 and 20."""
    rng = np.random.default_rng(0)

    def write(folder: Path, files: dict[str, bytes]) -> list[tuple[str, str]]:
        folder.mkdir(parents=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return [(name, hashlib.md5(content).hexdigest()) for name, content in files.items()]

    def batch(n: int) -> bytes:
        pixels = rng.integers(0, 256, (n, 3072), np.uint8)
        return pickle.dumps({"data": pixels, "labels": [i % 10 for i in range(n)]})

    def idx(content: np.ndarray) -> bytes:
        header = struct.pack(f">HBB{content.ndim}I", 0, 8, content.ndim, *content.shape)
        return gzip.compress(header + content.tobytes())

    names = pickle.dumps({"label_names": list("abcdefghij")})
    files = {"data_batch_1": batch(20), "test_batch": batch(10), "batches.meta": names}
    train, test, meta = write(tmp_path / "cifar-10-batches-py", files)
    monkeypatch.setattr(CIFAR10, "train_list", [train])
    monkeypatch.setattr(CIFAR10, "test_list", [test])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": meta[1]})
    files = {}
    for split, n in (("train", 40), ("t10k", 20)):
        labels = rng.permutation(np.arange(n, dtype=np.uint8) % 10)
        files[f"{split}-images-idx3-ubyte.gz"] = idx(rng.integers(0, 256, (n, 28, 28), np.uint8))
        files[f"{split}-labels-idx1-ubyte.gz"] = idx(labels)
    resources = write(tmp_path / "FashionMNIST" / "raw", files)
    monkeypatch.setattr(FashionMNIST, "resources", resources)
    return tmp_path


def test_the_paper_s_dominoes_from_official_files(root) -> None:
    given: dict[str, Any] = {"source": "files", "root": root, "seed": 0}
    below, above = cifar10.load(**given), fashion_mnist.load(**given)
    train, test = (cue(s, **given, above={"name": "fashion_mnist"}) for s in ("train", "test"))
    assert train.checksums == above.checksums
    plain, with_cue = cued.draw(below.train, 10, train)
    sets = counterfactual.sets(below.test, 10, test, 0)
    for split in (plain, with_cue, *sets.values()):
        assert split.images.shape == (len(split.labels), 64, 32, 3)
    assert (plain.images[:, :32] == 128).all()
    assert (sets["nc"].images[:, :32] == 128).all()
    for n in range(20):  # the n-th has class n % 10, and is that class's first or second
        tied = np.flatnonzero(above.train.labels == n % 10)[n // 10]
        expected = 128 + above.train.images[tied] // 2
        np.testing.assert_array_equal(with_cue.images[n, :32], expected)
        np.testing.assert_array_equal(with_cue.images[n, 32:], below.train.images[n])
    first = {(128 + image // 2).tobytes() for image in above.test.images[:10]}
    assert all(image[:32].tobytes() in first for image in sets["rc"].images)
    np.testing.assert_array_equal(sets["ri"].images[:, :32], sets["c"].images[:, :32])
