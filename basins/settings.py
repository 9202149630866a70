"""What `params.yaml` holds: every section of it as a type that refuses what is not meant.

Library functions never see these objects: stages take plain values out of them.
"""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)


def _without_repeats(values: list[Any]) -> list[Any]:
    repeated = sorted({value for value in values if values.count(value) > 1})
    if repeated:
        raise ValueError(f"{repeated[0]!r} is there twice; name each once")
    return values


# Names become folders and stage names, so they may not leave the project's folders.
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=64)]
# Models in a folder of others: a method of a group, a variant or an early step of a recipe.
Models = Annotated[
    str, Field(pattern=r"^[a-z0-9][a-z0-9_]*(/[a-z0-9][a-z0-9_]*){0,3}$", max_length=256)
]
BatchNorm = Literal["reset", "reset_cued", "moving", "interpolate", "repair"]
# One model: `seed<k>` of such a folder.
Model = Annotated[
    str, Field(pattern=r"^[a-z0-9][a-z0-9_]*(/[a-z0-9][a-z0-9_]*){0,3}/seed[0-9]+$", max_length=256)
]
Proportion = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


def _counted(seeds: Any) -> Any:
    """Return the list that `{from: 600, count: 48}` is short for."""
    if isinstance(seeds, dict) and set(seeds) == {"from", "count"}:
        first, count = seeds["from"], seeds["count"]
        if not all(type(value) is int and 0 <= value < 2**32 for value in (first, count)):
            raise ValueError("`from` and `count` are numbers of seeds: whole, from 0")
        return list(range(first, first + min(count, 10_000)))
    return seeds


Seeds = Annotated[
    list[Seed], Field(min_length=1), AfterValidator(_without_repeats), BeforeValidator(_counted)
]
# A head between two whole numbers lies on the straight line between theirs.
Heads = Annotated[
    list[Seed | Annotated[float, Field(ge=0, lt=2**32)]],
    Field(min_length=1),
    AfterValidator(_without_repeats),
    BeforeValidator(_counted),
]
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
    """A dataset, the cue that is drawn on its images, and the seed of everything random in both."""

    source: Literal["synthetic", "files", "hub"]
    seed: Seed
    cue: Choice | None = None


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


class Pretraining(Strict):
    """A text encoder: trained on the sentences of `data`, or brought from elsewhere.

    The method `stored` brings it, with a net and a vocabulary of its own. Rows of more tokens than
    the encoder has positions for are refused, or cut as BERT's own code does it.
    """

    data: Name
    method: Choice
    net: Choice | None = None
    vocabulary: Choice | None = None
    long_rows: Literal["refuse", "truncate"] = "refuse"
    seed: Seed = 0


Stream = Literal["head", "order", "dropout", "pooler"]


class Streams(Strict):
    """The full factorial of what is random in fine-tuning: a model for every combination.

    A stream that is the name of another follows it: it has that one's number in every model.
    Without seeds of its own, a pooler is the encoder's, or drawn with the head where that has none.
    """

    head: Heads | Stream
    order: Seeds | Stream
    dropout: Seeds | Stream = [0]
    pooler: Heads | Stream | None = None

    @model_validator(mode="after")
    def _followed(self) -> Streams:
        for name, stream in self:
            if isinstance(stream, str) and not isinstance(getattr(self, stream), list):
                raise ValueError(f"{name} follows {stream}, which has no seeds of its own")
        return self

    def combinations(self) -> dict[int, dict[str, float]]:
        """Return the seeds of every stream by the number of the model."""
        varied = {name: seeds for name, seeds in self if isinstance(seeds, list)}
        followed = {name: stream for name, stream in self if isinstance(stream, str)}
        found = {}
        for number, seeds in enumerate(product(*varied.values())):
            own = dict(zip(varied, seeds, strict=True))
            found[number] = own | {name: own[stream] for name, stream in followed.items()}
        return found


class Variant(Strict):
    """What differs from a recipe: any of these, of the method the options that do."""

    counterexamples: Proportion | None = None
    noise: Proportion | None = None
    method: dict[str, Any] | None = None
    seeds: Seeds | Streams | None = None


class Classification(Strict):
    """Classifiers that are fine-tuned from one encoder, one for each seed or combination.

    Of the training rows `counterexamples` are replaced by rows of the dataset's pool of that name,
    and `noise` have a wrong label: the same rows for every seed. The encoder may be a classifier
    itself, by the path of its model, and keeps its head then. With `variants` there are models of
    each of them, and no others.
    """

    data: Name
    encoder: Models
    counterexamples: Proportion
    noise: Proportion
    method: Choice
    seeds: Seeds | Streams
    variants: dict[Name, Variant] = {}

    def parts(self) -> dict[str, Classification]:
        """Return the recipe of each variant by its label, or this one by an empty one."""
        found = {}
        for label, variant in self.variants.items():
            changes = {name: value for name, value in variant if value is not None}
            if variant.method is not None:
                changes["method"] = Choice(**{**self.method.model_dump(), **variant.method})
            found[label] = self.model_copy(update={**changes, "variants": {}})
        return found or {"": self}

    @property
    def streams(self) -> dict[int, dict[str, Any]]:
        """The seeds of head, order and dropout by the number of the model; one seed for all."""
        if isinstance(self.seeds, list):
            return {seed: dict.fromkeys(("head", "order", "dropout"), seed) for seed in self.seeds}
        return self.seeds.combinations()

    @property
    def steps(self) -> list[str]:
        """The folders of early checkpoints: `step<n>`, after n steps of the method."""
        return [f"step{step}" for step in self.method.options.get("checkpoints", [])]


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
    Without `eval_sets` the four counterfactual ones are evaluated.
    """

    data: Name
    start: Models
    end: Models
    pairs: Literal["all", "between", "within", "seed", "ring"]
    paths: Several
    points: Annotated[int, Field(ge=3, le=1001)] | Adaptive
    alignments: Several
    protocol: Protocol
    batchnorm: (
        Annotated[list[BatchNorm], Field(min_length=1), AfterValidator(_without_repeats)] | None
    ) = None
    calibration: Calibration | None = None
    eval_sets: (
        Annotated[list[Name], Field(min_length=1), AfterValidator(_without_repeats)] | None
    ) = None


class Race(Experiment):
    """Which pairs are to be found connected or not; `decide` are the options of `racing.race`."""

    points: Annotated[int, Field(ge=3, le=1001)]
    eval_sets: Annotated[list[Name], Field(min_length=1), AfterValidator(_without_repeats)] = Field(
        default=...
    )
    decide: dict[str, Any]


class Sampled(Strict):
    """How many training rows are drawn for something else than training, and of which kind.

    Images carry the cue on `cue_proportion` of them; in texts there are the shares
    `counterexamples` and `noise`, as in the training of the models.
    """

    rows: Annotated[int, Field(ge=2)]
    cue_proportion: Proportion = 0.0
    counterexamples: Proportion = 0.0
    noise: Proportion = 0.0

    def shares(self) -> dict[str, float]:
        """Return the three shares by name."""
        return self.model_dump(include={"cue_proportion", "counterexamples", "noise"})


class Plane(Sampled):
    """One to three models, and where on a plane through them losses are measured.

    The lattice has `steps` to a side of three models' triangle, and goes on beyond it by `margin`
    sides. Where there are fewer models, `directions` from the first span what is missing, as far as
    `reach` both ways: random ones, in units of its filters' norms, or the leading ones of the
    Hessian on the training rows, in units of distance.
    """

    data: Name
    models: Annotated[
        list[Model], Field(min_length=1, max_length=3), AfterValidator(_without_repeats)
    ]
    directions: Literal["models", "random", "hessian"] = "models"
    reach: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    rows: Annotated[int, Field(ge=2)] = 256
    steps: Annotated[int, Field(ge=2, le=1000)]
    margin: Annotated[float, Field(ge=0, le=10)] = 0.0
    batchnorm: BatchNorm
    calibration: Calibration | None = None
    eval_sets: Annotated[list[Name], Field(min_length=1), AfterValidator(_without_repeats)]


class Task(Strict):
    """What the models of one recipe were trained for, where those of others have other tasks.

    The shares are those of `Sampled`.
    """

    data: Name
    cue_proportion: Proportion = 0.0
    counterexamples: Proportion = 0.0
    noise: Proportion = 0.0
    eval_sets: Annotated[list[Name], Field(min_length=1), AfterValidator(_without_repeats)]

    def shares(self) -> dict[str, float]:
        """Return the three shares by name."""
        return self.model_dump(exclude={"data", "eval_sets"})


class Merge(Sampled):
    """Sets of models, and the techniques that merge each of them.

    `models` are recipes or groups. Sets are the models of one seed over them (`seed`), or so many
    of all their models at a time, in order, each in one set at most. `base` is what they were
    fine-tuned from: one encoder or model for all, or a recipe with a model of each set's seed.
    Models are brought to the first of their set by every alignment. Techniques may use the training
    rows, and `repair` measures on them, too.

    Where recipes have `tasks` of their own, by recipe, these have data, evaluation sets and shares,
    and `data` and `eval_sets` are left out. Sets are those of one seed; each model keeps its head,
    is not aligned, and has no statistics to reset.
    """

    data: Name | None = None
    tasks: dict[Models, Task] = {}
    models: Annotated[list[Models], Field(min_length=1), AfterValidator(_without_repeats)]
    sets: Literal["seed"] | Annotated[int, Field(ge=1)]
    base: Models | None = None
    alignments: Several
    batchnorm: Annotated[list[BatchNorm], Field(min_length=1), AfterValidator(_without_repeats)]
    calibration: Calibration | None = None
    techniques: Several
    eval_sets: (
        Annotated[list[Name], Field(min_length=1), AfterValidator(_without_repeats)] | None
    ) = None


class Sharpness(Strict):
    """Models whose sharpness is measured; `ascent` are the options of `sharpness.sharpness`."""

    data: Name
    models: Models
    eval_set: Name
    ascent: dict[str, Any]


class Aspect(Sampled):
    """An aspect of the landscape, and the models that it is measured on (`landscape/terrain.py`).

    `aspect` is its file with its options. The first of `eval_sets` is the one in domain; of it, of
    the others and of the training rows at most `rows` are taken. `experiments` are those whose
    curves, barriers and clusters it may read.
    """

    aspect: Choice
    data: Name
    models: Models
    eval_sets: Annotated[list[Name], Field(min_length=1), AfterValidator(_without_repeats)]
    batchnorm: Literal["reset", "reset_cued", "moving", "interpolate"]
    calibration: Calibration | None = None
    experiments: Annotated[list[Name], AfterValidator(_without_repeats)] = []


class Probe(Strict):
    """Which diagnostic the models of the recipe of the same name are put to."""

    data: Name
    diagnostic: Choice


class Clusters(Strict):
    """Whose convexity gaps on `eval_set` are clustered, and which accuracies they are to tell.

    `diagnostics` are slices of the probe of the experiment's models, or `<slice>:<metric>`;
    `sharpness` is a key of that section, if the models' sharpness is to be a rival.
    """

    experiment: Name
    eval_set: Name
    diagnostics: list[str]
    sharpness: Name | None = None


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
