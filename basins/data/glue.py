"""Published text as it is published: JSON lines and tables of tabs, and GLUE from the hub."""

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
BROKEN = 1e-3  # of the lines of a file; GLUE's own QQP has three that a line break has cut

Names = Mapping[str, Sequence[str]]
Share = Annotated[float, Field(ge=0, le=1)]


def locate(root: Path, folder: str, names: Sequence[str]) -> Path:
    """Return the first of the files that there is in `root/folder`; raises `UserError` if none."""
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
    """Return columns of a file: JSON lines if it is called .jsonl, else a table of tabs.

    Left out are rows without a label, rows with an empty sentence, and a table's few broken lines.

    Args:
        file: where it is.
        names: for each column, what it may be called in the file.
        labels: by the label's name in the file, its number, or None for a row that has none.
        optional: which columns the file may lack.
        header: the names of the columns in a table without a first line of them.

    Raises:
        UserError: naming the file, and the line where it is one: if there are no rows, a column is
            missing or there twice, a line is no JSON object, a cell is no text, a label is not
            among `labels`, or more than a few lines of a table are broken.
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
    """Return the rows that are not equal, in all columns, to an earlier one."""
    return pick(columns, [row for row, again in enumerate(repeated(columns)) if not again])


def hub(task: str, split: str, names: Sequence[str], labels: Mapping[str, int]) -> Columns:
    """Download a split of a GLUE task and return its usable rows' sentences `names` and `label`.

    Labels go by the names that the hub gives them, never by their numbers. Raises `UserError` where
    it cannot be downloaded.
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

    Fewer are the first of more. Raises `UserError` where there are not so many.
    """
    count = len(columns["label"])
    if size is not None and size > count:
        raise UserError(f"{where}: {size} rows are asked for, and there are {count}; ask for fewer")
    order = seeds.generator("rows", where, seed).permutation(count)
    return pick(columns, order[:size].tolist())


def halves(where: str, columns: Columns, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Return which rows are in a random part of about that share, and which are in the other.

    No sentence is in both: rows that share one, or share one with the same row, stay together. The
    stream is named after `where`.
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
    """Return a cell, of JSON perhaps a label that is a number, without the space around it."""
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
    """Yield the rows of a table without quotes: quotation marks in it are the sentences' own."""
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
