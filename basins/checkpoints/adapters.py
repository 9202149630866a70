"""LoRA adapters in PEFT's format, merged into the base: W + alpha / r B A (Hu et al. 2021, 4.1)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from basins import weights
from basins.checkpoints import states
from basins.checkpoints.states import short
from basins.errors import UserError
from basins.weights import State

CONFIG, WEIGHTS = "adapter_config.json", ("adapter_model.safetensors", "adapter_model.bin")
PREFIX = "base_model.model."
# Keys of a config that are read here (READ) or do not affect what a trained adapter adds (IDLE).
READ = ("alpha_pattern", "base_model_name_or_path", "bias", "init_lora_weights")
READ += ("lora_alpha", "modules_to_save", "peft_type", "r", "rank_pattern", "task_type")
IDLE = ("auto_mapping", "exclude_modules", "inference_mode", "layers_pattern", "lora_dropout")
IDLE += ("eva_config", "fan_in_fan_out")
IDLE += ("layers_to_transform", "megatron_core", "peft_version", "qalora_group_size", "revision")
IDLE += ("runtime_config", "target_modules", "use_rslora", "ensure_weight_tying")
HEADS = {"classifier", "score"}  # names of classification heads in transformers
STARTS = (True, False, "gaussian", "orthogonal", "eva")  # others also change the base's weights


class Adapter(NamedTuple):
    """An adapter's folder, the folder or file of its base, and its config."""

    folder: Path
    base: Path
    config: dict[str, Any]

    @property
    def files(self) -> list[Path]:
        """The files that determine what the adapter adds."""
        return [self.folder / CONFIG, _weights(self.folder)]


def of(path: Path) -> Adapter | None:
    """Return the adapter in a folder, or None if there is none.

    The path of its base is relative to the working directory or to the folder. Raises `UserError`
    if the base does not exist, or the adapter is not plain LoRA.
    """
    if not (path / CONFIG).is_file():
        return None
    try:
        config = json.loads((path / CONFIG).read_text())
        kind, base = str(config["peft_type"]), config["base_model_name_or_path"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: no readable {CONFIG} ({short(error)})") from None
    if kind != "LORA":
        raise UserError(f"{path}: an adapter of the kind {kind:.40}; merged on their base are LORA")
    more = {name: value for name, value in config.items() if name not in READ + IDLE and value}
    if config.get("init_lora_weights", True) not in STARTS:
        more |= {"init_lora_weights": config["init_lora_weights"]}
    if more:
        said = ", ".join(f"{name} {value!s:.40}" for name, value in more.items())
        raise UserError(f"{path}: plain LoRA is merged, and this has {said:.200}; merge it by peft")
    places = [Path(str(base)), path / str(base)]
    there = next((place for place in places if base and place.exists()), None)
    if there is None:
        raise UserError(
            f"{path}: its base {base!s:.100} is not here; fetch it, and give its path as "
            f"base_model_name_or_path in {CONFIG}"
        )
    return Adapter(path, there, config)


def merged(state: Mapping[str, Tensor], adapter: Adapter, net: nn.Module) -> State:
    """Return the base's `state`, that of `net`, with the adapter merged into it, in float32.

    scale B A is added to weights W [out, in], with A [r, in] and B [out, r]; its transpose to an
    embedding or a `Conv1D` of transformers, both [in, out], regardless of `fan_in_fan_out`, as in
    PEFT; and the product of the flattened kernels to a convolution [out, in, ...]. The scale is
    alpha / r, or alpha / sqrt(r) with `use_rslora`. Biases and modules that were trained in full
    replace those of the base. Raises `UserError`, naming the tensor, if one does not fit the base
    or changes a tied weight.
    """
    from transformers.pytorch_utils import Conv1D

    tied = weights.other_names(net)
    turned = {name for name, module in net.named_modules() if isinstance(module, Conv1D)}
    given, config = states.read([_weights(adapter.folder)]), adapter.config
    pairs: dict[str, dict[str, Tensor]] = {}
    found = {name: t.float() if t.is_floating_point() else t for name, t in state.items()}
    for key, tensor in given.items():
        name = key.removeprefix(PREFIX)
        if part := re.fullmatch(r"(.+)\.lora_(embedding_)?([AB])(\.weight)?", name):
            kind = "embedding" if part[2] else "linear"
            pairs.setdefault(part[1], {"kind": kind})[part[3]] = tensor.float()  # type: ignore
            continue
        if ".original_module." in name:  # PEFT's unused copy of the base's module
            continue
        name = re.sub(r"\.(base_layer|modules_to_save(\.default)?)\.", ".", name)
        if name not in found:
            raise UserError(f"{adapter.folder}: {key} has no place in the base; merge it by peft")
        if found[name].shape != tensor.shape:
            shapes = f"{tuple(tensor.shape)}, in the base {tuple(found[name].shape)}"
            raise UserError(f"{adapter.folder}: {key} is {shapes}")
        found |= dict.fromkeys(_names(name, tied), tensor.float())
    if not pairs and not given:
        raise UserError(f"{adapter.folder}: no tensors of an adapter")
    for module, pair in pairs.items():
        name = f"{module}.weight"
        if name not in found or pair.keys() != {"kind", "A", "B"}:
            raise UserError(f"{adapter.folder}: {module} is no pair of A and B, or not in the base")
        if len(_names(name, tied)) > 1:
            raise UserError(f"{adapter.folder}: {name} is tied to another weight; merge it by peft")
        try:
            rank, scale = _scale(module, config)
            if len(pair["A"]) != rank:
                raise ValueError(f"A is of rank {len(pair['A'])}, in {CONFIG} {rank}")
            found[name] = found[name] + scale * _product(pair, found[name], module in turned)
        except Exception as error:  # a user's config may contain anything
            line = f"{module}: A and B do not fit {tuple(found[name].shape)} ({short(error)})"
            raise UserError(f"{adapter.folder}: {line}") from None
    return found


def outputs(adapter: Adapter) -> int | None:
    """Return the number of outputs of the head stored in the adapter, or None if it stores none."""
    shapes = states.shapes([_weights(adapter.folder)])
    heads = [key for key in sorted(shapes) if HEADS & {*key.split(".")} and key.endswith(".weight")]
    return shapes[heads[-1]][0] if heads else None  # RoBERTa's head has two layers


def _product(pair: Mapping[str, Any], weight: Tensor, turned: bool) -> Tensor:
    """Return B A in the shape of a weight; raises `ValueError` if the shapes differ."""
    down, up = pair["A"], pair["B"]
    if pair["kind"] == "embedding" or turned:
        found = (up @ down).T
    else:
        found = up.flatten(1) @ down.flatten(1)
        found = found.view(weight.shape) if weight.ndim > 2 else found
    if found.shape != weight.shape:
        raise ValueError(f"their product is {tuple(found.shape)}")
    return found


def _scale(module: str, config: Mapping[str, Any]) -> tuple[int, float]:
    """Return the rank and the scale of a module's update."""
    rank, alpha = (
        next(
            (value for key, value in (config.get(pattern) or {}).items() if _names_it(key, module)),
            config[plain],
        )
        for pattern, plain in (("rank_pattern", "r"), ("alpha_pattern", "lora_alpha"))
    )
    return rank, alpha / rank**0.5 if config.get("use_rslora") else alpha / rank


def _names_it(pattern: str, module: str) -> bool:
    return re.fullmatch(rf"(.*\.)?({pattern})", module) is not None


def _names(name: str, tied: Mapping[str, str]) -> list[str]:
    first = tied.get(name, name)
    return [first, *(other for other, known in tied.items() if known == first)]


def _weights(folder: Path) -> Path:
    found = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if found is None:
        raise UserError(f"{folder}: no {WEIGHTS[0]} beside {CONFIG}")
    return found
