"""`basins`: barriers, clusters, probes and merges of someone's own checkpoints, without DVC."""

from __future__ import annotations

import argparse
import json
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from basins.errors import UserError, one_line

if TYPE_CHECKING:  # torch takes seconds, and neither --help nor the report needs it
    from basins.checkpoints.examples import Task
    from basins.checkpoints.measure import Joins
    from basins.checkpoints.models import Models

CONFIDENCE = 0.95
DIRECTIONS = "from the first model, where there are fewer than three: normalised by filter, or"
DIRECTIONS += " of the Hessian's highest eigenvalues on training rows"
REACH = "how far, both ways: in units of the filters' norms (random), or distance; default 1"

MODEL = (
    "[NAME=]PATH: a folder of this project, or of a classifier of text or images of Hugging Face; "
    "with --net a state dict (.safetensors, or as torch.save writes it) or a folder with one"
)
DATA = (
    "a datasets.DatasetDict on disk, a table (.csv, .tsv, .jsonl, .json, .parquet) or a folder of "
    "them, images by class, or hub:OWNER/NAME@COMMIT; `image` or sentence columns, and `label`"
)
NET = "makes the MODELs' network; or torchvision:NAME or timm:NAME"
NAMES = "which class each output of the networks is, where their configs do not say so"
BATCHNORM = (
    "statistics along the path; default: reset, on training images, where there are any; repair: "
    "REPAIR on these, with BatchNorm or without"
)
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
    """Run one command; foreseeable failures are one line and exit code 1, or 2 by argparse."""
    given = parser().parse_args(arguments)
    with one_line(), warnings.catch_warnings():
        warnings.showwarning = _warn
        try:
            given.command(given)
        except UserError as error:  # the library's advice is for those who run the pipeline
            line = re.sub(r"; (delete [^;]* and )?run `dvc repro.*$", "", str(error))
            raise UserError(line) from None


def parser() -> argparse.ArgumentParser:
    """Return the parser, whose results have a `command` that is called with them."""
    whole = argparse.ArgumentParser("basins", description=__doc__)
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    measured, joined, mixed, kept = (argparse.ArgumentParser(add_help=False) for _ in range(4))
    measured.add_argument("--data", metavar="PATH", required=True, help=DATA)
    measured.add_argument("--eval-set", metavar="SPLIT", nargs="+", help="default: all but train")
    measured.add_argument("--net", metavar="FILE.py:FUNCTION", help=NET)
    measured.add_argument("--labels", metavar="NAME=NUMBER,...", help=NAMES)
    measured.add_argument("--truncate", action="store_true", help="cut text that is too long")
    measured.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    joined.add_argument("--path", default="linear", help="a file of basins/paths/")
    joined.add_argument("--points", type=_at_least(3), default=11, help="on a path, with its ends")
    alignments = ("none", "weight_matching", "activation_matching", "straight_through")
    mixed.add_argument("--alignment", choices=alignments, default="none")
    mixed.add_argument("--batchnorm", choices=("interpolate", "reset", "repair"), help=BATCHNORM)
    kept.add_argument("--out", metavar="FOLDER", type=Path, help="of rows, beside those it has")

    def command(
        function: Callable[..., None], *parents: argparse.ArgumentParser
    ) -> argparse.ArgumentParser:
        text = function.__doc__
        own = commands.add_parser(function.__name__, parents=parents, help=text, description=text)
        own.set_defaults(command=function)
        return own

    own = command(connect, measured, joined, mixed, kept)
    own.add_argument("models", metavar="MODEL", nargs=2, help=MODEL)
    own = command(cluster, measured, joined, mixed, kept)
    own.add_argument("models", metavar="MODEL", nargs="+", help=f"four or more; {MODEL}")
    own.add_argument(
        "--clusters",
        metavar="K",
        type=_at_least(1),
        help="default: as many as a test shows, of 12 models or more",
    )
    own = command(probe, measured, kept)
    own.add_argument("models", metavar="MODEL", nargs="+", help=MODEL)
    own = command(merge, measured, mixed)
    own.add_argument("models", metavar="MODEL", nargs="+", help=MODEL)
    own.add_argument("--technique", required=True, help="a file of basins/merges/")
    own.add_argument("--option", metavar="NAME=VALUE", nargs="+", default=[], help="of it")
    own.add_argument("--base", metavar="PATH", type=Path, help="what the models were tuned from")
    own.add_argument("--out", metavar="FOLDER", type=Path, required=True, help="new, of the merge")
    own = command(plane, measured, kept)
    own.add_argument("models", metavar="MODEL", nargs="+", help=f"one to three; {MODEL}")
    own.add_argument("--directions", choices=("random", "hessian"), help=DIRECTIONS)
    own.add_argument("--reach", type=float, default=1.0, help=REACH)
    own.add_argument("--steps", type=_at_least(2), default=5, help="points a side, or a direction")
    own.add_argument(
        "--margin", type=float, default=0.5, help="sides beyond the models; default .5"
    )
    own.add_argument("--batchnorm", choices=("interpolate", "reset", "repair"), help=BATCHNORM)
    own = command(report)
    own.add_argument("folder", metavar="FOLDER", type=Path, help="an --out of other commands")
    return whole


def connect(given: argparse.Namespace) -> None:
    """Join two models by a path: losses along it, and its five barriers."""
    models, task, origin = _read(given)
    _, (paths, barriers) = _joined(given, models, task)
    _keep(given.out, {"paths": paths, "barriers": barriers}, origin, models)
    _show(barriers.filter(BARRIERS))


def cluster(given: argparse.Namespace) -> None:
    """Join all pairs of models, and cluster the models by their convexity gaps."""
    from basins.checkpoints import measure

    if len(given.models) < 4:
        raise UserError(f"cluster: {len(given.models)} models; clusters take 4 or more")
    models, task, origin = _read(given)
    found, (paths, barriers) = _joined(given, models, task)
    probes = measure.probe_table(models, task, CONFIDENCE)
    chosen = barriers.loc[0, ["path", "alignment", "batchnorm", "eval_set"]].to_dict()
    tables = measure.cluster_tables(
        found, paths, barriers, probes, chosen, given.clusters, CONFIDENCE
    )
    tables |= {"paths": paths, "barriers": barriers, "probes": probes}
    _keep(given.out, tables, {**origin, "clusters": chosen}, models)
    for name, columns in (("clusters", CLUSTERS), ("cluster_choice", CHOICE)):
        _show(tables[name].query("measure == 'convexity_gap'").filter(columns))


def probe(given: argparse.Namespace) -> None:
    """Measure loss and accuracy of models on every set; in two classes also F1 and MCC."""
    from basins.checkpoints import measure

    models, task, origin = _read(given)
    rows = measure.probe_table(models, task, CONFIDENCE)
    _keep(given.out, {"probes": rows}, origin, models)
    _show(rows.drop(columns="diagnostic"))


def plane(given: argparse.Namespace) -> None:
    """Measure losses on a plane through three models, or through fewer along other directions."""
    from basins.checkpoints import measure

    if (len(given.models) == 3) != (given.directions is None) or len(given.models) > 3:
        raise UserError(
            f"plane: {len(given.models)} models, --directions {given.directions}; three models "
            "span a plane, fewer take --directions random or hessian"
        )
    if not (given.reach > 0 and given.margin >= 0):
        raise UserError(f"plane: --reach {given.reach} --margin {given.margin}; give more than 0")
    models, task, origin = _read(given)
    mode = measure.batchnorm_mode(models.net, given.batchnorm)
    lattice = {"steps": given.steps, "margin": given.margin, "reach": given.reach}
    rows = measure.plane_table(models, task, given.directions or "models", mode, **lattice)
    _keep(given.out, {"plane": rows}, origin, models)
    _show(rows.drop(columns=["plane", "n"]))


def merge(given: argparse.Namespace) -> None:
    """Merge models into one checkpoint, which loads like the first of them, and measure it."""
    from basins.checkpoints import measure
    from basins.checkpoints import models as checkpoints

    checkpoints.refuse_filled(given.out)
    options = dict(map(_option, given.option))
    models, task, origin = _read(given)
    base = checkpoints.base_state(given.base, models) if given.base else None
    mode = measure.batchnorm_mode(models.net, given.batchnorm)
    state, rows = measure.merge(models, task, given.technique, options, base, given.alignment, mode)
    checkpoints.save(models, state, given.out)
    _keep(given.out, {"merge": rows}, origin, models)
    _show(rows.filter(["technique", "sources", "eval_set", "n", "loss", "loss_se", "accuracy"]))


def report(given: argparse.Namespace) -> None:
    """Write one HTML page from the rows that other commands left in a folder."""
    from basins.checkpoints import page

    print(f"report: {page.write(given.folder)}")


def _read(given: argparse.Namespace) -> tuple[Models, Task, dict[str, Any]]:
    """Return the models, the data, and what they are by checksum."""
    import torch

    from basins import devices
    from basins.checkpoints import examples, files, models, rows

    device = devices.pick(given.device)
    devices.prepare()
    read = models.read(given.models, given.net, device, _labels(given.labels))
    splits = files.splits(given.data)
    task = examples.read(given.data, splits, given.eval_set, read, device, given.truncate)
    origin = {"models": read.hashes, "data": files.identity(given.data)}
    origin |= {"torch": torch.__version__}
    if given.out:
        rows.check(given.out, origin)
    return read, task, origin


def _joined(
    given: argparse.Namespace, models: Models, task: Task
) -> tuple[Joins, tuple[pd.DataFrame, pd.DataFrame]]:
    from basins.checkpoints import measure

    found = measure.along(
        models,
        task,
        combinations(models.states, 2),
        path=given.path,
        alignment=given.alignment,
        batchnorm=measure.batchnorm_mode(models.net, given.batchnorm),
        points=given.points,
    )
    return found, measure.path_tables(given.command.__name__, found, task, CONFIDENCE)


def _keep(
    out: Path | None, tables: dict[str, pd.DataFrame], origin: dict[str, Any], models: Models
) -> None:
    from basins.checkpoints import rows

    if out:
        rows.add(out, tables, {**origin, "double_entry": models.double_entry()})


def _show(rows: pd.DataFrame) -> None:
    print(rows.to_string(index=False, float_format="{:.4g}".format, na_rep=""))


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
    """Return name and value of NAME=VALUE: a number, true or false, or else a text."""
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
