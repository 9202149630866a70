"""The examples of docs/use.md run as they stand there."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from pathlib import Path

import pandas as pd
import pytest

from basins import cli
from basins.statistics import cluster_rows

PAGE = (Path(__file__).parents[1] / "docs" / "use.md").read_text()


def section(title: str) -> str:
    return re.split(r"^## ", PAGE.split(f"\n## {title}\n")[1], flags=re.MULTILINE)[0]


def follow(text: str) -> None:
    """Save each block of Python under the name in its first line; do each line of bash."""
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if language == "python":
            name = re.match(r"# (\w+\.py)\n", block)
            assert name, block
            Path(name[1]).write_text(block)
            continue
        for line in block.splitlines():
            program, *arguments = shlex.split(line)
            if program == "python":
                runpy.run_path(arguments[0])
            else:
                assert program == "basins", line
                cli.main(arguments)


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """An empty folder to work in, whose modules are forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(cluster_rows, "DRAWS", 19)  # quicker; the numbers are not looked at
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def test_a_pytorch_network(bench):
    follow(section("A PyTorch network"))
    probes = pd.read_csv("found/probes.csv").query("metric == 'accuracy'")
    accuracy = probes.groupby("slice")["value"].min()
    assert accuracy["test"] > 0.8 > accuracy["upside_down"] + 0.2
    barriers = pd.read_csv("found/barriers.csv").query("metric == 'loss' and eval_set == 'test'")
    barriers = barriers.query("model_a == 'digits/seed0' and model_b == 'digits/seed1'")
    assert list(barriers["experiment"]) == ["connect", "cluster", "connect"]
    plain, _, matched = barriers["distance"]
    assert matched < plain
    assert len(pd.read_csv("found/clusters.csv").query("measure == 'convexity_gap'")) == 4
    assert "digits/seed0" in Path("found/index.html").read_text()


def test_a_bert_of_hugging_face(bench):
    follow(section("A BERT of Hugging Face"))
    probes = pd.read_csv("barked/probes.csv")
    assert set(probes["metric"]) == {"accuracy", "loss", "f1", "mcc"}
    assert "dogs/seed1" in Path("barked/index.html").read_text()


def test_every_command_has_an_example():
    commands = set(re.findall(r"^\| `basins (\w+) ", PAGE, re.MULTILINE))
    assert commands == set(re.findall(r"^basins (\w+) ", PAGE, re.MULTILINE))
    assert commands == {"connect", "cluster", "probe", "merge", "report"}
