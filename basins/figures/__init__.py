"""Figures of the papers and ours, drawn from tidy rows alone. One file is one figure.

Each offers `draw(tables, **options) -> Figure`; it reads rows and recomputes nothing. Most
also offer `caption(**options) -> str`, which describes what `draw` shows with the same options.
"""
