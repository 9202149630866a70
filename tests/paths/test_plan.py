"""Which points an experiment comes to, counted by hand."""

from __future__ import annotations

from collections import OrderedDict
from itertools import combinations
from pathlib import Path

import pytest

from basins.nets.control import Control
from basins.paths.pairs import along, grid
from basins.paths.plan import Curve, distinct, in_blocks, place

MODELS = [Control(Path("models/a") / f"seed{k}", f"hash{k}") for k in range(8)]
LINEAR = {"name": "linear"}


def count(curves: list[Curve]) -> int:
    return sum(map(len, distinct(curves).values()))


@pytest.mark.parametrize(("models", "points"), [(2, 3), (5, 11), (8, 25)])
def test_all_pairs_share_their_ends(models, points):
    ts = grid(points)
    curves = [along(LINEAR, pair, ts) for pair in combinations(MODELS[:models], 2)]
    pairs = models * (models - 1) // 2
    assert count(curves) == pairs * (points - 2) + models


def test_alignments_share_the_ends_and_nothing_else():
    ts, (a, b) = grid(11), MODELS[:2]
    raw = along(LINEAR, (a, b), ts)
    matched = along(LINEAR, (a, b.permuted(Path("p"), 0)), ts)
    common = along(LINEAR, (a.permuted(Path("u"), 0), b.permuted(Path("u"), 1)), ts)
    assert count([raw, raw]) == 11
    assert count([raw, matched, common]) == 2 + 3 * 9


def test_directions_share_a_path():
    ts, (a, b) = grid(11), MODELS[:2]
    assert count([along(LINEAR, (a, b), ts), along(LINEAR, (b, a), ts)]) == 11


def test_a_plane_shares_its_edges_with_straight_paths():
    steps, corners = 10, tuple(MODELS[:3])
    triangle = tuple(
        (1 - i / steps - j / steps, i / steps, j / steps)
        for i in range(steps + 1)
        for j in range(steps + 1 - i)
    )
    plane = Curve(corners, triangle)
    edges = [along(LINEAR, pair, grid(steps + 1)) for pair in combinations(corners, 2)]
    assert count(edges) == 3 * 9 + 3
    assert count([plane]) == count([plane, *edges]) == 66


def test_a_model_against_itself_is_one_point():
    a = MODELS[0]
    assert distinct([along(LINEAR, (a, a), grid(11))]) == {(a,): ((1.0,),)}


def test_a_point_off_the_line_keeps_its_coefficients():
    a, b, bend = MODELS[:3]
    assert place((a, bend, b), (0.25, 0.5, 0.25)) == ((a, b, bend), (0.25, 0.25, 0.5))
    assert place((a, b), (0.0, 0.5)) == ((b,), (0.5,))


def test_blocks_need_few_models_at_a_time():
    faces = list(combinations(MODELS, 2))

    def loads(order: list[tuple[Control, ...]], kept: int) -> int:
        held: OrderedDict[Control, None] = OrderedDict()
        read = 0
        for face in order:
            for control in face:
                read += control not in held
                held[control] = None
                held.move_to_end(control)
            while len(held) > kept:
                held.popitem(last=False)
        return read

    assert sorted(in_blocks(faces, 2)) == sorted(faces)
    assert loads(in_blocks(faces, 8), 8) == len(MODELS)
    # Four blocks are ten pairs of blocks, of which each needs at most one new block of two.
    assert loads(in_blocks(faces, 2), 4) <= 20 < loads(faces, 4)


def test_points_of_a_bent_path_keep_its_ends():
    """REPAIR takes the statistics of both ends, also where one has a coefficient of 0."""
    a, b, bend = MODELS[0], MODELS[1], MODELS[2]._replace(bend=True)
    curve = along({"name": "chain"}, (a, bend, b), grid(5))
    faces = distinct([curve])
    assert faces.keys() == {(a,), (b,), (a, b, bend)}
    assert faces[a, b, bend] == ((0.5, 0.0, 0.5), (0.0, 0.0, 1.0), (0.0, 0.5, 0.5))
