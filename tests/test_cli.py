"""The command line on a stranger's checkpoints: numbers worked out by hand, and refusals."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    BertTokenizerFast,
)

from basins import cli
from basins.align.permute import permute, random_permutations
from basins.data import disk
from basins.data.images import Split
from basins.nets import checkpoint, mlp
from basins.statistics import cluster_rows

NET = """
from torch import nn


def linear():
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 3))


def normed():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3))


def fails():
    raise RuntimeError("no\\nnet")
"""
DATA = ["--data", "data"]
LINEAR = ["--net", "net.py:linear", *DATA]


def images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    return draw.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8), draw.integers(0, 3, count)


def state(seed: int, centre: int = 0) -> dict[str, Tensor]:
    """Return weights of the linear net: far from those of another centre."""
    far, near = (torch.Generator().manual_seed(s) for s in (1000 + centre, seed))
    weight = torch.randn(3, 48, generator=far) + 0.05 * torch.randn(3, 48, generator=near)
    return {"1.weight": weight, "1.bias": torch.zeros(3)}


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """A folder with the images, made once: the tests work in copies of it."""
    folder = tmp_path_factory.mktemp("written")
    (folder / "net.py").write_text(NET)
    splits = {}
    for seed, (name, count) in enumerate({"train": 300, "test": 60, "odd": 40}.items()):
        pixels, labels = images(count, seed)
        splits[name] = Dataset.from_dict({"image": pixels, "label": labels})
    splits["unlabelled"] = Dataset.from_dict({"image": pixels, "label": [-1] * 40})
    DatasetDict(splits).save_to_disk(folder / "data")
    save_file(state(1), folder / "a.safetensors")
    save_file(state(2, centre=1), folder / "b.safetensors")
    torch.save(state(2, centre=1), folder / "b.pt")
    return folder


@pytest.fixture(autouse=True)
def folder(written, tmp_path, monkeypatch) -> Path:
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # put back as it was, afterwards
    monkeypatch.setattr(cluster_rows, "DRAWS", 39)
    monkeypatch.setenv("BASINS_STORE", str(tmp_path.with_name(f"{tmp_path.name}-store")))
    return tmp_path


def losses(given: dict[str, Tensor]) -> Tensor:
    pixels, labels = images(60, 1)
    inputs = torch.tensor(pixels).permute(0, 3, 1, 2) / 127.5 - 1
    logits = inputs.flatten(1) @ given["1.weight"].T + given["1.bias"]
    return functional.cross_entropy(logits, torch.tensor(labels), reduction="none")


def mixed(t: float) -> dict[str, Tensor]:
    a, b = state(1), state(2, centre=1)
    return {name: (1 - t) * a[name] + t * b[name] for name in a}


def test_connect_mixes_the_weights_as_one_does_by_hand(capsys):
    cli.main(["connect", "a.safetensors", "b.pt", *LINEAR, "--points", "5", "--out", "found"])
    rows = pd.read_csv("found/paths.csv")
    assert set(rows["eval_set"]) == {"test", "odd"}
    expected = [float(losses(mixed(t)).mean()) for t in np.linspace(0, 1, 5)]
    np.testing.assert_allclose(rows.query("eval_set == 'test'")["loss"], expected, rtol=1e-4)
    barriers = pd.read_csv("found/barriers.csv")
    row = barriers.query("eval_set == 'test' and metric == 'loss'").iloc[0]
    assert (row["model_a"], row["model_b"]) == ("a/seed0", "b/seed0")
    assert row["barrier_mid"] == pytest.approx(expected[2] - (expected[0] + expected[4]) / 2, 1e-3)
    apart = float((mixed(0)["1.weight"] - mixed(1)["1.weight"]).norm())
    assert row["distance"] == pytest.approx(apart)
    assert "barrier_linear" in capsys.readouterr().out


def test_the_same_command_writes_the_same_bytes():
    def found(out: str) -> list[bytes]:
        cli.main(["connect", "a.safetensors", "b.safetensors", *LINEAR, "--out", out])
        return [file.read_bytes() for file in sorted(Path(out).iterdir())]

    assert found("one") == found("two")


def test_rows_are_added_to_a_folder_once_and_never_to_those_of_other_models(capsys):
    command = ["probe", "a.safetensors", *LINEAR, "--out", "found"]
    cli.main(command)
    cli.main(command)
    assert len(pd.read_csv("found/probes.csv")) == 4
    cli.main(["probe", "b.safetensors", *LINEAR, "--out", "found"])
    rows = pd.read_csv("found/probes.csv")
    assert set(rows["recipe"]) == {"a", "b"} and len(rows) == 8
    save_file(state(9), "a.safetensors")
    before = Path("found/probes.csv").read_bytes()
    assert "another model a/seed0" in refused(command, capsys)
    assert Path("found/probes.csv").read_bytes() == before


def test_planes_are_measured_where_they_say_and_drawn():
    save_file(state(3), "c.safetensors")
    cli.main(["plane", A, B, "c.safetensors", *LINEAR, "--steps", "2", "--out", "found"])
    more = ["--directions", "hessian", "--reach", "0.5", "--steps", "2", "--out", "found"]
    cli.main(["plane", A, *LINEAR, *more])
    cli.main(["plane", A, B, *LINEAR, "--directions", "random", *more[2:]])
    rows = pd.read_csv("found/plane.csv").query("eval_set == 'test'")
    whole, one, two = (part for _, part in rows.groupby("plane", sort=False))
    middle = whole.query("u == .5 and v == 0")
    assert middle["loss"].item() == pytest.approx(float(losses(mixed(0.5)).mean()), rel=1e-5)
    assert whole["model"].dropna().tolist() == ["a/seed0", "b/seed0", "c/seed0"]
    assert (len(one), len(two)) == (25, 25)
    assert [part["model"].dropna().tolist() for part in (one, two)] == [
        ["a/seed0"],
        ["a/seed0", "b/seed0"],
    ]
    there = one.query("u == 1 and v == 0")  # an eigenvector has length 1
    assert float(np.hypot(there["x"], there["y"]).iloc[0]) == pytest.approx(0.5, rel=1e-4)
    cli.main(["report", "found"])
    page = Path("found/index.html").read_text()
    assert "Plane, a/seed0, hessian" in page and "normalised by filter" in page


def test_clusters_are_found_where_they_were_planted(capsys):
    names, planted = [], [0, 1, 0, 0, 1, 1, 0, 1, 0, 1, 0, 0]
    for seed, centre in enumerate(planted):
        save_file(state(seed, centre), f"net{seed}.safetensors")
        names.append(f"net{seed}.safetensors")
    cli.main(["cluster", *names, *LINEAR, "--eval-set", "test", "--points", "3", "--out", "found"])
    rows = pd.read_csv("found/clusters.csv").query("measure == 'distance'")
    assert list(rows["cluster"]) == planted
    assert list(rows["model"]) == [f"net/seed{k}" for k in range(12)]
    assert len(pd.read_csv("found/barriers.csv")) == 2 * 66
    assert "net/seed7" in capsys.readouterr().out


def test_a_permuted_copy_is_connected_after_weight_matching():
    """A network of this project, from its own kind of folder, and itself with its units moved."""
    pixels, labels = images(80, 5)
    split = Split(pixels, labels)
    disk.save(Path("ours"), {"train": split, "test": split}, ("x", "y", "z"))
    torch.manual_seed(0)
    net = mlp.build((4, 4, 3), 3, depth=2, width=16)
    config = {"net": {"name": "mlp", "depth": 2, "width": 16}, "image_shape": [4, 4, 3]}
    config |= {"num_classes": 3}
    spec, moved = net.permutation_spec(), net.state_dict()
    permutations = random_permutations(moved, spec, np.random.default_rng(0))
    for name, state in {
        "net/seed0": moved,
        "net/seed1": permute(moved, spec, permutations),
    }.items():
        Path(name).mkdir(parents=True)
        other = mlp.build((4, 4, 3), 3, depth=2, width=16)
        other.load_state_dict(state)
        checkpoint.save(other, config, Path(name))
    for alignment in ("none", "weight_matching", "activation_matching"):
        command = ["connect", "net/seed0", "net/seed1", "--data", "ours", "--points", "3"]
        cli.main([*command, "--alignment", alignment, "--out", "found"])
    rows = pd.read_csv("found/barriers.csv").query("metric == 'loss'").set_index("alignment")
    assert rows.at["none", "distance"] > 1
    # Units that no image wakes have no activations to be told by: there weights alone know better.
    assert rows.at["weight_matching", "distance"] == pytest.approx(0, abs=1e-5)
    assert rows["barrier_linear"].drop("none").to_numpy() == pytest.approx(0, abs=1e-5)
    command = ["connect", "net/seed0", "net/seed1", "--data", "ours", "--points", "3"]
    cli.main([*command, "--batchnorm", "repair", "--out", "repaired"])
    paths = pd.read_csv("repaired/paths.csv")["loss"]
    before = pd.read_csv("found/paths.csv").query("alignment == 'none'")["loss"]
    assert paths.tolist()[::2] == pytest.approx(before.tolist()[::2])  # ends stay
    assert paths[1] != pytest.approx(before.tolist()[1], rel=1e-4)


HIDDEN = """
from torch import nn


def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 16), nn.ReLU(), nn.Linear(16, 3))
"""


@pytest.mark.parametrize("alignment", ["weight_matching", "activation_matching"])
def test_a_network_without_a_spec_is_aligned_by_a_traced_one(alignment, capsys):
    Path("hidden.py").write_text(HIDDEN)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 16), nn.ReLU(), nn.Linear(16, 3))
    order = torch.randperm(16)
    moved = {"1.weight": net[1].weight[order], "1.bias": net[1].bias[order]}
    moved |= {"3.weight": net[3].weight[:, order].contiguous(), "3.bias": net[3].bias}
    save_file(net.state_dict(), "one.safetensors")
    save_file({k: t.detach().clone() for k, t in moved.items()}, "moved.safetensors")
    command = ["connect", "one.safetensors", "moved.safetensors", "--net", "hidden.py:build", *DATA]
    cli.main([*command, "--points", "3", "--alignment", alignment, "--out", "found"])
    distance = pd.read_csv("found/barriers.csv")["distance"]
    assert distance.to_numpy() == pytest.approx(0, abs=1e-5)
    said = capsys.readouterr().err
    assert "traced: 99.6% of the parameters can move (groups: 1)" in said
    assert "fixed: 3.bias (an output)" in said


@pytest.mark.parametrize("technique", ["zipit", "cca_merge", "ot_fusion"])
def test_techniques_that_mix_units_want_a_written_spec(technique, capsys):
    command = ["merge", "a.safetensors", "b.safetensors", *LINEAR, "--out", "found"]
    assert "by a permutation_spec() that Sequential lacks" in refused(
        [*command, "--technique", technique], capsys
    )


def normed(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3))
    net(torch.randn(64, 3, 4, 4))
    return net


def test_a_merge_is_saved_with_the_statistics_it_was_measured_with():
    for seed in range(2):
        save_file(normed(seed).state_dict(), f"net{seed}.safetensors")
    given = ["net0.safetensors", "net1.safetensors", "--net", "net.py:normed", *DATA]
    cli.main(["merge", *given, "--technique", "uniform_soup", "--out", "soup"])
    rows = pd.read_csv("soup/merge.csv").query("eval_set == 'test'").set_index("sources")
    found, ends = load_file("soup/model.safetensors"), [normed(k).state_dict() for k in range(2)]
    torch.testing.assert_close(found["0.weight"], (ends[0]["0.weight"] + ends[1]["0.weight"]) / 2)
    interpolated = (ends[0]["1.running_var"] + ends[1]["1.running_var"]) / 2
    assert not torch.allclose(found["1.running_var"], interpolated, rtol=1e-3)
    cli.main(["probe", "soup=soup", *given, "--out", "probed"])
    probes = pd.read_csv("probed/probes.csv").query("slice == 'test' and metric == 'loss'")
    values = probes.set_index("recipe")["value"]
    assert values["soup"] == pytest.approx(rows.at["net/seed0 + net/seed1", "loss"], rel=1e-4)
    assert rows.at["net/seed0", "loss"] == pytest.approx(values["net"].iloc[0], rel=1e-4)
    start = ["--base", "net1.safetensors", "--option", "coefficient=0"]
    given += ["--batchnorm", "interpolate", "--out", "base"]
    cli.main(["merge", *given, "--technique", "task_arithmetic", *start])
    base = load_file("base/model.safetensors")
    torch.testing.assert_close(base["3.weight"], ends[1]["3.weight"])


@pytest.fixture
def berts() -> list[BertForSequenceClassification]:
    words = ["the", "a", "dog", "cat", "sees", "hears"]
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    Path("vocab.txt").write_text("\n".join([*marks, *words]))
    draw = np.random.default_rng(0)
    columns = {
        "premise": [" ".join(draw.choice(words, k)) for k in draw.integers(1, 5, 50)],
        "hypothesis": [" ".join(draw.choice(words, k)) for k in draw.integers(1, 5, 50)],
        "label": draw.integers(0, 2, 50),
    }
    rows = Dataset.from_dict(columns).cast_column("label", ClassLabel(names=["no", "yes"]))
    DatasetDict(train=rows, validation=rows).save_to_disk("text")
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BertConfig(vocab_size=11, intermediate_size=8, max_position_embeddings=16, **sizes)
    config.initializer_range = 1.0
    config.id2label = {0: "no", 1: "yes"}
    made = []
    for seed in range(2):
        torch.manual_seed(seed)
        made.append(BertForSequenceClassification(config).eval())
        made[-1].save_pretrained(f"bert-{seed}")
        BertTokenizerFast("vocab.txt").save_pretrained(f"bert-{seed}")
    return made


@torch.no_grad()
def test_a_bert_of_hugging_face_is_probed_and_merged_as_by_its_own_code(berts):
    given = ["bert-0", "bert-1", "--data", "text"]
    cli.main(["merge", *given, "--technique", "uniform_soup", "--out", "soup"])
    soup = AutoModelForSequenceClassification.from_pretrained("soup").eval()
    expected = [(a + b) / 2 for a, b in zip(*(net.parameters() for net in berts), strict=True)]
    for ours, theirs in zip(soup.parameters(), expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    rows = disk.opened(Path("text"), "validation")
    pairs = rows["premise"][:], rows["hypothesis"][:]
    tokens = BertTokenizerFast.from_pretrained("soup")(*pairs, padding=True, return_tensors="pt")
    labels = torch.tensor(rows["label"][:])
    table = pd.read_csv("soup/merge.csv").set_index("sources")
    for net, name in ((berts[0], "bert/seed0"), (soup, "bert/seed0 + bert/seed1")):
        logits = net(**tokens).logits
        loss = float(functional.cross_entropy(logits, labels))
        assert table.at[name, "loss"] == pytest.approx(loss, rel=1e-4)
        accuracy = (logits.argmax(1) == labels).double().mean()
        assert table.at[name, "accuracy"] == accuracy
    cli.main(["probe", *given, "--out", "found"])
    assert set(pd.read_csv("found/probes.csv")["metric"]) == {"accuracy", "loss", "f1", "mcc"}


def test_the_report_is_one_page_of_what_is_there():
    cli.main(["connect", "a.safetensors", "b.safetensors", *LINEAR, "--points", "3", "--out", "f"])
    cli.main(["report", "f"])
    page = Path("f/index.html").read_text()
    assert "a/seed0" in page and "<svg" in page and "src=" not in page
    cli.main(["report", "f"])
    assert Path("f/index.html").read_text() == page


class Marked:
    """Unpickled, it leaves a mark: what weights must never be able to do."""

    def __reduce__(self):
        return os.mkdir, ("mark",)


def refused(command: list[str], capsys) -> str:
    """Run a command that is to end with one line and a code, and return the line."""
    with pytest.raises(SystemExit) as ended:
        cli.main(command)
    said = str(ended.value.code) if ended.value.code != 2 else capsys.readouterr().err
    assert said and "dvc" not in said and "Traceback" not in said
    assert ended.value.code == 2 or "\n" not in said
    return said


A, B = "a.safetensors", "b.safetensors"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["connect", A, "nowhere", *LINEAR], "nowhere: no such file"),
        (["connect", A, *LINEAR], "required: MODEL"),
        (["connect", A, A, *LINEAR], "would both be called a/seed0"),
        (["connect", A, B, *DATA], "no folder with a config.json"),
        (["connect", A, "normed.safetensors", *LINEAR], "1.bias is (4,), not (3,)"),
        (["connect", A, "half.safetensors", *LINEAR], "damaged"),
        (["connect", A, "evil.pt", *LINEAR], "could run code"),
        (["connect", A, B, *LINEAR, "--path", "bezier"], "a point to train"),
        (["connect", A, B, *LINEAR, "--path", "arc"], "no 'arc'"),
        (["connect", A, B, *LINEAR, "--points", "2"], "less than 3"),
        (["connect", A, B, *LINEAR, "--alignment", "weight_matching"], "no units to align"),
        (["connect", A, B, *LINEAR, "--batchnorm", "reset"], "have no BatchNorm"),
        (["connect", A, B, *LINEAR, "--batchnorm", "repair"], "REPAIR needs it"),
        (["connect", A, B, *LINEAR, "--eval-set", "tset"], "no split 'tset'"),
        (["connect", A, B, *LINEAR, "--eval-set", "unlabelled"], "no column `label`"),
        (["connect", A, B, "--net", "net.py:fails", *DATA], "RuntimeError: no net"),
        (["connect", A, B, "--net", "net.py:absent", *DATA], "AttributeError"),
        (["connect", A, B, "--net", "absent.py:f", *DATA], "no such file"),
        (["connect", A, B, "--net", "net.py:linear", "--data", "nowhere"], "nowhere"),
        (["connect", "gpt", "gpt", *DATA], "gpt: no such file: model.safetensors"),
        (["cluster", A, B, *LINEAR], "4 or more"),
        (["plane", A, B, *LINEAR], "fewer take --directions"),
        (["plane", A, f"x={A}", B, f"y={B}", *LINEAR], "4 models"),
        (["plane", A, *LINEAR, "--directions", "random", "--reach", "0"], "more than 0"),
        (["merge", A, B, *LINEAR, "--technique", "soup", "--out", "o"], "no 'soup'"),
        (["merge", A, B, *LINEAR, "--technique", "deep_ensemble", "--out", "o"], "an ensemble"),
        (["merge", A, B, *LINEAR, "--technique", "ties", "--out", "o"], "base"),
        (["merge", A, B, *LINEAR, "--technique", "uniform_soup", "--out", "data"], "not empty"),
        (
            ["merge", A, B, *LINEAR, "--technique", "ties", "--option", "density=2", "--out", "o"],
            "density: 2 is not allowed",
        ),
        (["report", "nowhere"], "nowhere: no rows"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_line(command, message, capsys):
    save_file(normed(0).state_dict(), "normed.safetensors")
    Path("half.safetensors").write_bytes(Path(A).read_bytes()[:100])
    torch.save({"1.weight": Marked()}, "evil.pt")
    Path("gpt").mkdir()
    config = {"model_type": "gpt2", "architectures": ["GPT2ForSequenceClassification"]}
    Path("gpt/config.json").write_text(json.dumps(config))
    before = sorted(Path().rglob("*"))
    if "gpt" in command:
        command = [word if word != "gpt" else f"g{k}=gpt" for k, word in enumerate(command)]
    assert message in refused(command, capsys)
    left = [path for path in sorted(Path().rglob("*")) if "__pycache__" not in path.parts]
    assert left == before


def test_a_model_is_called_by_its_file_or_folder():
    from basins.checkpoints.models import identify

    names = {
        "models/nli/seed3": "nli/seed3",
        "runs/bert-ft-12": "bert-ft/seed12",
        "runs/net.safetensors": "net/seed0",
        "runs/one/model.safetensors": "one/seed0",
        "runs/7": "runs/seed7",
        "mine=runs/net4.pt": "mine/seed0",
        "mine/seed5=runs/net4.pt": "mine/seed5",
    }
    assert {given: identify(given)[0] for given in names} == names


def test_a_second_run_is_served_from_the_store_and_says_so(capsys):
    command = ["connect", A, B, *LINEAR, "--points", "3"]
    cli.main([*command, "--out", "one"])
    assert "remembered" not in capsys.readouterr().err
    cli.main([*command, "--out", "two"])
    assert "remembered: 3 of 3 steps, in" in capsys.readouterr().err
    for name in ("barriers.csv", "paths.csv", "provenance.json"):
        assert Path("one", name).read_bytes() == Path("two", name).read_bytes()
    save_file(state(7), B)  # only what it is part of is measured again
    cli.main(command)
    assert "remembered: 1 of 3 steps, in" in capsys.readouterr().err
    Path("net.py").write_text(f"{NET}\n\n# another file\n")
    cli.main(command)
    assert "remembered" not in capsys.readouterr().err


def test_processes_share_the_work_and_find_the_same():
    cli.main(["connect", A, B, *LINEAR, "--points", "3", "--jobs", "2", "--out", "two"])
    before = os.environ["BASINS_STORE"]
    os.environ["BASINS_STORE"] = f"{before}-other"
    try:
        cli.main(["connect", A, B, *LINEAR, "--points", "3", "--out", "one"])
    finally:
        os.environ["BASINS_STORE"] = before
    for name in ("barriers.csv", "paths.csv", "provenance.json"):
        assert Path("one", name).read_bytes() == Path("two", name).read_bytes()


def test_other_losses_are_named_or_written(capsys):
    draw = np.random.default_rng(0)
    inputs, kinds = draw.normal(size=(40, 48)).astype(np.float32), draw.integers(0, 2, (40, 3))
    rows = Dataset.from_dict({"x": inputs.tolist(), "labels": kinds.tolist()})
    DatasetDict(test=rows).save_to_disk("tags")
    Path("loss.py").write_text(
        "def margin(output, target):\n    return (1 - (2 * target - 1) * output).relu().sum(1)\n"
    )
    logits = torch.from_numpy(inputs) @ state(1)["1.weight"].T
    targets = torch.from_numpy(kinds)
    right = {
        "multilabel": functional.binary_cross_entropy_with_logits(logits, targets.float()),
        "regression": functional.mse_loss(logits, targets.float()),
        "loss.py:margin": (1 - (2 * targets - 1) * logits).relu().sum(1).mean(),
    }
    for loss, expected in right.items():
        command = ["--net", "net.py:linear", "--data", "tags", "--loss", loss]
        out = loss.replace(":", "-")
        cli.main(["probe", A, *command, "--out", out])
        found = pd.read_csv(f"{out}/probes.csv").set_index("metric")["value"]
        assert found["loss"] == pytest.approx(float(expected), 1e-4)
    assert "no such file" in refused(["probe", A, *command[:-1], "absent.py:f"], capsys)
    assert "there are classification" in refused(["probe", A, *command[:-1], "hinge"], capsys)
