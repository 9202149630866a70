"""A network on disk is the network that was saved, or it is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from basins.errors import UserError
from basins.nets import checkpoint

CONFIG = {
    "net": {"name": "resnet", "depth": 8, "width": 2},
    "image_shape": (8, 8, 3),
    "num_classes": 4,
    "seed": 3,
}
IMAGES = torch.linspace(-1, 1, 2 * 3 * 8 * 8).view(2, 3, 8, 8)


@pytest.fixture
def saved(tmp_path: Path):
    """A trained-mode net and the folder that it is saved in."""
    net = checkpoint.initialise(CONFIG)
    net(torch.randn(16, 3, 8, 8))
    checkpoint.save(net, CONFIG, tmp_path)
    return net, tmp_path


def test_a_saved_net_comes_back_in_evaluation_mode(saved) -> None:
    net, folder = saved
    loaded = checkpoint.load(folder)
    assert not loaded.training
    assert torch.equal(loaded(IMAGES), net.eval()(IMAGES))
    assert checkpoint.read_config(folder) == CONFIG | {"image_shape": [8, 8, 3]}
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "config.json"}


def test_loading_draws_nothing_that_matters(saved) -> None:
    _, folder = saved
    torch.manual_seed(1)
    first = checkpoint.load(folder)(IMAGES)
    torch.manual_seed(2)
    assert torch.equal(checkpoint.load(folder)(IMAGES), first)


def test_options_of_the_net_are_used() -> None:
    wide = checkpoint.initialise(CONFIG | {"net": {"name": "mlp", "depth": 1, "width": 7}})
    assert wide.state_dict()["head.weight"].shape == (4, 7)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_classes": 5},
        {"net": {"name": "resnet", "depth": 8, "width": 3}},
        {"net": {"name": "mlp", "width": 2}},
    ],
)
def test_weights_of_another_net_are_refused_in_one_line(saved, changes: dict[str, Any]) -> None:
    _, folder = saved
    (folder / "config.json").write_text(json.dumps(CONFIG | changes))
    with pytest.raises(UserError, match=r"^.+: the weights do not fit the config: .+$"):
        checkpoint.load(folder)


@pytest.mark.parametrize("content", [None, b"", b'{"net": ', b"\xff"])
def test_an_unreadable_config_is_refused_in_one_line(saved, content: bytes | None) -> None:
    _, folder = saved
    (folder / "config.json").unlink()
    if content is not None:
        (folder / "config.json").write_bytes(content)
    with pytest.raises(
        UserError, match=r"^.+: no readable config.json \(.+\); save the model there again$"
    ):
        checkpoint.load(folder)


def test_missing_weights_are_refused(saved) -> None:
    _, folder = saved
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors: no such file"):
        checkpoint.load(folder)


def test_a_net_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match="no 'resnext' in basins/nets/"):
        checkpoint.initialise(CONFIG | {"net": {"name": "resnext"}})


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """The folder of a small text classifier, as Hugging Face writes it."""
    from basins.data import vocabulary
    from basins.nets import bert

    net = bert.build_text(9, 3, layers=1, width=8, heads=2)
    net.save_pretrained(tmp_path)
    vocabulary.build(["a", "dog"]).save_pretrained(tmp_path)
    return tmp_path


def change(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def test_a_text_classifier_of_hugging_face_comes_back(text: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    ids = torch.tensor([[2, 5, 6, 3]])
    theirs = AutoModelForSequenceClassification.from_pretrained(text).eval()
    loaded = checkpoint.load(text)
    assert not loaded.training
    torch.testing.assert_close(loaded(ids).logits, theirs(ids).logits, rtol=0, atol=1e-6)

    again = tmp_path / "again"
    again.mkdir()
    checkpoint.save(loaded, checkpoint.read_config(text), again)
    theirs = AutoModelForSequenceClassification.from_pretrained(again).eval()
    torch.testing.assert_close(loaded(ids).logits, theirs(ids).logits, rtol=0, atol=1e-6)


def test_the_family_is_the_file_that_builds_the_network(text: Path) -> None:
    assert checkpoint.family(CONFIG) == "resnet"
    assert checkpoint.family(checkpoint.read_config(text)) == "bert"


def test_a_description_is_the_same_for_all_seeds(text: Path) -> None:
    assert checkpoint.description(CONFIG) == checkpoint.description(CONFIG | {"seed": 9})
    assert "seed" not in checkpoint.description(CONFIG)
    before = checkpoint.description(checkpoint.read_config(text))
    change(text, streams={"head": 1}, transformers_version="0")
    assert checkpoint.description(checkpoint.read_config(text)) == before
    shape = {name: w.shape for name, w in checkpoint.load(text).state_dict().items()}
    built = checkpoint.initialise(json.loads(json.dumps(before))).state_dict()
    assert {name: w.shape for name, w in built.items()} == shape


def test_text_weights_of_another_size_are_refused(text: Path) -> None:
    change(text, num_hidden_layers=2)
    with pytest.raises(UserError, match="the weights do not fit the config"):
        checkpoint.load(text)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gpt2", "architectures": ["GPT2Model"]}, "names end in ForSequence"),
        ({"model_type": "gpt2", "architectures": ["GPT2ForSequenceClassification"]}, "it lacks"),
        ({"model_type": "gpt5", "architectures": ["GPT5ForCausalLM"]}, "not readable as .*GPT5"),
        ({"model_type": 4}, "no readable config.json"),
    ],
)
def test_a_text_model_of_another_kind_is_refused_in_one_line(text: Path, changes, message) -> None:
    change(text, **changes)
    with pytest.raises(UserError, match=f"^{text}: .*{message}"):
        checkpoint.load(text)


def test_a_tokenizer_comes_back(text: Path) -> None:
    found = checkpoint.tokenizer(text)
    assert found("A dog", "a cat")["input_ids"] == [2, 5, 6, 3, 5, 1, 3]


def test_a_tokenizer_of_another_encoder_is_refused(text: Path) -> None:
    change(text, vocab_size=6)
    with pytest.raises(UserError, match=r"does not match the encoder: 7 pieces, 6 embeddings"):
        checkpoint.tokenizer(text)


def test_a_missing_tokenizer_is_refused_in_one_line(text: Path) -> None:
    for file in text.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(UserError, match="tokenizer") as caught:
        checkpoint.tokenizer(text)
    assert "\n" not in str(caught.value)
