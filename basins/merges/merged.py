"""Merged networks and their evaluations, as items of the store."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from safetensors.numpy import load_file, save

from basins import seeds, weights
from basins.align.permute import permute
from basins.data.images import Evaluation
from basins.errors import UserError
from basins.item import Item, Step
from basins.merges.evaluation import Evaluations, evaluations
from basins.merges.sources import ForEach, Sources, Task
from basins.nets import checkpoint
from basins.nets.control import Control
from basins.nets.permutation import Net
from basins.paths.points import Sets, prepared
from basins.registry import find, split_options
from basins.training.sample import Sample
from basins.weights import State, unflatten

WEIGHTS, FILE = "model.safetensors", "losses.safetensors"

HEADS = ("head.", "classifier.", "pre_classifier.", "classification_head.", "score.", "pooler.")
"""Prefixes of the names of output layers' tensors, for the families in `basins/nets/`."""


class Part(NamedTuple):
    """The task of one network of a set: its name, training rows and evaluation sets."""

    name: str
    rows: Sample
    sets: Sets


@dataclass(frozen=True)
class Merged(Item):
    """One technique applied to one set of networks, which are already aligned if required.

    `base` is the model they were fine-tuned from, or None. `technique` is its name with its
    options, and `rows` the training rows that it may use. `sets` may have the BatchNorm mode
    `repair`. If each network has its own task, `parts` are the tasks, and `rows` and `sets` those
    of the first.
    """

    controls: tuple[Control, ...]
    base: Control | None
    technique: dict[str, Any]
    rows: Sample
    sets: Sets
    parts: tuple[Part, ...] = ()
    kind: ClassVar[str] = "merges"

    def __str__(self) -> str:
        return f"{self.technique['name']} of {' + '.join(map(str, self.controls))}"

    @property
    def device(self) -> torch.device:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The device on which the networks are merged and evaluated."""
        return self.sets.device

    def decides(self) -> dict[str, Any]:
        """Return everything that determines the losses, except code and machine."""
        return {
            "controls": [control.identity() for control in self.controls],
            "net": self.controls[0].net(),
            "base": self.base and self.base.identity(),
            "technique": self.technique,
            "rows": self.rows[1:],
            **self.sets.identity(),
            "parts": [[p.name, p.rows[1:], p.sets.identity()] for p in self.parts],
        }

    def make(self, folder: Path, step: Step) -> None:
        """Write `losses.safetensors`: loss and correctness of every example, and `members`.

        Raises `UserError`, naming model and tensor, if the networks have different architectures.
        """
        check_shapes([control.model for control in self.controls], heads=not self.parts)
        members, losses = self._several() if self.parts else self._together()
        tensors = {"members": np.array(len(members))}
        for (mode, eval_set), evaluation in losses.items():
            tensors[f"{mode}/{eval_set}/losses"] = evaluation.losses
            tensors[f"{mode}/{eval_set}/correct"] = evaluation.correct
        (folder / FILE).write_bytes(save(tensors))  # save_file hides a full disk's error number

    def _merge(self, sources: Sources) -> list[State]:
        name, options = split_options(self.technique)
        with seeds.torch_stream("merge", *(control.fingerprint for control in self.controls)):
            return find("merges", name, "merge")(sources, **options)

    def _stream(self) -> np.random.Generator:
        models = (control.fingerprint for control in self.controls)
        return seeds.generator("merge", self.technique["name"], *models)

    def _together(self) -> tuple[list[State], Evaluations]:
        """Merge networks of one task, and evaluate the result."""
        engine, vectors, batchnorm, examples = prepared(self.controls, self.sets)
        net: Any = engine.net
        like = {tensor: value.clone() for tensor, value in net.state_dict().items()}
        sources = Sources(
            [unflatten(vector, like) for vector in vectors],
            self.base and base_state(self.base, self.controls[0], net),
            net,
            self.rows.load(self.controls[0].model, self.device),
            self._stream(),
        )
        members = self._merge(sources)
        precision = self.sets.precision
        return members, evaluations(engine, members, sources, batchnorm, examples, precision)

    def _several(self) -> tuple[list[State], Evaluations]:
        """Merge networks of several tasks, and evaluate the result on each task."""
        tasks, states, measured = [], [], []
        for control, part in zip(self.controls, self.parts, strict=True):
            engine, [flat], *measures = prepared([control], part.sets)
            net: Any = engine.net
            like = {tensor: value.clone() for tensor, value in net.state_dict().items()}
            state = unflatten(flat, like)
            head = {name: t for name, t in state.items() if name.startswith(HEADS)}
            if not head:
                raise UserError(f"{control}: no tensor begins with {' or '.join(HEADS)}")
            given = (control.model, self.device)
            whole = partial(part.rows._replace(size=None).load, *given)
            fresh = partial(_fresh, control, self.base, self.device)
            tasks.append(Task(net, head, part.rows.load(*given), whole, fresh))
            states.append({name: t for name, t in state.items() if name not in head})
            measured.append((engine, *measures))
        first = tasks[0]
        base = self.base and base_state(self.base, self.controls[0], first.net)
        base = base and {name: t for name, t in base.items() if name not in first.head}
        sources = Sources(states, base, first.net, first.data, self._stream(), tasks)
        members = self._merge(sources)
        if len(members) > 1 and not isinstance(members, ForEach):
            name = self.technique["name"]
            raise UserError(f"{name}: makes an ensemble, which networks of several tasks are not")
        losses: Evaluations = {}
        for k, (task, part, (engine, batchnorm, examples)) in enumerate(
            zip(tasks, self.parts, measured, strict=True)
        ):
            state = members[k] if isinstance(members, ForEach) else members[0]
            given = ([task.head | state], sources, batchnorm, examples, part.sets.precision)
            found = evaluations(engine, *given)
            losses |= {(mode, f"{part.name}/{name}"): e for (mode, name), e in found.items()}
        return members, losses

    def result(self, folder: Path) -> list[dict[str, Any]]:
        """Return a row for each BatchNorm mode and evaluation set."""
        tensors, found = load_file(folder / FILE), []
        names = [f"{part.name}/{name}" for part in self.parts for name in part.sets.names]
        for mode, eval_set in product(self.sets.batchnorm, names or self.sets.names):
            losses = tensors[f"{mode}/{eval_set}/losses"]
            found.append(
                {
                    "batchnorm": mode,
                    "sources": " + ".join(map(str, self.controls)),
                    "members": int(tensors["members"]),
                    "eval_set": eval_set,
                    **summary(Evaluation(losses, tensors[f"{mode}/{eval_set}/correct"])),
                }
            )
        return found


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """Return a row's mean loss (nats), its standard error and the accuracy; NaN if undefined."""
    losses, correct = evaluation
    count = len(losses)
    values = {
        "loss": losses.mean(dtype=np.float64),
        "loss_se": losses.std(ddof=1, dtype=np.float64) / count**0.5,
        "accuracy": correct.mean(),
    }
    return {"n": count, **(values if evaluation.defined else dict.fromkeys(values, np.nan))}


def check_shapes(folders: Sequence[Path], *, heads: bool = True) -> None:
    """Raise `UserError` at the first tensor whose shapes differ between models.

    Output layers are compared only if `heads` is true.
    """

    def shapes(folder: Path) -> dict[str, tuple[int, ...]]:
        every = weights.shapes(folder / WEIGHTS)
        return {name: s for name, s in every.items() if heads or not name.startswith(HEADS)}

    first, *others = folders
    wanted = shapes(first)
    for folder in others:
        found = shapes(folder)
        for name in sorted(wanted.keys() | found.keys()):
            if wanted.get(name) != found.get(name):
                ours, theirs = (str(s.get(name, "absent")) for s in (found, wanted))
                raise UserError(
                    f"{folder}: {name} is {ours}, in {first} it is {theirs}; "
                    "merge models of one architecture"
                )


def _fresh(control: Control, base: Control | None, device: torch.device) -> State:
    """Return a text classifier in its initial state: its base with a new head."""
    config = checkpoint.read_config(control.model)
    if base is None or not checkpoint.reads_text(config):
        raise UserError(f"{control}: only classifiers of text with a `base` are trained together")
    with seeds.torch_stream("head", config["streams"]["head"]):
        net = checkpoint.classifier(base.model, checkpoint.classes(config))
    return {name: tensor.to(device) for name, tensor in net.state_dict().items()}


def base_state(base: Control, first: Control, net: Net) -> State:
    """Return the tensors that a base shares with networks like `net`, on its device.

    They are permuted like `first`, the network to which the set is aligned, as the base's units are
    those of the networks fine-tuned from it. A warning counts and lists missing tensors other than
    a classifier's head. Raises `UserError` if no tensor is shared, or a shape differs.
    """
    like = net.state_dict()
    prefix = f"{getattr(net, 'base_model_prefix', '')}."  # absent from a text encoder's names
    there = weights.load(base.model / WEIGHTS)
    found = weights.in_common(there, like, prefix, base, "set `base` to what they start from")
    lacks = {n: t for n, t in like.items() if n not in found and t.is_floating_point()}
    if lacks := {n: t for n, t in lacks.items() if not n.startswith(HEADS)}:
        said = f"{base}: of the models' weights it lacks {weights.listed(lacks)}; each counts as"
        warnings.warn(f"{said} the models' mean", stacklevel=2)
    permutations = first.read()
    if not permutations:  # not every network has a spec
        return found
    moved = permute({**like, **found}, net.permutation_spec(), permutations)
    return {name: moved[name] for name in found}
