"""MNLI (Williams, Nangia and Bowman 2018) and HANS (McCoy, Pavlick and Linzen 2019), as published.

LCRGS section 2: training and in-domain test are MNLI's, test being its matched development set, and
HANS is the diagnostic.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from basins.data import glue
from basins.data.nli import CLASSES as HANS_CLASSES
from basins.data.nli import lexical_overlap
from basins.data.text import Columns, TextData, fields, pick

CLASSES = ("entailment", "neutral", "contradiction")
LABELS = {name: label for label, name in enumerate(CLASSES)}
HANS_LABELS = {name: label for label, name in enumerate(HANS_CLASSES)}
UNDECIDED = {"-": None}  # MNLI's label if its five annotators had no majority
COLUMNS = {
    "premise": ("premise", "sentence1"),
    "hypothesis": ("hypothesis", "sentence2"),
    "label": ("gold_label", "label"),
}
# The official names, those of GLUE's archive, and those of a subset as JSON lines.
TRAIN = ("multinli_1.0_train.jsonl", "train.tsv", "train_subset.jsonl")
MATCHED = ("multinli_1.0_dev_matched.jsonl", "dev_matched.tsv", "dev_matched.jsonl")
HANS = ("heuristics_evaluation_set.txt", "hans_eval.tsv")
OPTIONAL = ("subcase", "template")


def load(
    *,
    source: Literal["files", "hub"],
    root: Path,
    seed: int,
    train: Annotated[int, Field(ge=3)] | None = None,
    test: Annotated[int, Field(ge=3)] | None = None,
    pool: glue.Share = 0.0,
) -> TextData:
    """Return `train` and `test` rows of MNLI, or all, shuffled once; and HANS.

    Labels are entailment 0, neutral 1, contradiction 2, and in HANS entailment 0, non-entailment 1.
    With a `pool` there are `counterexamples`: pairs of HANS that contradict lexical overlap, with
    the label neutral. Rows without a majority label or with an empty sentence, and repeated
    training rows, are left out.

    Args:
        source: with `files`, `root/text/mnli/` must contain the training and the matched
            development set, either as the official JSON lines or as GLUE's tables; with `hub`, GLUE
            is downloaded at a pinned revision.
        root: the folder of real data. In both cases `root/text/hans/` must contain HANS's
            evaluation set.
        seed: of the shuffles.
        train: the number of training rows, at least 3; None means all.
        test: the number of test rows, at least 3; None means all.
        pool: the approximate share of HANS from which counterexamples are taken, from 0 to 1; the
            diagnostic is the rest, which shares no sentence with it.

    Raises:
        UserError: something is missing or wrong; the message names the file and the line.
    """
    folder = "text/mnli"
    if source == "hub":
        names, files = ("premise", "hypothesis"), []
        rows = {
            "train": glue.hub("mnli", "train", names, LABELS),
            "test": glue.hub("mnli", "validation_matched", names, LABELS),
        }
        read = {f"{glue.GLUE} mnli": glue.REVISION}
    else:
        files = [glue.locate(root, folder, names) for names in (TRAIN, MATCHED)]
        labels = {**LABELS, **UNDECIDED}
        found = (glue.read(file, COLUMNS, labels) for file in files)
        rows, read = dict(zip(("train", "test"), found, strict=True)), {}
    hans_file = glue.locate(root, "text/hans", HANS)
    optional = {name: (name,) for name in ("heuristic", *OPTIONAL)}
    hans = glue.read(hans_file, COLUMNS | optional, HANS_LABELS, optional=OPTIONAL)
    taken, held = glue.halves("hans", hans, pool, seed)
    overlap = lexical_overlap(pick(hans, taken))
    hans = glue.sample("hans", pick(hans, held), None, seed)
    splits: dict[str, Columns] = {
        "train": glue.sample("mnli, train", glue.distinct(rows["train"]), train, seed),
        "test": glue.sample("mnli, test", rows["test"], test, seed),
        "hans": hans,
        "lexical_overlap": lexical_overlap(hans),
    }
    if overlap["label"]:
        neutral = [LABELS["neutral"]] * len(overlap["label"])
        counterexamples = {name: overlap[name] for name in fields(overlap)} | {"label": neutral}
        splits["counterexamples"] = glue.sample("hans, pool", counterexamples, None, seed)
    classes: dict[str, tuple[str, ...]] = {
        split: HANS_CLASSES if split in ("hans", "lexical_overlap") else CLASSES for split in splits
    }
    return TextData(splits, classes, read | glue.checksums(root, [*files, hans_file]))
