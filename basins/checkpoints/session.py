"""Runs the steps of an interface function, from its arguments to its results."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from tqdm import tqdm

from basins import devices, parallel
from basins.checkpoints import given, models, rows, tables
from basins.checkpoints.examples import Missing
from basins.checkpoints.forms import Data
from basins.checkpoints.found import Found
from basins.checkpoints.given import Model
from basins.checkpoints.measure import BatchNorm, Bench, Measured, batchnorm_mode
from basins.checkpoints.options import DEFAULTS
from basins.checkpoints.work import Work, benches, forget, idle, made, written
from basins.errors import UserError
from basins.item import get
from basins.paths.engine import Curves
from basins.paths.evaluation import DoubleEntry, outcome
from basins.paths.pairs import grid
from basins.paths.points import Losses
from basins.store import Store

Several = Mapping[str, Model] | Sequence[Model]


class Session:
    """The networks, data and options of one command, and the means to run its steps.

    `recipe` states, as JSON, how to read networks and data again, or is None if they are objects,
    which exist only in this process. `origin` is the provenance of their rows.
    """

    def __init__(
        self,
        title: str,
        bench: Bench,
        recipe: str | None,
        options: dict[str, Any],
        origin: dict[str, Any],
    ) -> None:
        self.title, self.bench, self.recipe = title, bench, recipe
        self.options, self.origin = options, origin
        self.device: torch.device = options["device"]
        self.entries: list[DoubleEntry] = []
        self.known = self.count = 0

    @property
    def remembered(self) -> str:
        """A line that says how many steps were found in the store, or "" if none."""
        where = Store().root
        return f"remembered: {self.known} of {self.count} steps, in {where}" if self.known else ""

    def double_entry(self) -> dict[str, Any]:
        """Return the outcome of computing losses a second time."""
        return outcome(self.entries)

    def work(self, what: str, *names: str, count: int = 1, **options: Any) -> Work:
        """Return one step of the command."""
        return Work(self.recipe or "", what, names, json.dumps(options), count, self.device)

    def run(self, works: Sequence[Work]) -> list[Measured]:
        """Return the results of the steps, run in `jobs` processes; a terminal shows progress.

        If networks and data are paths and names, results in the store are reused.
        """
        if self.recipe is None:
            found = self._here(works)
        else:
            benches[self.recipe, self.device] = self.bench
            try:
                left = [work for work in works if work.find() is None]
                jobs = self.options["jobs"]
                if jobs > 1 and len(left) > 1:
                    steps = max(work.steps() for work in left)
                    options: dict[str, Any] = {"workers": jobs, "steps": steps}
                    parallel.run(made, left, title=self.title, **options)
                else:
                    self._here(left)
                found = [get(work, idle) for work in works]
            finally:
                forget()
            self.known, self.count = self.known + len(works) - len(left), self.count + len(works)
        self.entries += [one.entry for one in found]
        return found

    def _here(self, works: Sequence[Work]) -> list[Any]:
        with tqdm(total=sum(w.steps() for w in works), desc=self.title, disable=None) as bar:

            def step() -> None:
                bar.update()

            take = made if self.recipe else lambda work, step: work.take(self.bench, step)
            return [take(work, step) for work in works]

    def mode(self) -> BatchNorm:
        """Return the BatchNorm mode asked for, or `reset` if there are statistics and rows."""
        asked = self.options["batchnorm"]
        mode = batchnorm_mode(self.bench.models.net, asked)
        if asked is None and mode == "reset" and isinstance(self.bench.task.training, Missing):
            how = "as train=" if self.recipe is None else "as a split `train`"
            warnings.warn(
                "statistics of BatchNorm are mixed as weights are (interpolate), which makes "
                f"barriers higher; give training rows {how} to have them re-estimated",
                stacklevel=4,
            )
            return "interpolate"
        return mode

    def joins(self) -> tables.Joins:
        """Return the losses along the paths between all pairs of networks."""
        names, options = [*self.bench.models.states], self.options
        ids = {name: options[name] for name in ("path", "alignment")}
        batchnorm, count = self.mode(), options["points"]
        pairs, more = [*combinations(names, 2)], {**ids, "batchnorm": batchnorm, "points": count}
        works = [self.work("between", *pair, count=count - 2, **more) for pair in pairs]
        found = self.run([*works, *(self.work("end", n, batchnorm=batchnorm) for n in names)])
        ends = dict(zip(names, found[len(pairs) :], strict=True))
        losses = {}
        for (a, b), inner in zip(pairs, found, strict=False):
            parts = ends[a].curves, inner.curves, ends[b].curves
            curves = {key: [one for part in parts for one in part[key]] for key in inner.curves}
            losses[a, b] = Losses(curves, float(inner.numbers))
        return tables.Joins(grid(count), ids, losses)

    def probes(self) -> dict[str, Curves]:
        """Return every network's evaluations on every set."""
        names = [*self.bench.models.states]
        found = self.run([self.work("probe", name) for name in names])
        return {name: one.curves for name, one in zip(names, found, strict=True)}

    def found(
        self,
        found: dict[str, Any],
        first: str,
        net: nn.Module | None = None,
        **more: Any,
    ) -> Found:
        """Return tables with their provenance, after saving them if the option `out` is given."""
        came = {**self.origin, **more, "double_entry": self.double_entry()}
        made = Found(found, first, came, net, self.bench.models, self.remembered)
        if self.options["out"] is not None:
            made.save(self.options["out"])
        return made


def opened(
    title: str,
    networks: Mapping[str, Model],
    data: Data,
    options: Mapping[str, Any],
    base: Model | None = None,
    stream: bool = False,
) -> Session:
    """Read networks and data; raises `UserError` if `out` has rows of others."""
    whole = {**DEFAULTS, **options}
    if not isinstance(whole["points"], int) or whole["points"] < 3:
        raise UserError(f"points {whole['points']}; give 3 or more, the two ends included")
    device = devices.pick(whole["device"])
    asked = {name: whole[name] for name in given.READ}
    asked |= {"networks": networks, "data": data, "base": base, "stream": stream}
    recipe = written(asked)
    if recipe is None and whole["jobs"] > 1:
        raise UserError(
            f"jobs={whole['jobs']}: other processes read networks and data anew: give them as "
            "paths and names, not as objects"
        )
    bench = given.bench(asked, device)
    path = isinstance(data, str | Path)
    origin = {"models": bench.models.hashes, "torch": torch.__version__}
    origin["data"] = given.files_identity(data) if path else given.identity(bench.task)
    if whole["out"] is not None:
        rows.check(Path(whole["out"]), origin)
    return Session(title, bench, recipe, {**whole, "device": device}, origin)


def paired(a: Model, b: Model) -> dict[str, Model]:
    """Return two networks by id: paths by their names, others as a and b."""
    if isinstance(a, str | Path) and isinstance(b, str | Path):
        return named([a, b])
    return {"a/seed0": a, "b/seed0": b}


def named(networks: Several | Model) -> dict[str, Model]:
    """Return networks by id: paths by their names, others by their number."""
    if isinstance(networks, (str, Path, nn.Module)):
        networks = [networks]
    if isinstance(networks, Mapping):
        if all(isinstance(value, torch.Tensor) for value in networks.values()):
            return {"model/seed0": cast(Model, networks)}  # a state dict
        many = cast("Mapping[str, Model]", networks)
        return {models.identify(f"{name}=")[0]: model for name, model in many.items()}
    found: dict[str, Model] = {}
    for number, model in enumerate(networks):
        name = f"model/seed{number}"
        if isinstance(model, str | Path):
            name, model = models.identify(str(model))
        if name in found:
            raise UserError(
                f"{found[name]} and {model} would both be called {name}; "
                f"give one another name: other/seed0={model}"
            )
        found[name] = model
    if not found:
        raise UserError("no networks; give one or more")
    return found
