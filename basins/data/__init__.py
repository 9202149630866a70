"""Datasets, synthetic or loaded from files, and how they are stored.

A dataset is a file with `load(*, source, root, seed, **options) -> ImageData` or `TextData`.
"""
