"""Shared by the pretraining of encoders and the fine-tuning of classifiers."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import torch

from basins.item import Item

PLACES = ("data", "encoder", "root", "number", "device")  # locations and names


@dataclass(frozen=True)
class TextModel(Item):
    """A network trained on the text of the dataset in the folder `data`.

    `inputs` is the hash of its training rows, and `method` a name with its options. Its folder is
    in Hugging Face's format, with log.csv.
    """

    data: Path
    inputs: str
    method: dict[str, Any]
    device: torch.device
    kind: ClassVar[str] = "text"

    def decides(self) -> dict[str, Any]:
        """Return everything that determines the weights, except code and machine."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in PLACES}


def written(config: Any) -> dict[str, Any]:
    """Return the content of `config.json` for a Hugging Face config."""
    return json.loads(config.to_json_string())
