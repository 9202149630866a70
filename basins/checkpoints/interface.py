"""What `import basins` offers: connect, cluster, probe, merge, align and report, from Python."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, cast

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import nn

from basins import devices
from basins.checkpoints import given, measure, models, page, rows, streamed
from basins.checkpoints.examples import Missing, Task
from basins.checkpoints.given import Data, Model
from basins.checkpoints.models import Models
from basins.checkpoints.objectives import Function
from basins.errors import UserError
from basins.paths.pairs import grid
from basins.weights import State

CONFIDENCE = 0.95
Device = Literal["auto", "cpu", "cuda"]
Several = Mapping[str, Model] | Sequence[Model]


@dataclass(frozen=True)
class Found:
    """Tidy tables of what was measured, as docs/formats.md describes them, and what they show.

    Attributes:
        tables: by name: `paths`, `barriers`, `probes`, `clusters`, `cluster_choice`,
            `association`, `merge`; those that the function makes.
        first: the name of the table that answers the question.
        provenance: hashes of the models, and what came of computing losses a second time.
        net: of a merge: the network with the merged weights, in evaluation mode.
    """

    tables: dict[str, pd.DataFrame]
    first: str
    provenance: dict[str, Any]
    net: nn.Module | None = None
    models: Models | None = field(default=None, repr=False)

    @property
    def rows(self) -> pd.DataFrame:
        """The table that answers the question."""
        return self.tables[self.first]

    @property
    def state(self) -> State:
        """The weights of a merge; raises `UserError` where nothing was merged."""
        if self.net is None:
            raise UserError("only a merge has weights")
        return self.net.state_dict()

    def __getattr__(self, name: str) -> pd.DataFrame:
        """Return a table by its name."""
        tables = self.__dict__.get("tables", {})
        if name not in tables:
            raise AttributeError(f"{name!r}; there are: {', '.join(tables)}")
        return tables[name]

    def figures(self) -> dict[str, Figure]:
        """Return what can be drawn of the tables, by title."""
        return {title: figure for _, title, _, figure in page.drawn(self.tables, self.provenance)}

    @property
    def figure(self) -> Figure:
        """The first of the figures; raises `UserError` where there is nothing to draw."""
        found = self.figures()
        if not found:
            raise UserError(f"nothing to draw of {', '.join(self.tables)}")
        return next(iter(found.values()))

    def save(self, folder: str | Path) -> Path:
        """Write the tables into a folder, beside the rows that it has; return the folder.

        A merge of folders becomes a checkpoint there that loads like the first of them, so its
        folder has to be new. Raises `UserError` where the folder has rows of other models or data.
        """
        target = Path(folder)
        if self.net is not None and self.models is not None and self.models.folders:
            models.save(self.models, self.state, target)
        rows.add(target, self.tables, self.provenance)
        return target

    def _repr_html_(self) -> str:
        drawn = []
        for title, figure in self.figures().items():
            written = io.StringIO()
            figure.savefig(written, format="svg")
            svg = written.getvalue()
            drawn.append(f"<h4>{title}</h4>{svg[svg.index('<svg') :]}")
        shown = self.rows.dropna(axis="columns", how="all")
        return shown.to_html(index=False, float_format="{:.4g}".format) + "".join(drawn)


def connect(
    a: Model,
    b: Model,
    data: Data,
    *,
    loss: str | Function = "classification",
    metrics: Mapping[str, Function] | None = None,
    net: nn.Module | str | None = None,
    train: Data | None = None,
    path: str = "linear",
    alignment: str = "none",
    batchnorm: measure.BatchNorm | None = None,
    points: int = 11,
    stream: bool = False,
    device: Device = "auto",
) -> Found:
    """Measure the losses along the path from one network to another, and the path's barriers.

    The networks that are given stay as they are.

    Args:
        a: a module, a state dict or its file (with `net`), or a folder of Hugging Face's.
        b: another of the same architecture.
        data: what losses are taken on: a `DataLoader` or any iterable of batches (inputs, targets)
            or of columns by name with `labels`; a tuple of tensors; a `datasets.Dataset` or the
            path of one; a function from the network to losses [n]; or several of them by name.
            Batches are read once, and kept on the device.
        loss: `classification` (cross-entropy, nats, of logits [n, K] and labels int64 [n]),
            `regression` (squared error), `binary`, `multilabel` (cross-entropy of logits
            [n, labels]), `language` (nats per token, of logits [n, T, tokens]), `reward` (less the
            network's one output), or a function of output and targets that returns [n].
        metrics: functions like it, by name, whose means stand beside the loss.
        net: the network of weights that come without one: a module, `FILE.py:FUNCTION`,
            `torchvision:NAME` or `timm:NAME`.
        train: training rows, as `data`: BatchNorm's statistics are re-estimated on them, and
            alignments and merges that take rows take these.
        path: a file of `basins/paths/` without a point to train.
        alignment: `none`, or how the units of `b` are brought to the order of those of `a`:
            `weight_matching`, `activation_matching`, `straight_through`.
        batchnorm: `reset`, the default where there are training rows, or `interpolate`.
        points: on the path, its two ends included, 3 or more.
        stream: whether points are put together tensor by tensor from two safetensors, so that one
            network is in memory: for linear paths between paths, without an alignment.
        device: `auto` is a GPU where there is one.

    Returns:
        `barriers` (one row a set and metric, with 95 % intervals over examples) and `paths` (one
        row a point and set).

    Raises:
        UserError: in one line, whatever of it cannot be measured.
    """
    if points < 3:
        raise UserError(f"points {points}; give 3 or more, the two ends included")
    if stream:
        if not (isinstance(a, str | Path) and isinstance(b, str | Path)):
            raise UserError("stream=True: give both networks as paths of safetensors")
        if (path, alignment, batchnorm) != ("linear", "none", batchnorm) or batchnorm == "reset":
            raise UserError("stream=True: it is for path='linear', alignment='none', interpolate")
        place = devices.pick(device)
        read = given.frame({"a/seed0": Path(a), "b/seed0": Path(b)}, net, place)
        task = given.task(read, data, loss=loss, metrics=metrics, train=train, device=place)
        found = streamed.between(read.net, Path(a), Path(b), grid(points), task.sets)
        ids = {"path": path, "alignment": alignment}
        joins = measure.Joins(grid(points), ids, {("a/seed0", "b/seed0"): found})
    else:
        read, task = _read({"a": a, "b": b}, data, loss, metrics, net, train, device)
        joins = _along(read, task, path, alignment, batchnorm, points)
    paths, barriers = measure.path_tables("connect", joins, task, CONFIDENCE)
    return _found({"paths": paths, "barriers": barriers}, "barriers", read, task)


def cluster(
    networks: Several,
    data: Data,
    *,
    k: int | None = None,
    loss: str | Function = "classification",
    metrics: Mapping[str, Function] | None = None,
    net: nn.Module | str | None = None,
    train: Data | None = None,
    path: str = "linear",
    alignment: str = "none",
    batchnorm: measure.BatchNorm | None = None,
    points: int = 11,
    device: Device = "auto",
) -> Found:
    """Join all pairs of networks, and cluster the networks by their convexity gaps on a set.

    Args:
        networks: four or more, in a list or by name; each as in `connect`.
        data: as in `connect`; clusters come from the first set, and the others are held against
            them.
        k: how many clusters; None takes as many as a test shows, of 12 networks or more.
        loss: as in `connect`.
        metrics: as in `connect`.
        net: as in `connect`.
        train: as in `connect`.
        path: as in `connect`.
        alignment: as in `connect`.
        batchnorm: as in `connect`.
        points: as in `connect`.
        device: as in `connect`.

    Returns:
        `clusters`, `cluster_choice`, `association`, and the `paths`, `barriers` and `probes` they
        come from.

    Raises:
        UserError: in one line, whatever of it cannot be measured.
    """
    named = _names(networks)
    if len(named) < 4:
        raise UserError(f"cluster: {len(named)} models; clusters take 4 or more")
    read, task = _read(named, data, loss, metrics, net, train, device)
    joins = _along(read, task, path, alignment, batchnorm, points)
    paths, barriers = measure.path_tables("cluster", joins, task, CONFIDENCE)
    probes = measure.probe_table(read, task, CONFIDENCE)
    chosen = barriers.loc[0, ["path", "alignment", "batchnorm", "eval_set"]].to_dict()
    tables = measure.cluster_tables(joins, paths, barriers, probes, chosen, k, CONFIDENCE)
    tables |= {"paths": paths, "barriers": barriers, "probes": probes}
    return _found(tables, "clusters", read, task, clusters=chosen)


def probe(
    networks: Several | Model,
    data: Data,
    *,
    loss: str | Function = "classification",
    metrics: Mapping[str, Function] | None = None,
    net: nn.Module | str | None = None,
    device: Device = "auto",
) -> Found:
    """Measure networks as they are on every set: the loss and metrics, with 95 % intervals.

    Args:
        networks: one, or several in a list or by name; each as in `connect`.
        data: as in `connect`.
        loss: as in `connect`.
        metrics: as in `connect`.
        net: as in `connect`.
        device: as in `connect`.

    Returns:
        `probes`, one row a network, set and metric.

    Raises:
        UserError: in one line, whatever of it cannot be measured.
    """
    read, task = _read(_names(networks), data, loss, metrics, net, None, device)
    return _found({"probes": measure.probe_table(read, task, CONFIDENCE)}, "probes", read, task)


def merge(
    networks: Several,
    data: Data,
    *,
    technique: str = "uniform_soup",
    options: Mapping[str, Any] | None = None,
    base: Model | None = None,
    loss: str | Function = "classification",
    metrics: Mapping[str, Function] | None = None,
    net: nn.Module | str | None = None,
    train: Data | None = None,
    alignment: str = "none",
    batchnorm: measure.BatchNorm | None = None,
    device: Device = "auto",
) -> Found:
    """Merge networks into one, and measure it beside them.

    Args:
        networks: in a list or by name; each as in `connect`. All are brought to the first.
        data: as in `connect`.
        technique: a file of `basins/merges/` that makes one network: `uniform_soup`, `slerp`,
            `task_arithmetic`, `ties`, and so on.
        options: of the technique, by name.
        base: what the networks were tuned from, for techniques that take it.
        loss: as in `connect`.
        metrics: as in `connect`.
        net: as in `connect`.
        train: as in `connect`.
        alignment: as in `connect`.
        batchnorm: as in `connect`.
        device: as in `connect`.

    Returns:
        `merge`, one row a set for the merged network and for each of its sources, and the network
        itself as `net`.

    Raises:
        UserError: in one line, whatever of it cannot be measured or merged.
    """
    read, task = _read(_names(networks), data, loss, metrics, net, train, device)
    mode = _mode(read, task, batchnorm)
    start = None
    if isinstance(base, str | Path):
        start = models.base_state(Path(base), read)
    elif base is not None:
        start = given.networks({"base": base}, read.net, devices.pick(device)).states["base/seed0"]
    state, table = measure.merge(read, task, technique, options or {}, start, alignment, mode)
    made = copy.deepcopy(read.net)
    made.load_state_dict(state)
    return _found({"merge": table}, "merge", read, task, made)


def align(
    a: Model,
    b: Model,
    data: Data,
    *,
    alignment: str = "weight_matching",
    loss: str | Function = "classification",
    net: nn.Module | str | None = None,
    train: Data | None = None,
    device: Device = "auto",
) -> nn.Module:
    """Return a copy of network `b` whose units are in the order of those of `a`.

    It computes the same function. Which units may change places the network says by a
    `permutation_spec()`; without one they are traced from what it does, and a warning says how many
    of its weights can move.

    Args:
        a: as in `connect`.
        b: as in `connect`.
        data: as in `connect`; symmetries are tried on a batch of it.
        alignment: a file of `basins/align/`.
        loss: as in `connect`.
        net: as in `connect`.
        train: as in `connect`; some alignments take training rows.
        device: as in `connect`.

    Raises:
        UserError: in one line, where nothing can be aligned.
    """
    read, task = _read({"a": a, "b": b}, data, loss, None, net, train, device)
    spec = measure.symmetry(read, task)
    first, second = read.states
    state = measure.aligned(read, task, spec, first, second, alignment)
    made = copy.deepcopy(read.net)
    made.load_state_dict(state)
    return made.eval()


def report(source: Found | Sequence[Found] | str | Path, folder: str | Path | None = None) -> Path:
    """Write one HTML page of what was measured; return where it is.

    Args:
        source: what other functions returned, or a folder that they, or the commands with `--out`,
            have saved.
        folder: where tables and page are written; not for a folder that has them.

    Raises:
        UserError: there are no rows, or those of the folder are of other models or data.
    """
    if isinstance(source, str | Path):
        return page.write(Path(source))
    if folder is None:
        raise UserError("report: give the folder that the page is written into")
    for one in [source] if isinstance(source, Found) else source:
        rows.add(Path(folder), one.tables, one.provenance)
    return page.write(Path(folder))


def _read(
    named: Mapping[str, Model],
    data: Data,
    loss: str | Function,
    metrics: Mapping[str, Function] | None,
    net: nn.Module | str | None,
    train: Data | None,
    device: Device,
) -> tuple[Models, Task]:
    place = devices.pick(device)
    read = given.networks(named, net, place)
    return read, given.task(read, data, loss=loss, metrics=metrics, train=train, device=place)


def _names(networks: Several | Model) -> dict[str, Model]:
    """Return networks by name: paths by what they are called, others by their number."""
    if isinstance(networks, (str, Path, nn.Module)):
        networks = [networks]
    if isinstance(networks, Mapping):
        if all(isinstance(value, torch.Tensor) for value in networks.values()):
            return {"model": cast(Model, networks)}  # a state dict
        return dict(cast("Mapping[str, Model]", networks))
    found: dict[str, Model] = {}
    for number, model in enumerate(networks):
        path = isinstance(model, str | Path)
        name = models.identify(str(model))[0] if path else f"model/seed{number}"
        if name in found:
            raise UserError(f"two models would be called {name}; give them by name, in a dict")
        found[name] = model
    if not found:
        raise UserError("no networks; give one or more")
    return found


def _mode(read: Models, task: Task, asked: measure.BatchNorm | None) -> measure.BatchNorm:
    """Return what is asked for, or `reset` where there is BatchNorm and there are rows for it."""
    mode = measure.batchnorm_mode(read.net, asked)
    if asked is None and mode == "reset" and isinstance(task.training, Missing):
        warnings.warn(
            "statistics of BatchNorm are mixed as weights are (interpolate), which makes barriers "
            "higher; give training rows as train= to have them re-estimated",
            stacklevel=4,
        )
        return "interpolate"
    return mode


def _along(
    read: Models,
    task: Task,
    path: str,
    alignment: str,
    batchnorm: measure.BatchNorm | None,
    points: int,
) -> measure.Joins:
    return measure.along(
        read,
        task,
        combinations(read.states, 2),
        path=path,
        alignment=alignment,
        batchnorm=_mode(read, task, batchnorm),
        points=points,
    )


def _found(
    tables: dict[str, pd.DataFrame],
    first: str,
    read: Models,
    task: Task,
    net: nn.Module | None = None,
    **more: Any,
) -> Found:
    came = {"models": read.hashes, "data": given.identity(task), "torch": torch.__version__}
    came |= {"double_entry": read.double_entry(), **more}
    return Found(tables, first, came, net, read)
