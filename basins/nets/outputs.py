"""What a network returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def logits_of(output: Any) -> Any:
    """Return a network's output itself, or the `logits` that it holds by name or by key.

    Hugging Face's networks return an object with names, and where code is traced a plain dict.
    """
    if isinstance(output, Mapping):
        return output.get("logits", output)
    return getattr(output, "logits", output)
