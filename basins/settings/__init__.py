"""The sections of `params.yaml` as types that reject invalid content.

Library functions never get these objects: stages pass them plain values.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from basins.settings.measures import (
    Aspect,
    Clusters,
    Experiment,
    Merge,
    Plane,
    Probe,
    Race,
    Sharpness,
)
from basins.settings.models import Classification, Data, FineTuning, Pretraining, Recipe
from basins.settings.values import Choice, Label, Name, Strict


class Statistics(Strict):
    """Intervals: their confidence, and the number of resamples of examples."""

    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    resamples: Annotated[int, Field(ge=100)]


def _one_by_one(claims: Any) -> Any:
    several: dict[Any, Any] = {}
    for key, claim in claims.items() if isinstance(claims, dict) else ():
        values = claim.get("each") if isinstance(claim, dict) else None
        if not isinstance(values, list):
            several[key] = claim
            continue
        options = {name: value for name, value in claim.items() if name != "each"}
        for each in map(str, values):
            several[f"{key}_{each}"] = {
                name: value.replace("{each}", each) if isinstance(value, str) else value
                for name, value in options.items()
            }
    return several if isinstance(claims, dict) else claims


class Params(Strict):
    """The whole file."""

    profile: Name
    expected_minutes: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    data_root: str
    device: Literal["auto", "cpu", "cuda"]
    workers: Literal["auto"] | Annotated[int, Field(ge=1)]
    precision: Literal["fp32", "bf16"]
    executor: Literal["local", "dask"]
    scheduler: str | None = None
    data: dict[Name, Data]
    train: dict[Name, Recipe]
    finetune: dict[Name, FineTuning]
    pretrain: dict[Name, Pretraining] = {}
    classify: dict[Name, Classification] = {}
    connect: dict[Name, Experiment]
    race: dict[Name, Race]
    probe: dict[Name, Probe]
    plane: dict[Name, Plane] = {}
    merge: dict[Name, Merge] = {}
    sharpness: dict[Name, Sharpness] = {}
    aspect: dict[Name, Aspect] = {}
    clusters: dict[Name, Clusters] = {}
    toy: dict[Name, Choice]
    statistics: Statistics
    claims: dict[Name, dict[Name, Choice]]
    figures: dict[Name, Choice]
    tables: dict[Name, Choice]
    labels: dict[Label, Annotated[str, Field(pattern=r"^[^\n]+$")]] = {}

    @field_validator("claims", mode="before")
    @classmethod
    def _each(cls, papers: Any) -> Any:
        """Make one claim for every value of `each`, which replaces `{each}` in its texts."""
        if not isinstance(papers, dict):
            return papers
        return {paper: _one_by_one(claims) for paper, claims in papers.items()}

    @property
    def cluster(self) -> str | None:
        """The address of the Dask scheduler whose workers are used, or None to work locally."""
        return self.scheduler if self.executor == "dask" else None

    def root(self) -> Path:
        """Return the folder of real data; the environment variable BASINS_DATA overrides it."""
        return Path(os.environ.get("BASINS_DATA") or self.data_root).expanduser()
