"""Measures of a loss landscape.

An aspect of the SoK is a file with `measure`: convexity, determinism, directedness, connectivity.
The others measure planes, sharpness and barriers, or are what measures share.
"""
