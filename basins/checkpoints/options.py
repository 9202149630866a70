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
    """What every function takes by name.

    Attributes:
        loss: `classification` (cross-entropy, nats, of logits [n, K] and labels int64 [n]),
            `regression` (squared error), `binary`, `multilabel` (cross-entropy of logits
            [n, labels]), `language` (nats per token, of logits [n, T, tokens]), `reward` (less the
            network's one output), a function of output and targets that returns [n], or
            `FILE.py:FUNCTION`.
        metrics: functions like it, by name, whose means stand beside the loss.
        net: the network of weights that come without one: a module, `FILE.py:FUNCTION`,
            `torchvision:NAME` or `timm:NAME`.
        labels: the names of the networks' outputs, in order, where their configs do not say them.
        eval_sets: the splits to measure on, of data that have some; None takes all but `train`.
        truncate: whether text of more tokens than the networks take is cut.
        device: `auto` is a GPU where there is one.
        jobs: processes that share the work. It is for networks and data that are paths and names:
            of these the store (`.cache`, or the folder BASINS_STORE) remembers what was measured.
        out: a folder that rows are saved into, as by `Found.save`.
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
    """What functions take besides that mix networks.

    Attributes:
        train: training rows, as `data`: BatchNorm's statistics are re-estimated on them, and what
            takes rows takes these. None takes a split `train`, where there is one.
        batchnorm: `reset`, the default where there are training rows, `interpolate` or `repair`.
    """

    train: Data | None
    batchnorm: BatchNorm | None


class Mixing(Settling, total=False):
    """What functions take besides that can bring networks to the order of another.

    Attributes:
        alignment: `none`, or how the units of other networks are brought to the order of those of
            the first: `weight_matching`, `activation_matching`, `straight_through`, `annealing`.
    """

    alignment: str


class Joining(Mixing, total=False):
    """What functions take besides that join networks by paths.

    Attributes:
        path: a file of `basins/paths/` without a point to train.
        points: on the path, its two ends included, 3 or more.
    """

    path: str
    points: int


DEFAULTS: dict[str, Any] = {
    **{"loss": "classification", "metrics": None, "net": None, "labels": None, "eval_sets": None},
    **{"truncate": False, "device": "auto", "jobs": 1, "out": None},
    **{"train": None, "batchnorm": None, "alignment": "none", "path": "linear", "points": 11},
}


def takes(kind: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Show the options of a kind, with their defaults, in a function's signature; refuse others."""
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
