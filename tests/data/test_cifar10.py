"""CIFAR-10 from its official files: all there, all undamaged, or named; none of their code runs."""

import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torchvision.datasets import CIFAR10

from basins.data import cifar10
from basins.errors import UserError

BATCHES = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
FILES = [*BATCHES, "batches.meta"]
NAMES = list("abcdefghij")


class Trap:
    """What runs as soon as it is unpickled."""

    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.flag,)


def trust(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the files in `folder` the official ones."""
    md5 = {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in FILES}
    listed = [[name, md5[name]] for name in BATCHES]
    monkeypatch.setattr(CIFAR10, "train_list", listed[:5])
    monkeypatch.setattr(CIFAR10, "test_list", listed[5:])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": md5["batches.meta"]})


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with batches of four images; all pixels of the i-th have the value i."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for i, name in enumerate(BATCHES):
        numbers = np.arange(4 * i, 4 * i + 4, dtype=np.uint8)
        data = np.repeat(numbers[:, None], 3072, axis=1)
        data[:, 1024:2048] += 100  # green
        data[:, 32:64] += 50  # the second row of red
        batch = {"data": data, "labels": [int(n) % 10 for n in numbers]}
        (folder / name).write_bytes(pickle.dumps(batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": NAMES}))
    trust(folder, monkeypatch)
    return tmp_path


@pytest.mark.parametrize("source", ["files", "hub"])
def test_the_batches_are_read_in_the_official_order(root: Path, source: Any) -> None:
    data = cifar10.load(source=source, root=root, seed=0)
    assert data.classes == tuple(NAMES)
    assert set(data.checksums) == set(FILES)
    for split, numbers in ((data.train, range(20)), (data.test, range(20, 24))):
        assert split.images.shape == (len(numbers), 32, 32, 3)
        assert (split.images.dtype, split.labels.dtype) == (np.uint8, np.int64)
        assert split.labels.tolist() == [n % 10 for n in numbers]
        for image, n in zip(split.images, numbers, strict=True):
            assert image[0, 0].tolist() == [n, n + 100, n]
            assert image[1, 0].tolist() == [n + 50, n + 100, n]


def test_fewer_are_the_first(root: Path) -> None:
    data = cifar10.load(source="files", root=root, seed=0, train=11, test=2)
    assert data.train.images[:, 0, 0, 0].tolist() == list(range(11))
    assert data.test.images[:, 0, 0, 0].tolist() == [20, 21]


@pytest.mark.parametrize("name", ["data_batch_1", "test_batch", "batches.meta"])
def test_a_missing_file_is_named(root: Path, name: str) -> None:
    (root / "cifar-10-batches-py" / name).unlink()
    assert f": missing {name}. Unpack the official cifar-10-python.tar.gz" in refusal(root)


@pytest.mark.parametrize("name", ["data_batch_5", "test_batch", "batches.meta"])
@pytest.mark.parametrize("cut", [0, 1, -1])
def test_a_damaged_file_is_named(root: Path, name: str, cut: int) -> None:
    file = root / "cifar-10-batches-py" / name
    content = file.read_bytes()
    file.write_bytes(content[:cut] if cut < 1 else content[:-1] + b"\x00")
    assert f": damaged {name}. Unpack" in refusal(root)


def test_all_that_is_wrong_is_said_at_once(root: Path) -> None:
    folder = root / "cifar-10-batches-py"
    (folder / "data_batch_1").unlink()
    (folder / "data_batch_2").unlink()
    (folder / "test_batch").write_bytes(b"")
    assert "missing data_batch_1, data_batch_2; damaged test_batch." in refusal(root)
    assert ", ".join(FILES) in refusal(root / "nowhere")


@pytest.mark.parametrize("name", FILES)
def test_nothing_runs_whatever_the_md5(root, monkeypatch, name: str) -> None:
    folder, flag = root / "cifar-10-batches-py", root / "flag"
    (folder / name).write_bytes(pickle.dumps(Trap(flag)))
    assert f"damaged {name}." in refusal(root)
    trust(folder, monkeypatch)
    with pytest.raises(UserError, match=f"{name}: not as published"):
        cifar10.load(source="files", root=root, seed=0)
    assert not flag.exists()
    pickle.loads((folder / name).read_bytes())
    assert flag.exists()  # the trap does work


def refusal(root: Path) -> str:
    with pytest.raises(UserError) as caught:
        cifar10.load(source="files", root=root, seed=0)
    line = str(caught.value)
    assert line.splitlines() == [line]
    assert line.startswith(f"CIFAR-10 in {root / 'cifar-10-batches-py'}: ")
    return line


@pytest.mark.real
def test_the_real_files() -> None:
    root = Path(os.environ.get("BASINS_DATA", ""))
    if not os.environ.get("BASINS_DATA") or not (root / CIFAR10.base_folder).is_dir():
        pytest.skip("BASINS_DATA names no folder with cifar-10-batches-py/")
    data = cifar10.load(source="files", root=root, seed=0)
    assert data.train.images.shape == (50_000, 32, 32, 3)
    assert data.test.images.shape == (10_000, 32, 32, 3)
    assert np.bincount(data.train.labels).tolist() == [5000] * 10
    assert np.bincount(data.test.labels).tolist() == [1000] * 10
    assert data.train.labels[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    assert data.classes[:3] == ("airplane", "automobile", "bird")
    theirs = {name: CIFAR10(str(root), train=name == "train") for name in ("train", "test")}
    for name, split in (("train", data.train), ("test", data.test)):
        np.testing.assert_array_equal(split.images, theirs[name].data)
        assert split.labels.tolist() == theirs[name].targets
    # The means that are quoted for its training images: .4914, .4822, .4465.
    means = data.train.images.mean(axis=(0, 1, 2)) / 255
    np.testing.assert_allclose(means, [0.4914, 0.4822, 0.4465], atol=5e-4)
