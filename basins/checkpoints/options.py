"""The options of the interface's functions, by kind, with their defaults."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypedDict, TypeVar

from torch import nn

from basins.checkpoints.forms import Data
from basins.checkpoints.measure import BatchNorm
from basins.checkpoints.objectives import Function
from basins.errors import UserError

P = ParamSpec("P")
R = TypeVar("R")


class Measuring(TypedDict, total=False):
    """Options of every function.

    Attributes:
        loss: `classification` (cross-entropy, nats, of logits [n, K] and labels int64 [n]),
            `regression` (squared error), `binary`, `multilabel` (cross-entropy of logits
            [n, labels]), `language` (nats per token, of logits [n, T, tokens]), `reward` (the
            negative of the network's single output), a function of output and targets that
            returns [n], or `FILE.py:FUNCTION`.
        metrics: functions of the same kind, by name, whose means are reported with the loss.
        net: the network for state dicts: a module, `FILE.py:FUNCTION`, `torchvision:NAME` or
            `timm:NAME`.
        labels: the names of the networks' outputs, in order, if their configs do not state them.
        eval_sets: the splits to evaluate, if the data have splits; None means all but `train`.
        truncate: whether text with more tokens than the networks accept is truncated.
        device: `auto` is a GPU if there is one.
        jobs: the number of processes. More than one requires networks and data given as paths and
            names, whose results the store (`.cache`, or the folder BASINS_STORE) remembers.
        out: a folder in which rows are saved, as by `Found.save`.
    """

    loss: str | Function
    metrics: Mapping[str, Function] | None
    net: nn.Module | str | None
    labels: Sequence[str] | None
    eval_sets: Sequence[str] | None
    truncate: bool
    device: Literal["auto", "cpu", "cuda"]
    jobs: int
    out: str | Path | None


class Settling(Measuring, total=False):
    """Further options of functions that mix networks.

    Attributes:
        train: training rows, in the forms of `data`, for BatchNorm's statistics and whatever else
            needs training rows. None means the split `train`, if there is one.
        batchnorm: `reset` (the default if there are training rows), `interpolate` or `repair`.
    """

    train: Data | None
    batchnorm: BatchNorm | None


class Mixing(Settling, total=False):
    """Further options of functions that can align networks.

    Attributes:
        alignment: `none`, or how the units of other networks are permuted to match those of the
            first, a file of `basins/align/`: `weight_matching`, `activation_matching`,
            `straight_through`, `annealing`, `sinkhorn`.
    """

    alignment: str


class Joining(Mixing, total=False):
    """Further options of functions that connect networks by paths.

    Attributes:
        path: a file of `basins/paths/` without a trained control point.
        points: the number of points on the path, including its two ends; 3 or more.
    """

    path: str
    points: int


DEFAULTS: dict[str, Any] = {
    **{"loss": "classification", "metrics": None, "net": None, "labels": None, "eval_sets": None},
    **{"truncate": False, "device": "auto", "jobs": 1, "out": None},
    **{"train": None, "batchnorm": None, "alignment": "none", "path": "linear", "points": 11},
}


def takes(kind: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Add a kind's options, with defaults, to a function's signature; reject unknown options."""
    options = {n: value for n, value in DEFAULTS.items() if n in kind.__optional_keys__}

    def taking(function: Callable[P, R]) -> Callable[P, R]:
        plain = inspect.signature(function)
        known = [p for p in plain.parameters.values() if p.kind is not p.VAR_KEYWORD]
        known += [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value)
            for name, value in options.items()
            if name not in plain.parameters
        ]
        names = [parameter.name for parameter in known]

        @wraps(function)
        def called(*arguments: P.args, **more: P.kwargs) -> R:
            if wrong := [name for name in more if name not in names]:
                there = ", ".join(names)
                raise UserError(f"{function.__name__}: no option {wrong[0]!r}; there are: {there}")
            return function(*arguments, **more)

        called.__signature__ = plain.replace(parameters=known)  # pyright: ignore
        return called

    return taking
