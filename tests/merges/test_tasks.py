"""Techniques of task vectors: each by hand, and by what its paper says that it does."""

from __future__ import annotations

from math import exp, sin, tanh

import numpy as np
import pytest
import torch
from torch import Tensor

from basins.errors import UserError
from basins.merges import (
    breadcrumbs,
    consensus,
    della,
    emr,
    iso_c,
    iso_cts,
    knots,
    magmax,
    model_stock,
    multi_slerp,
    pcb,
    sce,
    tall_masks,
    task_arithmetic,
    ties,
    tsv,
)
from tests.merges.conftest import CLASSES, numbers

A, B, C, BASE = (numbers(k, 36) for k in range(4))


def vector(states) -> Tensor:
    [state] = states
    return state["head.weight"].flatten()


def matrices(seed: int, *shape: int) -> Tensor:
    return numbers(seed, *shape).double()


def test_model_stock_is_as_near_to_the_centre_as_the_line_allows(make):
    """Networks around a centre, each off it at right angles to all else, by one length."""
    basis = torch.linalg.qr(numbers(7, 36, 36)).Q
    centre = BASE + 2 * basis[0]
    networks = [centre + 1.5 * basis[k] for k in (1, 2, 3)]
    assert model_stock.ratio(torch.stack(networks) - BASE) == pytest.approx(
        3 * 4 / (3 * 4 + 1.5**2)
    )
    found = vector(model_stock.merge(make(networks, BASE)))
    mean = torch.stack(networks).mean(0)
    along = (mean - BASE) / (mean - BASE).norm()
    torch.testing.assert_close(found, BASE + ((centre - BASE) @ along) * along)
    assert model_stock.ratio(torch.stack([A, A])) == pytest.approx(1)
    assert model_stock.ratio(torch.stack([A, -A])) == 0
    with pytest.raises(UserError, match="model_stock: 1 network"):
        model_stock.merge(make([A], BASE))


def test_della_drops_small_entries_more_often_and_keeps_the_mean(make):
    tasks = torch.tensor([[[3.0, -1.0, 2.0], [0.1, 0.2, -0.3]]])
    by_row = della.probabilities(tasks, 0.5, 0.2)
    torch.testing.assert_close(by_row, torch.tensor([[[0.4, 0.6, 0.5], [0.6, 0.5, 0.4]]]).double())
    whole = della.probabilities(tasks, 0.5, 0.2, "tensor")
    torch.testing.assert_close(
        whole, torch.tensor([[[0.4, 0.48, 0.44], [0.6, 0.56, 0.52]]]).double()
    )
    drawn = torch.stack(
        [vector(della.merge(make([A], BASE, seed=k), drop=0.5, window=0.6)) for k in range(2000)]
    )
    p = della.probabilities((A - BASE).view(1, CLASSES, 12), 0.5, 0.6).flatten()
    dropped = (drawn == BASE).double().mean(0)
    assert (dropped - p).abs().max() < 5 * (0.25 / 2000) ** 0.5
    spread = (A - BASE).abs() * (p / (1 - p)).sqrt()
    assert ((drawn.mean(0) - A).abs() < 5 * spread / 2000**0.5 + 1e-5).all()
    with pytest.raises(UserError, match="della: drop 0.9 and window 0.4"):
        della.merge(make([A], BASE), drop=0.9, window=0.4)


def test_breadcrumbs_by_hand(make):
    tasks = torch.tensor([[5.0, -4.0, 3.0, -2.0, 1.0], [-1.0, 2.0, 3.0, 4.0, -5.0]])
    kept = breadcrumbs.masked(tasks, 0.4, 0.2)
    assert kept.tolist() == [[0, -4, 3, 0, 0], [0, 0, 3, 4, 0]]
    assert torch.equal(breadcrumbs.masked(tasks, 0.1, 0.1), tasks)
    found = vector(breadcrumbs.merge(make([A, B], BASE), small=0.0, large=0.0))
    torch.testing.assert_close(
        found, vector(task_arithmetic.merge(make([A, B], BASE), coefficient=0.3))
    )
    outlier = A.clone()
    outlier[3] = 1e6
    found = vector(breadcrumbs.merge(make([outlier], BASE), small=0.5, large=0.03))
    assert found[3] == BASE[3] and (found == BASE).sum() == 18 + 1
    with pytest.raises(UserError, match="breadcrumbs: .*leave nothing"):
        breadcrumbs.merge(make([A], BASE), small=0.6, large=0.4)


def test_task_singular_vectors_of_tasks_that_share_none_add_up():
    """Two tasks of rank 2 in other rows and columns: nothing is lost, nothing is in the way."""
    first, second = torch.zeros(4, 6).double(), torch.zeros(4, 6).double()
    first[:2, :3], second[2:, 3:] = matrices(0, 2, 3), matrices(1, 2, 3)
    torch.testing.assert_close(tsv.merged(torch.stack([first, second])), first + second)


def test_task_singular_vectors_that_overlap_are_decorrelated():
    """Against the definition: singular vectors side by side, whitened by inverse square roots."""
    tasks = matrices(2, 2, 5, 4)
    parts = [torch.linalg.svd(task, full_matrices=False) for task in tasks]
    u = torch.cat([p[0][:, :2] for p in parts], 1)
    v = torch.cat([p[2][:2] for p in parts], 0)
    s = torch.cat([p[1][:2] for p in parts])

    def root(gram):
        values, vectors = torch.linalg.eigh(gram)
        return vectors / values.sqrt() @ vectors.T

    expected = u @ root(u.T @ u) @ torch.diag(s) @ root(v @ v.T) @ v
    torch.testing.assert_close(tsv.merged(tasks), expected)
    torch.testing.assert_close(tsv.merged(tasks[:1]), tasks[0])


def test_isotropic_merging_flattens_the_spectrum_and_keeps_its_sum():
    tasks = matrices(3, 3, 4, 6)
    before = torch.linalg.svdvals(tasks.sum(0))
    merged = iso_c.flattened(tasks)
    torch.testing.assert_close(torch.linalg.svdvals(merged), before.mean().expand(4))
    diagonal = torch.stack([torch.diag(torch.tensor([3.0, 1.0])), torch.zeros(2, 2)])
    torch.testing.assert_close(iso_c.flattened(diagonal), 2 * torch.eye(2))


def test_isotropic_merging_with_tasks_by_hand():
    """Two directions of the sum, 10 and 8, and one of each task: 3 and 5, in the third and fourth.

    In the sum the third is -1, which Iso-C keeps.
    """
    first, second = (torch.diag(torch.tensor(d)) for d in ([5.0, 4, 3, 1], [5.0, 4, -4, 5]))
    tasks = torch.stack([first, second])
    flat = torch.diag(torch.tensor([1.0, 1, 1, 1]))
    torch.testing.assert_close(iso_cts.flattened(tasks, 0.5), (10 + 8 + 3 + 5) / 4 * flat)
    flat[2, 2] = -1
    torch.testing.assert_close(iso_c.flattened(tasks), (10 + 8 + 1 + 6) / 4 * flat)
    torch.testing.assert_close(iso_cts.flattened(tasks, 1.0), iso_c.flattened(tasks))


@pytest.mark.parametrize("shape", [(6, 8), (8, 6)])
def test_isotropic_merging_with_tasks_against_the_definition(shape):
    """One spectrum, as many directions of each task, whatever the share; Iso-C where it is 1."""
    tasks = matrices(8, 2, *shape)
    u, s, v = torch.linalg.svd(tasks.sum(0), full_matrices=False)
    torch.testing.assert_close(iso_cts.flattened(tasks, 1.0), iso_c.flattened(tasks))
    for common, each in ((0.7, 1), (0.4, 2), (0.0, 3)):  # of six: 4, 2 and none are common
        k = 6 - 2 * each
        outside = torch.eye(shape[0], dtype=torch.double) - u[:, :k] @ u[:, :k].T
        own = [torch.linalg.svd(outside @ task, full_matrices=False) for task in tasks]
        left = torch.cat([u[:, :k], *(p[0][:, :each] for p in own)], 1)
        right = torch.cat([v[:k], *(p[2][:each] for p in own)], 0)
        mean = torch.cat([s[:k], *(p[1][:each] for p in own)]).mean()
        found = iso_cts.flattened(tasks, common)
        torch.testing.assert_close(torch.linalg.svdvals(found), mean.expand(6))
        torch.testing.assert_close(found, mean * orthonormal(left) @ orthonormal(right.T).T)


def orthonormal(columns: Tensor) -> Tensor:
    """Return them times the inverse square root of their inner products."""
    values, vectors = torch.linalg.eigh(columns.T @ columns)
    return columns @ (vectors / values.sqrt() @ vectors.T)


def test_isotropic_merging_of_more_tasks_than_directions():
    """Four tasks have no place among three directions; of three each has one."""
    tasks = matrices(9, 4, 3, 5)
    torch.testing.assert_close(iso_cts.flattened(tasks, 0.0), iso_c.flattened(tasks))
    tops = [torch.linalg.svd(task, full_matrices=False) for task in tasks[:3]]
    left = torch.stack([top[0][:, 0] for top in tops], 1)
    right = torch.stack([top[2][0] for top in tops], 1)
    mean = torch.stack([top[1][0] for top in tops]).mean()
    found = iso_cts.flattened(tasks[:3], 0.0)
    torch.testing.assert_close(found, mean * orthonormal(left) @ orthonormal(right).T)


def test_knots_by_hand():
    """Two tasks of two rows, turned: in their common basis they are what they were, up to signs.

    In it TIES takes the larger of what disagrees, and the mean of what agrees.
    """
    first, second = [[3.0, 4.0, 2.0], [4.0, -3.0, 1.0]], [[-4.0, 3.0, 10.0], [3.0, 2.0, 0.4]]
    rows = torch.tensor([first, second]).double()  # side by side they are orthogonal
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]]).double()
    basis, coordinates = knots.tied(turn @ rows)
    assert coordinates.shape == (2, 2, 3)
    torch.testing.assert_close(basis.T @ basis, torch.eye(2).double())
    torch.testing.assert_close((turn.T @ basis).abs(), torch.eye(2).double())
    torch.testing.assert_close(coordinates.abs(), rows.abs())
    together = torch.tensor([[-4.0, 3.5, 6.0], [3.5, -3.0, 0.7]]).double()
    torch.testing.assert_close(basis @ ties.elected(coordinates), turn @ together)


def test_knots_leaves_out_directions_that_no_task_has(make):
    """Two tasks of rank 1: two coordinates a column, though there are three outputs."""
    tasks = torch.stack([torch.outer(numbers(k, 3), numbers(k + 5, 12)) for k in range(2)])
    basis, coordinates = knots.tied(tasks.double())
    assert basis.shape == (3, 2) and coordinates.shape == (2, 2, 12)
    torch.testing.assert_close(basis @ coordinates, tasks.double())
    basis, coordinates = knots.tied(torch.zeros(2, 3, 12))
    assert coordinates.shape == (2, 1, 12) and not coordinates.any()


def test_knots_is_what_its_basis_makes_of_ties_and_of_dare(make):
    sources = make([A, B], BASE)
    tasks = torch.stack([w - BASE for w in (A, B)]).view(2, CLASSES, 12).double()
    basis, coordinates = knots.tied(tasks)
    found = vector(knots.merge(sources, density=0.3, coefficient=0.6)) - BASE
    expected = basis @ ties.elected(ties.trimmed(coordinates, 0.3))
    torch.testing.assert_close(found, 0.6 * expected.flatten().float())
    # The mean is that of the updates, in any basis; DARE without drops is TIES without a trim.
    mean = vector(knots.merge(make([A, B, C], BASE), then="mean"))
    torch.testing.assert_close(mean, (A + B + C) / 3)
    nothing = vector(knots.merge(make([A, B], BASE), then="dare", drop=0.0))
    torch.testing.assert_close(nothing, vector(knots.merge(make([A, B], BASE), density=1.0)))
    assert not torch.allclose(nothing, vector(ties.merge(make([A, B], BASE), density=1.0)))
    drawn = torch.stack(
        [
            vector(knots.merge(make([A], BASE, seed=k), then="dare", drop=0.5)) - BASE
            for k in range(1000)
        ]
    )
    inside = basis_of(A).T @ drawn.view(-1, CLASSES, 12)  # of one task: dropped, or doubled
    whole = basis_of(A).T @ (A - BASE).view(CLASSES, 12)
    shares = inside / whole
    torch.testing.assert_close(shares, 2 * (shares > 1).float(), rtol=1e-3, atol=1e-3)
    assert (shares.mean(0) - 1).abs().max() < 5 / 1000**0.5


def basis_of(weights: Tensor) -> Tensor:
    return knots.tied((weights - BASE).view(1, CLASSES, 12).double())[0].float()


@pytest.mark.parametrize("then", ["ties", "dare", "mean"])
def test_knots_gives_back_updates_that_are_equal(make, then):
    found = knots.merge(make([A, A, A], BASE), then=then, density=1.0, drop=0.0)
    torch.testing.assert_close(vector(found), A)


@pytest.mark.parametrize("technique", [tsv, iso_c])
def test_what_is_no_matrix_is_averaged(technique):
    bias = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    formula = tsv.merged if technique is tsv else iso_c.flattened
    assert technique.by_matrix(bias, formula).tolist() == [2, 4]
    convolution = matrices(4, 1, 4, 2, 3, 3)
    if technique is tsv:  # of one network: itself
        torch.testing.assert_close(tsv.by_matrix(convolution, formula), convolution[0])


def test_magmax_takes_the_largest_change(make):
    tasks = torch.tensor([[1.0, -3.0, 2.0], [-2.0, 1.0, -2.0]])
    assert magmax.largest(tasks).tolist() == [-2, -3, -2]
    found = vector(magmax.merge(make([A, B], BASE), coefficient=1.0))
    expected = torch.where((A - BASE).abs() > (B - BASE).abs(), A, B)
    torch.testing.assert_close(found, expected)


def test_sce_by_hand():
    tasks = torch.tensor([[4.0, 1.0, 3.0, 0.0], [0.0, 1.0, -1.0, 2.0]])
    # Variances 4, 0, 4, 1: of the three that vary two stay. Squares 16 + 9 and 1; the third entry's
    # sum is positive, so the second network's is erased; the first entry has one network's sign.
    assert sce.fused(tasks, 0.7).tolist() == [4, 0, 3, 0]
    weights = torch.tensor([26.0, 6.0])
    mixed = (weights[0] * 1 + weights[1] * 1) / 32
    assert sce.fused(tasks, 1.0).tolist() == pytest.approx([4, float(mixed), 3, 2])
    same = torch.stack([A, A])
    torch.testing.assert_close(sce.fused(same, 1.0), A)


def test_pcb_by_hand():
    """Two networks of three entries; sizes from 0 to 1 are 1, 0, .5 and 0, 1, 0."""
    tasks = torch.tensor([[3.0, 1.0, 2.0], [1.0, -3.0, 1.0]]).double()
    score = [
        [exp(2) * tanh(12), 1 * tanh(-2), exp(0.5) * tanh(6)],
        [1 * tanh(4), exp(2) * tanh(6), 1 * tanh(3)],
    ]
    expected = np.array(score)
    low, high = expected.min(1, keepdims=True), expected.max(1, keepdims=True)
    found = pcb.scores(tasks, 1.0)
    np.testing.assert_allclose(found.numpy(), (expected - low) / (high - low))
    # The larger two of three stay, the lower of which becomes 0.
    found = pcb.scores(tasks, 0.6)
    assert (found > 0).tolist() == [[True, False, False], [False, True, False]]


def test_pcb_takes_the_side_of_the_stronger(make):
    """Where a network disagrees with the sum, its weight is 0."""
    first, second = torch.full((36,), 0.5), torch.full((36,), 0.4)
    first[0], second[0] = 4.0, -1.0
    found = vector(pcb.merge(make([first, second], torch.zeros(36)), density=1.0))
    assert found[0] == pytest.approx(4.0)


def test_emr_by_hand():
    tasks = torch.tensor([[1.0, -2.0, 3.0], [2.0, 1.0, -1.0]])
    assert emr.unified(tasks).tolist() == [2, -2, 3]
    # Masks 111 and 100; sizes 6 of 7, and 4 of 2.
    expected = [[12 / 7, -12 / 7, 18 / 7], [4, 0, 0]]
    assert emr.each(tasks).flatten().tolist() == pytest.approx(sum(expected, []))


def test_emr_masks_bring_each_network_nearer(make):
    networks = [A, B, C]
    tasks = torch.stack(networks) - BASE
    one = emr.unified(tasks)
    masked = one * (tasks * one > 0)
    assert ((masked - tasks).norm(dim=1) < (one - tasks).norm(dim=1)).all()
    members = emr.merge(make(networks, BASE))
    assert len(members) == 3
    for member, task in zip(members, tasks, strict=True):
        moved = member["head.weight"].flatten() - BASE
        torch.testing.assert_close(moved.abs().sum(), task.abs().sum())
    torch.testing.assert_close(vector(emr.merge(make(networks, BASE), of="unified")), BASE + one)


def test_tall_masks_by_hand():
    tasks = torch.tensor([[4.0, 0.1, 1.0, 0.0], [0.0, 0.1, -1.0, 3.0]])
    together = tasks.sum(0)
    found = tall_masks.masks(tasks, together, 0.5)
    assert found.tolist() == [[True, True, True, False], [False, True, True, True]]


def test_tall_masks_find_tasks_that_share_no_weight(make):
    first, second = torch.zeros(36), torch.zeros(36)
    first[:10], second[20:] = A[:10], A[20:]
    sources = make([BASE + first, BASE + second], BASE)
    found = tall_masks.merge(sources, coefficient=1.0)
    for state, task in zip(found, (first, second), strict=True):
        torch.testing.assert_close(state["head.weight"].flatten(), BASE + task)


def test_consensus_drops_what_serves_one_task_or_none(make):
    """Of four entries the first serves one, the second both, the third none, the last one."""
    first, second = torch.zeros(36), torch.zeros(36)
    first[:4] = torch.tensor([4.0, 1.0, 0.0, 0.0])
    second[:4] = torch.tensor([0.0, 1.0, 0.0, 3.0])
    sources = make([BASE + first, BASE + second], BASE)
    found = vector(consensus.merge(sources, coefficient=1.0)) - BASE
    assert found[:4].tolist() == pytest.approx([0, 2, 0, 0], abs=1e-6)
    either = vector(consensus.merge(sources, coefficient=1.0, agree=1)) - BASE
    torch.testing.assert_close(either, first + second)
    with pytest.raises(UserError, match="consensus: agree is 3, of 2 networks"):
        consensus.merge(sources, agree=3)


def test_multi_slerp_of_two_is_half_way_and_of_several_near_the_karcher_mean(make):
    a, b = A / A.norm(), B / B.norm()
    angle = torch.arccos(a @ b).item()
    half = sin(angle / 2) / sin(angle) * (a + b)
    for scope in ("tensor", "vector"):
        found = vector(multi_slerp.merge(make([2 * a, 4 * b]), scope=scope))
        torch.testing.assert_close(found, 3 * half)
    around = vector(multi_slerp.merge(make([BASE + 2 * a, BASE + 4 * b], BASE), of="tasks"))
    torch.testing.assert_close(around, BASE + 3 * half)
    # One step by hand: the tangents at the weighted mean, averaged, and back.
    shares = torch.tensor([0.5, 0.25, 0.25])
    units = torch.stack([a, b, C / C.norm()])
    centre = (shares @ units) / (shares @ units).norm()
    step = shares @ (units - (units @ centre)[:, None] * centre)
    expected = step.norm().cos() * centre + step.norm().sin() / step.norm() * step
    found = vector(multi_slerp.merge(make(list(units)), weights=[2.0, 1.0, 1.0]))
    torch.testing.assert_close(found, expected)
    with pytest.raises(UserError, match="multi_slerp: weights: 2 numbers for 3 networks"):
        multi_slerp.merge(make([A, B, C]), weights=[1.0, 2.0])


@pytest.mark.parametrize("technique", [magmax, model_stock, emr, pcb, sce])
def test_copies_of_one_network_are_that_network_whatever_the_base(make, technique):
    """Where the technique neither scales nor drops what all agree on."""
    given = {magmax: {"coefficient": 1.0}, emr: {"of": "unified"}, sce: {"density": 1.0}}
    given[pcb] = {"density": 1.0}
    found = vector(technique.merge(make([A, A, A], BASE), **given.get(technique, {})))
    moved = (found - BASE).abs() > 0
    torch.testing.assert_close(found[moved], A[moved])
    assert moved.sum() >= 35  # PCB gives its least entry no weight
