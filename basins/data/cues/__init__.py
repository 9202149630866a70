"""Spurious cues. One file is one cue.

Each offers `cue(split, *, source, root, seed, **options) -> Cue`; see `basins/data/cue.py`.
"""
