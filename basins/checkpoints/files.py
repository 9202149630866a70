"""Read a user's data from a path as splits: saved datasets, tables in files, or images."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from datasets import Dataset, DatasetDict, load_dataset, load_from_disk
from datasets.utils.logging import disable_progress_bar
from pyarrow import csv
from pyarrow.json import read_json
from pyarrow.parquet import read_table

from basins.checkpoints.states import short
from basins.errors import UserError
from basins.store import file_hash, folder_hash

Splits = dict[str, Dataset]

HUB = re.compile(r"hub:(?P<name>[\w.-]+(/[\w.-]+)?)(:(?P<config>[\w.-]+))?(@(?P<revision>\w+))?")
ENCODING = "utf-8-sig"  # with or without a byte order mark
INDEX = re.compile(r"__index_level_\d+__")  # column in which pandas stores a frame's index
PINNED = re.compile(r"[0-9a-f]{40}")
SHOWN = "[!.]*"  # not `.ipynb_checkpoints`, or the `._test.csv` of a Mac
IMAGES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"))


def splits(data: Path | str) -> Splits:
    """Return the splits of a dataset, by name.

    Args:
        data: the folder of a `datasets.DatasetDict` or `Dataset`; a table (`.csv`, `.tsv`,
            `.jsonl`, `.json`, `.parquet`, `.txt`), or a folder of tables, each a split with the
            file's name; a folder of images, `<split>/<class>/<image>` or `<class>/<image>`; or a
            dataset on the hub at a fixed commit: `hub:OWNER/NAME[:CONFIG]@COMMIT`.

    Raises:
        UserError: it is none of these, or is not readable.
    """
    disable_progress_bar()
    if hub := HUB.fullmatch(str(data)):
        return _from_hub(str(data), hub)
    path = Path(data)
    if path.suffix in TABLES and path.is_file():
        return {path.stem: _table(path)}
    if not path.is_dir():
        known = ", ".join(TABLES)
        raise UserError(f"{data}: not a DatasetDict on disk, and no table ({known})")
    saved = any((path / name).exists() for name in ("dataset_dict.json", "state.json"))
    tables = sorted(file for file in path.glob(SHOWN) if file.suffix in TABLES)
    if not saved and any(_images(path)):
        return _pictures(path)
    if not saved and tables:
        found: Splits = {}
        for file in tables:
            if file.stem in found:
                raise UserError(f"{path}: two files of the split {file.stem!r}; keep one")
            found[file.stem] = _table(file)
        return found
    with _reading(data, "not a DatasetDict on disk"):
        loaded = load_from_disk(str(path))
    return _named(loaded)


def identity(data: Path | str) -> str:
    """Return what identifies a dataset: a hash of its files, or of its name on the hub."""
    path = Path(data)
    if path.is_dir():
        return folder_hash(path)
    return file_hash(path) if path.is_file() else hashlib.sha256(str(data).encode()).hexdigest()


def _named(loaded: Dataset | DatasetDict) -> Splits:
    if isinstance(loaded, Dataset):
        return {"data": loaded}
    return {str(name): split for name, split in loaded.items()}


def _from_hub(data: str, asked: re.Match[str]) -> Splits:
    revision = asked["revision"]
    if revision is None or not PINNED.fullmatch(revision):
        raise UserError(
            f"{data}: pin the revision, so that it stays the same data: hub:{asked['name']}@COMMIT "
            "with the 40 digits of the commit"
        )
    with _reading(data, "not to be had from the hub"):
        return _named(load_dataset(asked["name"], asked["config"], revision=revision))


def _images(path: Path) -> Iterator[Path]:
    """Yield image files, `<class>/<image>` or `<split>/<class>/<image>`."""
    for pattern in (f"{SHOWN}/{SHOWN}", f"{SHOWN}/{SHOWN}/{SHOWN}"):
        yield from (file for file in path.glob(pattern) if file.suffix.lower() in IMAGES)


def _pictures(path: Path) -> Splits:
    """Return splits of images, of any sizes, whose classes are the sorted names of folders."""
    from datasets import ClassLabel, Features, Image, Value

    deep = not any(file.parent.parent == path for file in _images(path))
    folders = sorted(folder for folder in path.glob(SHOWN) if folder.is_dir()) if deep else [path]
    found = {}
    for folder in folders:
        classes = sorted(below.name for below in folder.glob(SHOWN) if below.is_dir())
        files = [
            (str(file), number)
            for number, name in enumerate(classes)
            for file in sorted((folder / name).glob(SHOWN))
            if file.suffix.lower() in IMAGES
        ]
        if not files:
            raise UserError(f"{folder}: no images; put them into <class>/<image> there")
        if empty := [name for k, name in enumerate(classes) if all(k != n for _, n in files)]:
            warnings.warn(
                f"{folder}: no image of {', '.join(empty)}, which is a class", stacklevel=2
            )
        columns = {"image": [file for file, _ in files], "label": [number for _, number in files]}
        kinds = Features(image=Value("string"), label=ClassLabel(names=classes))
        split = Dataset.from_dict(columns, kinds).cast_column("image", Image())
        found["data" if folder == path else folder.name] = split
    return found


def _table(file: Path) -> Dataset:
    with _reading(file, "not readable"):
        table = TABLES[file.suffix](file)
        return table if isinstance(table, Dataset) else Dataset(table)


def _array(file: Path) -> Dataset:
    rows = json.loads(file.read_text(ENCODING))
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise ValueError("no list of rows; a row a line is .jsonl")
    return Dataset.from_list(rows)


def _separated(by: str) -> Callable[[Path], pa.Table]:
    quoted = csv.ParseOptions(delimiter=by, newlines_in_values=True)

    def read(file: Path) -> pa.Table:
        table = csv.read_csv(file, parse_options=quoted)
        [first, *others] = table.column_names
        if not others and any(other in first for other in ",;|\t"):
            raise ValueError(f"one column, {first!r}; .csv has commas between columns, .tsv tabs")
        texts = [c for c in table.columns if by == "\t" and pa.types.is_string(c.type)]
        if any(v and "\t" in v and "\n" in v for column in texts for v in column.to_pylist()):
            raise ValueError("a quote is not closed where it should be, and rows are lost in it")
        return table

    return read


def _columns(file: Path) -> pa.Table:
    table = read_table(file)
    return table.select([name for name in table.column_names if not INDEX.fullmatch(name)])


def _lines(file: Path) -> Dataset:
    return Dataset.from_dict({"text": file.read_text(ENCODING).splitlines()})


TABLES: dict[str, Callable[[Path], pa.Table | Dataset]] = {
    ".csv": _separated(","),
    ".tsv": _separated("\t"),
    ".jsonl": read_json,
    ".json": _array,
    ".parquet": _columns,
    ".txt": _lines,
}


@contextmanager
def _reading(data: Path | str, what: str) -> Iterator[None]:
    """Turn any error that the libraries raise for a user's files into a one-line `UserError`."""
    try:
        yield
    except Exception as error:  # pyarrow, datasets and the hub share no narrower type
        raise UserError(f"{data}: {what} ({short(error)})") from None
