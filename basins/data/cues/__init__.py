"""Spurious cues. One file is one cue.

Each offers `assign`, `randomise` and `draw`; see `basins/data/cues/box.py`.
"""
