"""Every setting of a run, typed and strict, read once from `params.yaml`.

A wrong file is refused before any work starts, in one line that names the key, its value and what
is allowed. Library functions never see these objects: stages take plain values out of them.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)
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


# What an entry of each section chooses: its field ("" where the entry is itself the choice), the
# room that the name is looked up in, and the function whose keyword arguments the options are (or
# the functions, of which the file has one).
ALIGNS = ("align", "align_all")
PATHS = [("paths", "paths", ("fit", "coefficients")), ("alignments", "align", ALIGNS)]
CHOICES: dict[str, list[tuple[str, str, str | tuple[str, ...]]]] = {
    "data": [("", "data", "load"), ("cue", "data.cues", "cue")],
    "train": [("net", "nets", "build"), ("method", "training", "train")],
    "finetune": [("methods", "training", ("finetune", "train"))],
    "connect": PATHS,
    "race": PATHS,
    "probe": [("diagnostic", "probes", "measures")],
    "toy": [("", "toys", "run")],
    "figures": [("", "figures", "draw")],
    "tables": [("", "tables", "table")],
}
SECTIONS = (*CHOICES, "claims")
# What the caller fills in, not the file.
GIVEN = ("root", "generator", "correlations", "protocol")


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
    if both := sorted(params.train.keys() & params.finetune.keys()):
        raise UserError(f"finetune.{both[0]}: there is a recipe of that name; models would mix")
    for key, recipe in params.train.items():
        pick(params.data, recipe.data, f"train.{key}.data")
    for key, group in params.finetune.items():
        start = pick(params.train, group.start, f"finetune.{key}.start")
        if group.data != start.data:
            trained = f"but {group.start} was trained on {start.data!r}"
            raise UserError(f"finetune.{key}.data: {group.data!r}, {trained}")
    models = {**params.train, **params.finetune}
    experiments = {f"connect.{key}": found for key, found in params.connect.items()}
    experiments |= {f"race.{key}": found for key, found in params.race.items()}
    for where, experiment in experiments.items():
        for end in ("start", "end"):
            pick(models, getattr(experiment, end), f"{where}.{end}")
        pick(params.data, experiment.data, f"{where}.data")
        _check_pairs(params, experiment, where)
        _check_protocol(experiment, where)
    for key, probe in params.probe.items():
        pick(models, key, "probe")
        pick(params.data, probe.data, f"probe.{key}.data")
    named = {f"figures.{key}": choice for key, choice in params.figures.items()}
    named |= {f"tables.{key}": choice for key, choice in params.tables.items()}
    for paper, claims in params.claims.items():
        named |= {f"claims.{paper}.{key}": choice for key, choice in claims.items()}
    for where, choice in named.items():
        for option, section in (
            ("experiment", params.connect),
            ("dataset", params.data),
            ("group", params.finetune),
            ("toy", params.toy),
        ):
            if option in choice.options:
                pick(section, choice.options[option], f"{where}.{option}")
        for option, section in (
            ("experiments", params.connect),
            ("groups", params.finetune),
            ("recipes", params.recipes()),
            ("start", params.train),
        ):
            for name in _leaves(choice.options.get(option)):
                pick(section, name, f"{where}.{option}")
        _check_parts(params, choice, where)


def _check_parts(params: Params, choice: Choice, where: str) -> None:
    """Check what a choice names within the group and the experiment that it names."""
    options = choice.options
    if group := options.get("group"):
        for option in ("method", "other"):
            if option in options:
                pick(params.finetune[group].methods, options[option], f"{where}.{option}")
    if experiment := options.get("experiment"):
        found = params.connect[experiment]
        parts: dict[str, list[Any]] = {
            "path": [choice.called for choice in found.paths],
            "alignment": [choice.called for choice in found.alignments],
            "batchnorm": list(found.batchnorm or ["moving"]),
        }
        for option, known in parts.items():
            if option in options:
                pick(dict.fromkeys(known), options[option], f"{where}.{option}")


def _leaves(value: Any) -> Iterator[str]:
    """Yield the texts in lists and dicts of lists; what an option may hold is checked elsewhere."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _leaves(inner)


def _check_pairs(params: Params, experiment: Experiment, where: str) -> None:
    start, end = params.recipe(experiment.start), params.recipe(experiment.end)
    if start.net != end.net:
        raise UserError(
            f"{where}: {experiment.start} and {experiment.end} have different nets; "
            "a path joins models of one net"
        )
    if experiment.pairs == "seed":
        if experiment.start == experiment.end or not set(start.seeds) & set(end.seeds):
            raise UserError(f"{where}.pairs: 'seed' joins two recipes that have a seed in common")
    elif experiment.start == experiment.end and len(params.models(experiment.start)) < 2:
        raise UserError(f"{where}: {experiment.start} has one seed; a pair takes two")


def _check_protocol(experiment: Experiment, where: str) -> None:
    published = experiment.protocol == "published"
    for key in ("batchnorm", "calibration"):
        if (getattr(experiment, key) is None) != published:
            wrong = "fixed by the published protocol; take it out" if published else "missing"
            raise UserError(f"{where}.{key}: {wrong}")


def _check_options(params: Params, section: str) -> None:
    """Check that every file which a section chooses exists, and takes the options it is given."""
    for key, entry in getattr(params, section).items():
        for field, room, functions in CHOICES[section]:
            chosen = getattr(entry, field) if field else entry
            place = ".".join(filter(None, [section, key, field]))
            if isinstance(chosen, list):
                choices = {f"{place}.{i}": choice for i, choice in enumerate(chosen)}
            elif isinstance(chosen, dict):
                choices = {f"{place}.{label}": choice for label, choice in chosen.items()}
            else:
                choices = {place: chosen}
            for where, choice in choices.items():
                options = dict(choice.options)
                if isinstance(entry, Data):
                    options |= {"source": entry.source, "seed": entry.seed}
                found = find(room, choice.name, functions, where)
                check_options(found, options, where, given=GIVEN)
        if isinstance(entry, Race):
            race = find("paths", "racing", "race")
            check_options(race, entry.decide, f"{section}.{key}.decide", given=("overhead",))


def _check_claims(params: Params) -> None:
    """Check that every claim is one that its paper's file can decide, with the options it takes."""
    for paper, claims in params.claims.items():
        known = module("claims", paper, "decide", "claims").CLAIMS
        for key, claim in claims.items():
            where = f"claims.{paper}.{key}"
            check_options(pick(known, claim.name, where), claim.options, where)
