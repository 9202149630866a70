"""`basins`: barriers, clusters, probes and merges of your own checkpoints, without DVC."""

from __future__ import annotations

import argparse
import json
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import basins
from basins.errors import UserError, one_line

DIRECTIONS = "from the first model, where there are fewer than three: normalised by filter, or"
DIRECTIONS += " of the Hessian's highest eigenvalues on training rows"
REACH = "how far, both ways: in units of the filters' norms (random), or distance; default 1"

MODEL = (
    "[NAME=]PATH: a folder of this project, of a network of Hugging Face, or of a LoRA adapter; "
    "with --net a state dict (.safetensors, or as torch.save writes it) or a folder with one"
)
DATA = (
    "a datasets.DatasetDict on disk, a table (.csv, .tsv, .jsonl, .json, .parquet, .txt) or a "
    "folder of them, images by class, or hub:OWNER/NAME@COMMIT; `image`, sentence or number "
    "columns, and `label`"
)
NET = "makes the MODELs' network; or torchvision:NAME or timm:NAME"
LOSS = (
    "classification (the default), regression, binary, multilabel, language, reward, or "
    "FILE.py:FUNCTION of output and targets, which returns a number for each example"
)
ALIGNMENT = (
    "none, or a file of basins/align/ that has `align`: weight_matching, activation_matching, "
    "straight_through, annealing, sinkhorn"
)
JOBS = "processes that share the work; finished steps are remembered in .cache, or BASINS_STORE"
STREAM = "tensor by tensor from safetensors, so that "
NAMES = "which class each output of the networks is, where their configs do not say so"
BATCHNORM = (
    "statistics along the path; default: reset, on training images, where there are any; repair: "
    "REPAIR on these, with BatchNorm or without"
)
STEPS = "intervals a side, or from the model to each end of a direction; default 5"
BARRIERS = [
    "model_a",
    "model_b",
    "eval_set",
    "metric",
    "barrier_linear",
    "barrier_split",
    "ci_low",
    "ci_high",
]
BARRIERS += ["barrier_mean", "barrier_mid", "barrier_endpoint", "convexity_gap"]
CLUSTERS = ["model", "cluster", "score", "stability", "stability_examples"]
CHOICE = ["statistic", "width", "k", "estimate", "ci_low", "ci_high", "p"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; foreseeable failures print one line and exit with 1, usage errors with 2."""
    given = parser().parse_args(arguments)
    with one_line(), warnings.catch_warnings():
        warnings.showwarning = _warn
        try:
            given.command(given)
        except UserError as error:  # advice that applies only to the pipeline
            line = re.sub(r"; (delete [^;]* and )?run `dvc repro.*$", "", str(error))
            raise UserError(line) from None


def parser() -> argparse.ArgumentParser:
    """Return the parser; its results have a function `command`, to be called with them."""
    whole = argparse.ArgumentParser("basins", description=__doc__)
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    needed, measured, joined, mixed, kept = (
        argparse.ArgumentParser(add_help=False) for _ in range(5)
    )
    needed.add_argument("--data", metavar="PATH", required=True, help=DATA)
    measured.add_argument(
        "--eval-set", dest="eval_sets", metavar="SPLIT", nargs="+", help="default: all but train"
    )
    measured.add_argument("--loss", default="classification", help=LOSS)
    measured.add_argument("--net", metavar="FILE.py:FUNCTION", help=NET)
    measured.add_argument("--labels", metavar="NAME=NUMBER,...", help=NAMES)
    measured.add_argument("--truncate", action="store_true", help="cut text that is too long")
    measured.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    measured.add_argument("--jobs", metavar="N", type=_at_least(1), default=1, help=JOBS)
    joined.add_argument(
        "--path", default="linear", help="linear, or another path without a trained point"
    )
    joined.add_argument("--points", type=_at_least(3), default=11, help="on a path, with its ends")
    mixed.add_argument("--alignment", default="none", help=ALIGNMENT)
    mixed.add_argument("--batchnorm", choices=("interpolate", "reset", "repair"), help=BATCHNORM)
    kept.add_argument("--out", metavar="FOLDER", type=Path, help="of rows, beside those it has")

    def command(
        function: Callable[..., None], *parents: argparse.ArgumentParser
    ) -> argparse.ArgumentParser:
        text = function.__doc__
        own = commands.add_parser(function.__name__, parents=parents, help=text, description=text)
        own.set_defaults(command=function)
        return own

    own = command(connect, needed, measured, joined, mixed, kept)
    own.add_argument("models", metavar="MODEL", nargs=2, help=MODEL)
    one = f"{STREAM}one network is in memory; linear"
    own.add_argument("--stream", action="store_true", help=one)
    own = command(cluster, needed, measured, joined, mixed, kept)
    own.add_argument("models", metavar="MODEL", nargs="+", help=f"four or more; {MODEL}")
    own.add_argument(
        "--clusters",
        metavar="K",
        type=_at_least(2),
        help="default: as many as a test shows, of 12 models or more",
    )
    own = command(probe, needed, measured, kept)
    own.add_argument("models", metavar="MODEL", nargs="+", help=MODEL)
    own = command(merge, measured, mixed)
    own.add_argument("models", metavar="MODEL", nargs="+", help=MODEL)
    own.add_argument("--data", metavar="PATH", help=DATA)
    one = f"{STREAM}no network is; for techniques that can be computed so"
    own.add_argument("--stream", action="store_true", help=one)
    own.add_argument("--technique", required=True, help="a file of basins/merges/")
    own.add_argument("--option", metavar="NAME=VALUE", nargs="+", default=[], help="of it")
    own.add_argument("--base", metavar="PATH", type=Path, help="what the models were tuned from")
    own.add_argument("--out", metavar="FOLDER", type=Path, required=True, help="new, of the merge")
    own = command(plane, needed, measured, kept)
    own.add_argument("models", metavar="MODEL", nargs="+", help=f"one to three; {MODEL}")
    own.add_argument("--directions", choices=("random", "hessian"), help=DIRECTIONS)
    own.add_argument("--reach", type=float, default=1.0, help=REACH)
    own.add_argument("--steps", type=_at_least(2), default=5, help=STEPS)
    own.add_argument(
        "--margin", type=float, default=0.5, help="sides beyond the models; default .5"
    )
    own.add_argument("--batchnorm", choices=("interpolate", "reset", "repair"), help=BATCHNORM)
    own = command(report)
    own.add_argument("folder", metavar="FOLDER", type=Path, help="an --out of other commands")
    return whole


def connect(given: argparse.Namespace) -> None:
    """Join two models by a path: the losses along it, its barriers and its convexity gap."""
    a, b = given.models
    found = basins.connect(a, b, given.data, stream=given.stream, **_options(given))
    _show(found, found.rows.filter(BARRIERS))


def cluster(given: argparse.Namespace) -> None:
    """Join all pairs of models, and cluster the models by their convexity gaps."""
    found = basins.cluster(given.models, given.data, k=given.clusters, **_options(given))
    choice = found.cluster_choice.query("measure == 'convexity_gap'").filter(CHOICE)
    _show(found, found.rows.query("measure == 'convexity_gap'").filter(CLUSTERS), choice)


def probe(given: argparse.Namespace) -> None:
    """Measure the loss and the metrics of models on every evaluation set."""
    found = basins.probe(given.models, given.data, **_options(given))
    _show(found, found.rows.drop(columns="diagnostic"))


def plane(given: argparse.Namespace) -> None:
    """Measure losses on a plane through three models, or through fewer along other directions."""
    more = {name: getattr(given, name) for name in ("directions", "reach", "steps", "margin")}
    found = basins.plane(given.models, given.data, **more, **_options(given))
    _show(found, found.rows.drop(columns=["plane", "n"]))


def merge(given: argparse.Namespace) -> None:
    """Merge models into one checkpoint, which loads like the first of them, and measure it."""
    more = {name: getattr(given, name) for name in ("technique", "base", "stream")}
    more["options"] = dict(map(_option, given.option))
    if given.data is None and not given.stream:
        raise UserError("merge: give --data; only --stream merges without measuring")
    found = basins.merge(given.models, given.data, **more, **_options(given))
    shown = [table.dropna(axis="columns", how="all") for table in found.tables.values()]
    _show(found, *(table.drop(columns=["merge", "set", "members"]) for table in shown))
    if not shown:
        print(f"merged: {given.out}")


def report(given: argparse.Namespace) -> None:
    """Write one HTML page from the rows that other commands left in a folder."""
    print(f"report: {basins.report(given.folder)}")


def _options(given: argparse.Namespace) -> dict[str, Any]:
    """Return the given values of the options that the interface's functions share."""
    names = ("loss", "net", "eval_sets", "truncate", "device", "jobs", "out")
    names += ("batchnorm", "alignment", "path", "points")
    found = {name: getattr(given, name) for name in names if name in given}
    from basins import devices

    devices.prepare()
    return {**found, "labels": _labels(given.labels)}


def _show(found: basins.Found, *tables: pd.DataFrame) -> None:
    for rows in tables:
        print(rows.to_string(index=False, float_format="{:.4g}".format, na_rep=""))
    if found.remembered:
        print(found.remembered, file=sys.stderr)


def _labels(text: str | None) -> tuple[str, ...] | None:
    """Return the names of the outputs, in their order, from NAME=NUMBER,NAME=NUMBER."""
    if text is None:
        return None
    named = {number: name for name, _, number in (part.rpartition("=") for part in text.split(","))}
    wanted = [str(k) for k in range(text.count(",") + 1)]
    if set(named) != set(wanted) or not all(named.values()):
        raise UserError(f"--labels {text}: give NAME=NUMBER,... with a name for 0, 1 and so on")
    return tuple(named[number].strip() for number in wanted)


def _option(text: str) -> tuple[str, Any]:
    """Return name and value of NAME=VALUE: the value as JSON if it can be parsed, else as text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"--option {text}: give NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _warn(message: Warning | str, *where: Any, **more: Any) -> None:
    print(f"warning: {message}", file=sys.stderr)


def _at_least(least: int) -> Callable[[str], int]:
    def integer(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        return int(text)

    return integer
