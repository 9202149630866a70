"""What all tests share."""

import pytest
from hypothesis import settings

# How long a generated case takes depends on what else the machine does; it is no property.
settings.register_profile("basins", deadline=None)
settings.load_profile("basins")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the file that takes longest, so that two workers end at about the same time."""
    items.sort(key=lambda item: item.get_closest_marker("pipeline") is None)
