"""The functions of `import basins`, which measure, connect, cluster, align and merge networks."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Unpack, cast

import numpy as np
import torch
from torch import nn

from basins.checkpoints import given, models, page, rows, streamed, tables
from basins.checkpoints.forms import Data
from basins.checkpoints.found import Found
from basins.checkpoints.given import Model
from basins.checkpoints.measure import merge_stream, technique_of
from basins.checkpoints.options import DEFAULTS, Joining, Measuring, Mixing, Settling, takes
from basins.checkpoints.session import Several, named, opened, paired
from basins.errors import UserError
from basins.landscape.plane import Plane, nodes
from basins.paths.pairs import grid
from basins.paths.points import Losses
from basins.statistics.paths import plane_rows
from basins.statistics.structure import FEWEST


@takes(Joining)
def connect(
    a: Model, b: Model, data: Data, *, stream: bool = False, **options: Unpack[Joining]
) -> Found:
    """Measure the losses along the path from one network to another, and the path's barriers.

    The given networks are left unchanged.

    Args:
        a: a module, a state dict or its file (with `net`), or the folder of a model of Hugging
            Face, of an adapter or of this project; a path may be preceded by `NAME=`.
        b: another network of the same architecture.
        data: evaluation data: a `DataLoader` or any iterable of batches (inputs, targets), or of
            columns by name with `labels`; a tuple of tensors; a `datasets.Dataset` or the path of
            one; a function from the network to losses [n]; or several of these by name. Batches
            are read once and kept on the device.
        stream: whether points are assembled tensor by tensor from two safetensors checkpoints, so
            that only one network is in memory; for linear paths without alignment.
        options: those of `Joining`.

    Returns:
        `barriers` (one row per set and metric, with 95 % intervals over examples) and `paths` (one
        row per point and set).

    Raises:
        UserError: something cannot be measured; the message is one line.
    """
    session = opened("connect", paired(a, b), data, options, stream=stream)
    if stream:
        chosen = [session.options[name] for name in ("path", "alignment", "batchnorm")]
        if chosen[:2] != ["linear", "none"] or chosen[2] not in (None, "interpolate"):
            raise UserError("stream=True: it is for path='linear', alignment='none', interpolate")
        pair, count = tuple(session.bench.models.hashes), session.options["points"]
        [found] = session.run([session.work("streamed", *pair, count=count, points=count)])
        losses = {(pair[0], pair[1]): Losses(found.curves, float(found.numbers))}
        joins = tables.Joins(grid(count), {"path": "linear", "alignment": "none"}, losses)
    else:
        joins = session.joins()
    paths, barriers = tables.path_tables("connect", joins, session.bench.task)
    return session.found({"paths": paths, "barriers": barriers}, "barriers")


@takes(Joining)
def cluster(
    networks: Several, data: Data, *, k: int | None = None, **options: Unpack[Joining]
) -> Found:
    """Connect all pairs of networks, and cluster the networks by their convexity gaps on one set.

    Args:
        networks: four or more, in a list or by name; each as in `connect`.
        data: as in `connect`; clusters are formed on the first set, and compared with accuracy on
            the others.
        k: the number of clusters; None means as many as a test shows, for 12 networks or more.
        options: those of `Joining`.

    Returns:
        `clusters`, `cluster_choice`, `association`, and the `paths`, `barriers` and `probes` from
        which they are computed.

    Raises:
        UserError: something cannot be measured; the message is one line.
    """
    nets = named(networks)
    if len(nets) < 4:
        raise UserError(f"cluster: {len(nets)} models; clusters take 4 or more")
    if k is not None and k not in range(2, len(nets)):
        raise UserError(f"cluster: k={k!r} (--clusters); give 2 to {len(nets) - 1}, or nothing")
    if k is None and len(nets) < FEWEST:
        line = f"{len(nets)} models are too few to test for clusters, which takes {FEWEST}"
        warnings.warn(f"{line}: all are in one; k= (--clusters) divides them", stacklevel=3)
    session = opened("cluster", nets, data, options)
    joins = session.joins()
    paths, barriers = tables.path_tables("cluster", joins, session.bench.task)
    probes = tables.probe_table(session.probes(), session.bench.task)
    chosen = barriers.loc[0, ["path", "alignment", "batchnorm", "eval_set"]].to_dict()
    found = tables.cluster_tables(joins, paths, barriers, probes, chosen, k)
    found |= {"paths": paths, "barriers": barriers, "probes": probes}
    return session.found(found, "clusters", clusters=chosen)


@takes(Measuring)
def probe(networks: Several | Model, data: Data, **options: Unpack[Measuring]) -> Found:
    """Evaluate networks on every set: the loss and metrics, with 95 % intervals over examples.

    Args:
        networks: one, or several in a list or by name; each as in `connect`.
        data: as in `connect`.
        options: those of `Measuring`.

    Returns:
        `probes`, one row per network, set and metric.

    Raises:
        UserError: something cannot be measured; the message is one line.
    """
    session = opened("probe", named(networks), data, options)
    table = tables.probe_table(session.probes(), session.bench.task)
    return session.found({"probes": table}, "probes")


@takes(Settling)
def plane(
    networks: Several | Model,
    data: Data,
    *,
    directions: Literal["random", "hessian"] | None = None,
    reach: float = 1.0,
    steps: int = 5,
    margin: float = 0.5,
    **options: Unpack[Settling],
) -> Found:
    """Measure losses on a plane through three networks, or through fewer along other directions.

    Args:
        networks: one to three, as in `probe`.
        data: as in `connect`.
        directions: with fewer than three networks, the directions from the first: `random`,
            normalised by filter, or `hessian`, the leading eigenvectors on training rows.
        reach: the distance along these, both ways: in units of the filters' norms, or Euclidean.
        steps: intervals per side, or from the first network to each end of a direction.
        margin: how far the plane extends beyond three networks, in sides.
        options: those of `Settling`.

    Returns:
        `plane`, one row per point and set.

    Raises:
        UserError: something cannot be measured; the message is one line.
    """
    nets = named(networks)
    if directions not in (None, "random", "hessian"):
        raise UserError(f"plane: directions={directions!r}; there are only random and hessian")
    if (len(nets) == 3) != (directions is None) or len(nets) > 3:
        raise UserError(
            f"plane: {len(nets)} models, --directions {directions}; three models "
            "span a plane, fewer take --directions random or hessian"
        )
    if not (reach > 0 and margin >= 0):
        raise UserError(f"plane: --reach {reach} --margin {margin}; give more than 0")
    if not isinstance(steps, int) or steps < 2:
        raise UserError(f"plane: steps={steps!r}; give 2 or more")
    session = opened("plane", nets, data, options)
    if session.bench.task.metrics:
        raise UserError("plane: it is drawn of classification; leave `loss` as it is")
    which, points = directions or "models", nodes(steps, margin, 3 - len(nets))
    more = {"which": which, "batchnorm": session.mode(), "reach": reach, "margin": margin}
    [found] = session.run([session.work("plane", *nets, count=len(points), steps=steps, **more)])
    places = Plane(points, np.array(points) @ found.numbers, found.curves)
    table = plane_rows(places, [*nets])
    table.insert(0, "plane", f"{' + '.join(nets)}, {which}")
    return session.found({"plane": table}, "plane")


@takes(Mixing)
def merge(
    networks: Several,
    data: Data | None = None,
    *,
    technique: str = "uniform_soup",
    options: Mapping[str, Any] | None = None,
    base: Model | None = None,
    stream: bool = False,
    **more: Unpack[Mixing],
) -> Found:
    """Merge networks into one, and evaluate it together with its sources.

    Args:
        networks: in a list or by name; each as in `connect`. All are aligned to the first.
        data: as in `connect`; None, with `stream`, measures nothing.
        technique: a file of `basins/merges/` that returns one network: `uniform_soup`, `slerp`,
            `task_arithmetic`, `ties`, and so on.
        options: the technique's options, by name.
        base: the model that the networks were fine-tuned from, for techniques that use it.
        stream: whether the merge is written tensor by tensor from safetensors into the new folder
            `out`, in the dtypes of the first network, so that no network is in memory; for
            techniques that work on each tensor separately, without alignment.
        more: options, those of `Mixing`.

    Returns:
        `merge`, one row per set for the merged network and for each of its sources, and the network
        itself as `net`, unless it was streamed.

    Raises:
        UserError: something cannot be measured or merged; the message is one line.
    """
    nets, chosen = named(networks), {**(options or {})}
    technique_of(technique, chosen)
    if (out := more.get("out")) is not None:
        models.refuse_filled(Path(out))
    if stream:
        return _streamed(nets, data, technique, chosen, base, {**DEFAULTS, **more})
    session = opened("merge", nets, data, more, base=base)
    alignment, how = session.options["alignment"], {"name": technique, **chosen}
    steps = {"technique": how, "alignment": alignment, "batchnorm": session.mode()}
    works = [session.work("merge", *nets, **steps), *(session.work("probe", n) for n in nets)]
    [made, *sources] = session.run(works)
    curves = {name: one.curves for name, one in zip(nets, sources, strict=True)}
    table = tables.merge_table(technique, alignment, made.curves, curves, session.bench.task)
    net = copy.deepcopy(session.bench.models.net)
    net.load_state_dict(made.state or {})
    return session.found({"merge": table}, "merge", net)


@takes(Settling)
def align(
    a: Model,
    b: Model,
    data: Data,
    *,
    alignment: str = "weight_matching",
    **options: Unpack[Settling],
) -> nn.Module:
    """Return a copy of network `b` whose units are permuted to match those of `a`.

    It computes the same function. The network's `permutation_spec()` says which units may be
    permuted; without one they are found by tracing its operations, and a warning says what share
    of its weights can move.

    Args:
        a: as in `connect`.
        b: as in `connect`.
        data: as in `connect`; symmetries are tested on a batch of it.
        alignment: a file of `basins/align/`.
        options: those of `Settling`; some alignments need training rows.

    Raises:
        UserError: the networks cannot be aligned; the message is one line.
    """
    bench = opened("align", paired(a, b), data, options).bench
    first, second = bench.models.states
    state = bench.aligned(first, second, alignment)
    made = copy.deepcopy(bench.models.net)
    made.load_state_dict(state)
    return made.eval()


def report(source: Found | Sequence[Found] | str | Path, folder: str | Path | None = None) -> Path:
    """Write one HTML page of results; return its path.

    Args:
        source: the results of other functions, or a folder written by `Found.save` or by the
            commands with `--out`.
        folder: where tables and page are written; not used if `source` is a folder.

    Raises:
        UserError: there are no rows, or the folder has rows of other models or data.
    """
    if isinstance(source, str | Path):
        return page.write(Path(source))
    if folder is None:
        raise UserError("report: give the folder that the page is written into")
    for one in [source] if isinstance(source, Found) else source:
        rows.add(Path(folder), one.tables, one.provenance)
    return page.write(Path(folder))


def _streamed(
    nets: Mapping[str, Model],
    data: Data | None,
    technique: str,
    chosen: Mapping[str, Any],
    base: Model | None,
    options: dict[str, Any],
) -> Found:
    """Write a merge tensor by tensor; if there are data, evaluate one network at a time."""
    if options["out"] is None:
        raise UserError("stream=True: give the new folder that the merge is written into as out=")
    if options["alignment"] != "none" or options["batchnorm"] not in (None, "interpolate"):
        raise UserError("stream=True: it is for alignment='none' and batchnorm='interpolate'")
    if technique not in streamed.BY_TENSOR:
        there = ", ".join(streamed.BY_TENSOR)
        raise UserError(f"--technique {technique}: it takes whole networks; by tensor are {there}")
    read, target = given.frame(nets, options["net"], torch.device("meta")), Path(options["out"])
    paths, start = [*read.folders.values()], None if base is None else Path(cast(str, base))
    draws = merge_stream(technique, read, [*nets])
    function, _ = technique_of(technique, chosen)
    with models.new_folder(read, target) as folder:
        streamed.merge(read.net, paths, start, function, chosen, draws, folder)
    if data is None:
        return Found({}, "merge", {"models": read.hashes, "torch": torch.__version__})
    session = opened("merge", {**nets, "merged/seed0": target}, data, options, stream=True)
    each = [*nets, "merged/seed0"]
    taken = session.run([session.work("streamed", n, n, count=1, points=1) for n in each])
    *sources, made = (one.curves for one in taken)
    known = dict(zip(nets, sources, strict=True))
    table = tables.merge_table(technique, "none", made, known, session.bench.task)
    return session.found({"merge": table}, "merge")
