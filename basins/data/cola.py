"""CoLA 1.1 (Warstadt, Singh and Bowman 2019), as published.

LCRGS section 2: test is the in-domain development set, and the diagnostic the out-of-domain one,
whose sentences come from sources that training has not seen.
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
IN_DOMAIN = 527  # GLUE's development set has these, then the 516 that are out of domain


def load(
    *,
    source: Literal["files", "hub"],
    root: Path,
    seed: int,
    train: Annotated[int, Field(ge=2)] | None = None,
) -> TextData:
    """Return `train` rows of CoLA, or all, its in-domain and its out-of-domain development set.

    All are shuffled once. With `files`, `root/text/cola/` must hold the three official tables (of
    the archive's folder `raw`); with `hub`, GLUE is downloaded at a pinned revision, and there are
    no columns `source` and `mark` (the linguist's own). Label 1 is acceptable. Left out are
    training rows that are repeated in all columns. Raises `UserError` naming the file, and the
    line, of what is missing or wrong.
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
