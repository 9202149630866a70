"""The tidy tables of a profile, under `reports/<profile>/results/`."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from basins.errors import UserError
from basins.store import whole_file

TABLES = (
    "paths",
    "barriers",
    "probes",
    "samples",
    "invariance",
    "clusters",
    "cluster_choice",
    "association",
    "pair_types",
    "pair_barriers",
    "summary/paths",
    "summary/barriers",
    "summary/probes",
    "summary/invariance",
)
LARGE = frozenset({"paths", "barriers", "probes"})
BASE = "base_rate"
"""The accuracy of always predicting the most frequent class, for comparison with accuracy."""

# On models that others published; the same for every profile (stages/published.py).
PUBLISHED = Path("reports/published/published_models.csv")
APART = (
    "toy",
    "plane",
    "sharpness",
    "merge",
    "aspects",
)  # kinds whose tables are not gathered
# Folders of rows that stages write.
KINDS = ("data", "models", "connect", "outcomes", "probe", "clusters", *APART)


def file_of(folder: Path, name: str) -> Path:
    """Return the file of a gathered table; large tables are compressed."""
    return folder / (f"{name}.csv.gz" if name in LARGE else f"{name}.csv")


def read(file: Path) -> pd.DataFrame:
    """Read one table; raises `UserError` if it is missing or not a table."""
    try:
        return pd.read_csv(file, keep_default_na=False, na_values=["", "nan"])
    except FileNotFoundError:
        raise UserError(f"{file}: no such results; run `dvc repro` first") from None
    except (ValueError, UnicodeDecodeError) as error:
        what = " ".join(str(error).split())
        raise UserError(f"{file}: not a readable table ({what}); run `dvc repro`") from None


def write(table: pd.DataFrame, file: Path) -> None:
    """Write a table as a whole, with seven significant digits; a `.gz` is compressed."""
    text = table.to_csv(index=False, float_format="%.7g", lineterminator="\n").encode()
    with whole_file(file) as partial:  # mtime 0: equal rows give equal bytes
        partial.write_bytes(gzip.compress(text, mtime=0) if file.suffix == ".gz" else text)


def rounded(content: Any) -> Any:
    """Return the content of a JSON file, its numbers rounded to seven digits as in tables.

    The last of sixteen digits depends on the processor's order of summation. The mean of rounded
    rows is often half-way between two numbers of seven digits, where it would decide the rounding;
    so numbers are first multiplied by 1 + 1e-10.
    """
    if isinstance(content, float):
        return float(f"{content * (1 + 1e-10):.7g}")
    if isinstance(content, Mapping):
        return {key: rounded(value) for key, value in content.items()}
    return [rounded(value) for value in content] if isinstance(content, list) else content


def gather(files: Iterable[Path], columns: Sequence[str] = ()) -> pd.DataFrame:
    """Read several tables of one kind as one; without files, an empty one with these columns."""
    tables = [read(file) for file in files]
    if not tables:
        return pd.DataFrame(columns=list(columns))
    return pd.concat(tables, ignore_index=True)


def read_all(folder: Path) -> Mapping[str, pd.DataFrame]:
    """Read every table of a profile's results, gathered or not, by name."""
    apart = sorted(
        f"{kind}/{file.stem}" for kind in APART for file in (folder / kind).glob("*.csv")
    )
    tables = {name: read(file_of(folder, name)) for name in (*TABLES, *apart)}
    return {**tables, "published_models": read(PUBLISHED)}
