"""CoLA 1.1 (Warstadt, Singh and Bowman 2019), as published.

LCRGS section 2: test is the in-domain development set, and the diagnostic the out-of-domain one,
whose sentences are from sources that do not occur in training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from basins.data import glue
from basins.data.acceptability import CLASSES
from basins.data.text import TextData, pick

LABELS = {"0": 0, "1": 1}
HUB_LABELS = {name: label for label, name in enumerate(CLASSES)}
HEADER = ("source", "label", "mark", "sentence")
COLUMNS = {name: (name,) for name in ("sentence", "label", "source", "mark")}
FILES = {"train": "in_domain_train", "test": "in_domain_dev", "ood": "out_of_domain_dev"}
IN_DOMAIN = 527  # first rows of GLUE's development set; the other 516 are out of domain


def load(
    *,
    source: Literal["files", "hub"],
    root: Path,
    seed: int,
    train: Annotated[int, Field(ge=2)] | None = None,
) -> TextData:
    """Return `train` rows of CoLA, or all, its in-domain and its out-of-domain development set.

    All are shuffled once. With `files`, `root/text/cola/` must contain the three official tables
    (from the archive's folder `raw`); with `hub`, GLUE is downloaded at a pinned revision, without
    the columns `source` and `mark` (the linguist's original mark). Label 1 is acceptable. Training
    rows that repeat an earlier one in all columns are left out. Raises `UserError`, naming the file
    and line, if something is missing or wrong.
    """
    if source == "hub":
        known = {s: glue.hub("cola", s, ("sentence",), HUB_LABELS) for s in ("train", "validation")}
        development = known["validation"]
        count = len(development["label"])
        found = {
            "train": known["train"],
            "test": pick(development, range(IN_DOMAIN)),
            "ood": pick(development, range(IN_DOMAIN, count)),
        }
        read = {f"{glue.GLUE} cola": glue.REVISION}
    else:
        files = {k: glue.locate(root, "text/cola", (f"{name}.tsv",)) for k, name in FILES.items()}
        found = {k: glue.read(f, COLUMNS, LABELS, header=HEADER) for k, f in files.items()}
        read = glue.checksums(root, files.values())
    sizes = {"train": train, "test": None, "ood": None}
    found["train"] = glue.distinct(found["train"])
    rows = {k: glue.sample(f"cola, {k}", found[k], size, seed) for k, size in sizes.items()}
    return TextData(rows, dict.fromkeys(rows, CLASSES), read)
