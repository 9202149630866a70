"""What `params.yaml` holds: every section of it as a type that refuses what is not meant.

Library functions never see these objects: stages take plain values out of them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
)


def _without_repeats(values: list[Any]) -> list[Any]:
    repeated = sorted({value for value in values if values.count(value) > 1})
    if repeated:
        raise ValueError(f"{repeated[0]!r} is there twice; name each once")
    return values


# Names become folders and stage names, so they may not leave the project's folders.
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=64)]
Proportion = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Seeds = Annotated[list[Seed], Field(min_length=1), AfterValidator(_without_repeats)]
Protocol = Literal["published", "corrected"]


class Strict(BaseModel):
    """A section of the file: unknown keys, wrong types and impossible values are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Choice(BaseModel):
    """One file of a room by its name; the keys beside `name` are its options."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    name: Name

    @property
    def options(self) -> dict[str, Any]:
        """The options, as keyword arguments for the file's function."""
        return dict(self.model_extra or {})


class Labelled(Choice):
    """A choice of which there may be several; `label`, by default its name, tells them apart."""

    label: Name | None = None

    @property
    def called(self) -> str:
        """What rows and figures call it."""
        return self.label or self.name

    def choice(self) -> dict[str, Any]:
        """Return name and options, without what it is called."""
        return self.model_dump(exclude={"label"})


def _told_apart(choices: list[Labelled]) -> list[Labelled]:
    _without_repeats([choice.called for choice in choices])
    return choices


Several = Annotated[list[Labelled], Field(min_length=1), AfterValidator(_told_apart)]


class Data(Choice):
    """A dataset, the cue that is drawn on it, and the seed of everything random in both."""

    source: Literal["synthetic", "files", "hub"]
    seed: Seed
    cue: Choice


class Recipe(Strict):
    """How the models of one folder come about, one for each seed.

    Recipes that differ in `order` alone see the same batches of the same data in another order,
    from the same initial weights.
    """

    data: Name
    cue_proportion: Proportion
    net: Choice
    method: Choice
    seeds: Seeds
    order: Annotated[int, Field(ge=0)] = 0


class FineTuning(Strict):
    """A group: every seed of the recipe `start`, tuned by every method, by the methods' labels.

    Methods are given `clean` training images without the cue, and others of which `cue_proportion`
    carry it.
    """

    data: Name
    start: Name
    protocol: Protocol
    clean: Annotated[int, Field(ge=2)]
    cue_proportion: Proportion
    methods: Annotated[dict[Name, Choice], Field(min_length=1)]


class Calibration(Strict):
    """Which training images BatchNorm statistics are re-estimated on."""

    cue_proportion: Proportion
    size: Annotated[int, Field(ge=2)]


class Adaptive(Strict):
    """Points that are doubled until no barrier changes by `tolerance`, or there are `limit`."""

    start: Annotated[int, Field(ge=3, le=1001)]
    tolerance: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    limit: Annotated[int, Field(ge=3, le=1001)]


class Experiment(Strict):
    """Which models are joined by which paths, and where on them losses are measured.

    The protocol `published` fixes `batchnorm` and `calibration`; `corrected` takes both from here.
    """

    data: Name
    start: Name
    end: Name
    pairs: Literal["all", "between", "seed"]
    paths: Several
    points: Annotated[int, Field(ge=3, le=1001)] | Adaptive
    alignments: Several
    protocol: Protocol
    batchnorm: (
        Annotated[
            list[Literal["reset", "reset_cued", "moving", "interpolate"]],
            Field(min_length=1),
            AfterValidator(_without_repeats),
        ]
        | None
    ) = None
    calibration: Calibration | None = None


class Race(Experiment):
    """Which pairs are to be found connected or not; `decide` are the options of `racing.race`."""

    points: Annotated[int, Field(ge=3, le=1001)]
    eval_sets: Annotated[list[Name], Field(min_length=1), AfterValidator(_without_repeats)]
    decide: dict[str, Any]


class Probe(Strict):
    """Which diagnostic the models of the recipe of the same name are put to."""

    data: Name
    diagnostic: Choice


class Statistics(Strict):
    """Intervals: their confidence and how many times examples are resampled."""

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
    precision: Literal["auto", "fp32", "bf16"]
    executor: Literal["local", "dask"]
    scheduler: str | None = None
    data: dict[Name, Data]
    train: dict[Name, Recipe]
    finetune: dict[Name, FineTuning]
    connect: dict[Name, Experiment]
    race: dict[Name, Race]
    probe: dict[Name, Probe]
    toy: dict[Name, Choice]
    statistics: Statistics
    claims: dict[Name, dict[Name, Choice]]
    figures: dict[Name, Choice]
    tables: dict[Name, Choice]

    @field_validator("claims", mode="before")
    @classmethod
    def _each(cls, papers: Any) -> Any:
        """Make one claim of every value of its `each`, which stands for `{each}` in its texts."""
        if not isinstance(papers, dict):
            return papers
        return {paper: _one_by_one(claims) for paper, claims in papers.items()}

    @property
    def cluster(self) -> str | None:
        """The address of the Dask scheduler whose workers do the work, None to do it here."""
        return self.scheduler if self.executor == "dask" else None

    def root(self) -> Path:
        """Return the folder of real data; the environment variable BASINS_DATA overrides it."""
        return Path(os.environ.get("BASINS_DATA") or self.data_root).expanduser()

    def reports(self) -> Path:
        """Return the folder that this profile's results are written to."""
        return Path("reports") / self.profile

    def recipe(self, name: str) -> Recipe:
        """Return the recipe of that name, or the one that the group of that name starts from."""
        return self.train[self.finetune[name].start if name in self.finetune else name]

    def recipes(self) -> dict[str, Recipe]:
        """Return the recipes by what rows call them: `<recipe>`, and `<group>/<method>`."""
        groups = self.finetune.items()
        tuned = {f"{name}/{method}": name for name, group in groups for method in group.methods}
        return {**self.train, **{called: self.recipe(name) for called, name in tuned.items()}}

    def models(self, name: str) -> list[Path]:
        """Return the folders of the models of a recipe, or of a group of fine-tunes.

        They are `models/<recipe>/seed<k>`, and `models/<group>/<method>/seed<k>`.
        """
        folder, seeds = Path("models") / name, self.recipe(name).seeds
        if name not in self.finetune:
            return [folder / f"seed{seed}" for seed in seeds]
        methods = self.finetune[name].methods
        return [folder / method / f"seed{seed}" for method in methods for seed in seeds]
