"""What a technique is and needs, as its file declares it beside its function: `TRAITS`."""

from __future__ import annotations

from typing import Literal, NamedTuple

from basins.registry import module

Family = Literal["reference", "ensembling", "aggregation", "alignment"]


class Traits(NamedTuple):
    """A technique's family in the taxonomy of the SoK, and what it needs beside the networks.

    Attributes:
        family: several networks side by side (`ensembling`), their weights combined (`aggregation`)
            or their units matched first (`alignment`); or a `reference`.
        base: what the networks were fine-tuned from.
        rows: training rows.
        labels: of these rows.
        gradients: that are taken on them.
        cost: passes over these rows for K networks and C classes, until the result is there.
        mixes: whether weights of networks are mixed, so that their alignment matters.
    """

    family: Family
    base: bool = False
    rows: bool = False
    labels: bool = False
    gradients: bool = False
    cost: str = "none"
    mixes: bool = True


def traits(technique: str) -> Traits:
    """Return what the file of a technique declares."""
    return module("merges", technique, "merge").TRAITS
