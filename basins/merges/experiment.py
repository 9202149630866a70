"""A merging experiment: every technique on every set of networks, with every alignment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from basins.align import alignments, equivalence
from basins.item import Run
from basins.merges.merged import Merged, Part, check_shapes
from basins.merges.traits import traits
from basins.nets.control import Control
from basins.paths.points import Sets
from basins.training.sample import Sample

Group = tuple[Control, ...]
COLUMNS = (
    *("technique", "alignment", "batchnorm", "sources", "set", "members"),
    *("eval_set", "n", "loss", "loss_se", "accuracy"),
)
"""The columns of a merge's rows, in their order."""


def rows(
    groups: Sequence[Group],
    bases: Sequence[Control | None],
    techniques: Mapping[str, dict[str, Any]],
    ways: Mapping[str, dict[str, Any]],
    sample: Sample,
    sets: Sets,
    run: Run,
    parts: Sequence[Part] = (),
) -> Iterator[dict[str, Any]]:
    """Yield the rows of every technique on every set of networks.

    Args:
        groups: the sets of networks.
        bases: the model that each set was fine-tuned from, or None.
        techniques: a name with its options, by label.
        ways: alignments, in the same form; not used for techniques that do not mix weights.
        sample: the training rows that a technique may use.
        sets: the evaluation sets, with a fixed precision.
        run: makes items and returns their results.
        parts: the tasks of a set's networks, in order, if each has its own; `sample` and `sets` are
            then those of the first.

    Raises:
        UserError: the networks of a set differ in architecture, or permuting units by their spec
            changes their outputs.
    """
    for group in groups:
        check_shapes([control.model for control in group], heads=not parts)
    if any(way["name"] != "none" for way in ways.values()):
        equivalence.check(groups[0][0].model)
    aligned = {label: align(groups, way, sets, run) for label, way in ways.items()}
    work = [
        (label, way, number, Merged(group, base, technique, sample, sets, tuple(parts)))
        for label, technique in techniques.items()
        for way in (aligned if mixes(technique["name"]) else ["none"])
        for number, (group, base) in enumerate(zip(aligned.get(way, groups), bases, strict=True))
    ]
    results = run([item for *_, item in work], title="merges")
    for (label, way, number, _), of_item in zip(work, results, strict=True):
        for row in of_item:
            yield {"technique": label, "alignment": way, "set": number, **row}


def table(name: str, rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the rows of the merge `name` as a table with all `COLUMNS`."""
    return pd.DataFrame({"merge": name, **row} for row in rows).reindex(columns=["merge", *COLUMNS])


def needs(techniques: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return a table of the techniques' traits; `techniques` is as in `rows`."""
    made = [
        {"technique": label, "name": choice["name"], **traits(choice["name"])._asdict()}
        for label, choice in techniques.items()
    ]
    return pd.DataFrame(made).drop(columns="mixes")


def align(groups: Sequence[Group], way: dict[str, Any], sets: Sets, run: Run) -> list[Group]:
    """Align each set of networks to its first network, or all of a set into a common frame.

    `run` makes items and returns their results. Sets of one network are unchanged.
    """
    rest = (sets.calibration, sets.fingerprint, "corrected", sets.device)
    work = [
        alignments.plan([(first, other) for other in others], way, *rest) if others else []
        for first, *others in groups
    ]
    every = [item for items in work for item in items]
    files = iter(run(every, title=way["name"]) if every else [])
    moved = []
    for group, items in zip(groups, work, strict=True):
        pairs = alignments.aligned(items, [next(files) for _ in items])
        now = dict(zip(group, group, strict=True))
        for (first, other), ends in pairs.items():
            now |= dict(zip((first, other), ends, strict=True))
        moved.append(tuple(now[control] for control in group))
    return moved


def mixes(technique: str) -> bool:
    """Return whether a technique mixes networks' weights, so that their alignment matters."""
    return traits(technique).mixes
