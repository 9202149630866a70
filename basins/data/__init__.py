"""Datasets, synthetic or loaded from files, and how they are stored. One file is one dataset.

Each dataset has `load(*, source, root, seed, **options) -> ImageData` or `TextData`.
"""
