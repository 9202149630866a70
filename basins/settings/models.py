"""Settings of models: datasets, training, fine-tuning, encoders, text classifiers."""

from __future__ import annotations

from itertools import product
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from basins.settings.values import (
    Choice,
    Heads,
    Models,
    Name,
    Proportion,
    Protocol,
    Seed,
    Seeds,
    Strict,
)


class Data(Choice):
    """A dataset, the cue drawn on its images, and the seed of everything random in both."""

    source: Literal["synthetic", "files", "hub"]
    seed: Seed
    cue: Choice | None = None


class Recipe(Strict):
    """How the models of one folder are trained, one for each seed.

    Recipes that differ only in `order` have the same data and initial weights, but another order of
    batches.
    """

    data: Name
    cue_proportion: Proportion
    net: Choice
    method: Choice
    seeds: Seeds
    order: Annotated[int, Field(ge=0)] = 0


class FineTuning(Strict):
    """A group: every seed of the recipe `start`, fine-tuned by every method; methods have labels.

    Methods get `clean` training images without the cue, and others of which a share
    `cue_proportion` carries it.
    """

    data: Name
    start: Name
    protocol: Protocol
    clean: Annotated[int, Field(ge=2)]
    cue_proportion: Proportion
    methods: Annotated[dict[Name, Choice], Field(min_length=1)]


class Pretraining(Strict):
    """A text encoder: trained on the sentences of `data`, or external.

    The method `stored` reads an external encoder, with its own net and vocabulary. Rows with more
    tokens than the encoder has positions are refused, or truncated like in BERT's original code.
    """

    data: Name
    method: Choice
    net: Choice | None = None
    vocabulary: Choice | None = None
    long_rows: Literal["refuse", "truncate"] = "refuse"
    seed: Seed = 0


Stream = Literal["head", "order", "dropout", "pooler"]


class Streams(Strict):
    """The full factorial of the random streams of fine-tuning: a model for every combination.

    A stream may be the name of another, whose seed it then has in every model. Without its own
    seeds, a pooler is the encoder's, or drawn with the head if the encoder has none.
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
        """Return the seeds of every stream, by the number of the model."""
        varied = {name: seeds for name, seeds in self if isinstance(seeds, list)}
        followed = {name: stream for name, stream in self if isinstance(stream, str)}
        found = {}
        for number, seeds in enumerate(product(*varied.values())):
            own = dict(zip(varied, seeds, strict=True))
            found[number] = own | {name: own[stream] for name, stream in followed.items()}
        return found


class Variant(Strict):
    """The differences to a recipe: any of these fields, and of the method some options."""

    counterexamples: Proportion | None = None
    noise: Proportion | None = None
    method: dict[str, Any] | None = None
    seeds: Seeds | Streams | None = None


class Classification(Strict):
    """Classifiers fine-tuned from one encoder, one for each seed or combination.

    A share `counterexamples` of the training rows is replaced by rows of the dataset's pool of that
    name, and a share `noise` has a wrong label: the same rows for every seed. The encoder may be a
    classifier, given by the path of its model, which then keeps its head. With `variants` there are
    only the variants' models.
    """

    data: Name
    encoder: Models
    counterexamples: Proportion
    noise: Proportion
    method: Choice
    seeds: Seeds | Streams
    variants: dict[Name, Variant] = {}

    def parts(self) -> dict[str, Classification]:
        """Return the recipe of each variant by its label, or this recipe by an empty label."""
        found = {}
        for label, variant in self.variants.items():
            changes = {name: value for name, value in variant if value is not None}
            if variant.method is not None:
                changes["method"] = Choice(**{**self.method.model_dump(), **variant.method})
            found[label] = self.model_copy(update={**changes, "variants": {}})
        return found or {"": self}

    @property
    def streams(self) -> dict[int, dict[str, Any]]:
        """The seeds of head, order and dropout by the model's number; a plain seed is all three."""
        if isinstance(self.seeds, list):
            return {seed: dict.fromkeys(("head", "order", "dropout"), seed) for seed in self.seeds}
        return self.seeds.combinations()

    @property
    def steps(self) -> list[str]:
        """The folders of early checkpoints: `step<n>` after n steps of the method."""
        return [f"step{step}" for step in self.method.options.get("checkpoints", [])]
