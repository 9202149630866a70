"""LoRA adapters on their base: against numbers worked out by hand, and against PEFT where it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, BertModel
from transformers.pytorch_utils import Conv1D

import basins
from basins.checkpoints import adapters
from basins.errors import UserError
from tests.checkpoints.conftest import ANSWERS, MNLI, bert, right, rows, saved

DRAW = torch.Generator().manual_seed(0)
QUERY = "bert.encoder.layer.0.attention.self.query"
PLAIN = {"peft_type": "LORA", "base_model_name_or_path": "base", "r": 2, "lora_alpha": 6}


def adapter(tensors: dict[str, Tensor], folder: str = "lora", **config: Any) -> None:
    Path(folder).mkdir(exist_ok=True)
    named = {f"base_model.model.{name}": t.contiguous() for name, t in tensors.items()}
    save_file(named, f"{folder}/adapter_model.safetensors")
    Path(folder, "adapter_config.json").write_text(json.dumps({**PLAIN, **config}))


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, generator=DRAW)


def probed(*options: Any, **more: Any) -> float:
    data = saved(validation=rows([MNLI[k] for k in ANSWERS]))[1]
    return basins.probe(["lora"], data, **more).rows.set_index("metric").at["loss", "value"]


@pytest.mark.parametrize("stabilised", [False, True])
def test_an_adapter_is_its_base_with_the_product_added(stabilised):
    net = bert("base")
    down, up = numbers(2, 8), numbers(8, 2)
    deep, wide = numbers(4, 8), numbers(8, 4)
    key = QUERY.replace("query", "key")
    head, bias = numbers(3, 8), numbers(3)
    tensors = {f"{QUERY}.lora_A.weight": down, f"{QUERY}.lora_B.weight": up}
    tensors |= {f"{key}.lora_A.weight": deep, f"{key}.lora_B.weight": wide}
    tensors |= {"classifier.weight": head, "classifier.bias": bias}
    more: dict[str, Any] = {"rank_pattern": {"key": 4}, "alpha_pattern": {"self.key": 2}}
    adapter(tensors, use_rslora=stabilised, modules_to_save=["classifier"], **more)
    scales = (6 / 2**0.5, 2 / 4**0.5) if stabilised else (3, 0.5)
    with torch.no_grad():
        net.get_submodule(QUERY).weight += scales[0] * up @ down
        net.get_submodule(key).weight += scales[1] * wide @ deep
        net.classifier.weight.copy_(head)
        net.classifier.bias.copy_(bias)
    assert probed() == pytest.approx(right(net, "base", (0, 1, 2)).mean(), 1e-4)
    data = saved(validation=rows([MNLI[k] for k in ANSWERS]))[1]
    basins.merge(["lora", "base"], data, out="merged", batchnorm="interpolate")
    found = load_file("merged/model.safetensors")[f"{QUERY}.weight"]
    start = load_file("base/model.safetensors")[f"{QUERY}.weight"]
    torch.testing.assert_close(found, start + scales[0] / 2 * up @ down)
    made = AutoModelForSequenceClassification.from_pretrained("merged")
    assert tuple(made.config.id2label.values()) == MNLI


def test_a_head_comes_with_the_adapter_of_an_encoder():
    net = bert("base")
    net.bert.save_pretrained("base")
    assert isinstance(BertModel.from_pretrained("base"), BertModel)
    head = {"classifier.weight": numbers(3, 8), "classifier.bias": numbers(3)}
    adapter({**head, f"{QUERY}.lora_A.weight": numbers(2, 8),
             f"{QUERY}.lora_B.weight": torch.zeros(8, 2)}, task_type="SEQ_CLS")  # fmt: skip
    net.classifier.load_state_dict({n.removeprefix("classifier."): t for n, t in head.items()})
    assert probed(labels=MNLI) == pytest.approx(right(net, "base", (0, 1, 2)).mean(), 1e-4)
    adapter({"classifier.weight": numbers(3, 8)}, task_type="SEQ_CLS")
    with pytest.raises(
        UserError, match=r"lacks 1 tensor \(3 numbers\): classifier.bias .* adapter"
    ):
        probed(labels=MNLI)


class Layers(nn.Module):
    """A layer of each kind, and a square transposed one as GPT-2 has."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.conv, self.turned = nn.Embedding(7, 6), nn.Conv1d(6, 4, 3), Conv1D(4, 4)


@pytest.mark.parametrize("flag", [True, False])  # PEFT goes by the layer's class, whatever it says
def test_embeddings_convolutions_and_transposed_layers(flag):
    net = Layers()
    save_file(net.state_dict(), "base.safetensors")
    (e_a, e_b), (c_a, c_b), (t_a, t_b) = (
        (numbers(2, 7), numbers(6, 2)),
        (numbers(2, 6, 3), numbers(4, 2, 1)),
        (numbers(2, 4), numbers(4, 2)),
    )
    tensors = {"words.lora_embedding_A": e_a, "words.lora_embedding_B": e_b}
    tensors |= {"conv.lora_A.weight": c_a, "conv.lora_B.weight": c_b}
    tensors |= {"turned.lora_A.weight": t_a, "turned.lora_B.weight": t_b}
    adapter(tensors, fan_in_fan_out=flag, base_model_name_or_path="../base.safetensors")
    known = adapters.of(Path("lora"))
    assert known is not None
    found = adapters.merged(net.state_dict(), known, net)
    torch.testing.assert_close(found["words.weight"], net.words.weight + 3 * (e_b @ e_a).T)
    change = torch.einsum("orx,rik->oik", c_b, c_a)
    torch.testing.assert_close(found["conv.weight"], net.conv.weight + 3 * change)
    torch.testing.assert_close(found["turned.weight"], net.turned.weight + 3 * (t_b @ t_a).T)
    net.head = nn.Linear(6, 7, bias=False)
    net.head.weight = net.words.weight
    with pytest.raises(UserError, match="words.weight is tied to another weight"):
        adapters.merged(net.state_dict(), known, net)


def test_what_was_trained_whole_takes_the_place_of_the_base_s():
    """By PEFT's names: `modules_to_save` are ends of names, and what is wrapped is beside."""
    net = bert("base")
    head, scale, shift = numbers(3, 8), numbers(8), numbers(8)
    tensors = {f"{QUERY}.lora_A.weight": numbers(2, 8), f"{QUERY}.lora_B.weight": torch.zeros(8, 2)}
    tensors |= {"classifier.modules_to_save.weight": head, f"{QUERY}.base_layer.bias": shift}
    tensors |= {"classifier.original_module.weight": torch.ones(3, 8)}
    tensors |= {"bert.embeddings.LayerNorm.weight": scale}
    adapter(tensors, bias="all", modules_to_save=["classifier", "Norm"])
    with torch.no_grad():
        net.classifier.weight.copy_(head)
        net.get_submodule(QUERY).bias.copy_(shift)
        net.bert.embeddings.LayerNorm.weight.copy_(scale)
    assert probed() == pytest.approx(right(net, "base", (0, 1, 2)).mean(), 1e-4)


PAIR = {f"{QUERY}.lora_A.weight": torch.ones(2, 8), f"{QUERY}.lora_B.weight": torch.ones(8, 2)}
REFUSED = {
    "another kind": ({"peft_type": "IA3"}, {}, "of the kind IA3"),
    "magnitudes": ({"use_dora": True}, {}, "this has use_dora True; merge it by peft"),
    "another start": ({"init_lora_weights": "pissa"}, {}, "init_lora_weights pissa"),
    "no base": ({"base_model_name_or_path": "bert-base"}, {}, "its base bert-base is not here"),
    "a tensor": ({}, {f"{QUERY}.lora_magnitude_vector": torch.ones(8)}, "has no place in the base"),
    "half a pair": ({}, {f"{QUERY}.lora_A.weight": torch.ones(2, 8)}, "no pair of A and B"),
    "shapes": (
        {},
        {f"{QUERY}.lora_A.weight": torch.ones(2, 8), f"{QUERY}.lora_B.weight": torch.ones(9, 2)},
        r"A and B do not fit \(8, 8\)",
    ),
    "no rank": ({"r": None}, PAIR, "A and B do not fit"),
    "another rank": ({"r": 4}, PAIR, "A is of rank 2, in adapter_config.json 4"),
    "no pattern": ({"rank_pattern": {"(": 2}}, PAIR, "A and B do not fit .* unterminated"),
    "no patterns": ({"alpha_pattern": [8]}, PAIR, "A and B do not fit"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_plain_adapter_is_one_line(case):
    config, tensors, message = REFUSED[case]
    bert("base")
    adapter(tensors or {f"{QUERY}.lora_A.weight": torch.ones(2, 8)}, **config)
    with pytest.raises(UserError, match=message) as caught:
        probed()
    assert "\n" not in str(caught.value)


OPTIONS: list[dict[str, Any]] = [
    {"target_modules": ["query", "key", "word_embeddings"], "bias": "lora_only"},
    {"use_rslora": True, "alpha_pattern": {"^bert.*query": 9}},
    {"rank_pattern": {"key": 3}, "bias": "all"},
    {"modules_to_save": ["classifier", "LayerNorm"]},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_what_peft_merges_is_the_same(options):
    peft = pytest.importorskip("peft")
    net = bert("base")
    kinds = {"target_modules": ["query", "key"]}
    config = peft.LoraConfig(r=2, lora_alpha=6, task_type="SEQ_CLS", **{**kinds, **options})
    tuned = peft.get_peft_model(AutoModelForSequenceClassification.from_pretrained("base"), config)
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=DRAW))
    tuned.save_pretrained("lora")
    known = adapters.of(Path("lora"))
    assert known is not None
    found = adapters.merged(net.state_dict(), known, net)
    expected = tuned.merge_and_unload().state_dict()
    for name, tensor in found.items():
        np.testing.assert_allclose(tensor, expected[name], atol=1e-6, err_msg=name)
