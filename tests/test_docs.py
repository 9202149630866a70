"""The examples of docs/use.md run as they stand there."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

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
    monkeypatch.setenv("BASINS_STORE", str(tmp_path / "store"))
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
    assert commands == {"connect", "cluster", "probe", "plane", "merge", "report"}


def test_python_page(bench):
    """The blocks of docs/python.md, one after the other, for small networks."""
    from torch import nn

    names = {"cross_entropy": nn.functional.cross_entropy}
    draw = torch.Generator().manual_seed(0)
    inputs, labels = torch.randn(60, 4, generator=draw), torch.randint(3, (60,), generator=draw)
    names |= {"loader": [(inputs, labels)], "shifted": [(inputs + 1, labels)], "inputs": inputs}
    names |= {"targets": torch.randn(60, 3, generator=draw), "several": torch.ones(60, 3)}
    made = []
    for seed in range(4):
        torch.manual_seed(seed)
        made.append(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)))
    names |= {"nets": made, "a": made[0], "b": made[1], "base": made[2]}
    page = (Path(__file__).parents[1] / "docs" / "python.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 8
    for block in blocks:
        exec(block, names)
    assert set(names["regression"].rows["metric"]) == {"loss"}


def test_the_tutorial(bench):
    """Two fine-tunes have no barrier between them, and the others have one."""
    written = (Path(__file__).parents[1] / "docs" / "tutorial.ipynb").read_text()
    names: dict = {}
    for cell in json.loads(written)["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"]
            exec("".join(cell["source"]), names)
    barrier = {
        name: names[name].rows.set_index("metric").at["loss", "barrier_linear"]
        for name in ("near", "far", "matched")
    }
    assert barrier["near"] < barrier["matched"] < barrier["far"]
    assert names["soup"].rows["accuracy"].min() > 0.8
    assert "tuned/seed1" in Path("page/index.html").read_text()


def test_other_losses(bench):
    """A language model of two layers, whose loss is that of the library, row by row."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    words = ["<unk>", "</s>", "the", "dog", "sees", "hears", "a", "cat"]
    made = Tokenizer(WordLevel({word: k for k, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="</s>")
    sizes = {"n_positions": 16, "n_embd": 8, "n_layer": 2, "n_head": 2, "eos_token_id": 1}
    nets = {}
    for seed, name in enumerate(("gpt-a", "gpt-b")):
        torch.manual_seed(seed)
        nets[name] = GPT2LMHeadModel(GPT2Config(vocab_size=8, **sizes)).eval()
        nets[name].save_pretrained(name)
        tokenizer.save_pretrained(name)
    Path("test.txt").write_text("the dog sees a cat\nthe cat hears the dog\n" * 9)
    follow(section("Other losses"))
    cli.main(["probe", "gpt-a", "--data", "test.txt", "--loss", "language", "--out", "found"])
    found = pd.read_csv("found/probes.csv").set_index("metric")["value"]
    ids = tokenizer("the dog sees a cat </s> the cat hears the dog </s> " * 9)["input_ids"]
    rows = torch.tensor(ids[: len(ids) // 16 * 16]).view(-1, 16)
    assert found["loss"] == pytest.approx(nets["gpt-a"](rows, labels=rows).loss.item(), rel=1e-4)
