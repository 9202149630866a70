"""What the pretraining of an encoder and the fine-tuning of a classifier have in common."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import torch

from basins.item import Item

PLACES = ("data", "encoder", "root", "number", "device")  # where things are, what they are called


@dataclass(frozen=True)
class TextModel(Item):
    """A network that is trained on the text of the dataset in the folder `data`.

    `inputs` is the hash of its training rows, and `method` a name with its options. Its folder is
    one of Hugging Face's, with log.csv beside.
    """

    data: Path
    inputs: str
    method: dict[str, Any]
    device: torch.device
    kind: ClassVar[str] = "text"

    def decides(self) -> dict[str, Any]:
        """Return all that decides the weights but for code and machine."""
        mine = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in PLACES}
        return {**mine, "transformers": version("transformers")}


def written(config: Any) -> dict[str, Any]:
    """Return a Hugging Face config as it is written to `config.json`."""
    return json.loads(config.to_json_string())
