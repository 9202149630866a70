"""What `prepare` does to a process, seen in a process of its own."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import version

import pytest
import torch

from basins import devices


@pytest.mark.parametrize("name", devices.LIBRARIES)
def test_another_version_of_a_library_is_another_identity(name, monkeypatch):
    before = devices.identity(torch.device("cpu"))
    monkeypatch.setattr(devices, "_versions", devices._versions.__wrapped__)
    assert devices.identity(torch.device("cpu")) == before
    monkeypatch.setattr(devices, "version", lambda n: f"new {n}" if n == name else version(n))
    assert devices.identity(torch.device("cpu")) == before | {name: f"new {name}"}


FAULTS = """
import resource, sys, torch
from basins import devices
if sys.argv[1] == "prepared":
    devices.prepare()
for count in range(20):
    torch.ones(2**23)
    if count == 9:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the option is glibc's")
def test_memory_that_is_freed_is_not_cleared_again():
    """Ten times 32 MiB are 81,920 pages of 4 KiB, or 160 of 2 MiB."""
    unprepared, prepared = (
        int(subprocess.check_output([sys.executable, "-c", FAULTS, how]))
        for how in ("as it is", "prepared")
    )
    assert prepared < unprepared / 4
