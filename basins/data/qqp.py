"""Quora question pairs, and PAWS-QQP (Zhang, Baldridge and He 2019), as published.

LCRGS section 2: training and in-domain test are QQP's, test being its development set, and PAWS-QQP
is the diagnostic. Its training pairs are the pool of counterexamples.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from basins.data import glue
from basins.data.paraphrase import CLASSES
from basins.data.text import TextData, fields, pick

LABELS = {"0": 0, "1": 1}
HUB_LABELS = {"not_duplicate": 0, "duplicate": 1}
COLUMNS = {
    "question1": ("question1", "sentence1"),
    "question2": ("question2", "sentence2"),
    "label": ("is_duplicate", "label"),
}
# The names in GLUE's archive, and those of a subset as JSON lines.
TRAIN, DEVELOPMENT = ("train.tsv", "train_subset.jsonl"), ("dev.tsv", "dev_subset.jsonl")
PAWS = ("train", "dev_and_test")


def load(
    *,
    source: Literal["files", "hub"],
    root: Path,
    seed: int,
    train: Annotated[int, Field(ge=2)] | None = None,
    test: Annotated[int, Field(ge=2)] | None = None,
    pool: glue.Share = 1.0,
) -> TextData:
    """Return `train` and `test` rows of QQP, or all, shuffled once; and PAWS-QQP.

    Label 1 is a duplicate. Rows with an empty question, repeated training rows, and PAWS's training
    rows that share a question with its development and test rows are left out.

    Args:
        source: with `files`, `root/text/qqp/` must contain the training and the development set, as
            GLUE's tables or as JSON lines; with `hub`, GLUE is downloaded at a pinned revision.
        root: the folder of real data. In both cases `root/text/paws_qqp/` must contain `train.tsv`
            and `dev_and_test.tsv`, which the authors' script makes from QQP.
        seed: of the shuffles.
        train: the number of training rows, at least 2; None means all.
        test: the number of test rows, at least 2; None means all.
        pool: the approximate share of PAWS's training rows that are counterexamples, from 0 to 1;
            the others, which share no question with them, are added to the diagnostic.

    Raises:
        UserError: something is missing or wrong; the message names the file and the line.
    """
    paws = [glue.locate(root, "text/paws_qqp", (f"{name}.tsv",)) for name in PAWS]
    if source == "hub":
        splits, files = ("train", "validation"), []
        names = ("question1", "question2")
        found = [glue.hub("qqp", split, names, HUB_LABELS) for split in splits]
        read = {f"{glue.GLUE} qqp": glue.REVISION}
    else:
        files = [glue.locate(root, "text/qqp", names) for names in (TRAIN, DEVELOPMENT)]
        found, read = [glue.read(file, COLUMNS, LABELS) for file in files], {}
    training, official = (glue.read(file, COLUMNS, LABELS) for file in paws)
    known = {question for name in fields(official) for question in official[name]}
    pairs = zip(*(training[name] for name in fields(training)), strict=True)
    training = pick(training, [row for row, pair in enumerate(pairs) if known.isdisjoint(pair)])
    taken, held = (pick(training, rows) for rows in glue.halves("paws", training, pool, seed))
    diagnostic = {name: [*values, *held[name]] for name, values in official.items()}
    rows = {
        "train": glue.sample("qqp, train", glue.distinct(found[0]), train, seed),
        "test": glue.sample("qqp, test", found[1], test, seed),
        "paws": glue.sample("paws", diagnostic, None, seed),
    }
    if taken["label"]:
        rows["counterexamples"] = glue.sample("paws, train", taken, None, seed)
    read |= glue.checksums(root, [*files, *paws])
    return TextData(rows, dict.fromkeys(rows, CLASSES), read)
