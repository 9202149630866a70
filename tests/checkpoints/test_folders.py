"""Folders as trainers leave them: what is no model, or not in a form to be mixed, is one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, BigBirdConfig

import basins
from basins.errors import UserError
from tests.checkpoints import test_families as families
from tests.checkpoints.conftest import ANSWERS, MNLI, PREMISES, bert, rows, saved
from tests.checkpoints.test_adapters import QUERY, adapter

KEY = "roberta.encoder.layer.0.attention.self.key.weight"


def without_weights(*beside: str) -> None:
    bert("net")
    Path("net/model.safetensors").unlink()
    for name in beside:
        Path("net", name).mkdir()


def in_shards() -> None:
    bert("net")
    Path("net/model.safetensors").rename("net/model-00001-of-00002.safetensors")


def of_a_trainer() -> None:
    for step in (500, 1000):
        bert(f"net/checkpoint-{step}")


def of_adapters() -> None:
    Path("net").mkdir()
    for name in ("first", "second"):
        adapter({f"{QUERY}.lora_A.weight": torch.ones(2, 8)}, f"net/{name}")


def of_timm() -> None:
    Path("net").mkdir()
    Path("net/config.json").write_text(json.dumps({"architecture": "resnet18", "num_classes": 3}))


def in_few_bits(kind: torch.dtype) -> None:
    families.text("roberta", "net")
    state = load_file("net/model.safetensors")
    state |= {KEY: state[KEY].to(kind), f"{KEY}_scale": torch.ones(1)}
    save_file(state, "net/model.safetensors", {"format": "pt"})


def declared() -> None:
    bert("net")
    file = Path("net/config.json")
    config = {**json.loads(file.read_text()), "quantization_config": {"load_in_8bit": True}}
    file.write_text(json.dumps(config))


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "DeepSpeed": (lambda: without_weights("global_step9"), r"DeepSpeed's .* zero_to_fp32.py"),
    "FSDP": (lambda: without_weights("pytorch_model_fsdp_0"), "FSDP's shards; join them by"),
    "no index": (in_shards, "shards without their index"),
    "a trainer's": (of_a_trainer, "no model, but it holds 2 models: checkpoint-1000, checkpoint-5"),
    "adapters": (of_adapters, "no model, but it holds 2 adapters: first, second; give the path"),
    "timm's": (of_timm, "no model_type, nor a net of this project; else give --net"),
    "int8": (lambda: in_few_bits(torch.int8), f"{KEY} is I8: quantised weights cannot be mixed"),
    "fp8": (lambda: in_few_bits(torch.float8_e4m3fn), f"{KEY} is F8_E4M3: quantised weights"),
    "declared": (declared, "quantised weights cannot be mixed; dequantise and save them"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_folder_that_is_no_model_to_mix_is_one_line(case):
    make, message = REFUSED[case]
    make()
    with pytest.raises(UserError, match=rf"^net\S*: .*{message}") as caught:
        basins.probe("net", saved(validation=rows([MNLI[k] for k in ANSWERS]))[1])
    assert "\n" not in str(caught.value) and "dvc" not in str(caught.value)


def test_a_token_that_only_late_rows_have_is_read_by_the_model_s_own_tokenizer():
    """One of two tokenizers lacks `hears`, which rows before the 120th have not."""
    net = bert("one")
    shutil.copytree("one", "two")
    read = AutoTokenizer.from_pretrained("one")
    file = Path("two/tokenizer.json")
    file.write_text(file.read_text().replace('"hears"', '"heart"'))
    first, others = ["the dog"] * 120, ["a bird"] * 160
    premises = [*first, *["the cat hears"] * 40]
    columns = {"premise": premises, "hypothesis": others, "label": [MNLI[0]] * 160}
    data = saved(validation=Dataset.from_dict(columns))[1]
    found = basins.probe(["one", "two"], data).rows.query("metric == 'loss'")["value"].tolist()
    losses = []
    for last in ("the cat hears", "the cat [UNK]"):
        given = read([*first, *[last] * 40], others, padding=True, return_tensors="pt")
        with torch.no_grad():
            logits = net(**given).logits
        losses.append(float(-logits.log_softmax(1)[:, 0].mean()))
    assert losses[0] != pytest.approx(losses[1], 1e-5)
    assert found == pytest.approx(losses, 1e-5)
    with pytest.raises(UserError, match="row 120: its tokenizer reads"):
        basins.connect("one", "two", data)


def test_language_models_of_two_tokenizers_are_not_compared_on_the_tokens_of_one():
    families.text("gpt2", "one")
    shutil.copytree("one", "two")
    file = Path("two/tokenizer.json")
    file.write_text(file.read_text().replace('"hears"', '"heart"'))
    with pytest.raises(UserError, match="two/seed0: data, its tokenizer reads the texts otherwise"):
        basins.connect("one", "two", PREMISES, loss="language")


def test_a_bigbird_has_full_attention_or_is_refused():
    """Its sparse attention ends with the first short row, so that answers hang on the order."""
    sizes = {**families.SIZES, "block_size": 1, "num_random_blocks": 1}  # 7 tokens at most
    families.TEXT["bigbird"] = BigBirdConfig(**sizes, max_position_embeddings=32)
    net = families.text("bigbird", "net")
    data = saved(validation=rows(ANSWERS, families.ClassLabel(names=[*families.NAMES])))[1]
    with pytest.raises(UserError, match="tokens get block-sparse attention.*original_full"):
        basins.probe("net", data)
    families.change("net", attention_type="original_full")
    net.bert.set_attention_type("original_full")
    found = basins.probe("net", data).rows.set_index("metric").at["loss", "value"]
    assert found == pytest.approx(families.by_row(net, "bigbird"), 1e-4)


def test_a_merge_has_the_tokenizer_of_its_first_and_nothing_of_its_training():
    bert("one"), bert("two", seed=1)
    for name in ("trainer_state.json", "eval_results.json"):
        Path("one", name).write_text('{"loss": 1}')
    data = saved(validation=rows([MNLI[k] for k in ANSWERS]))[1]
    basins.merge(["one", "two"], data, out="soup", batchnorm="interpolate")
    assert not {"trainer_state.json", "eval_results.json"} & {
        f.name for f in Path("soup").iterdir()
    }
    assert Path("soup/tokenizer.json").read_bytes() == Path("one/tokenizer.json").read_bytes()
