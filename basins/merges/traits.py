"""The family and requirements of a technique, which its file declares as `TRAITS`."""

from __future__ import annotations

from typing import Literal, NamedTuple

from basins.registry import module

Family = Literal["reference", "ensembling", "aggregation", "alignment"]


class Traits(NamedTuple):
    """A technique's family in the SoK's taxonomy, and what it needs besides the networks.

    Attributes:
        family: `ensembling` combines predictions, `aggregation` combines weights, and `alignment`
            matches units first; or it is a `reference`.
        base: whether it needs the model that the networks were fine-tuned from.
        rows: whether it needs training rows.
        labels: whether it needs their labels.
        gradients: whether it computes gradients on them.
        cost: passes over these rows for K networks and C classes to compute the result.
        mixes: whether it mixes networks' weights, so that their alignment matters.
    """

    family: Family
    base: bool = False
    rows: bool = False
    labels: bool = False
    gradients: bool = False
    cost: str = "none"
    mixes: bool = True


def traits(technique: str) -> Traits:
    """Return the traits that a technique's file declares."""
    return module("merges", technique, "merge").TRAITS
