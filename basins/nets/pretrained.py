"""Networks of any `model_type` of Hugging Face, built and read by its library.

BERT's sequence classifiers have their own, faster forward pass (`bert.py`).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoImageProcessor, AutoModel

from basins import weights
from basins.data.classes import key
from basins.errors import UserError
from basins.nets import checkpoint

ARCHITECTURES = {
    "ForSequenceClassification": "AutoModelForSequenceClassification",
    "ForImageClassification": "AutoModelForImageClassification",
    "ForCausalLM": "AutoModelForCausalLM",
    "LMHeadModel": "AutoModelForCausalLM",
}
"""The supported heads, as endings of the names of the library's classes."""

LAYERS = 1000  # at most: building one of 2**70 layers would not end
SEGMENTED = ("funnel", "xlnet")  # use token types, although their config does not count them
ENDED = ("xlnet",)  # their heads use a row's last position, even if it is padding
WHOLE = 0.01  # tolerance within which a pixel, up to 255, counts as an integer
UNLIMITED = 2**20  # tokens of a row, for relative positions
# Keys of a config that do not affect a trained network's outputs, nor does dropout.
TRAINING = ("initializer_range", "initializer_factor", "label2id", "problem_type", "use_cache")
TRAINING += ("dtype", "_name_or_path", "architectures", "transformers_version", "return_dict")
TRAINING += ("output_attentions", "output_hidden_states", "chunk_size_feed_forward")


class _Text:
    """Mixin for the library's text networks, which then accept the inputs of `data.tokens`."""

    config: Any

    def forward(self, ids: Tensor, mask: Tensor | None = None, types: Tensor | None = None) -> Any:
        """Return the network's output for token ids and types int64 [n, T].

        The mask, float32 [n, 1, 1, T], is 0 at tokens and -inf at padding, at the end of rows.
        Raises `UserError` if BigBird would use sparse attention for the rows, as its blocks are
        random, and the library disables it permanently when it reads a shorter row.
        """
        sparse = getattr(self.config, "attention_type", None) == "block_sparse"
        if sparse and ids.shape[1] > _blocked(self.config):
            line = (
                f"rows of {ids.shape[1]} tokens get block-sparse attention, which shorter ones end"
            )
            raise UserError(f"{line}; set attention_type original_full")
        if mask is not None and getattr(self.config, "model_type", None) in ENDED:
            return _Logits(self.plainly(ids, mask, types))
        given: dict[str, Any] = self._typed(types)
        real = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask[:, 0, 0] == 0
        if mask is not None:
            given["attention_mask"] = real.long()
        pad = self.config.pad_token_id
        if pad is None:
            # The library finds the end of a row by this id: any id that no row has works.
            unused = torch.bincount(ids[real], minlength=self.config.vocab_size) == 0
            if not bool(unused.any()):
                return _Logits(self.plainly(ids, mask, types))
            pad = int(unused.int().argmax())
        with _padded_with(self.config, pad):
            return super().forward(input_ids=ids.masked_fill(~real, pad), **given)  # type: ignore

    def plainly(
        self, ids: Tensor, mask: Tensor | None = None, types: Tensor | None = None
    ) -> Tensor:
        """Return the logits of the library's forward pass, computed row by row.

        They are [n, classes], or [n, T, tokens] with zeros at padding.
        """
        lengths = [ids.shape[1]] * len(ids) if mask is None else (mask[:, 0, 0] == 0).sum(1)
        rows = []
        for k, length in enumerate(map(int, lengths)):
            given = self._typed(None if types is None else types[k, None, :length])
            logits = super().forward(input_ids=ids[k, None, :length], **given).logits  # type: ignore
            missing = ids.shape[1] - length
            rows.append(functional.pad(logits, (0, 0, 0, missing)) if logits.ndim == 3 else logits)
        return torch.cat(rows)

    def _typed(self, types: Tensor | None) -> dict[str, Tensor]:
        several = (getattr(self.config, "type_vocab_size", None) or 0) > 1
        several = several or getattr(self.config, "model_type", None) in SEGMENTED
        return {"token_type_ids": types} if several and types is not None else {}


class _Logits:
    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


class _Images:
    """Mixin for the library's image networks, which then accept images in [-1, 1].

    `scale` and `shift` [channels] map these to the values that its preprocessing returns.
    """

    scale: tuple[float, ...] = (1.0,)
    shift: tuple[float, ...] = (0.0,)

    def forward(self, images: Tensor) -> Any:
        """Return the network's output for images float32 [n, channels, height, width]."""
        scale, shift = (images.new_tensor(v)[:, None, None] for v in (self.scale, self.shift))
        return super().forward(pixel_values=images * scale + shift)  # type: ignore


def from_config(config: dict[str, Any]) -> nn.Module:
    """Build the network of a config, newly initialised from torch's generator.

    Raises `UserError` if it is none of `ARCHITECTURES`, or the library has no such network.
    """
    auto, known = _auto(config), _config(config)
    return _reading(auto.from_config(known, dtype=torch.float32, trust_remote_code=False), auto)


def read(folder: Path, config: dict[str, Any]) -> nn.Module:
    """Return the network in a folder, float32, in evaluation mode.

    The library reads its weights, which may be in several files, have old names or be tied. A
    warning names unused tensors.

    Raises:
        UserError: a weight is missing, of another shape or not finite, or a file is not readable.
    """
    try:
        auto = _auto(config)
        with _quietly():
            net, said = auto.from_pretrained(
                folder,
                config=_config(config),
                dtype=torch.float32,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                weights_only=True,
            )
    except UserError as error:
        raise UserError(f"{folder}: {error}") from None
    except Exception as error:  # the library may raise anything for a user's files
        line = " ".join(str(error).split())[:200]
        raise UserError(
            f"{folder}: not readable as {config['architectures'][0]} ({line})"
        ) from None
    state = net.state_dict()
    if missing := sorted(said["missing_keys"]):
        lacks = weights.listed({name: state[name] for name in missing if name in state})
        raise UserError(f"{folder}: the weights do not fit the config: it lacks {lacks}")
    if more := sorted(said["unexpected_keys"]):
        shown = ", ".join(more[: weights.LISTED])
        warnings.warn(f"{folder}: not used are {len(more)} tensors: {shown}", stacklevel=2)
    weights.check_finite(state, folder)
    net = _reading(net.eval(), auto)
    if hasattr(net, "scale") and "preprocessing" in config:
        _, scale, shift = _processor(folder, getattr(net.config, "num_channels", 3))
        net.scale, net.shift = tuple(scale.tolist()), tuple(shift.tolist())
    return net


def sized(folder: Path, channels: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a folder's function to resize and crop an image, uint8 [height, width, channels].

    It raises `ValueError` if the folder's image processor does anything else, except for rescaling
    the values of each channel, which the network itself does here.
    """
    made, scale, shift = _processor(folder, channels)

    def sized(pixels: np.ndarray) -> np.ndarray:
        bytewise = pixels.astype(np.uint8)
        if not (bytewise == pixels).all():
            raise ValueError("they are no integers from 0 to 255")
        picture = Image.fromarray(bytewise[..., 0] if bytewise.shape[2:] == (1,) else bytewise)
        picture = picture if channels == 1 else picture.convert("RGB")
        given = _processed(made, picture).transpose(1, 2, 0)
        exact = ((given - shift) / scale + 1) * 127.5
        found = exact.round()
        if not (abs(exact - found) < WHOLE).all():
            raise ValueError("it does more than resize, cut and scale them")
        return found.astype(np.uint8)

    return sized


def _processor(folder: Path, channels: int) -> tuple[Any, np.ndarray, np.ndarray]:
    """Return a network's image processor, and its scale and shift [channels] of pixels in [-1, 1].

    These are measured with a black and a white image, as each kind of processor has its own
    settings.
    """
    mode = "L" if channels == 1 else "RGB"
    try:
        with _quietly():
            made = AutoImageProcessor.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        ends = [_processed(made, Image.new(mode, (64, 64), v)) for v in ("black", "white")]
        black, white = (end[:, end.shape[1] // 2, end.shape[2] // 2] for end in ends)
        if not (np.isfinite(white) & np.isfinite(black) & (white != black)).all():
            raise ValueError("it makes one of black and white")
        return made, (white - black) / 2, (white + black) / 2
    except Exception as error:
        line = " ".join(str(error).split())[:200]
        raise UserError(f"{folder}: its image processor is not readable ({line})") from None


def classifier(encoder: dict[str, Any], state: weights.State, classes: Sequence[str]) -> nn.Module:
    """Return a text classifier with the config and weights of an encoder, or of a classifier.

    A head, and possibly a pooler, missing from `state` is newly initialised from torch's generator.
    Raises `UserError` if another weight is missing or has another shape, or a classifier has other
    classes.
    """
    names: dict[str, Any] = {"id2label": dict(enumerate(classes))}
    names |= {"label2id": {name: k for k, name in enumerate(classes)}}
    names |= {"architectures": [classifier_of(encoder["model_type"])]}
    net = from_config({**encoder, **names})
    whole, prefix = net.state_dict(), f"{net.base_model_prefix}."
    kept = any(name in state for name in whole if not name.startswith(prefix))
    if kept and (there := tuple(encoder["id2label"].values())) != tuple(classes):
        raise UserError(f"the encoder is a classifier of {there}, not of {tuple(classes)}")
    named = {name if name in whole else prefix + name: t for name, t in state.items()}
    named = weights.conformed(named, net, "the encoder")
    for name, weight in whole.items():
        found = named.get(name)
        if found is None and (not name.startswith(prefix) or ".pooler." in name):
            continue
        if found is None or found.shape != weight.shape:
            raise UserError(f"the encoder's weights do not fit its config: {name}; make it again")
        weight.copy_(found)
    return net


def classifier_of(model_type: str) -> str:
    """Return the library's classifier class for an encoder; raises `UserError` if there is none."""
    built = AutoConfig.for_model(model_type)
    known: Any = transformers.AutoModelForSequenceClassification._model_mapping
    if type(built) not in known:
        raise UserError(f"a {model_type}: the library has no classifier with it")
    return known[type(built)].__name__


def longest(config: dict[str, Any]) -> int:
    """Return how many tokens a row may have at most."""
    return _longest(json.dumps(config))


@lru_cache(maxsize=16)
def _longest(written: str) -> int:
    config = _config(json.loads(written))
    limit = getattr(config, "max_position_embeddings", None) or 0
    limit = limit if limit > 0 else UNLIMITED  # XLNet's is -1
    with torch.device("meta"):
        modules = AutoModel.from_config(config, trust_remote_code=False).named_modules()
    for name, module in modules:
        if not isinstance(module, nn.Embedding) or not name.endswith("position_embeddings"):
            continue
        if module.padding_idx is not None:  # RoBERTa's positions start after padding's
            limit = min(limit, module.num_embeddings - module.padding_idx - 1)
    return limit


def random_inputs(config: dict[str, Any], count: int) -> tuple[Tensor, ...]:
    """Return inputs of random examples, drawn from torch's generator.

    They are ids int64 [count, T], or images float32 [count, channels, height, width].
    """
    known: Any = _config(config)
    if _auto(config) is transformers.AutoModelForImageClassification:
        seen = getattr(known, "vision_config", known)
        size = getattr(seen, "image_size", 32)
        height, width = size if isinstance(size, (tuple, list)) else (size, size)
        return (torch.randn(count, getattr(seen, "num_channels", 3), height, width),)
    ids = torch.randint(known.vocab_size, (count, min(8, longest(config))))
    if known.is_encoder_decoder:  # classifies a row at its end token
        ids[ids == known.eos_token_id] = known.pad_token_id
        ids[:, -1] = known.eos_token_id
    return (ids,)


def function(config: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of a config that determine a network's outputs, with the library's defaults.

    Names of classes are normalised as in `data.classes`.
    """
    known: Any = _config(config)
    auto = _auto(config)
    whole, defaults = known.to_dict(), type(known)().to_dict()
    read = {name for name in defaults if "dropout" not in name and "pdrop" not in name}
    found = {name: _plain(whole[name]) for name in sorted(read - {*TRAINING}) if name in whole}
    found["id2label"] = [key(name) for name in checkpoint.classes(config)]
    return {**found, "head": auto.__name__, "preprocessing": config.get("preprocessing")}


def _plain(value: Any) -> Any:
    """Return a value of a config; nested configs without keys that do not affect outputs."""
    if not isinstance(value, dict):
        return value
    return {name: _plain(one) for name, one in value.items() if name not in TRAINING}


def _auto(config: dict[str, Any]) -> Any:
    """Return the library's class that builds the network of a config."""
    built = config.get("architectures")
    named = built[0] if isinstance(built, list) and len(built) == 1 else None
    ends = [end for end in ARCHITECTURES if isinstance(named, str) and named.endswith(end)]
    if not ends:
        raise UserError(
            f"{built!s:.80}: measured are networks whose names end in "
            f"{', '.join(ARCHITECTURES)}; save one of these, or give --net FILE.py:function"
        )
    return getattr(transformers, ARCHITECTURES[ends[0]])


def _config(config: dict[str, Any]) -> Any:
    """Return the library's config; no code in its folder is run."""
    for name, value in config.items():
        if "layers" in name and isinstance(value, int) and value > LAYERS:
            raise UserError(f"{name}: {value}")
    given = {k: v for k, v in config.items() if k not in ("auto_map", "preprocessing", "dtype")}
    known = type(AutoConfig.for_model(config["model_type"])).from_dict(given)
    known.use_cache = False
    return known


def _blocked(config: Any) -> int:
    """Return the most tokens of a row for which BigBird uses full attention."""
    return (5 + 2 * config.num_random_blocks) * config.block_size


@cache
def _class(base: type, added: type) -> type:
    return type(base.__name__, (added, base), {"__module__": base.__module__})


def _reading(net: nn.Module, auto: Any) -> Any:
    images = auto is transformers.AutoModelForImageClassification
    net.__class__ = _class(type(net), _Images if images else _Text)
    return net


def _processed(made: Any, picture: Image.Image) -> np.ndarray:
    """Return a network's input [channels, height, width] for a picture."""
    return np.asarray(made(picture, return_tensors="pt")["pixel_values"][0], np.float64)


@contextmanager
def _padded_with(config: Any, pad: int) -> Iterator[None]:
    before, config.pad_token_id = config.pad_token_id, pad
    try:
        yield
    finally:
        config.pad_token_id = before


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence the library's reports; the relevant ones are reported here."""
    logging = transformers.utils.logging
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        logging.enable_progress_bar()
