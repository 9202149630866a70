"""Official files of published datasets, which are downloaded and verified before they are read."""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
from torchvision.datasets.utils import download_url

from basins.errors import UserError

# All names in a pickled array, in numpy 1 and 2.
ARRAY = {
    *((f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}


def download(title: str, urls: Iterable[str], folder: Path, md5: str) -> Path:
    """Download a file into `folder` from the first URL that works, and return its path.

    Raises `UserError` if no URL provides the file with this md5.
    """
    said: Exception | None = None
    for url in urls:
        name = url.rpartition("/")[2]
        try:
            download_url(url, str(folder), name, md5)
        except (URLError, RuntimeError, ValueError) as error:
            said = error
        else:
            return folder / name
    line = " ".join(str(said).split())
    raise UserError(f"{title}: could not be downloaded ({line}); see `files`")


def extract(archive: Path, members: Iterable[str], root: Path) -> None:
    """Extract only these files of a tar archive into `root`, under their own names.

    The archive's paths, links, owners and modes are ignored. Raises `UserError` if it is damaged,
    or a file is missing.
    """
    try:
        with tarfile.open(archive) as tar:
            for name in members:
                member = tar.extractfile(tar.getmember(name))
                if member is None:
                    raise KeyError(f"{name} is no file")
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_bytes(member.read())
    except (tarfile.TarError, EOFError, KeyError, OSError) as error:
        line = " ".join(str(error).split())
        raise UserError(f"{archive}: not readable ({line}); delete it and try again") from None


def complete(folder: Path, official: Mapping[str, str]) -> bool:
    """Return whether each official file, a name and an md5, is in the folder and undamaged."""
    return not any(_faults(_read(folder, official), official).values())


def contents(
    title: str, folder: Path, official: Mapping[str, str], remedy: str
) -> dict[str, bytes]:
    """Return the bytes of each official file, a name and an md5, in the folder.

    They are read once, so the verified bytes are those that are used. Raises `UserError` naming
    files that are missing or damaged; `remedy` says what to do, and is followed by the names of the
    folder of real data.
    """
    read = _read(folder, official)
    if found := [f"{what} {', '.join(n)}" for what, n in _faults(read, official).items() if n]:
        raise UserError(
            f"{title} in {folder}: {'; '.join(found)}. {remedy} `data_root` (params.yaml) or the "
            "folder that BASINS_DATA names"
        )
    return read


def unpickle(content: bytes, where: str) -> dict[str, Any]:
    """Return a pickled dict of plain values and byte arrays, without running any of its code.

    An md5 can be forged, so safety does not depend on it: the only supported name is numpy's array,
    which is replaced by a record of its arguments. Raises `UserError` for anything else.
    """
    try:
        found = _Unpickler(io.BytesIO(content), encoding="latin1").load()
        if type(found) is not dict:
            raise TypeError(f"{type(found).__name__} instead of dict")
        return {key: _plain(value) for key, value in found.items()}
    except Exception as error:  # a malicious file may cause anything
        line = " ".join(str(error).split())[:120]
        raise UserError(f"{where}: not as published ({type(error).__name__}: {line})") from None


class _Record:
    """The arguments of a pickled array or dtype."""

    def __init__(self, *args: Any) -> None:
        self.args = args
        self.state: Any = ()

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ARRAY:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which could run code")
        return type("Array", (_Record,), {})  # a new class, since a pickle can set its attributes


def _plain(value: Any) -> Any:
    if not isinstance(value, _Record):
        return value
    _, shape, dtype, fortran, raw = value.state
    if dtype.args[0] not in ("u1", "|u1") or fortran:
        raise ValueError("an array that is not of bytes in C's order")
    held = raw.encode("latin1") if isinstance(raw, str) else raw
    return np.frombuffer(held, np.uint8).reshape(shape)


def _read(folder: Path, official: Mapping[str, str]) -> dict[str, bytes]:
    return {n: (folder / n).read_bytes() for n in official if (folder / n).is_file()}


def _faults(read: Mapping[str, bytes], official: Mapping[str, str]) -> dict[str, list[str]]:
    return {
        "missing": [name for name in official if name not in read],
        "damaged": [n for n in read if hashlib.md5(read[n]).hexdigest() != official[n]],
    }
