"""Paths between networks and the engine that evaluates them. One file is one kind of path.

Each offers `coefficients(t, **options)`: the weight of every control point at `t`.
"""
