"""A trained network on disk: `model.safetensors`, and `config.json` that says how to rebuild it.

The folder of a text classifier is one of Hugging Face's, with the tokenizer's files beside these.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from basins import weights
from basins.errors import UserError
from basins.nets.permutation import Net
from basins.registry import check_options, find, is_file, names, split_options
from basins.store import file_hash

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# What of a config says how the network came about, not what it is.
ORIGIN = ("_name_or_path", "architectures", "dtype", "seed", "streams", "transformers_version")


def initialise(config: dict[str, Any]) -> Net:
    """Return the network that a config describes, newly initialised from torch's generator.

    `config` has `net` (name and options), `image_shape` (height, width, channels), `num_classes`,
    or else is that of a classifier of Hugging Face, whose `model_type` is a file in `basins/nets/`.
    """
    if reads_text(config):
        return find("nets", family(config), "from_config")(description(config))
    name, options = split_options(config["net"])
    build = find("nets", name, "build")
    return build(tuple(config["image_shape"]), config["num_classes"], **options)


def family(config: dict[str, Any]) -> str:
    """Return the name of the file in `basins/nets/` that builds the network of a config."""
    return config["model_type"] if reads_text(config) else config["net"]["name"]


def reads_text(config: Mapping[str, Any]) -> bool:
    """Return whether the network of a config reads text, not images."""
    return "model_type" in config


def classifier(folder: Path, classes: Sequence[str]) -> Net:
    """Return a classifier of text with the weights in `folder`, an encoder's or a classifier's.

    What they lack, a head, is newly initialised from torch's generator. Raises `UserError` where
    they do not fit their config, or are of a classifier of other classes.
    """
    config, state = read_config(folder), weights.load(folder / "model.safetensors")
    return find("nets", family(config), "classifier")(description(config), state, classes)


def random_inputs(config: dict[str, Any], count: int) -> tuple[Tensor, ...]:
    """Return positional inputs of `count` random examples, drawn from torch's generator."""
    if reads_text(config):
        return find("nets", family(config), "random_inputs")(config, count)
    height, width, channels = config["image_shape"]
    return (torch.randn(count, channels, height, width),)


def description(config: dict[str, Any]) -> dict[str, Any]:
    """Return what of a config says how to build the network: equal for all seeds of a recipe."""
    return {key: value for key, value in config.items() if key not in ORIGIN}


def classes(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of a text classifier's outputs; one without a name is `LABEL_k`."""
    names = config.get("id2label")
    names = names if isinstance(names, dict) else {}
    count = len(names) or config.get("num_labels", 2)  # 2 is the library's default
    return tuple(str(names.get(str(k), f"LABEL_{k}")) for k in range(count))


def function(config: dict[str, Any]) -> dict[str, Any]:
    """Return what of a config decides a network's function, with defaults where it says nothing."""
    if reads_text(config):
        return find("nets", family(config), "function")(description(config))
    return json.loads(json.dumps(description(config)))


def save(net: Net, config: dict[str, Any], folder: Path) -> None:
    """Write the network and its config into `folder`."""
    weights.save(net.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def read_config(folder: Path) -> dict[str, Any]:
    """Read the config of the model in `folder`.

    Raises `UserError` where it is not readable, or of a family that is not in `basins/nets/`.
    """
    try:
        config = json.loads((folder / "config.json").read_text())
        if not isinstance(config, dict):
            raise TypeError("it is no mapping")
        needed = set() if reads_text(config) else {"net", "image_shape", "num_classes"}
        if missing := needed - set(config):
            raise LookupError(f"it lacks {', '.join(sorted(missing))}")
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise UserError(f"{folder}: no readable config.json ({error}); run `dvc repro`") from None
    if reads_text(config) and not is_file("nets", str(config["model_type"])):
        kind, built = f"{config['model_type']!r:.40}", f"{config.get('architectures')!r:.80}"
        known = ", ".join(names("nets", "from_config"))
        raise UserError(f"{folder}: {built}, a {kind} model; of text models there are: {known}")
    return config


def tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Read the tokenizer of the text model in `folder`.

    Raises `UserError` where there is none, or it has ids that the model has no embedding for.
    """
    from transformers import AutoTokenizer

    try:
        if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt")):
            raise LookupError("neither tokenizer.json nor vocab.txt")  # not taken for an error
        found = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        pieces = max(found.get_vocab().values(), default=0) + 1
    except Exception as error:  # the library's own, in Rust, has no other type
        line = " ".join(str(error).split())[:120]
        raise UserError(f"{folder}: no readable tokenizer ({line}); run `dvc repro`") from None
    embedded = read_config(folder).get("vocab_size")
    if not isinstance(embedded, int) or pieces > embedded:
        raise UserError(
            f"{folder}: a tokenizer that does not match the encoder: {pieces} pieces, "
            f"{embedded} embeddings; put the encoder's own there"
        )
    return found


def fingerprint(folder: Path) -> str:
    """Return the hash of the weights in `folder`.

    Raises `UserError` where there are none, or they or the config are no longer what was written.
    """
    try:
        file_hash(folder / "config.json")
        return file_hash(folder / "model.safetensors")
    except OSError as error:
        raise UserError(
            f"{folder}: no readable model ({error.strerror}); run `dvc repro`"
        ) from None


def load(folder: Path) -> Net:
    """Rebuild the network in `folder` with its weights, in evaluation mode.

    Raises `UserError` where the weights are missing, damaged, or not those of the config's net.
    """
    net = described(folder)
    net.load_state_dict(load_state(folder, net))
    return net.eval()


def described(folder: Path, found: Mapping[str, tuple[int, ...]] | None = None) -> Net:
    """Return the network that the config in `folder` describes, newly initialised.

    Raises `UserError` where it describes none, or one that the weights are not of: those in
    `folder`, or tensors of the shapes `found`. That is looked at before memory is taken for it.
    """
    config = read_config(folder)
    try:
        _check_sizes(config)
        with torch.device("meta"):
            like = initialise(config)
    except Exception as error:  # each library refuses in its own way what someone wrote there
        line = " ".join(str(error).split())[:200]
        raise UserError(f"{folder}: config.json describes no network ({line})") from None
    shapes = weights.shapes(folder / "model.safetensors") if found is None else found
    empty = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    if wrong := weights.misfit(weights.conformed(empty, like, folder), like.state_dict()):
        raise _unfit(folder, wrong)
    return initialise(config)


def load_state(folder: Path, net: Net) -> weights.State:
    """Read the weights in `folder`, which are to fit `net`; raises `UserError` as `load` does."""
    file, like = folder / "model.safetensors", net.state_dict()
    state = weights.conformed(weights.load(file), net, file)
    if wrong := weights.misfit(state, like, types=True):
        raise _unfit(folder, wrong)
    return weights.as_in(state, like)


def _check_sizes(config: dict[str, Any]) -> None:
    """Raise `UserError` or `ValueError` where a network has options that no net of its kind takes.

    Building one of 2**70 layers would not end.
    """
    if not reads_text(config):
        name, options = split_options(config["net"])
        check_options(find("nets", name, "build"), options, "net")


def _unfit(folder: Path, wrong: str) -> UserError:
    return UserError(f"{folder}: the weights do not fit the config: {wrong}")
