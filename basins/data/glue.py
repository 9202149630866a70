"""Reads published text datasets: JSON lines, tab-separated tables, and GLUE from the hub."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import datasets
import numpy as np
from datasets.exceptions import DatasetsError
from pydantic import Field
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from basins import seeds
from basins.data.text import Columns, fields, pick, repeated
from basins.errors import UserError

GLUE = "nyu-mll/glue"
REVISION = "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c"
BROKEN = 1e-3  # allowed share of broken lines; GLUE's QQP has three, due to line breaks

Names = Mapping[str, Sequence[str]]
Share = Annotated[float, Field(ge=0, le=1)]


def locate(root: Path, folder: str, names: Sequence[str]) -> Path:
    """Return the first of the files that exists in `root/folder`; raises `UserError` if none."""
    found = [root / folder / name for name in names if (root / folder / name).is_file()]
    if not found:
        raise UserError(
            f"{root / folder}: missing {' or '.join(names)}. Put it there, below `data_root` "
            "(params.yaml) or the folder that BASINS_DATA names"
        )
    return found[0]


def checksums(root: Path, files: Iterable[Path]) -> dict[str, str]:
    """Return the md5 of each file, named relative to `root`."""
    return {
        file.relative_to(root).as_posix(): hashlib.md5(file.read_bytes()).hexdigest()
        for file in files
    }


def read(
    file: Path,
    names: Names,
    labels: Mapping[str, int | None],
    *,
    optional: Sequence[str] = (),
    header: Sequence[str] | None = None,
) -> Columns:
    """Return columns of a file: JSON lines if its suffix is .jsonl, else a tab-separated table.

    Rows without a label or with an empty sentence, and a table's few broken lines, are left out.

    Args:
        file: its path.
        names: for each column, its possible names in the file.
        labels: the number of each label in the file, or None for rows to be treated as unlabelled.
        optional: columns that may be missing.
        header: the names of the columns of a table without a header line.

    Raises:
        UserError: there are no rows, a column is missing or repeated, a line is not a JSON object,
            a cell is not text, a label is not in `labels`, or too many lines of a table are broken;
            the message names the file, and the line if there is one.
    """
    try:
        wanted = [name for theirs in names.values() for name in theirs]
        rows = list(_json(file) if file.suffix == ".jsonl" else _table(file, header, wanted))
    except UnicodeDecodeError:
        rows = []
    if not rows:
        raise UserError(f"{file}: no rows of text in UTF-8; put the published file there")
    there = rows[0][1]
    known = {ours: [name for name in theirs if name in there] for ours, theirs in names.items()}
    if absent := [ours for ours, found in known.items() if not found and ours not in optional]:
        looked = "; ".join(" or ".join(names[ours]) for ours in absent)
        raise UserError(f"{file}: no column {looked}; there are: {', '.join(there):.200}")
    chosen = {ours: found[0] for ours, found in known.items() if found}
    columns: Columns = {ours: [] for ours in chosen}
    for line, row in rows:
        for ours, theirs in chosen.items():
            if theirs not in row:
                raise UserError(f"{file}, line {line}: no {theirs!r}; mend or remove it")
            value = _text(file, line, ours, row[theirs])
            columns[ours].append(_label(file, line, value, labels) if ours == "label" else value)
    return usable(columns)


def usable(columns: Columns) -> Columns:
    """Return the rows that have a label and no empty sentence."""
    named = ("label", *fields(columns))
    rows = enumerate(zip(*(columns[name] for name in named), strict=True))
    return pick(columns, [i for i, (label, *texts) in rows if label is not None and all(texts)])


def distinct(columns: Columns) -> Columns:
    """Return the rows that do not equal an earlier one in all columns."""
    return pick(columns, [row for row, again in enumerate(repeated(columns)) if not again])


def hub(task: str, split: str, names: Sequence[str], labels: Mapping[str, int]) -> Columns:
    """Download a split of a GLUE task; return the sentences `names` and `label` of usable rows.

    Labels are mapped by their names on the hub, never by number. Raises `UserError` if it cannot be
    downloaded.
    """
    try:
        found = datasets.load_dataset(GLUE, task, split=split, revision=REVISION)
    except (OSError, ValueError, DatasetsError) as error:
        line = " ".join(str(error).split())[:200]
        raise UserError(f"{GLUE} {task}: could not be downloaded ({line}); see `files`") from None
    assert isinstance(found, datasets.Dataset)
    named = found.features["label"].names
    columns = {name: [text.strip() for text in found[name]] for name in names}
    known = [labels[named[k]] if k >= 0 else None for k in found["label"]]
    return usable(columns | {"label": known})


def sample(where: str, columns: Columns, size: int | None, seed: int) -> Columns:
    """Return `size` of the rows, or all, shuffled by a stream named after `where`.

    A smaller size gives the first rows of a larger one. Raises `UserError` if there are too few.
    """
    count = len(columns["label"])
    if size is not None and size > count:
        raise UserError(f"{where}: {size} rows are asked for, and there are {count}; ask for fewer")
    order = seeds.generator("rows", where, seed).permutation(count)
    return pick(columns, order[:size].tolist())


def halves(where: str, columns: Columns, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Split rows at random into a part of about that share and the rest; return their indices.

    No sentence is in both parts: rows connected by shared sentences stay together. The stream is
    named after `where`.
    """
    numbers: dict[str, int] = {}
    pairs = [
        [numbers.setdefault(sentence, len(numbers)) for sentence in columns[name]]
        for name in fields(columns)
    ]
    first, second = pairs[0], pairs[-1]
    links = coo_array((np.ones(len(first)), (first, second)), shape=(len(numbers),) * 2)
    count, together = connected_components(links, directed=False)
    drawn = seeds.generator("halves", where, seed).random(count) < share
    chosen = drawn[together[first]]
    return np.flatnonzero(chosen).tolist(), np.flatnonzero(~chosen).tolist()


def _text(file: Path, line: int, column: str, value: Any) -> str:
    """Return a cell as stripped text; in JSON a label may be a number."""
    if isinstance(value, str) or (column == "label" and type(value) is int):
        text = str(value).strip()
        if text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text):
            return text
    raise UserError(f"{file}, line {line}: {value!r:.60} is no text; mend or remove it")


def _json(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with file.open(encoding="utf-8-sig", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                raise UserError(f"{file}, line {number}: not a JSON object; mend or remove it")
            yield number, row


def _table(
    file: Path, header: Sequence[str] | None, wanted: Sequence[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of a table without quoting: quotation marks belong to the sentences."""
    with file.open(encoding="utf-8-sig", newline="\n") as lines:
        cells = ((n, line.rstrip("\r\n").split("\t")) for n, line in enumerate(lines, start=1))
        if header is None:
            _, header = next(cells, (0, []))
            if repeated := {name for name in wanted if header.count(name) > 1}:
                raise UserError(f"{file}: two columns {min(repeated)!r}; remove one")
        total, broken = 0, []
        for number, row in cells:
            total += 1
            if len(row) == len(header):
                yield number, dict(zip(header, row, strict=True))
            else:
                broken.append(number)
    if len(broken) > BROKEN * total:
        raise UserError(
            f"{file}: {len(broken)} of {total} lines do not have {len(header)} columns (the first "
            f"is line {broken[0]}); put the published file there"
        )


def _label(file: Path, line: int, value: str, labels: Mapping[str, int | None]) -> int | None:
    if value not in labels:
        known = ", ".join(labels)
        raise UserError(f"{file}, line {line}: label {value!r:.40} is not one of {known}")
    return labels[value]
