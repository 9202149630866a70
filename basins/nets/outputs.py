"""The outputs of networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def logits_of(output: Any) -> Any:
    """Return a network's output, or its attribute or entry `logits` if it has one.

    Hugging Face's networks return an object with attributes, or a plain dict if traced.
    """
    if isinstance(output, Mapping):
        return output.get("logits", output)
    return getattr(output, "logits", output)
