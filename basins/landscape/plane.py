"""Planes through trained networks, with true distances (LCRGS, sections 1 and 4.2).

A point of the plane is a triple of coefficients that sum to 1, one for each network: its
barycentric coordinates. The grid contains the three networks, unlike that of the paper's code, and
treats them equally. With fewer networks, the missing ones are replaced by points at some distance
from the first (`directions`), and the grid extends equally far in both senses of a direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import floor
from typing import NamedTuple

import numpy as np

from basins.errors import UserError
from basins.item import Run
from basins.nets.control import Control
from basins.paths.engine import Curves, Point
from basins.paths.plan import Curve
from basins.paths.points import Points, Sets, load, places, plan

AT_ONCE = 4  # points per item: a plane is one face, whose points all processes share


class Plane(NamedTuple):
    """The points of a plane, their positions, float64 [n, 2], and the evaluations there.

    The first network is at (0, 0), the second at (its distance, 0), in units of the Euclidean
    distance between parameters.
    """

    points: tuple[Point, ...]
    positions: np.ndarray
    curves: Curves


def nodes(steps: int, margin: float, directions: int = 0) -> tuple[Point, ...]:
    """Return the grid with `steps` per side: coefficients (1 - u - v, u, v) of three networks.

    All coefficients are in [-margin, 1 + margin]: a hexagon around the triangle of the networks,
    which are exactly (1, 0, 0), (0, 1, 0) and (0, 0, 1), in this order among the points. The last
    one or two may be `directions` from the first; then v, or both u and v, are in [-1, 1], and the
    grid is a parallelogram.
    """
    beyond = floor(margin * steps + 1e-9)
    sides, both = range(-beyond, steps + beyond + 1), range(-steps, steps + 1)
    us, vs = (both if directions >= least else sides for least in (2, 1))
    inside = [(i, j) for j in vs for i in us if directions or steps - i - j in sides]
    return tuple(((steps - i - j) / steps, i / steps, j / steps) for i, j in inside)


def corners(ab: float, ac: float, bc: float) -> np.ndarray:
    """Return the positions of three networks, float64 [3, 2], from the distances between them.

    By the Gram-Schmidt process, the first axis is from a to b, and c is above it. The position of
    any point is its coefficients times the corners. Raises `UserError` if the three span no plane.
    """
    lengths = sorted((ab, ac, bc))
    if not lengths[0] > 0:
        raise UserError("two of the plane's models have the same weights; choose others")
    along = (ab**2 + ac**2 - bc**2) / (2 * ab)
    above = max(0.0, ac**2 - along**2) ** 0.5
    if above < 1e-4 * lengths[-1]:  # the distances are of float32 weights
        raise UserError("what is to span the plane lies on one line; choose other models")
    return np.array([[0, 0], [ab, 0], [along, above]])


def evaluate(
    models: Sequence[Control],
    steps: int,
    margin: float,
    sets: Sets,
    run: Run,
    directions: int = 0,
) -> Plane:
    """Evaluate the grid of `nodes` through three different models on all `sets`.

    Args:
        models: the three models.
        steps: the number of parts into which the grid divides a side of their triangle.
        margin: how far coefficients extend below 0 and above 1.
        sets: the sets on which every point is evaluated, and how.
        run: makes items and returns their results.
        directions: how many of the three, the last ones, are directions from the first.

    Raises:
        UserError: the three span no plane (`corners`).
    """
    points = nodes(steps, margin, directions)
    lattice = Curve(tuple(models), points)
    items = [
        Points(face.face, face.points[start : start + AT_ONCE], sets)
        for face in plan([lattice], sets)
        for start in range(0, len(face.points), AT_ONCE)
    ]
    done = places(items, run(items, title="points"))
    beside = (1 - 1 / steps, 1 / steps)  # a point on a side: its file has the side's length
    sides = [Curve(pair, (beside,)) for pair in combinations(models, 2)]
    corner = corners(*(load(side, done).distance for side in sides))
    return Plane(points, np.array(points) @ corner, load(lattice, done).curves)
