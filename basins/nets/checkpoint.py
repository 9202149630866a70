"""Trained networks on disk: `model.safetensors`, and `config.json` to rebuild the network.

The folder of a text classifier is in Hugging Face's format, with the tokenizer's files. A family of
networks is a file of `basins/nets/`: our own nets have their names, and Hugging Face's the file of
their `model_type` if it exists (`bert`), or else the general file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from basins import weights
from basins.errors import UserError
from basins.nets.permutation import Net
from basins.registry import check_options, find, names, split_options
from basins.store import file_hash

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Keys of a config that describe a network's origin, not its function.
ORIGIN = ("_name_or_path", "architectures", "dtype", "seed", "streams", "transformers_version")
# Files that identify a tokenizer; without any, the library would use other files.
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "tokenizer.model")
TOKENIZERS += ("sentencepiece.bpe.model", "spm.model")
IMAGES = "ForImageClassification"  # ending of the library's image classifiers' names
PREPROCESSOR, PROCESSOR = "preprocessor_config.json", "processor_config.json"  # newer: contains it


def initialise(config: dict[str, Any]) -> Net:
    """Return the network that a config describes, newly initialised from torch's generator.

    `config` has `net` (name and options), `image_shape` (height, width, channels) and
    `num_classes`, or is that of a Hugging Face model.
    """
    if of_library(config):
        return find("nets", family(config), "from_config")(_whole(config))
    name, options = split_options(config["net"])
    build = find("nets", name, "build")
    return build(tuple(config["image_shape"]), config["num_classes"], **options)


def family(config: Mapping[str, Any]) -> str:
    """Return the name of the file in `basins/nets/` that builds the network of a config."""
    if not of_library(config):
        return config["net"]["name"]
    return config["model_type"] if config["model_type"] in _special() else _general()


def of_library(config: Mapping[str, Any]) -> bool:
    """Return whether a config is one of Hugging Face's."""
    return "model_type" in config


def by_library(config: Mapping[str, Any]) -> bool:
    """Return whether Hugging Face's library builds and reads the network of a config."""
    return of_library(config) and family(config) == _general()


def reads_text(config: Mapping[str, Any]) -> bool:
    """Return whether the network of a config reads text, not images."""
    built = config.get("architectures")
    images = isinstance(built, list) and any(IMAGES in str(name) for name in built)
    return of_library(config) and not images


def classifier(folder: Path, classes: Sequence[str]) -> Net:
    """Return a text classifier with the weights in `folder`, an encoder's or a classifier's.

    A missing head is newly initialised from torch's generator. Raises `UserError` if the weights do
    not fit their config, or are those of a classifier with other classes.
    """
    config, state = read_config(folder), weights.load(folder / "model.safetensors")
    return find("nets", family(config), "classifier")(_whole(config), state, classes)


def random_inputs(config: dict[str, Any], count: int) -> tuple[Tensor, ...]:
    """Return positional inputs of `count` random examples, drawn from torch's generator."""
    if of_library(config):
        return find("nets", family(config), "random_inputs")(config, count)
    height, width, channels = config["image_shape"]
    return (torch.randn(count, channels, height, width),)


def description(config: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a config that says how to build the network, equal for all seeds."""
    return {key: value for key, value in config.items() if key not in ORIGIN}


def classes(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of a classifier's outputs; one without a name is `LABEL_k`."""
    names = config.get("id2label")
    names = names if isinstance(names, dict) else {}
    count = len(names) or config.get("num_labels", 2)  # 2 is the library's default
    return tuple(str(names.get(str(k), f"LABEL_{k}")) for k in range(count))


def longest(config: Mapping[str, Any]) -> int:
    """Return the most tokens that a row may have, for a network that reads text."""
    return find("nets", family(config), "longest")(_whole(config))


def function(config: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of a config that determine a network's function, completed by defaults."""
    if of_library(config):
        return find("nets", family(config), "function")(_whole(config))
    return json.loads(json.dumps(description(config)))


def save(net: Net, config: dict[str, Any], folder: Path) -> None:
    """Write the network and its config into `folder`."""
    weights.save(net.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def read_config(folder: Path) -> dict[str, Any]:
    """Read the config of the model in `folder`.

    The settings of a Hugging Face image processor in the folder are returned as `preprocessing`.
    Raises `UserError` if either is not readable, or the weights are quantised.
    """
    try:
        config = json.loads((folder / "config.json").read_text())
        if not isinstance(config, dict):
            raise TypeError("it is no mapping")
        needed = set() if of_library(config) else {"net", "image_shape", "num_classes"}
        if needed and "net" not in config:
            raise LookupError("it has no model_type, nor a net of this project; else give --net")
        if missing := needed - set(config):
            raise LookupError(f"it lacks {', '.join(sorted(missing))}")
        if of_library(config) and not isinstance(config["model_type"], str):
            raise TypeError("model_type is no text")
        if of_library(config) and (preprocessing := _preprocessing(folder)) is not None:
            config["preprocessing"] = preprocessing
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        line = f"{folder}: no readable config.json ({error}); save the model there again"
        raise UserError(line) from None
    if config.get("quantization_config"):
        raise UserError(f"{folder}: quantised weights cannot be mixed; dequantise and save them")
    return config


def _preprocessing(folder: Path) -> dict[str, Any] | None:
    """Return a folder's settings of the image processor, or None if it has none."""
    for name in (PROCESSOR, PREPROCESSOR):
        if (folder / name).is_file():
            written = json.loads((folder / name).read_text())
            if name == PREPROCESSOR or "image_processor" in written:
                return written.get("image_processor", written)
    return None


def tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Read the tokenizer of the text model in `folder`.

    Raises `UserError` if there is none, or it has ids without an embedding in the model.
    """
    from transformers import AutoTokenizer

    try:
        if not any((folder / name).is_file() for name in TOKENIZERS):
            raise LookupError("neither tokenizer.json nor vocab.txt")  # the library would not fail
        found = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        pieces = max(found.get_vocab().values(), default=0) + 1
    except Exception as error:  # the Rust library raises no narrower type
        line = " ".join(str(error).split())[:120]
        raise UserError(
            f"{folder}: no readable tokenizer ({line}); save it beside the weights"
        ) from None
    embedded = read_config(folder).get("vocab_size", pieces)
    if not isinstance(embedded, int) or pieces > embedded:
        raise UserError(
            f"{folder}: a tokenizer that does not match the encoder: {pieces} pieces, "
            f"{embedded} embeddings; put the encoder's own there"
        )
    return found


def encoding(folder: Path) -> str:
    """Return a hash of what determines how a model encodes text; empty if it reads images."""
    config = read_config(folder)
    if not reads_text(config):
        return ""
    files = {*folder.glob("*token*"), *(folder / name for name in (*TOKENIZERS, "merges.txt"))}
    hashes = {file.name: file_hash(file) for file in files if file.is_file()}
    said = json.dumps([description(config), hashes], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()


def fingerprint(folder: Path) -> str:
    """Return the hash of the weights in `folder`.

    Raises `UserError` if there are none, or they or the config were changed after being written.
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

    Raises `UserError` if the weights are missing, damaged, or do not fit the config's network.
    """
    net = described(folder)
    net.load_state_dict(load_state(folder, net))
    return net.eval()


def described(folder: Path, found: Mapping[str, tuple[int, ...]] | None = None) -> Net:
    """Return the network that the config in `folder` describes, newly initialised.

    Raises `UserError` if it describes none, or the weights do not fit: those in `folder`, or
    tensors with the shapes `found`. This is checked before memory is allocated.
    """
    config = read_config(folder)
    if by_library(config):
        return find("nets", _general(), "read")(folder, config)
    try:
        _check_sizes(config)
        with torch.device("meta"):
            like = initialise(config)
    except Exception as error:  # libraries may raise anything for a user's config
        line = " ".join(str(error).split())[:200]
        raise UserError(f"{folder}: config.json describes no network ({line})") from None
    shapes = weights.shapes(folder / "model.safetensors") if found is None else found
    empty = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    if wrong := weights.misfit(weights.conformed(empty, like, folder), like.state_dict()):
        raise _unfit(folder, wrong)
    return initialise(config)


def load_state(folder: Path, net: Net) -> weights.State:
    """Read the weights in `folder`, which must fit `net`; raises `UserError` as `load` does."""
    config = read_config(folder)
    if by_library(config):  # files may have many forms
        return find("nets", _general(), "read")(folder, config).state_dict()
    file, like = folder / "model.safetensors", net.state_dict()
    state = weights.conformed(weights.load(file), net, file)
    if wrong := weights.misfit(state, like, types=True):
        raise _unfit(folder, wrong)
    return weights.as_in(state, like)


def _check_sizes(config: dict[str, Any]) -> None:
    """Raise `UserError` or `ValueError` if options of a network are out of range.

    Building one with 2**70 layers would not end.
    """
    if not of_library(config):
        name, options = split_options(config["net"])
        check_options(find("nets", name, "build"), options, "net")


def _whole(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a `description` with the library's key for the head."""
    built = {"architectures": config["architectures"]} if "architectures" in config else {}
    return description(dict(config)) | built


@cache
def _special() -> frozenset[str]:
    """Return the `model_type`s that have their own file."""
    return frozenset(names("nets", "ARCHITECTURE"))


@cache
def _general() -> str:
    """Return the file for all other `model_type`s, which reads weights with the library."""
    [name] = names("nets", "ARCHITECTURES")
    return name


def _unfit(folder: Path, wrong: str) -> UserError:
    return UserError(f"{folder}: the weights do not fit the config: {wrong}")
