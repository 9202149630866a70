"""Networks and, beside each, its permutation spec. One file is one family.

Each has `build(image_shape, num_classes, **options) -> Module` with `permutation_spec()`.
"""
