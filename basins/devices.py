"""Devices, and the settings that make a command's results reproducible to the byte."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from basins.errors import UserError

LIBRARIES = ("numpy", "scipy", "scikit-learn", "transformers", "tokenizers")
"""They decide random draws, assignments, splits, networks and the pieces of a text."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def pick(device: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """Return the device to use; `auto` is a GPU if there is one.

    Raises `UserError` if `cuda` is requested and not available.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device: 'cuda' is asked for but torch sees no GPU; use auto or cpu")
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def workers(asked: int | Literal["auto"], device: torch.device) -> int:
    """Return the number of processes to use: one per core on a CPU, one per GPU otherwise."""
    if asked != "auto":
        return asked
    if device.type == "cuda":
        return torch.cuda.device_count()
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """Return the name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def prepare() -> None:
    """Make this process deterministic, and fast on one thread.

    Each process has one thread: the order of additions, and so the bytes, must not depend on the
    number of workers, and for small nets one single-threaded process per core is faster than one
    process on all cores.
    """
    _keep_freed_memory()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if torch.cuda.is_available():  # one thread on a CPU is deterministic as it is
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = False  # otherwise fp32 products have 10 bits


def _keep_freed_memory() -> None:
    """Let the C library keep large freed blocks, instead of returning them to the system.

    They would be requested again at the next layer and every page cleared, which takes a fifth of
    the time of evaluation. Does nothing if the library is not glibc.
    """
    if sys.platform == "linux":
        with suppress(AttributeError):  # other libraries have no such option
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
            mallopt(M_MMAP_THRESHOLD, 2**30)


def memory_format(net: nn.Module) -> torch.memory_format:
    """Return the memory format for training `net`: channels-last, the fastest for convolutions.

    The exception are nets with a 1x1 convolution of two to seven input channels: without AVX-512,
    the backward pass of torch 2.15 then writes beyond its buffers and may crash.
    """
    fragile = any(
        isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.in_channels < 8
        for module in net.modules()
    )
    return torch.contiguous_format if fragile else torch.channels_last


def identity(device: torch.device) -> dict[str, str]:
    """Return what affects a result's bytes beside the code: the device and libraries' versions."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {"torch": torch.__version__, **_versions(), "device": name}


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES}
