"""Every setting of a run, typed and strict, read once from `params.yaml`.

A wrong file is refused before any work starts, in one line that names the key, its value and what
is allowed. Library functions never see these objects: stages take plain values out of them.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from basins.errors import UserError
from basins.registry import check_options, explain, find, module


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
    """How the models of one folder come about, one for each seed."""

    data: Name
    cue_proportion: Proportion
    net: Choice
    method: Choice
    seeds: Seeds


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
    """Which models are joined by which paths, and where on them losses are measured."""

    data: Name
    start: Name
    end: Name
    pairs: Literal["all", "between"]
    paths: Several
    points: Annotated[int, Field(ge=3, le=1001)] | Adaptive
    alignments: Several
    batchnorm: Annotated[
        list[Literal["reset", "moving", "interpolate"]],
        Field(min_length=1),
        AfterValidator(_without_repeats),
    ]
    calibration: Calibration


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


class Claim(Strict):
    """Which experiment a claim is read from, and the threshold its interval is held against."""

    experiment: Name
    alignment: Name
    threshold: Annotated[float, Field(allow_inf_nan=False)]


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
    connect: dict[Name, Experiment]
    race: dict[Name, Race]
    probe: dict[Name, Probe]
    statistics: Statistics
    claims: dict[Name, dict[Name, Claim]]
    figures: dict[Name, Choice]

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

    def models(self, recipe: str) -> list[Path]:
        """Return the folders of a recipe's models, `models/<recipe>/seed<k>`."""
        return [Path("models") / recipe / f"seed{seed}" for seed in self.train[recipe].seeds]


# What an entry of each section chooses: its field ("" where the entry is itself the choice), the
# room that the name is looked up in, and the function whose keyword arguments the options are (or
# the functions, of which the file has one).
ALIGNS = ("align", "align_all")
CHOICES: dict[str, list[tuple[str, str, str | tuple[str, ...]]]] = {
    "data": [("", "data", "load"), ("cue", "data.cues", "draw")],
    "train": [("net", "nets", "build"), ("method", "training", "train")],
    "connect": [("paths", "paths", "coefficients"), ("alignments", "align", ALIGNS)],
    "race": [("paths", "paths", "coefficients"), ("alignments", "align", ALIGNS)],
    "probe": [("diagnostic", "probes", "measures")],
    "figures": [("", "figures", "draw")],
}
SECTIONS = (*CHOICES, "claims")


def read(path: Path = Path("params.yaml"), check: Collection[str] = SECTIONS) -> Params:
    """Read, type and cross-check a params file.

    Checking the options of a section imports the rooms that it chooses from, which takes seconds; a
    stage names those that it uses in `check`. Raises `UserError` with the first thing wrong.
    """
    try:
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run from the project's top folder") from None
    except (OSError, YAMLError, ValueError, LookupError, RecursionError) as error:
        # A value that does not fit its YAML type (a 13th month) is a plain ValueError or KeyError.
        raise UserError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from None
    try:
        params = Params.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path}: {explain(error, Params)}") from None
    try:
        if params.executor == "dask" and not params.scheduler:
            raise UserError("scheduler: missing; executor dask needs its address: tcp://host:8786")
        for section in check:
            if section == "claims":
                _check_claims(params)
            else:
                _check_options(params, section)
        _check_names(params)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return params


def pick(section: dict[str, Any], name: str, where: str) -> Any:
    """Return `section[name]`, or raise `UserError` that lists what there is."""
    if name not in list(section):  # an option's value need not be hashable
        raise UserError(f"{where}: no {name!r}; there are: {', '.join(section) or 'none'}")
    return section[name]


def _check_names(params: Params) -> None:
    """Check that every dataset, recipe and experiment that the file refers to is in it."""
    for key, recipe in params.train.items():
        pick(params.data, recipe.data, f"train.{key}.data")
    experiments = {f"connect.{key}": found for key, found in params.connect.items()}
    experiments |= {f"race.{key}": found for key, found in params.race.items()}
    for where, experiment in experiments.items():
        start = pick(params.train, experiment.start, f"{where}.start")
        end = pick(params.train, experiment.end, f"{where}.end")
        pick(params.data, experiment.data, f"{where}.data")
        if start.net != end.net:
            raise UserError(
                f"{where}: {experiment.start} and {experiment.end} have different nets; "
                "a path joins models of one net"
            )
        if experiment.start == experiment.end and len(start.seeds) < 2:
            raise UserError(f"{where}: {experiment.start} has one seed; a pair takes two")
    for key, probe in params.probe.items():
        pick(params.train, key, "probe")
        pick(params.data, probe.data, f"probe.{key}.data")
    for paper, claims in params.claims.items():
        for key, claim in claims.items():
            where = f"claims.{paper}.{key}"
            experiment = pick(params.connect, claim.experiment, f"{where}.experiment")
            known = {choice.called: choice for choice in experiment.alignments}
            pick(known, claim.alignment, f"{where}.alignment")
    for key, figure in params.figures.items():
        for option, section in (("experiment", params.connect), ("dataset", params.data)):
            if option in figure.options:
                pick(section, figure.options[option], f"figures.{key}.{option}")


def _check_options(params: Params, section: str) -> None:
    """Check that every file which a section chooses exists, and takes the options it is given."""
    for key, entry in getattr(params, section).items():
        for field, room, functions in CHOICES[section]:
            chosen = getattr(entry, field) if field else entry
            place = ".".join(filter(None, [section, key, field]))
            several = isinstance(chosen, list)
            for i, choice in enumerate(chosen if several else [chosen]):
                where = f"{place}.{i}" if several else place
                options = dict(choice.options)
                if isinstance(choice, Data):
                    options |= {"source": choice.source, "seed": choice.seed}
                found = find(room, choice.name, functions, where)
                check_options(found, options, where, given=("root", "generator", "correlations"))
        if isinstance(entry, Race):
            race = find("paths", "racing", "race")
            check_options(race, entry.decide, f"{section}.{key}.decide", given=("overhead",))


def _check_claims(params: Params) -> None:
    """Check that every claim that is given a threshold is one of its paper's."""
    for paper, claims in params.claims.items():
        known = module("claims", paper, "decide", "claims").STATEMENTS
        for claim in claims:
            pick(known, claim, f"claims.{paper}")
