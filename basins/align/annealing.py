"""Simulated annealing over permutations (Entezari et al. 2022): the midpoint has a low loss.

"The Role of Permutation Invariance in Linear Mode Connectivity of Neural Networks", where the
search shows how far permutations lower barriers. It looks at no weight and at no activation, and
knows a permutation by its loss alone.
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

ROWS = 256  # that are evaluated at once
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

    The search begins at the identity. A step swaps two units of one group, the first drawn from all
    units and the second from the others of its group, and takes the mean loss of the midpoint on
    all of `data`. A loss that is higher by d is accepted with probability exp(-d / temperature),
    and any other always; the temperature falls from `hot` to `cold` by the same factor each step.
    Of all permutations on the way the one of lowest loss is returned, which is no worse than the
    identity there. Ends do not change, so that a midpoint's loss is its barrier plus a constant.

    Cost: a pass over `data` a step, and hundreds of units want thousands of steps. The authors'
    code takes 50,000, each a swap in every layer, from a random permutation; its energy is the
    error in percent on one batch and its temperature falls from 25,000 to 2.5, so that most of the
    run is a random walk whose best is kept. The defaults are ours.

    Args:
        reference: the weights and buffers of the network that stays, by name.
        moving: those of the network that is permuted.
        spec: the groups of units, and the axes of the tensors that they permute.
        generator: draws the swaps and which are accepted.
        net: a network of the architecture, on the device, left in evaluation mode. Its running
            statistics at a midpoint are averages.
        data: labelled rows on the device.
        steps: swaps that are tried, at least 0.
        hot: the first temperature (nats), above 0.
        cold: the last one, above 0.

    Returns:
        By group, a permutation int [n] as `permute` takes it.
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
