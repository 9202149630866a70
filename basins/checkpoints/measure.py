"""Models to tidy rows: along paths, by themselves, in clusters, and merged (docs/formats.md)."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import combinations
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_map

from basins import seeds
from basins.align import activations, alignments
from basins.align.batchnorm import BATCH, reset
from basins.align.equivalence import ROUNDING, change
from basins.align.permute import permute
from basins.align.traced import trace
from basins.checkpoints.examples import Task
from basins.checkpoints.models import Models, short
from basins.data.images import Evaluation
from basins.data.resident import Resident
from basins.errors import UserError
from basins.landscape.directions import directions
from basins.landscape.plane import Plane, corners, nodes
from basins.merges.evaluation import evaluations
from basins.merges.merged import summary
from basins.merges.sources import Sources
from basins.nets.permutation import Net, PermutationSpec
from basins.paths.engine import Curves, evaluate
from basins.paths.pairs import grid
from basins.paths.points import Losses
from basins.registry import check_options, find, module
from basins.statistics.examples import SCORES, estimate, resampling_weights
from basins.statistics.paths import barrier_rows, path_rows, plane_rows
from basins.statistics.strategies import CURVES, analyse
from basins.weights import State, flatten

BatchNorm = Literal["interpolate", "reset", "repair"]
Pair = tuple[str, str]
RESAMPLES = 1000  # of the examples, for the stability of clusters


def batchnorm_mode(net: nn.Module, asked: BatchNorm | None) -> BatchNorm:
    """Return the mode that is asked for; by default `reset` where there is BatchNorm.

    Raises `UserError` where there are no statistics to reset.
    """
    there = any(
        isinstance(module, _BatchNorm) and module.track_running_stats for module in net.modules()
    )
    if asked == "reset" and not there:
        raise UserError(
            "--batchnorm reset: the networks have no BatchNorm statistics; leave it out"
        )
    return asked or ("reset" if there else "interpolate")


class Joins(NamedTuple):
    """The losses of every example along the paths between pairs of models, at every `ts`.

    `ids` are the names of path and alignment.
    """

    ts: tuple[float, ...]
    ids: dict[str, str]
    losses: dict[Pair, Losses]


def along(
    models: Models,
    task: Task,
    pairs: Iterable[Pair],
    *,
    path: str = "linear",
    alignment: str = "none",
    batchnorm: BatchNorm = "interpolate",
    points: int = 11,
) -> Joins:
    """Evaluate the paths between pairs of models; of each pair the second is brought to the first.

    Args:
        models: the networks.
        task: what the paths are evaluated on.
        pairs: the ids of the two models of each pair.
        path: a file of `basins/paths/`.
        alignment: a file of `basins/align/`, or `none`.
        batchnorm: whether BatchNorm's statistics are mixed as the weights are, or re-estimated on
            training images, or REPAIR on these, as in `Engine.along`.
        points: how many points every path has, its two ends included.

    Raises:
        UserError: the path has a point to be trained, the models' tokenizers differ, or the
            networks have no permutation symmetry, or one that changes their function.
    """
    task.joined()
    coefficients = find("paths", path, "coefficients", "--path")
    if len(coefficients(0.5)) != 2:
        raise UserError(f"--path {path}: it has a point to train, which only the pipeline does")
    spec = symmetry(models, task) if alignment != "none" else None
    engine, calibration = models.engine, _calibration(task, batchnorm)

    def measured(controls: list[Tensor], points: Sequence[tuple[float, ...]]) -> Curves:
        return engine.along(controls, points, calibration, task.sets)

    @cache
    def end(name: str) -> Curves:
        return measured([flatten(models.states[name])], [(1.0,)])

    ts = grid(points)
    found = {}
    for a, b in pairs:
        controls = [
            flatten(models.states[a]),
            flatten(aligned(models, task, spec, a, b, alignment)),
        ]
        inner = measured(controls, [coefficients(t) for t in ts[1:-1]])
        curves = {key: [*end(a)[key], *inner[key], *end(b)[key]] for key in inner}
        first, last = (control[engine.flat.trained].double() for control in controls)
        found[a, b] = Losses(curves, float(torch.dist(first, last)))
    return Joins(ts, {"path": path, "alignment": alignment}, found)


def symmetry(models: Models, task: Task) -> PermutationSpec:
    """Return the network's permutation spec: its `permutation_spec()`, checked, or a traced one.

    A warning says what was traced. Raises `UserError` where the network's spec is wrong, or no
    units can be reordered.
    """
    given, _ = next(iter(next(iter(task.sets.values())).batches()))
    kind = type(models.net).__name__
    if not hasattr(models.net, "permutation_spec"):
        few = tree_map(lambda x: x[:4] if isinstance(x, Tensor) else x, given)
        named = isinstance(few, Mapping)
        traced = trace(models.net, [] if named else list(few), few if named else None)
        if not traced.spec.groups:
            raise UserError(f"{kind}: no units to align, so only --alignment none; {traced}")
        warnings.warn(f"{kind} without a permutation_spec(): {traced}", stacklevel=2)
        return traced.spec
    net = cast(Net, models.net)
    net.load_state_dict(next(iter(models.states.values())))
    changed = change(net, cast(Sequence[Tensor], given), seeds.generator("equivalence"))
    if not changed < ROUNDING:
        raise UserError(
            f"{kind}.permutation_spec(): permuting units by it changes the outputs by "
            f"{changed:.0%}; correct it, or leave it out to have it traced"
        )
    return net.permutation_spec()


def aligned(
    models: Models, task: Task, spec: PermutationSpec | None, a: str, b: str, alignment: str
) -> State:
    """Return the state of model `b`, its units permuted to those of `a`.

    Args:
        models: the networks.
        task: whose training rows an alignment may take.
        spec: the networks' symmetry; None only without an alignment.
        a: the id of the model that stays as it is.
        b: the id of the model whose units are permuted.
        alignment: a file of `basins/align/`, or `none`, which leaves the state as it is.

    Raises:
        UserError: the alignment takes training rows and none has a label, or it reads activations
            and the data are text, a group of the permutation spec is not named after a module, or
            the network cannot be copied.
    """
    first, other = models.states[a], models.states[b]
    if alignment == "none" or spec is None:
        return other
    net, more = cast(Net, models.net), {}
    asked = alignments.asks(module("align", alignment, "align"))
    if "data" in asked:
        more = {"net": net, "data": task.training}
    if "correlations" in asked:
        given = task.batches(f"--alignment {alignment}")
        read = dict.fromkeys(activations.module(spec, group) for group in spec.groups)
        if unknown := read.keys() - {name for name, _ in net.named_modules()}:
            raise UserError(
                f"--alignment {alignment}: it reads a group of units at the module of its name, "
                f"and there is no {min(unknown)!r}; call the group after one"
            )
        try:
            nets = [copy.deepcopy(net), net]
        except RuntimeError as error:  # torch copies no weights that are computed from others
            raise UserError(f"--alignment {alignment}: {short(error)}; take another") from None
        for one, state in zip(nets, (first, other), strict=True):
            one.load_state_dict(state)
        batches = [x for x, _ in given.batches()] if isinstance(given, Resident) else given
        [more["correlations"]] = activations.correlations(nets, spec, batches, [(0, 1)])
    stream = seeds.generator("alignment", models.hashes[a], models.hashes[b])
    permutations = find("align", alignment, "align")(first, other, spec, generator=stream, **more)
    return permute(other, spec, permutations)


def path_tables(
    experiment: str, joins: Joins, task: Task, confidence: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of all points, and those of all barriers."""
    paths: list[dict[str, Any]] = []
    barriers: list[dict[str, Any]] = []
    for (a, b), (curves, distance) in joins.losses.items():
        ids = {"experiment": experiment, "model_a": a, "model_b": b, **joins.ids}
        scored = {key: curve for key, curve in curves.items() if key[1] in task.metrics}
        classes = {key: curve for key, curve in curves.items() if key not in scored}
        paths += [ids | row for row in path_rows(joins.ts, classes, task.labels)]
        paths += [ids | row for row in _scored_rows(joins.ts, scored, task)]
        rows = [*barrier_rows(joins.ts, classes, confidence)]
        rows += [r for r in barrier_rows(joins.ts, _losses(scored), confidence) if _of_loss(r)]
        barriers += [ids | row | {"distance": distance} for row in rows]
    return pd.DataFrame(paths), pd.DataFrame(barriers)


def _scored_rows(ts: Sequence[float], curves: Curves, task: Task) -> Iterator[dict[str, Any]]:
    """Yield mean loss, its standard error and metrics at every point, of sets with objectives."""
    for (batchnorm, eval_set), curve in curves.items():
        for t, evaluation in zip(ts, curve, strict=True):
            ids = {"batchnorm": batchnorm, "t": t, "eval_set": eval_set}
            yield {**ids, **_scores(evaluation, task.metrics[eval_set])}


def _scores(evaluation: Evaluation, names: Sequence[str]) -> dict[str, Any]:
    losses, metrics = evaluation
    count = len(losses)
    error = losses.std(ddof=1, dtype=np.float64) / count**0.5 if count > 1 else np.nan
    values = {"loss": losses.mean(dtype=np.float64), "loss_se": error}
    values |= dict(zip(names, metrics.mean(0, dtype=np.float64), strict=True))
    return {"n": count, **(values if evaluation.defined else dict.fromkeys(values, np.nan))}


def _losses(curves: Curves) -> Curves:
    """Return curves of losses alone, where nothing is right or wrong."""
    return {
        key: [Evaluation(e.losses, np.zeros(len(e.losses), bool)) for e in curve]
        for key, curve in curves.items()
    }


def _of_loss(row: Mapping[str, Any]) -> bool:
    return row["metric"] == "loss"


def plane_table(
    models: Models,
    task: Task,
    which: Literal["models", "random", "hessian"],
    batchnorm: BatchNorm,
    *,
    steps: int,
    margin: float,
    reach: float,
) -> pd.DataFrame:
    """Return loss (nats) and accuracy on the lattice of a plane through one to three models.

    Args:
        models: the networks.
        task: what the plane is evaluated on, and whose training rows a Hessian is of.
        which: `models` where there are three; else the directions from the first that span what is
            missing (`landscape.directions`).
        batchnorm: the mode of `Engine.along`.
        steps: to a side, or from the first model as far as a direction goes.
        margin: how many sides the plane goes on beyond three models.
        reach: how far it goes along other directions, both ways.

    Raises:
        UserError: the models' tokenizers differ, they span no plane, or `repair` is asked for along
            other directions.
    """
    task.joined()
    engine = models.engine
    controls = [flatten(state) for state in models.states.values()]
    missing = 3 - len(controls)
    if which != "models":
        if batchnorm == "repair":
            raise UserError("--batchnorm repair: it is for mixtures of trained models alone")
        stream = [models.hashes[name] for name in models.states][0]
        found = directions(which, engine, controls[0], task.training, missing, stream)
        controls += [controls[0] + reach * direction for direction in found]
    trained = engine.flat.trained
    flat = [control[trained].double() for control in controls]
    corner = corners(*(float(torch.dist(x, y)) for x, y in combinations(flat, 2)))
    points = nodes(steps, margin, missing)
    curves = engine.along(controls, points, _calibration(task, batchnorm), task.sets)
    rows = plane_rows(Plane(points, np.array(points) @ corner, curves), list(models.states))
    rows.insert(0, "plane", f"{' + '.join(models.states)}, {which}")
    return rows


def probe_table(models: Models, task: Task, confidence: float) -> pd.DataFrame:
    """Return accuracy and loss (nats) of every model as it is, on every set.

    In two classes also F1 and Matthews's correlation.
    """
    rows = []
    for name, state in models.states.items():
        models.net.load_state_dict(state)
        sets = task.own.get(name, task.sets)
        found = {key: evaluate(models.net, examples) for key, examples in sets.items()}
        rows += [row for key in found for row in _probes(name, key, found[key], task, confidence)]
    return pd.DataFrame(rows)


def cluster_tables(
    joins: Joins,
    paths: pd.DataFrame,
    barriers: pd.DataFrame,
    probes: pd.DataFrame,
    chosen: Mapping[str, str],
    k: int | None,
    confidence: float,
) -> dict[str, pd.DataFrame]:
    """Return clusters of the models by their gaps, their number, and what they tell.

    Accuracies on other sets than that of the gaps are held against the clusters.

    Args:
        joins: the losses of every example along the paths.
        paths: rows of points of all pairs.
        barriers: rows of all pairs.
        probes: rows of the models on every set.
        chosen: the `path`, `alignment`, `batchnorm` and `eval_set` that the gaps are on.
        k: how many clusters; None takes what `structure.several` shows.
        confidence: the confidence of intervals, two-sided.

    Returns:
        The tables `clusters`, `cluster_choice` and `association`, by name.
    """
    stream, ts, resampled = seeds.generator("bootstrap", "checkpoints"), np.array(joins.ts), {}
    draw = cache(lambda count: resampling_weights(count, RESAMPLES, stream))  # one for all pairs
    for pair, (curves, _) in joins.losses.items():
        losses = np.stack([e.losses for e in curves[chosen["batchnorm"], chosen["eval_set"]]])
        drawn = draw(losses.shape[1]) @ losses.T
        resampled[pair] = {name: measure(ts, drawn) for name, measure in CURVES.items()}
    measured = probes.drop_duplicates(["slice", "metric"]).groupby("slice", sort=False)["metric"]
    others = [
        str(name) if "accuracy" in set(metrics) else f"{name}:loss"
        for name, metrics in measured
        if name != chosen["eval_set"]
    ]
    found = analyse(
        "checkpoints",
        paths,
        barriers,
        probes,
        resampled,
        chosen=chosen,
        slices=others,
        k=k,
        confidence=confidence,
    )
    return {name: found[name] for name in ("clusters", "cluster_choice", "association")}


def merge(
    models: Models,
    task: Task,
    technique: str,
    options: Mapping[str, Any],
    base: State | None,
    alignment: str,
    batchnorm: BatchNorm,
) -> tuple[State, pd.DataFrame]:
    """Return what a technique makes of the models, and its rows before those of the models.

    Statistics of BatchNorm are part of the state that is returned.

    Args:
        models: the networks, all of which are brought to the first.
        task: what the result is evaluated on, and whose training rows a technique may take.
        technique: a file of `basins/merges/`.
        options: the options of the technique, by name.
        base: what the models were tuned from, for techniques that take it, or None.
        alignment: a file of `basins/align/`, or `none`.
        batchnorm: whether BatchNorm's statistics stay as the technique leaves them, or are
            re-estimated on training images, or REPAIR on these.

    Raises:
        UserError: the technique or an option is unknown, it makes an ensemble, the models'
            tokenizers differ, or the networks have no permutation symmetry, or one that changes
            their function.
    """
    task.joined()
    function = find("merges", technique, "merge", "--technique")
    check_options(function, options, f"--technique {technique}")
    spec = symmetry(models, task) if alignment != "none" else None
    first, *others = models.states
    moved = [aligned(models, task, spec, first, name, alignment) for name in others]
    engine, net = models.engine, cast(Net, models.net)
    stream = seeds.generator("merge", technique, *models.hashes.values())
    sources = Sources([models.states[first], *moved], base, net, task.training, stream)
    try:
        members = function(sources, **options)
    except AttributeError as error:  # torch's modules say in words alone what they lack
        if hasattr(net, "permutation_spec") or "permutation_spec" not in str(error):
            raise
        raise UserError(
            f"--technique {technique}: it mixes units, by a permutation_spec() that "
            f"{type(net).__name__} lacks; write one (docs/extend.md), or take another"
        ) from None
    if len(members) != 1:
        raise UserError(f"--technique {technique}: makes an ensemble; take one that mixes weights")
    calibration: Any = _calibration(task, batchnorm)
    found = evaluations(engine, members, sources, calibration, task.sets)
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    rows = []
    for (mode, name), evaluation in found.items():
        made = {"technique": technique, "alignment": alignment, "batchnorm": mode}
        rows.append(_merged(made, " + ".join(models.states), name, evaluation, task))
    own = {"technique": "source", "alignment": "none", "batchnorm": "interpolate"}
    for model, source in models.states.items():
        net.load_state_dict(source)
        for name, examples in task.sets.items():
            rows.append(_merged(own, model, name, evaluate(net, examples), task))
    return state, pd.DataFrame(rows)


def _merged(
    made: Mapping[str, str], sources: str, eval_set: str, evaluation: Evaluation, task: Task
) -> dict[str, Any]:
    ids = {"sources": sources, "set": 0, "members": 1, "eval_set": eval_set}
    names = task.metrics.get(eval_set)
    found = summary(evaluation) if names is None else _scores(evaluation, names)
    return {"merge": "checkpoints", **made, **ids, **found}


def _calibration(task: Task, mode: BatchNorm) -> dict[str, Resident | list[Any] | None]:
    """Return what the engine takes BatchNorm's statistics from, by its mode."""
    if mode == "interpolate":
        return {mode: None}
    given = task.batches(f"--batchnorm {mode}")
    images = isinstance(given, Resident)
    if mode == "repair":
        if not images:
            raise UserError("--batchnorm repair: it takes images; choose another")
        if hasattr(task.models.net, "permutation_spec"):
            symmetry(task.models, task)
        return {mode: given}
    try:
        few = Resident(*(tensor[:BATCH] for tensor in given)) if images else given[:1]
        reset(task.models.net, few)
    except Exception as error:  # it may not be our network
        line = f"--batchnorm reset: the network does not run in training mode: {short(error)}"
        raise UserError(f"{line}; take interpolate") from None
    return {mode: given}


def _probes(
    model: str, eval_set: str, found: Evaluation, task: Task, confidence: float
) -> Iterator[dict[str, Any]]:
    losses, correct = found
    values = {"accuracy": correct, "loss": losses}
    if eval_set in task.metrics:
        values = {"loss": losses, **dict(zip(task.metrics[eval_set], correct.T, strict=True))}
    true = task.labels.get(eval_set)
    if true is not None:
        values |= dict.fromkeys(SCORES, np.stack([true == correct, true], axis=1))
    recipe, _, seed = model.rpartition("/seed")
    for metric, each in values.items():
        whole = found.defined  # else nothing said of the set is a number
        value, low, high = estimate(metric, each, confidence) if whole else (np.nan,) * 3
        yield {
            "recipe": recipe,
            "seed": int(seed),
            "diagnostic": "sets",
            "slice": eval_set,
            "metric": metric,
            "value": value,
            "n": len(each),
            "ci_low": low,
            "ci_high": high,
        }
