"""Networks measured on their data: alone, between two, on a plane, and merged."""

from __future__ import annotations

import copy
import hashlib
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, cached_property
from itertools import combinations
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_leaves, tree_map

from basins import seeds
from basins.align import activations, alignments
from basins.align.batchnorm import BATCH, reset, same_draws
from basins.align.equivalence import ROUNDING, change
from basins.align.permute import permute
from basins.align.traced import trace
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
from basins.nets.outputs import logits_of
from basins.nets.permutation import Net, PermutationSpec
from basins.paths.engine import Curves
from basins.paths.evaluation import DoubleEntry, double_entry, evaluate
from basins.paths.pairs import grid
from basins.registry import check_options, find, module
from basins.weights import State, flatten

BatchNorm = Literal["interpolate", "reset", "repair"]
Step = Callable[[], None]


class Measured(NamedTuple):
    """What came of one step of a command.

    Attributes:
        curves: of each point that was evaluated, by (batchnorm, set).
        numbers: more that belongs to it: the distance of two networks, the corners of a plane.
        entry: what came of computing losses a second time.
        state: the weights that were made.
    """

    curves: Curves
    numbers: np.ndarray
    entry: DoubleEntry
    state: State | None = None


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


class Bench:
    """Networks and what they are measured on.

    Each method that takes `names` of networks and a `step`, which it calls after every point, is
    one step of a command, which other processes may take and the store remembers (`work`). The
    mode `batchnorm` says whether statistics are mixed as the weights are, or re-estimated on
    training rows, or REPAIR on these, as in `Engine.along`.
    """

    def __init__(self, models: Models, task: Task) -> None:
        self.models, self.task = models, task
        self.calibration = cache(self._calibration)
        self.said = cache(self._said)

    def end(self, names: Sequence[str], step: Step, *, batchnorm: BatchNorm) -> Measured:
        """Evaluate one network as an end of paths."""
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
        """Evaluate the inner points of the path between two networks, and take their distance.

        Of `points` the two ends are left out. The second network's units are brought to the order
        of the first's. Raises `UserError` where the path has a point to be trained, the models'
        tokenizers differ, or the networks have no permutation symmetry, or a wrong one.
        """
        self.task.joined()
        coefficients = find("paths", path, "coefficients", "--path")
        if len(coefficients(0.5)) != 2:
            raise UserError(f"--path {path}: it has a point to train, which only the pipeline does")
        a, b = names
        controls = [flatten(self.models.states[a]), flatten(self.aligned(a, b, alignment))]
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
        """Evaluate one network as it is, on all sets as its tokenizer reads them."""
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
        """Evaluate the lattice of a plane through one to three networks, and place its corners.

        Args:
            names: the networks.
            step: called after every point.
            which: `models` where there are three; else the directions from the first that span what
                is missing (`landscape.directions`).
            batchnorm: the mode.
            steps: to a side, or from the first model as far as a direction goes.
            margin: how many sides the plane goes on beyond three models.
            reach: how far it goes along other directions, both ways.

        Raises:
            UserError: the models' tokenizers differ, they span no plane, or `repair` is asked for
                along other directions.
        """
        self.task.joined()
        engine = self.models.engine
        controls = [flatten(self.models.states[name]) for name in names]
        missing = 3 - len(controls)
        if which != "models":
            if batchnorm == "repair":
                line = "--batchnorm repair: it is for mixtures of trained models alone"
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
        """Merge networks, all of which are brought to the first, and evaluate what comes of it.

        Statistics of BatchNorm are part of the state. `technique` is the `name` of a file of
        `basins/merges/`, with its options. Raises `UserError` where it or an option is unknown, it
        makes an ensemble, the models' tokenizers differ, or the networks have no permutation
        symmetry, or a wrong one.
        """
        self.task.joined()
        options = {key: value for key, value in technique.items() if key != "name"}
        function, where = technique_of(technique["name"], options)
        first, *others = names
        states = [self.models.states[first]]
        states += [self.aligned(first, name, alignment) for name in others]
        engine, net = self.models.engine, cast(Net, self.models.net)
        stream = merge_stream(technique["name"], self.models, names)
        sources = Sources(states, self.models.base, net, self.task.training, stream)
        try:
            members = function(sources, **options)
        except AttributeError as error:  # torch's modules say in words alone what they lack
            if hasattr(net, "permutation_spec") or "permutation_spec" not in str(error):
                raise
            raise UserError(
                f"{where}: it mixes units, by a permutation_spec() that {type(net).__name__} "
                "lacks; write one (docs/extend.md), or take another"
            ) from None
        if len(members) != 1:
            raise UserError(f"{where}: makes an ensemble; take one that mixes weights")
        entry, calibration = engine.anew(), cast(Any, self.calibration(batchnorm))
        found = evaluations(engine, members, sources, calibration, self.task.sets)
        step()
        counters = {n: t for n, t in members[0].items() if not t.is_floating_point()}
        state = {name: t.clone() for name, t in {**net.state_dict(), **counters}.items()}
        curves = {key: [evaluation] for key, evaluation in found.items()}
        return Measured(curves, np.zeros(0), entry, state)

    def aligned(self, a: str, b: str, alignment: str) -> State:
        """Return the state of network `b`, its units permuted to those of `a`.

        `alignment` is a file of `basins/align/`, or `none`, which leaves the state as it is. Raises
        `UserError` where it takes training rows and none has a label, or it reads activations and
        the data are text, a group of the permutation spec is not named after a module, or the
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
            except RuntimeError as error:  # torch copies no weights that are computed from others
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
        """Return the networks' `permutation_spec()`, checked, or one that is traced.

        A warning says what was traced. Raises `UserError` where the spec is wrong, or no units can
        be reordered.
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
        """Return what the engine takes BatchNorm's statistics from, by its mode."""
        if mode == "interpolate":
            return {mode: None}
        given = self.task.batches(f"--batchnorm {mode}")
        images = isinstance(given, Resident)
        if mode == "repair":
            if not images:
                raise UserError("--batchnorm repair: it takes images; choose another")
            if hasattr(self.models.net, "permutation_spec"):
                self.symmetry()
            return {mode: given}
        try:
            few = Resident(*(tensor[:BATCH] for tensor in given)) if images else given[:1]
            reset(self.models.net, few)
        except Exception as error:  # it may not be our network
            line = f"--batchnorm reset: the network does not run in training mode: {short(error)}"
            raise UserError(f"{line}; take interpolate") from None
        return {mode: given}

    @torch.inference_mode()
    def _said(self, name: str) -> str:
        """Return a hash of what a network says of the first batch of every set.

        It stands for the code of the network and of the libraries that it is written with.
        """
        net, digest = self.models.net, hashlib.sha256()
        if name not in self.models.states:  # it is never in memory whole
            return ""
        net.load_state_dict(self.models.states[name])
        for examples in self.task.own.get(name, self.task.sets).values():
            given, _ = next(iter(examples.batches()))
            with same_draws(net):
                output = net(**given) if isinstance(given, Mapping) else net(*given)
            for leaf in tree_leaves(logits_of(output)):
                if isinstance(leaf, Tensor):
                    digest.update(leaf.float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def technique_of(name: str, options: Mapping[str, Any]) -> tuple[Callable[..., Any], str]:
    """Return a technique's function, and what messages call it; raises `UserError` if wrong."""
    function = find("merges", name, "merge", "--technique")
    check_options(function, options, f"--technique {name}")
    return function, f"--technique {name}"


def merge_stream(technique: str, models: Models, names: Sequence[str]) -> np.random.Generator:
    """Return what a technique draws from, the same whichever way networks are merged."""
    return seeds.generator("merge", technique, *(models.hashes[name] for name in names))


def _anew(net: nn.Module) -> DoubleEntry:
    """Begin a network's one double entry anew, so that nothing measured before decides on it."""
    entry = double_entry(net)
    vars(entry).update(vars(DoubleEntry()))
    return entry
