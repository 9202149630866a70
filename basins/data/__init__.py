"""Datasets: synthesis, loading and what is materialised once. One file is one dataset.

Each dataset offers `load(*, source, root, seed, **options) -> ImageData`.
"""
