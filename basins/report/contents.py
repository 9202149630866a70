"""What the report of a profile says first, gathered from its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def headline(claims: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one sentence a claim that was not reproduced: what it says and what was found."""
    return [
        f"{claim['statement']} Not reproduced: {claim['statistic']} is "
        f"{claim['estimate']:.3f} [{claim['ci_low']:.3f}, {claim['ci_high']:.3f}], "
        f"threshold {claim['threshold']:g}, {claim['n']} seeds."
        for claim in claims
        if claim["verdict"] == "not reproduced"
    ]
