"""The shapes that evaluation spends its time on run on optimised kernels, not on reference ones.

A library that falls back to them is right and a thousand times slower, which no other test sees.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

EVALUATION = """
import sys, torch
from basins.data.resident import Resident
from basins.nets import resnet, vgg
from basins.nets.bert import build_text
from basins.paths.engine import Engine
from basins.paths.evaluation import evaluate

images = Resident(torch.zeros(64, 32, 32, 3, dtype=torch.uint8), torch.zeros(64).long())
for net in (resnet.build((32, 32, 3), 10, depth=8, width=16), vgg.build((32, 32, 3), 10)):
    evaluate(Engine(net).settle("reset", images, sys.argv[1]), images, sys.argv[1])
with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=sys.argv[1] == "bf16"):
    build_text(100, 3).eval()(torch.zeros(8, 40, dtype=torch.int64))
"""


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_hot_shapes_do_not_fall_back(precision):
    if precision == "bf16" and not torch.cpu._is_avx512_bf16_supported():
        pytest.skip("this processor has no bf16, so the engine does not choose it")
    done = subprocess.run(
        [sys.executable, "-c", EVALUATION, precision],
        env={**os.environ, "ONEDNN_VERBOSE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.split(",") for line in done.stdout.splitlines() if line.startswith("onednn_verb")]
    # version, "primitive", "exec", engine, primitive, implementation, ... in this order since 3.0
    ran = {(parts[5], parts[6]) for parts in lines if parts[3:5] == ["exec", "cpu"]}
    hot = {(kind, kernel) for kind, kernel in ran if kind in ("convolution", "matmul")}
    assert any(kind == "convolution" for kind, _ in hot), done.stdout[:500]
    assert not [kernel for _, kernel in hot if "ref" in kernel]
