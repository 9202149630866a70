import numpy as np
import torch

from basins.align import star, weight_matching
from basins.align.permute import identity, permute, random_permutations


def equal(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_recovers_planted_permutations(family):
    state, spec = family.trained().state_dict(), family.build().permutation_spec()
    rng = np.random.default_rng(3)
    states = [permute(state, spec, random_permutations(state, spec, rng)) for _ in range(4)]
    found = star.align_all(states, spec, generator=np.random.default_rng(0))
    moved = [permute(s, spec, p) for s, p in zip(states, found, strict=True)]
    assert not equal(states[1], states[0])
    assert all(equal(one, states[0]) for one in moved)


def test_each_is_matched_to_the_first(family):
    states = [family.trained(seed).state_dict() for seed in range(3)]
    spec = family.build().permutation_spec()
    found = star.align_all(states, spec, generator=np.random.default_rng(0), restarts=2)
    still = identity(states[0], spec)
    assert all(np.array_equal(found[0][group], still[group]) for group in spec.groups)
    generator = np.random.default_rng(0)
    for state, permutations in zip(states[1:], found[1:], strict=True):
        pairwise = weight_matching.align(states[0], state, spec, generator=generator, restarts=2)
        assert all(np.array_equal(permutations[g], pairwise[g]) for g in spec.groups)
