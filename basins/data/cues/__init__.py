"""Spurious cues. One file is one cue.

Each has `cue(split, *, source, root, seed, **options) -> Cue`; see `basins/data/cue.py`.
"""
