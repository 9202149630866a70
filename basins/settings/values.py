"""Types of values in settings: names, seeds, shares, and choices of a file by name."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


def without_repeats(values: list[Any]) -> list[Any]:
    """Return the list; raises `ValueError` if it has a repeated value."""
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


def _parts_differ(label: str) -> str:
    without_repeats(re.findall(r"{\w+}", label))
    return label


# A key, or a pattern of keys: `finetuned_{share}/{method}`.
Label = Annotated[
    str,
    Field(pattern=r"^([a-z0-9_]|\{[a-z]+\})+(/([a-z0-9_]|\{[a-z]+\})+){0,2}$", max_length=256),
    AfterValidator(_parts_differ),
]
BatchNorm = Literal["reset", "reset_cued", "moving", "interpolate", "repair"]
# One model: `seed<k>` of such a folder.
Model = Annotated[
    str, Field(pattern=r"^[a-z0-9][a-z0-9_]*(/[a-z0-9][a-z0-9_]*){0,3}/seed[0-9]+$", max_length=256)
]
Proportion = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


def _counted(seeds: Any) -> Any:
    """Return the list abbreviated by `{from: 600, count: 48}`."""
    if isinstance(seeds, dict) and set(seeds) == {"from", "count"}:
        first, count = seeds["from"], seeds["count"]
        if not all(type(value) is int and 0 <= value < 2**32 for value in (first, count)):
            raise ValueError("`from` and `count` are numbers of seeds: whole, from 0")
        return list(range(first, first + min(count, 10_000)))
    return seeds


Seeds = Annotated[
    list[Seed], Field(min_length=1), AfterValidator(without_repeats), BeforeValidator(_counted)
]
# A head with a fractional number is interpolated between those of the adjacent integers.
Heads = Annotated[
    list[Seed | Annotated[float, Field(ge=0, lt=2**32)]],
    Field(min_length=1),
    AfterValidator(without_repeats),
    BeforeValidator(_counted),
]
Protocol = Literal["published", "corrected"]


class Strict(BaseModel):
    """A section of the file: unknown keys, wrong types and invalid values are rejected."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Choice(BaseModel):
    """One file of a package, by its name; the other keys are its options."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    name: Name

    @property
    def options(self) -> dict[str, Any]:
        """The options, as keyword arguments for the file's function."""
        return dict(self.model_extra or {})


class Labelled(Choice):
    """A choice of which there may be several; `label`, by default its name, identifies it."""

    label: Name | None = None

    @property
    def called(self) -> str:
        """Its name in rows and figures."""
        return self.label or self.name

    def choice(self) -> dict[str, Any]:
        """Return name and options, without the label."""
        return self.model_dump(exclude={"label"})


def _told_apart(choices: list[Labelled]) -> list[Labelled]:
    without_repeats([choice.called for choice in choices])
    return choices


Several = Annotated[list[Labelled], Field(min_length=1), AfterValidator(_told_apart)]
