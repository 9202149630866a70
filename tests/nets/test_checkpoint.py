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
    with pytest.raises(UserError, match=r"^.+: no readable config.json \(.+\); run `dvc repro`$"):
        checkpoint.load(folder)


def test_missing_weights_are_refused(saved) -> None:
    _, folder = saved
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors: no such file"):
        checkpoint.load(folder)


def test_a_net_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match="no 'resnext' in basins/nets/"):
        checkpoint.initialise(CONFIG | {"net": {"name": "resnext"}})
