"""What is measured on models: paths between them, planes, merges, probes, aspects, clusters."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from basins.settings.values import (
    BatchNorm,
    Choice,
    Model,
    Models,
    Name,
    Proportion,
    Protocol,
    Several,
    Strict,
    without_repeats,
)


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
        Annotated[list[BatchNorm], Field(min_length=1), AfterValidator(without_repeats)] | None
    ) = None
    calibration: Calibration | None = None
    eval_sets: (
        Annotated[list[Name], Field(min_length=1), AfterValidator(without_repeats)] | None
    ) = None


class Race(Experiment):
    """Which pairs are to be found connected or not; `decide` are the options of `racing.race`."""

    points: Annotated[int, Field(ge=3, le=1001)]
    eval_sets: Annotated[list[Name], Field(min_length=1), AfterValidator(without_repeats)] = Field(
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
        list[Model], Field(min_length=1, max_length=3), AfterValidator(without_repeats)
    ]
    directions: Literal["models", "random", "hessian"] = "models"
    reach: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    rows: Annotated[int, Field(ge=2)] = 256
    steps: Annotated[int, Field(ge=2, le=1000)]
    margin: Annotated[float, Field(ge=0, le=10)] = 0.0
    batchnorm: BatchNorm
    calibration: Calibration | None = None
    eval_sets: Annotated[list[Name], Field(min_length=1), AfterValidator(without_repeats)]


class Task(Strict):
    """What the models of one recipe were trained for, where those of others have other tasks.

    The shares are those of `Sampled`.
    """

    data: Name
    cue_proportion: Proportion = 0.0
    counterexamples: Proportion = 0.0
    noise: Proportion = 0.0
    eval_sets: Annotated[list[Name], Field(min_length=1), AfterValidator(without_repeats)]

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
    models: Annotated[list[Models], Field(min_length=1), AfterValidator(without_repeats)]
    sets: Literal["seed"] | Annotated[int, Field(ge=1)]
    base: Models | None = None
    alignments: Several
    batchnorm: Annotated[list[BatchNorm], Field(min_length=1), AfterValidator(without_repeats)]
    calibration: Calibration | None = None
    techniques: Several
    eval_sets: (
        Annotated[list[Name], Field(min_length=1), AfterValidator(without_repeats)] | None
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
    eval_sets: Annotated[list[Name], Field(min_length=1), AfterValidator(without_repeats)]
    batchnorm: Literal["reset", "reset_cued", "moving", "interpolate"]
    calibration: Calibration | None = None
    experiments: Annotated[list[Name], AfterValidator(without_repeats)] = []


class Probe(Strict):
    """Which diagnostic the models of the recipe of the same name are put to."""

    data: Name
    diagnostic: Choice


class Clusters(Strict):
    """Whose convexity gaps on `eval_set` are clustered, and which accuracies they are to tell.

    `diagnostics` are slices of the probe of the experiment's models, or `<slice>:<metric>`;
    `sharpness` is a key of that section, if the models' sharpness is to be a rival. With `learned`,
    models whose accuracy on `test` is not so far over the commonest class's share are left out of
    all that is said of the experiment's pairs.
    """

    experiment: Name
    eval_set: Name
    diagnostics: list[str]
    sharpness: Name | None = None
    learned: Annotated[float, Field(gt=0, lt=1)] | None = None
