"""Settings of measurements on models: paths, planes, merges, probes, aspects, clusters."""

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
    """The training images on which BatchNorm statistics are re-estimated."""

    cue_proportion: Proportion
    size: Annotated[int, Field(ge=2)]


class Adaptive(Strict):
    """A grid that is doubled until no barrier changes by `tolerance`, or it has `limit` points."""

    start: Annotated[int, Field(ge=3, le=1001)]
    tolerance: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    limit: Annotated[int, Field(ge=3, le=1001)]


class Experiment(Strict):
    """The models and the paths that connect them, and where on these losses are measured.

    The protocol `published` fixes `batchnorm` and `calibration`; `corrected` takes both from here.
    Without `eval_sets` the four counterfactual sets are evaluated.
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
    """The pairs whose connectivity is decided; `decide` are the options of `racing.race`."""

    points: Annotated[int, Field(ge=3, le=1001)]
    eval_sets: Annotated[list[Name], Field(min_length=1), AfterValidator(without_repeats)] = Field(
        default=...
    )
    decide: dict[str, Any]


class Sampled(Strict):
    """A sample of training rows that is not used for training.

    A share `cue_proportion` of images carries the cue; text has the shares `counterexamples` and
    `noise`, as in the training of the models.
    """

    rows: Annotated[int, Field(ge=2)]
    cue_proportion: Proportion = 0.0
    counterexamples: Proportion = 0.0
    noise: Proportion = 0.0

    def shares(self) -> dict[str, float]:
        """Return the three shares by name."""
        return self.model_dump(include={"cue_proportion", "counterexamples", "noise"})


class Plane(Sampled):
    """One to three models, and the grid of a plane through them on which losses are measured.

    The grid has `steps` per side of the triangle of three models, and extends beyond it by `margin`
    sides. With fewer models, `directions` from the first replace the missing ones, up to `reach`
    both ways: random ones, in units of the filters' norms, or leading eigenvectors of the Hessian
    on training rows, in units of Euclidean distance.
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
    """The task of one recipe's models, if recipes have different tasks.

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

    `models` are recipes or groups. A set has the models of one seed from all of these (`seed`), or
    a given number of models in order, each in at most one set. `base` is what they were fine-tuned
    from: one encoder or model for all, or a recipe with a model for each set's seed. Models are
    aligned to the first of their set by every alignment. Techniques and `repair` may use the
    training rows.

    If recipes have their own `tasks`, by recipe, these have data, evaluation sets and shares, and
    `data` and `eval_sets` are omitted. A set has the models of one seed; each model keeps its head,
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
    """An aspect of the landscape, and the models on which it is measured (`landscape/aspects.py`).

    `aspect` is its file with its options. The first of `eval_sets` is in distribution; at most
    `rows` rows of each set and of the training rows are used. `experiments` are those whose curves,
    barriers and clusters it may use.
    """

    aspect: Choice
    data: Name
    models: Models
    eval_sets: Annotated[list[Name], Field(min_length=1), AfterValidator(without_repeats)]
    batchnorm: Literal["reset", "reset_cued", "moving", "interpolate"]
    calibration: Calibration | None = None
    experiments: Annotated[list[Name], AfterValidator(without_repeats)] = []


class Probe(Strict):
    """The diagnostic on which the models of the recipe with the same name are evaluated."""

    data: Name
    diagnostic: Choice


class Clusters(Strict):
    """The models whose convexity gaps on `eval_set` are clustered, and the diagnostics compared.

    `diagnostics` are slices of the probe of the experiment's models, or `<slice>:<metric>`;
    `sharpness` is a key of that section, for comparison with the models' sharpness. With `learned`,
    models whose accuracy on `test` does not exceed the most frequent class's share by this much are
    left out of clusters, claims and what is said of single pairs, but not of means in `summary/`.
    """

    experiment: Name
    eval_set: Name
    diagnostics: list[str]
    sharpness: Name | None = None
    learned: Annotated[float, Field(gt=0, lt=1)] | None = None
