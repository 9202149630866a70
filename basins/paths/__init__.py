"""Paths between networks and the engine that evaluates them.

A kind of path is a file with `coefficients(t, **options)`, the coefficient of every control point
at `t`. The others evaluate it: `plan` lists points, `engine` makes them, `evaluation` has the
losses there.
"""
