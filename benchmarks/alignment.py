"""Alignment of all networks at once, compared with one pair at a time.

The baseline is the matching loop of Mechanistic Mode Connectivity's code (its section 4, for its
VGG), rewritten in plain PyTorch without the loading of images. It reads 91 batches; both sides read
one here, which favours the loop: it solves its assignments on every batch, we once at the end. One
thread each, as a worker has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from functools import partial
from itertools import combinations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from basins import seeds
from basins.align import activation_matching, universe
from basins.align.activations import Correlations, correlations
from basins.align.permute import random_permutations
from basins.data.resident import normalise
from basins.errors import UserError
from basins.nets import mlp, vgg
from benchmarks.harness import Row, interleaved, ratio, threads

SIDE, BATCH = 16, 128
MATCHED, WIDTH = 8, 16  # the networks of the first row, and the width of their narrowest layer
UNITED = 16  # those of the second
TOLERANCE = 1e-6

Permutations = dict[str, np.ndarray]
Pairs = Sequence[tuple[int, int]]


def measure(repetitions: int) -> Iterator[Row]:
    """Yield both ratios, after checking that the results agree."""
    with threads(1):
        yield activation_row(repetitions)
        yield universe_row(repetitions)


def activation_row(repetitions: int) -> Row:
    """Return the speed-up of matching the units of all pairs by their activations."""
    stream = torch.Generator().manual_seed(0)
    shape = (3 * BATCH, SIDE, SIDE, 3)
    images = torch.randint(256, shape, dtype=torch.uint8, generator=stream).split(BATCH)
    nets = [network(seed, images[0]) for seed in range(MATCHED)]
    pairs = list(combinations(range(MATCHED), 2))
    plain = [normalise(batch).contiguous() for batch in images]

    # The loop's result depends on its last batch alone: on it, both must match units equally well.
    (theirs,), (found,) = published(nets, plain, pairs[:1]), ours(nets, images[-1:], pairs[:1])
    (table,) = correlations(nets, nets[0].permutation_spec(), [(plain[-1],)], pairs[:1])
    difference = abs(matched(table, theirs) - matched(table, found))
    if difference > TOLERANCE:
        raise UserError(f"activation matching: mean correlations differ by {difference:.1e}")
    loop, once = partial(published, nets, plain[:1], pairs), partial(ours, nets, images[:1], pairs)
    return ratio(
        "activation matching of all pairs, against the published loop",
        *interleaved(loop, once, repetitions),
        must=20,
        aim=100,
        flops=len(pairs) * published_flops(nets[0], plain[0]) / flops(once),
        networks=MATCHED,
        net=f"VGG-13, width {WIDTH}",
        side=SIDE,
        batches=1,
        batch=BATCH,
        dtype="float32",
        mean_correlation_difference=difference,
    )


def network(seed: int, images: Tensor) -> vgg.VGG:
    """Return an untrained VGG-13 whose BatchNorm statistics are those of `images`."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        net = vgg.build((SIDE, SIDE, 3), 10, width=WIDTH)
        for _ in range(20):
            net(normalise(images))
    return net.eval()


def ours(nets: Sequence[vgg.VGG], images: Sequence[Tensor], pairs: Pairs) -> list[Permutations]:
    """Return the permutations of each pair, computed as in an experiment."""
    spec, states = nets[0].permutation_spec(), [net.state_dict() for net in nets]
    found = correlations(nets, spec, ((normalise(batch),) for batch in images), pairs)
    stream = seeds.generator("alignment", "benchmarks")
    return [
        activation_matching.align(states[a], states[b], spec, generator=stream, correlations=table)
        for (a, b), table in zip(pairs, found, strict=True)
    ]


@torch.no_grad()
def published(
    nets: Sequence[vgg.VGG], images: Sequence[Tensor], pairs: Pairs
) -> list[Permutations]:
    """Return the permutations of each pair, computed as in the published loop.

    For each layer and batch it evaluates both networks up to that layer, computes the cosines of
    all pairs of centred maps by broadcasting, solves one assignment, permutes the moving network.
    """
    found = []
    for a, b in pairs:
        reference, moving = nets[a], deepcopy(nets[b])
        state, permutations = moving.state_dict(), {}
        for depth, (group, axes) in enumerate(moving.permutation_spec().groups.items(), start=1):
            below = reference.features[:depth], moving.features[:depth]
            order = np.arange(len(state[axes[0].tensor]))
            for batch in images:
                left, right = (centred(layers(batch)) for layers in below)
                similarity = functional.cosine_similarity(left[:, None], right[None], dim=2)
                columns = linear_sum_assignment(similarity.numpy(), maximize=True)[1]
                for axis in axes:
                    index = torch.from_numpy(columns)
                    state[axis.tensor].copy_(state[axis.tensor].index_select(axis.dim, index))
                order = order[columns]
            permutations[group] = order
        found.append(permutations)
    return found


def centred(maps: Tensor) -> Tensor:
    """Return maps [n, C, H, W] as [C, n * H * W], each channel less its mean."""
    rows = maps.movedim(1, 0).flatten(1)
    return rows - rows.mean(1, keepdim=True)


def matched(table: Correlations, permutations: Permutations) -> float:
    """Return the mean correlation of the units that `permutations` match."""
    diagonals = [table[group][np.arange(len(p)), p] for group, p in permutations.items()]
    return float(np.concatenate(diagonals).mean())


def published_flops(net: vgg.VGG, batch: Tensor) -> int:
    """Return the loop's FLOPs for one pair: forward passes, and cosines as matrix products."""
    total = 0
    for depth in range(1, len(net.features) + 1):
        layers = net.features[:depth]
        rows = centred(layers(batch))
        total += 2 * flops(partial(layers, batch)) + 2 * len(rows) * rows.numel()
    return total


def universe_row(repetitions: int) -> Row:
    """Return the speed-up of a step of universe matching without a loop over pairs."""
    nets = []
    with torch.random.fork_rng():
        for seed in range(UNITED):
            torch.manual_seed(seed)
            nets.append(mlp.build((SIDE, SIDE, 3), 10, depth=2, width=256))
    spec, states = nets[0].permutation_spec(), [net.state_dict() for net in nets]
    stream = seeds.generator("alignment", "benchmarks")
    together = universe.Problem(states, spec)
    drawn = [random_permutations(state, spec, stream) for state in states]
    mixtures = universe.softened(together.mixtures(drawn))
    pairs = [[a, b] for a, b in combinations(range(UNITED), 2)]
    apart = [universe.Problem([states[a], states[b]], spec) for a, b in pairs]

    def all_pairs() -> tuple[float, universe.Mixtures]:
        total, sums = 0.0, {group: torch.zeros_like(m) for group, m in mixtures.items()}
        for pair, problem in zip(pairs, apart, strict=True):
            value, gradient = problem.gradient({group: m[pair] for group, m in mixtures.items()})
            total += value
            for group, part in gradient.items():
                sums[group][pair] += part
        return total, sums

    once = partial(together.gradient, mixtures)
    (expected, slopes), (value, gradient) = all_pairs(), once()
    differences = [abs(value / expected - 1)]
    differences += [float((gradient[g] - s).norm() / s.norm()) for g, s in slopes.items()]
    if max(differences) > TOLERANCE:
        raise UserError(f"universe matching: results differ by {max(differences):.1e}")
    return ratio(
        "universe matching, O(N) against all pairs: objective and gradient",
        *interleaved(all_pairs, once, repetitions),
        must=4,
        aim=7,
        flops=flops(all_pairs) / flops(once),
        networks=UNITED,
        net="MLP of two layers, width 256",
        dtype="float64",
        largest_relative_difference=max(differences),
    )


def flops(function: Callable[[], object]) -> int:
    """Return the FLOPs of the convolutions and matrix products in one call."""
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()
