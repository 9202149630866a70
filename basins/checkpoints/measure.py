"""Measurements of networks on data: of one, along paths, on planes, and of merges."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, cached_property, partial
from itertools import combinations
from typing import Any, Literal, NamedTuple, cast, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_leaves, tree_map

from basins import seeds
from basins.align import activations, alignments
from basins.align.batchnorm import BATCH, reset
from basins.align.equivalence import ROUNDING, change
from basins.align.permute import permute
from basins.align.traced import trace
from basins.checkpoints import outputs, states
from basins.checkpoints.examples import Task
from basins.checkpoints.models import Models
from basins.checkpoints.states import short
from basins.checkpoints.streamed import between
from basins.data.resident import Resident
from basins.errors import UserError
from basins.landscape.directions import directions
from basins.landscape.plane import corners, nodes
from basins.merges.evaluation import evaluations
from basins.merges.sources import Sources
from basins.nets.permutation import Net, PermutationSpec
from basins.paths.engine import Curves
from basins.paths.evaluation import DoubleEntry, double_entry, evaluate
from basins.paths.pairs import grid
from basins.registry import check_options, find, module
from basins.weights import State, flatten

BatchNorm = Literal["interpolate", "reset", "repair"]
Step = Callable[[], None]


class Measured(NamedTuple):
    """The result of one step of a command.

    Attributes:
        curves: the evaluations of every point, by (batchnorm, set).
        numbers: additional values: the distance of two networks, or the corners of a plane.
        entry: the check of losses computed a second time.
        state: the merged weights; None for other steps.
    """

    curves: Curves
    numbers: np.ndarray
    entry: DoubleEntry
    state: State | None = None


def batchnorm_mode(net: nn.Module, asked: BatchNorm | None) -> BatchNorm:
    """Return the mode asked for; by default `reset` for networks with BatchNorm statistics.

    Raises `UserError` if there is no such mode, or `reset` is asked for and there are no such
    statistics.
    """
    if asked not in (None, *(modes := get_args(BatchNorm))):
        raise UserError(f"batchnorm={asked!r}: there are only {', '.join(modes)}")
    there = any(
        isinstance(module, _BatchNorm) and module.track_running_stats for module in net.modules()
    )
    if asked == "reset" and not there:
        raise UserError(
            "--batchnorm reset: the networks have no BatchNorm statistics; leave it out"
        )
    return asked or ("reset" if there else "interpolate")


class Bench:
    """Networks and their evaluation data.

    Each method with the arguments `names` of networks and `step`, a callback after every point, is
    one step of a command, which may run in another process and is kept in the store (`work`). The
    mode `batchnorm` says whether statistics are interpolated like the weights, re-estimated on
    training rows, or corrected by REPAIR on these, as in `Engine.along`.
    """

    def __init__(self, models: Models, task: Task) -> None:
        self.models, self.task = models, task
        self.calibration = cache(self._calibration)
        self.said = cache(partial(outputs.digest, models, task))

    def end(self, names: Sequence[str], step: Step, *, batchnorm: BatchNorm) -> Measured:
        """Evaluate one network as the end of a path."""
        return self._along([flatten(self.models.states[names[0]])], [(1.0,)], step, batchnorm)

    def between(
        self,
        names: Sequence[str],
        step: Step,
        *,
        path: str,
        alignment: str,
        batchnorm: BatchNorm,
        points: int,
    ) -> Measured:
        """Evaluate the inner points of the path between two networks, and measure their distance.

        `points` includes the two ends, which are not evaluated. The second network is aligned to
        the first. Raises `UserError` if the path has a control point to train, the models'
        tokenizers differ, or the networks have no permutation symmetry or a wrong spec of it.
        """
        coefficients = find("paths", path, "coefficients", "--path")
        if len(coefficients(0.5)) != 2:
            raise UserError(f"--path {path}: it has a point to train, which only the pipeline does")
        controls = [flatten(state) for state in self._joined(names, alignment)]
        inner = [coefficients(t) for t in grid(points)[1:-1]]
        found = self._along(controls, inner, step, batchnorm)
        first, last = (c[self.models.engine.flat.trained].double() for c in controls)
        return found._replace(numbers=np.array(float(torch.dist(first, last))))

    def streamed(self, names: Sequence[str], step: Step, *, points: int) -> Measured:
        """Evaluate the straight line between two checkpoints, one network in memory at a time."""
        entry, (a, b) = _anew(self.models.net), (self.models.folders[name] for name in names)
        ts = grid(points) if points > 1 else (0.0,)
        curves, distance = between(self.models.net, a, b, ts, self.task.sets, step)
        return Measured(curves, np.array(distance), copy.copy(entry))

    def probe(self, names: Sequence[str], step: Step) -> Measured:
        """Evaluate one network on all sets, encoded by its own tokenizer."""
        net, name = self.models.net, names[0]
        entry = _anew(net)
        net.load_state_dict(self.models.states[name])
        sets = self.task.own.get(name, self.task.sets)
        curves = {("interpolate", key): [evaluate(net, examples)] for key, examples in sets.items()}
        step()
        return Measured(curves, np.zeros(0), copy.copy(entry))

    def plane(
        self,
        names: Sequence[str],
        step: Step,
        *,
        which: Literal["models", "random", "hessian"],
        batchnorm: BatchNorm,
        steps: int,
        margin: float,
        reach: float,
    ) -> Measured:
        """Evaluate the grid of a plane through one to three networks, and locate its corners.

        Args:
            names: the networks.
            step: called after every point.
            which: `models` for three networks; else the kind of directions from the first that
                replace the missing ones (`landscape.directions`).
            batchnorm: the mode.
            steps: per side, or from the first model to the end of a direction.
            margin: how far the plane extends beyond three models, in sides.
            reach: how far it extends along other directions, both ways.

        Raises:
            UserError: the models' tokenizers differ, they span no plane, or `repair` is asked for
                along other directions.
        """
        engine = self.models.engine
        controls = [flatten(state) for state in self._joined(names)]
        missing = 3 - len(controls)
        if which != "models":
            if batchnorm == "repair":
                line = "--batchnorm repair: it applies only to mixtures of trained models"
                raise UserError(line)
            training, stream = self.task.training, self.models.hashes[names[0]]
            found = directions(which, engine, controls[0], training, missing, stream)
            controls += [controls[0] + reach * direction for direction in found]
        flat = [control[engine.flat.trained].double() for control in controls]
        corner = corners(*(float(torch.dist(x, y)) for x, y in combinations(flat, 2)))
        points = nodes(steps, margin, missing)
        return self._along(controls, points, step, batchnorm)._replace(numbers=np.array(corner))

    def merge(
        self,
        names: Sequence[str],
        step: Step,
        *,
        technique: Mapping[str, Any],
        alignment: str,
        batchnorm: BatchNorm,
    ) -> Measured:
        """Merge networks, all aligned to the first, and evaluate the result.

        The resulting state includes BatchNorm's statistics. `technique` is the `name` of a file of
        `basins/merges/`, with its options. Raises `UserError` if it or an option is unknown, it
        returns an ensemble, the models' tokenizers differ, or the networks have no permutation
        symmetry or a wrong spec of it.
        """
        options = {key: value for key, value in technique.items() if key != "name"}
        function, where = technique_of(technique["name"], options)
        mixed = self._joined(names, alignment)
        engine, net = self.models.engine, cast(Net, self.models.net)
        stream = merge_stream(technique["name"], self.models, names)
        sources = Sources(mixed, self.models.base, net, self.task.training, stream)
        entry = engine.anew()  # techniques evaluate networks, too
        try:
            with seeds.torch_stream("merge", *(self.models.hashes[name] for name in names)):
                members = function(sources, **options)
        except AttributeError as error:  # torch names a missing attribute only in the message
            if hasattr(net, "permutation_spec") or "permutation_spec" not in str(error):
                raise
            raise UserError(
                f"{where}: it mixes units, by a permutation_spec() that {type(net).__name__} "
                "lacks; write one (docs/extend.md), or take another"
            ) from None
        if len(members) != 1:
            raise UserError(f"{where}: makes an ensemble; take one that mixes weights")
        calibration = cast(Any, self.calibration(batchnorm))
        found = evaluations(engine, members, sources, calibration, self.task.sets)
        step()
        counters = {n: t for n, t in members[0].items() if not t.is_floating_point()}
        state = {name: t.clone() for name, t in {**net.state_dict(), **counters}.items()}
        curves = {key: [evaluation] for key, evaluation in found.items()}
        return Measured(curves, np.zeros(0), entry, state)

    def _joined(self, names: Sequence[str], alignment: str = "none") -> list[State]:
        """Return the states of networks, all aligned to the first.

        Raises `UserError` if any networks of the command cannot be mixed, as their tokenizers or
        integer buffers differ, or as for `aligned`.
        """
        self.task.joined()
        trained, base = dict(self.models.net.named_parameters()), self.models.base
        states.alike({**self.models.states, **({"base": base} if base else {})}, trained)
        first, *others = names
        found = {name: self.aligned(first, name, alignment) for name in others}
        found = {first: self.models.states[first], **found}
        states.alike(found, trained)  # a permutation moves masks of units as well
        return [found[name] for name in names]

    def aligned(self, a: str, b: str, alignment: str) -> State:
        """Return the state of network `b`, its units permuted to match those of `a`.

        `alignment` is a file of `basins/align/`, or `none`, which leaves the state unchanged.
        Raises `UserError` if it needs training rows and none has a label; or if it uses activations
        and the data are text, a group of the permutation spec is not named after a module, or the
        network cannot be copied.
        """
        first, other = self.models.states[a], self.models.states[b]
        if alignment == "none":
            return other
        spec, net, more = self.symmetry(), cast(Net, self.models.net), {}
        asked = alignments.asks(module("align", alignment, "align"))
        if "data" in asked:
            more = {"net": net, "data": self.task.training}
        if "correlations" in asked:
            given = self.task.batches(f"--alignment {alignment}")
            read = dict.fromkeys(activations.module(spec, group) for group in spec.groups)
            if unknown := read.keys() - {name for name, _ in net.named_modules()}:
                raise UserError(
                    f"--alignment {alignment}: it reads a group of units at the module of its "
                    f"name, and there is no {min(unknown)!r}; call the group after one"
                )
            try:
                nets = [copy.deepcopy(net), net]
            except RuntimeError as error:  # torch cannot copy weights computed from other weights
                line = f"--alignment {alignment}: {short(error)}; take another"
                raise UserError(line) from None
            for one, state in zip(nets, (first, other), strict=True):
                one.load_state_dict(state)
            batches = [x for x, _ in given.batches()] if isinstance(given, Resident) else given
            [more["correlations"]] = activations.correlations(nets, spec, batches, [(0, 1)])
        stream = seeds.generator("alignment", self.models.hashes[a], self.models.hashes[b])
        found = find("align", alignment, "align")(first, other, spec, generator=stream, **more)
        return permute(other, spec, found)

    def symmetry(self) -> PermutationSpec:
        """Return the networks' `permutation_spec()`, after checking it, or a traced one.

        A warning says what was traced. Raises `UserError` if the spec is wrong, or no units can be
        permuted.
        """
        spec, said = self._symmetry
        if said:
            warnings.warn(said, stacklevel=2)
        return spec

    @cached_property
    def _symmetry(self) -> tuple[PermutationSpec, str]:
        net = cast(Net, self.models.net)
        given, _ = next(iter(next(iter(self.task.sets.values())).batches()))
        kind = type(net).__name__
        if not hasattr(net, "permutation_spec"):
            few = tree_map(lambda x: x[:4] if isinstance(x, Tensor) else x, given)
            named = isinstance(few, Mapping)
            traced = trace(net, [] if named else list(few), few if named else None)
            if not traced.spec.groups:
                raise UserError(f"{kind}: no units to align, so only --alignment none; {traced}")
            return traced.spec, f"{kind} without a permutation_spec(): {traced}"
        net.load_state_dict(next(iter(self.models.states.values())))
        changed = change(net, cast(Sequence[Tensor], given), seeds.generator("equivalence"))
        if not changed < ROUNDING:
            raise UserError(
                f"{kind}.permutation_spec(): permuting units by it changes the outputs by "
                f"{changed:.0%}; correct it, or leave it out to have it traced"
            )
        return net.permutation_spec(), ""

    def _along(
        self, controls: list[Tensor], points: Iterable[Any], step: Step, batchnorm: BatchNorm
    ) -> Measured:
        def stepping() -> Iterable[Any]:
            for point in points:
                yield point
                step()

        calibration, entry = self.calibration(batchnorm), self.models.engine.anew()
        each = cast(Sequence[Any], stepping())
        curves = self.models.engine.along(controls, each, calibration, self.task.sets)
        return Measured(curves, np.zeros(0), entry)

    def _calibration(self, mode: BatchNorm) -> dict[str, Resident | list[Any] | None]:
        """Return the rows from which the engine computes BatchNorm's statistics, by mode."""
        if mode == "interpolate":
            return {mode: None}
        given = _whole(self.task.batches(f"--batchnorm {mode}"))
        images = isinstance(given, Resident)
        if mode == "repair":
            if not images:
                raise UserError("--batchnorm repair: it takes images; choose another")
            if hasattr(self.models.net, "permutation_spec"):
                self.symmetry()
            return {mode: given}
        try:
            few = Resident(*(t[:BATCH] for t in given)) if images else [min(given, key=_rows)]
            reset(self.models.net, few)
        except Exception as error:  # a user's network may raise anything
            line = f"--batchnorm reset: the network does not run in training mode: {short(error)}"
            raise UserError(f"{line}; take interpolate") from None
        return {mode: given}


def _rows(inputs: Any) -> int:
    """Return the number of examples in a batch of inputs."""
    return next((len(x) for x in tree_leaves(inputs) if isinstance(x, Tensor) and x.ndim), 0)


def _whole(given: Resident | list[Any]) -> Resident | list[Any]:
    """Drop a shorter last batch, which in a mean over batches would count as much as the others.

    For images the engine does so.
    """
    if isinstance(given, Resident) or len(given) < 2 or _rows(given[-1]) >= _rows(given[0]):
        return given
    return given[:-1]


def technique_of(name: str, options: Mapping[str, Any]) -> tuple[Callable[..., Any], str]:
    """Return a technique's function and its name in messages; raises `UserError` if unknown."""
    function = find("merges", name, "merge", "--technique")
    check_options(function, options, f"--technique {name}")
    return function, f"--technique {name}"


def merge_stream(technique: str, models: Models, names: Sequence[str]) -> np.random.Generator:
    """Return a technique's random generator, the same for streamed merges as for others."""
    return seeds.generator("merge", technique, *(models.hashes[name] for name in names))


def _anew(net: nn.Module) -> DoubleEntry:
    """Reset a network's double entry, so that it does not include earlier measurements."""
    entry = double_entry(net)
    vars(entry).update(vars(DoubleEntry()))
    return entry
