"""Permutation symmetries found by running a network once and tracing every operation.

Git Re-Basin (Ainsworth et al. 2023) needs a spec written by hand. Here each axis of each weight and
activation is a set of units; operations identify sets, split them into heads or windows, or fix
their order (`rules`). The sets that remain free form a spec, which is verified by permuting every
group.
"""

from basins.align.traced.symmetry import Traced, trace

__all__ = ["Traced", "trace"]
