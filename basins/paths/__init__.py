"""Paths between networks and the engine that evaluates them. One file is one kind of path.

Each has `coefficients(t, **options)`, the coefficient of every control point at `t`.
"""
