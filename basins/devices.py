"""Where tensors live, and what makes the same command give the same bytes there."""

from __future__ import annotations

import os
from typing import Literal

import torch

from basins.errors import UserError


def pick(device: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """Return the device to use; `auto` is a GPU where there is one.

    Raises `UserError` where `cuda` is asked for and absent.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device: 'cuda' is asked for but torch sees no GPU; use auto or cpu")
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def workers(asked: int | Literal["auto"], device: torch.device) -> int:
    """Return how many processes to use: one a core on a CPU, one a GPU otherwise."""
    if asked != "auto":
        return asked
    if device.type == "cuda":
        return torch.cuda.device_count()
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def prepare() -> None:
    """Make this process deterministic.

    One thread each: the order of additions, so the bytes, must not depend on the number of workers,
    and on small nets one single-threaded process a core is faster than one process on all cores.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if torch.cuda.is_available():  # one thread on a CPU is deterministic as it is
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False


def identity(device: torch.device) -> dict[str, str]:
    """Return what of the machine a result's bytes depend on, for fingerprints and provenance."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {"torch": torch.__version__, "device": name}
