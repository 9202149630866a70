"""Networks and, beside each, its permutation spec.

A family is a file with `build(image_shape, num_classes, **options) -> Module`, which has
`permutation_spec()`, or with `build_text`; the others store networks and feed them.
"""
