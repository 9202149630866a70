"""Lists the distinct points of an experiment's curves that have to be evaluated.

A point belongs to the set of networks that it mixes, its face: a vertex is one network, an edge has
two, a triangle three. Curves that share a point share its face, so an end of many pairs is
evaluated once, and so is an edge of a plane that is also a pair's straight path.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from basins.nets.control import Control
from basins.paths.engine import Point

Face = tuple[Control, ...]


class Curve(NamedTuple):
    """Points in order along a curve, as coefficients of `controls`."""

    controls: tuple[Control, ...]
    points: tuple[Point, ...]


def place(controls: Sequence[Control], point: Sequence[float]) -> tuple[Face, Point]:
    """Return the face of a point, and its coefficients there.

    A single network is used without permutation, which would not change its function. For a bent
    path the face includes all controls, also those with a coefficient of 0.
    """
    weights: dict[Control, float] = defaultdict(float)
    for control, coefficient in zip(controls, point, strict=True):
        weights[control] += coefficient
    # Rounded, so that 1 - .7 and .3 are one point.
    rounded = {control: round(weight, 12) for control, weight in weights.items()}
    bent = any(control.bend and weight for control, weight in rounded.items())
    mixed = sorted((control, weight) for control, weight in rounded.items() if weight or bent)
    if len(mixed) == 1:
        mixed = [(mixed[0][0].plain(), mixed[0][1])]
    return tuple(c for c, _ in mixed), tuple(weight for _, weight in mixed)


def distinct(curves: Iterable[Curve]) -> dict[Face, tuple[Point, ...]]:
    """Return the distinct points of the curves, by face."""
    faces: dict[Face, dict[Point, None]] = defaultdict(dict)
    for curve in curves:
        for point in curve.points:
            face, weights = place(curve.controls, point)
            faces[face][weights] = None
    return {face: tuple(points) for face, points in faces.items()}


def in_blocks(faces: Iterable[Face], size: int) -> list[Face]:
    """Return the faces in an order in which few networks are needed at a time.

    Networks are divided into blocks of `size`, and the faces of two blocks are consecutive: for all
    pairs, a process that keeps 2 `size` networks loads each O(N / size) times instead of O(N).
    """
    faces = list(faces)
    models = dict.fromkeys(control.model for face in faces for control in face)
    number = {model: i for i, model in enumerate(models)}
    return sorted(faces, key=lambda face: sorted({number[c.model] // size for c in face}))
