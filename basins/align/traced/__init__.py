"""Permutation symmetries found in a network itself: it runs once, and every operation is looked at.

Git Re-Basin (Ainsworth et al. 2023) takes a spec that is written by hand. Here each axis of each
weight and activation is a set of units; operations make sets the same, split them into heads or
windows, or leave them in their order (`rules`). What is left free is a spec, and it is proven by
permuting every group.
"""

from basins.align.traced.symmetry import Traced, trace

__all__ = ["Traced", "trace"]
