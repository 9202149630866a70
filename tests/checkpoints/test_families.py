"""Architectures of Hugging Face by their folders, held against the library on single rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import transformers as library
from datasets import ClassLabel, Dataset, DatasetDict
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from torch.nn import functional
from torchvision.models import get_model

import basins
from basins import cli
from basins.errors import UserError
from basins.nets import checkpoint
from tests.checkpoints.conftest import ANSWERS, HYPOTHESES, PREMISES, WORDS, probed, rows, saved

NAMES = ("no", "yes", "maybe")
SIZES = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
SIZES |= {"intermediate_size": 8, "vocab_size": 12}
DECODER = {"num_key_value_heads": 1, "bos_token_id": 2, "eos_token_id": 3}
GPT2 = {"n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 16, "vocab_size": 12}
GPT2 |= {"bos_token_id": 2, "eos_token_id": 3}
MODERN = {"bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
TEXT: dict[str, Any] = {
    "roberta": library.RobertaConfig(**SIZES, max_position_embeddings=18, type_vocab_size=1),
    "distilbert": library.DistilBertConfig(
        dim=8, n_layers=1, n_heads=2, hidden_dim=8, vocab_size=12, max_position_embeddings=16
    ),
    "electra": library.ElectraConfig(**SIZES, embedding_size=4, max_position_embeddings=16),
    "albert": library.AlbertConfig(**SIZES, embedding_size=4, max_position_embeddings=16),
    "deberta-v2": library.DebertaV2Config(
        **SIZES, relative_attention=True, pos_att_type=["c2p", "p2c"], pooler_hidden_size=8
    ),
    "modernbert": library.ModernBertConfig(**SIZES, **MODERN, pad_token_id=0),
    "gpt2": library.GPT2Config(**GPT2),
    "llama": library.LlamaConfig(**SIZES, **DECODER, max_position_embeddings=16),
    "llama, padded": library.LlamaConfig(**SIZES, **DECODER, pad_token_id=1),
    "t5": library.T5Config(
        d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, vocab_size=12, eos_token_id=3,
        decoder_start_token_id=0,
    ),
    "funnel": library.FunnelConfig(
        vocab_size=12, block_sizes=[1, 1], d_model=8, n_head=2, d_head=4, d_inner=8
    ),
}  # fmt: skip
VISION = {**SIZES, "image_size": 8, "patch_size": 4}
VISION.pop("vocab_size")
IMAGES: dict[str, Any] = {
    "vit": library.ViTConfig(**VISION),
    "resnet": library.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], layer_type="basic"
    ),
    "convnext": library.ConvNextConfig(hidden_sizes=[8, 8], depths=[1, 1], num_stages=2),
    "efficientnet": library.EfficientNetConfig(
        width_coefficient=0.1,
        hidden_dim=128,
        in_channels=[8],
        out_channels=[8],
        kernel_sizes=[3],
        strides=[1],
        num_block_repeats=[1],
        expand_ratios=[1],
    ),
    "clip": library.CLIPConfig(
        vision_config=VISION,
        text_config={**SIZES, "max_position_embeddings": 16, "eos_token_id": 3, "bos_token_id": 2},
    ),
}


def tokenizer(kind: str) -> library.PreTrainedTokenizerFast:
    """Return words' ids, with the marks of a kind of network: none, at the end, or around."""
    marks = ["<pad>", "<fill>", "<s>", "</s>", "<unk>"]
    made = Tokenizer(WordLevel({w: k for k, w in enumerate([*marks, *WORDS])}, unk_token="<unk>"))
    made.pre_tokenizer = Whitespace()
    special = {"unk_token": "<unk>"}
    if kind == "t5":
        pair = "$A $B </s>"
        made.post_processor = TemplateProcessing("$A </s>", pair, [("</s>", 3)])
        special |= {"eos_token": "</s>", "pad_token": "<pad>"}
    elif kind not in ("gpt2", "llama", "llama, padded"):
        pair = "<s> $A </s> </s> $B </s>" if kind == "roberta" else "<s> $A </s> $B:1 </s>:1"
        marked = [("<s>", 2), ("</s>", 3)]
        made.post_processor = TemplateProcessing("<s> $A </s>", pair, marked)
        special |= {"cls_token": "<s>", "sep_token": "</s>"}
        special |= {"pad_token": "<fill>" if kind == "roberta" else "<pad>"}
    typed = kind in ("electra", "albert", "funnel")
    inputs = ["input_ids", *["token_type_ids"] * typed, "attention_mask"]
    return library.PreTrainedTokenizerFast(
        tokenizer_object=made, model_input_names=inputs, **special
    )


def shaken(net: torch.nn.Module) -> Any:
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    return net.eval()


def text(kind: str, folder: str, seed: int = 0) -> Any:
    config = TEXT[kind]
    config.id2label, config.label2id = dict(enumerate(NAMES)), {n: k for k, n in enumerate(NAMES)}
    torch.manual_seed(seed)
    net = shaken(library.AutoModelForSequenceClassification.from_config(config))
    net.save_pretrained(folder)
    tokenizer(kind).save_pretrained(folder)
    return net


@torch.no_grad()
def by_row(net: Any, kind: str) -> float:
    """Return the mean loss of the answers, each row by itself, as the library does it."""
    read = tokenizer(kind)
    logits = [
        net(**read(a, b, return_tensors="pt")).logits[0]
        for a, b in zip(PREMISES, HYPOTHESES, strict=True)
    ]
    return float(functional.cross_entropy(torch.stack(logits), torch.tensor(ANSWERS)))


@pytest.mark.parametrize("kind", TEXT)
def test_a_classifier_of_text_is_what_the_library_makes_of_single_rows(kind, capsys):
    net = text(kind, "one")
    data = saved(validation=rows(ANSWERS, ClassLabel(names=[*NAMES])))
    assert probed("one", *data)("loss") == pytest.approx(by_row(net, kind), 1e-4)
    text(kind, "two", seed=1)
    cli.main(["connect", "one", "two", *data, "--points", "3", "--out", "found"])
    assert "computed fast" not in capsys.readouterr().err
    ends = pd.read_csv("found/paths.csv").query("t == 0")["loss"]
    assert ends.iloc[0] == pytest.approx(by_row(net, kind), 1e-4)
    merge = ["merge", "one", "two", *data, "--technique", "uniform_soup", "--out", "soup"]
    cli.main(merge)
    loaded = library.AutoModelForSequenceClassification.from_pretrained("soup").eval()
    measured = pd.read_csv("soup/merge.csv")["loss"].iloc[0]
    assert by_row(loaded, kind) == pytest.approx(measured, 1e-4)


def test_a_limit_below_one_is_none():
    config = library.XLNetConfig(vocab_size=12, d_model=8, n_layer=1, n_head=2, d_inner=8)
    assert checkpoint.longest(config.to_dict()) > 10**6


@pytest.mark.parametrize("kind", ["roberta", "gpt2"])
def test_rows_that_are_too_long_are_cut_as_the_tokenizer_cuts_them(kind):
    net, read = text(kind, "one"), tokenizer(kind)
    long = [f"{a} {a} {a} {a}" for a in PREMISES]
    columns = {"premise": long, "hypothesis": HYPOTHESES, "label": ANSWERS.tolist()}
    data = saved(
        validation=Dataset.from_dict(columns).cast_column("label", ClassLabel(names=[*NAMES]))
    )
    with pytest.raises(SystemExit, match="rows do not have 1 to 16 tokens"):
        cli.main(["probe", "one", *data])
    cut = {"truncation": "longest_first", "max_length": 16}
    with torch.no_grad():
        logits = [
            net(**read(a, b, return_tensors="pt", **cut)).logits[0]
            for a, b in zip(long, HYPOTHESES, strict=True)
        ]
    expected = float(functional.cross_entropy(torch.stack(logits), torch.tensor(ANSWERS)))
    assert probed("one", *data, "--truncate")("loss") == pytest.approx(expected, 1e-4)


PIXELS = np.random.default_rng(0).integers(0, 256, (40, 12, 10, 3), dtype=np.uint8)
LABELS = np.random.default_rng(1).integers(0, 3, 40)


@pytest.mark.parametrize("kind", IMAGES)
def test_a_classifier_of_images_does_with_them_what_its_folder_says(kind):
    config = IMAGES[kind]
    config.num_labels = 3
    torch.manual_seed(0)
    net = shaken(library.AutoModelForImageClassification.from_config(config))
    net.save_pretrained("net")
    size = {"height": 8, "width": 8}
    read = library.ViTImageProcessor(size=size, image_mean=[0.4, 0.5, 0.6], image_std=[0.2] * 3)
    read.save_pretrained("net")
    pictures = [Image.fromarray(pixels) for pixels in PIXELS]
    split = Dataset.from_dict({"image": pictures, "label": LABELS})
    DatasetDict(test=split, train=split).save_to_disk("data")
    with torch.no_grad():
        logits = net(**read(pictures, return_tensors="pt")).logits
    expected = float(functional.cross_entropy(logits, torch.tensor(LABELS)))
    assert probed("net", "--data", "data")("loss") == pytest.approx(expected, 1e-4)
    command = ["connect", "net", "again=net", "--data", "data", "--points", "3", "--out", "found"]
    cli.main([*command, "--batchnorm", "interpolate"])
    assert pd.read_csv("found/barriers.csv")["barrier_linear"].max() == 0


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_language_model_by_its_folder(kind):
    torch.manual_seed(0)
    net = shaken(library.AutoModelForCausalLM.from_config(TEXT[kind]))
    net.save_pretrained("net")
    tokenizer(kind).save_pretrained("net")
    found = basins.probe("net", PREMISES, loss="language").rows.set_index("metric")
    ids = [i for text in PREMISES for i in tokenizer(kind)(text)["input_ids"]]
    blocks = torch.tensor(ids[: len(ids) // 16 * 16]).view(-1, 16)
    with torch.no_grad():
        logits = torch.cat([net(row[None]).logits for row in blocks])[:, :-1]
    right = functional.cross_entropy(logits.transpose(1, 2), blocks[:, 1:])
    assert found.at["loss", "value"] == pytest.approx(float(right), 1e-4)


def test_networks_of_torchvision_by_name():
    net = shaken(get_model("resnet18", num_classes=3))
    torch.save({"model": net.state_dict()}, "net.pth")
    split = Dataset.from_dict({"image": PIXELS[:8], "label": LABELS[:8]})
    DatasetDict(test=split).save_to_disk("data")
    with torch.no_grad():
        logits = net(torch.from_numpy(PIXELS[:8]).permute(0, 3, 1, 2) / 127.5 - 1)
    expected = float(functional.cross_entropy(logits, torch.tensor(LABELS[:8])))
    command = ["net.pth", "--data", "data", "--net"]
    found = probed(*command, "torchvision:resnet18:num_classes=3")
    assert found("loss") == pytest.approx(expected, 1e-3)
    for wrong, message in {
        "torchvision:resnet19": "Unknown model resnet19",
        "torchvision:resnet18:classes": "ValueError",
        "timm:vit": "the package timm is not installed",
    }.items():
        with pytest.raises(SystemExit, match=f"^error: --net {wrong}: .*{message}"):
            cli.main(["probe", *command, wrong])


@pytest.mark.parametrize("kind", ["bert", "electra", "gpt2", "xlnet"])
def test_batches_of_token_ids_as_the_library_takes_them(kind):
    TEXT["bert"] = library.BertConfig(**SIZES, max_position_embeddings=16)
    TEXT["xlnet"] = library.XLNetConfig(vocab_size=12, d_model=8, n_layer=1, n_head=2, d_inner=8)
    net = text(kind, "net")
    ids, lengths = torch.randint(4, 12, (6, 7)), torch.tensor([7, 5, 7, 3, 6, 7])
    mask = (torch.arange(7) < lengths[:, None]).long()
    labels = torch.tensor([0, 1, 2, 0, 1, 2])

    @torch.no_grad()
    def loss(real: torch.Tensor) -> float:
        logits = [
            net(input_ids=row[None, :n]).logits[0] for row, n in zip(ids, real.sum(1), strict=True)
        ]
        return float(functional.cross_entropy(torch.stack(logits), labels))

    whole, named = torch.ones_like(mask), {"input_ids": ids, "labels": labels}
    for data, real in [
        ((ids, labels), whole),
        ([named], whole),
        ([{**named, "attention_mask": mask}], mask),
    ]:
        found = basins.probe("net", data).rows.set_index("metric")
        assert found.at["loss", "value"] == pytest.approx(loss(real), 1e-4)
    for more, message in {
        "idx": "reads input_ids, attention_mask, token_type_ids, not ",
        "attention_mask": "padded in front; pad them at the end",
    }.items():
        with pytest.raises(UserError, match=message):
            basins.probe("net", [{**named, more: mask.flip(1)}])


def change(folder: str, **values: Any) -> None:
    file = Path(folder, "config.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_folders_that_are_refused_or_named(capsys):
    text("roberta", "net")
    data = saved(validation=rows(ANSWERS, ClassLabel(names=[*NAMES])))
    state = load_file("net/model.safetensors")

    def refused(message: str) -> None:
        with pytest.raises(SystemExit, match=rf"^error: net\S*: {message}") as caught:
            cli.main(["probe", "net", *data])
        assert "\n" not in str(caught.value)

    gone = {n: t for n, t in state.items() if n != "classifier.out_proj.bias"}
    save_file(gone, "net/model.safetensors", {"format": "pt"})
    refused(r"the weights do not fit the config: it lacks 1 tensor \(3 numbers\): classifier.out")
    nan = state | {"classifier.out_proj.bias": torch.full((3,), torch.nan)}
    save_file(nan, "net/model.safetensors", {"format": "pt"})
    refused("classifier.out_proj.bias holds values that are not finite")
    Path("net/model.safetensors").write_bytes(b"torn")
    refused("damaged .*make it again")
    more = state | {"roberta.pooler.dense.bias": torch.zeros(8)}
    save_file(more, "net/model.safetensors", {"format": "pt"})
    assert probed("net", *data)("loss") > 0
    assert "not used are 1 tensors: roberta.pooler.dense.bias" in capsys.readouterr().err
    change("net", problem_type="multi_label_classification")
    refused("several labels for a row, and no classes; say --loss multilabel")
    change("net", problem_type=None, quantization_config={"bits": 4})
    refused("quantised weights cannot be mixed")
    change("net", quantization_config=None, architectures=["RobertaForMaskedLM"])
    refused(r"\['RobertaForMaskedLM'\]: measured are networks whose names end in")


def test_what_decides_an_answer_has_to_agree():
    text("gpt2", "one")
    text("gpt2", "two", seed=1)
    change("two", pad_token_id=0)
    data = saved(validation=rows(ANSWERS, ClassLabel(names=[*NAMES])))
    with pytest.raises(SystemExit, match="pad_token_id is 0, in one None"):
        cli.main(["connect", "one", "two", *data])


@pytest.mark.parametrize("kind", TEXT)
def test_the_interface_of_a_family(kind):
    text(kind, "net")
    config = checkpoint.read_config(Path("net"))
    net = checkpoint.initialise(config)
    assert {n: t.shape for n, t in net.state_dict().items()} == {
        n: t.shape for n, t in checkpoint.load(Path("net")).state_dict().items()
    }
    assert net.eval()(*checkpoint.random_inputs(config, 2)).logits.shape == (2, 3)
    made = checkpoint.classifier(Path("net"), NAMES)
    whole = checkpoint.load(Path("net")).state_dict()
    assert all(torch.equal(whole[name], t) for name, t in made.state_dict().items())
