"""Simulated annealing over permutations to lower the midpoint's loss (Entezari et al. 2022).

"The Role of Permutation Invariance in Linear Mode Connectivity of Neural Networks" uses it to show
how far permutations lower barriers. It uses neither weights nor activations, only losses.
"""

from __future__ import annotations

from math import exp
from typing import Annotated

import numpy as np
from pydantic import Field

from basins.align.permute import identity, permute
from basins.align.straight_through import mean_loss, midpoint
from basins.data.rows import Batches, Rows
from basins.nets.permutation import Net, PermutationSpec
from basins.weights import State

ROWS = 256  # rows evaluated at once
Temperature = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def align(
    reference: State,
    moving: State,
    spec: PermutationSpec,
    *,
    generator: np.random.Generator,
    net: Net,
    data: Batches,
    steps: Annotated[int, Field(ge=0)] = 200,
    hot: Temperature = 1e-2,
    cold: Temperature = 1e-5,
) -> dict[str, np.ndarray]:
    """Return the permutations of `moving` whose midpoint with `reference` has the lowest loss.

    The search starts at the identity. A step swaps two units of one group, the first drawn from all
    units and the second from the others of its group, and evaluates the midpoint's mean loss on all
    of `data`. A loss that is higher by d is accepted with probability exp(-d / temperature), and a
    lower or equal one always; the temperature decreases geometrically from `hot` to `cold`. The
    permutations with the lowest loss along the way are returned, which are no worse than the
    identity. As the ends do not change, a midpoint's loss is its barrier plus a constant.

    A step takes one pass over `data`, and hundreds of units require thousands of steps. The
    authors' code takes 50,000 from a random permutation, each with a swap in every layer; its
    energy is the error in percent on one batch, and its temperature falls from 25,000 to 2.5, so
    most of the run is a random walk of which the best is kept. The defaults are ours.

    Args:
        reference: the weights and buffers of the fixed network, by name.
        moving: those of the network that is permuted.
        spec: the groups of units, and the axes of the tensors that they permute.
        generator: draws swaps and acceptances.
        net: a network of the architecture, on the device, left in evaluation mode. At a midpoint
            its running statistics are averages.
        data: labelled rows on the device.
        steps: the number of proposed swaps, at least 0.
        hot: the first temperature (nats), above 0.
        cold: the last temperature (nats), above 0.

    Returns:
        By group, a permutation int [n] in the form of `permute`.
    """
    rows = Rows(data)
    net.eval()

    def energy(permutations: dict[str, np.ndarray]) -> float:
        middle = midpoint(reference, permute(moving, spec, permutations))
        return mean_loss(net, middle, rows, ROWS)

    best = found = identity(reference, spec)
    lowest = now = energy(found)
    owners = [group for group, units in found.items() if len(units) > 1 for _ in units]
    for step in range(steps if owners else 0):
        group = owners[generator.integers(len(owners))]
        pair = generator.choice(len(found[group]), 2, replace=False)
        swapped = found[group].copy()
        swapped[pair] = swapped[pair[::-1]]
        tried = found | {group: swapped}
        value = energy(tried)
        temperature = hot * (cold / hot) ** (step / max(1, steps - 1))
        if value <= now or generator.random() < exp((now - value) / temperature):
            found, now = tried, value
            if now < lowest:
                best, lowest = found, now
    return best
