"""Benchmarks of speed, with both sides measured in one run: `python -m benchmarks`.

A comparison is a file with `measure(repetitions)`, which yields its rows.
"""
