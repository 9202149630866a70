"""The tests of an aspect of the SoK, each as its own item of the store."""

from __future__ import annotations

from typing import Any

from basins.landscape.terrain import Measurement
from basins.registry import module


def measurements(aspect: dict[str, Any], **models: Any) -> list[Measurement]:
    """Return every test of an aspect, a name with its options; `models` are further arguments."""
    tests = getattr(module("landscape", aspect["name"], "measure"), "TESTS", (None,))
    return [Measurement(aspect=aspect, test=test, **models) for test in tests]


def tunes(method: str) -> bool:
    """Return whether a training method starts from a trained model."""
    return hasattr(module("training", method, ("finetune", "train")), "finetune")
