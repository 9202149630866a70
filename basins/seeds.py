"""Named random streams: every draw comes from (name, keys) and nothing else.

A stream is named after what it determines (`init`, `order`, `cue`, `bootstrap`, ...), so that
streams never share draws and one can be varied while the others are fixed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # importing torch takes seconds, and NumPy's streams need none
    import torch


def derive(name: str, *keys: int | str) -> int:
    """Return the 63-bit seed of the stream `name` at `keys`, the same on every machine."""
    text = "\x1f".join([name, *(f"{type(key).__name__}:{key}" for key in keys)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(name: str, *keys: int | str) -> np.random.Generator:
    """Return a fresh NumPy generator for the stream `name` at `keys`."""
    return np.random.default_rng(derive(name, *keys))


def torch_generator(name: str, *keys: int | str) -> torch.Generator:
    """Return a fresh CPU torch generator for the stream `name` at `keys`."""
    import torch

    return torch.Generator().manual_seed(derive(name, *keys))


@contextmanager
def torch_stream(name: str, *keys: int | str) -> Iterator[None]:
    """Let code that uses torch's global generators (initialisation, dropout) draw from a stream.

    They are those of the CPU and of the current GPU, if any; their states are restored afterwards.
    """
    import torch

    seed = derive(name, *keys)
    gpus = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(gpus):
        torch.default_generator.manual_seed(seed)
        if gpus:
            torch.cuda.manual_seed(seed)
        yield
