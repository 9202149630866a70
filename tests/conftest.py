"""What all tests share."""

from hypothesis import settings

# How long a generated case takes depends on what else the machine does; it is no property.
settings.register_profile("basins", deadline=None)
settings.load_profile("basins")
