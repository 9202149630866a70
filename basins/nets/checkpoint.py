"""A trained network on disk: `model.safetensors`, and `config.json` that says how to rebuild it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from basins import weights
from basins.errors import UserError
from basins.nets.permutation import Net
from basins.registry import find, split_options
from basins.store import file_hash


def initialise(config: dict[str, Any]) -> Net:
    """Return the network that a config describes, newly initialised from torch's generator.

    `config` has `net` (name and options), `image_shape` (height, width, channels), `num_classes`.
    """
    name, options = split_options(config["net"])
    build = find("nets", name, "build")
    return build(tuple(config["image_shape"]), config["num_classes"], **options)


def save(net: Net, config: dict[str, Any], folder: Path) -> None:
    """Write the network and its config into `folder`."""
    weights.save(net.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def read_config(folder: Path) -> dict[str, Any]:
    """Read the config of the model in `folder`; raises `UserError` where it is not readable."""
    try:
        config = json.loads((folder / "config.json").read_text())
        if missing := {"net", "image_shape", "num_classes"} - set(config):
            raise LookupError(f"it lacks {', '.join(sorted(missing))}")
        return config
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{folder}: no readable config.json ({error}); run `dvc repro`") from None


def fingerprint(folder: Path) -> str:
    """Return the hash of the weights in `folder`; raises `UserError` where there are none."""
    try:
        return file_hash(folder / "model.safetensors")
    except OSError as error:
        raise UserError(
            f"{folder}: no readable model ({error.strerror}); run `dvc repro`"
        ) from None


def load(folder: Path) -> Net:
    """Rebuild the network in `folder` with its weights, in evaluation mode.

    Raises `UserError` where the weights are missing, damaged, or not those of the config's net.
    """
    net = initialise(read_config(folder))
    net.load_state_dict(load_state(folder, net))
    return net.eval()


def load_state(folder: Path, net: Net) -> weights.State:
    """Read the weights in `folder`, which are to fit `net`; raises `UserError` as `load` does."""
    state = weights.load(folder / "model.safetensors")
    expected = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            wanted, there = (str(s.get(name, "absent")) for s in (expected, found))
            raise UserError(
                f"{folder}: the weights do not fit the config: {name} is {there}, not {wanted}"
            )
    return state
