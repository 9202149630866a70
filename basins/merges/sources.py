"""The inputs of merging techniques.

A technique is a file of this package with a function `merge(sources, **options) -> list[State]`.
One state is a merged model; several are the members of an ensemble, whose probabilities are
averaged. The file's `TRAITS` state what it needs (`traits.py`).

Networks may each have their own task, with its data and head. Then only their encoders are merged,
and the merged encoder is evaluated on every task with that task's head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from basins import devices
from basins.data.rows import Rows
from basins.errors import UserError
from basins.nets.outputs import logits_of
from basins.nets.permutation import Net
from basins.paths.evaluation import Examples, evaluate
from basins.weights import State, other_names

Scope = Literal["vector", "tensor"]
"""What a formula is applied to: all trained weights as one vector, or each tensor separately."""

Formula = Callable[[Tensor], Tensor]
"""Maps the values of K networks, [K, ...] float64, to those of the merged one, [...]."""


class Mixture(dict[str, Tensor]):
    """A state that is a weighted mean of others: `parts`, each with its share.

    REPAIR restores the mean of their statistics, ignoring shares below 0, as in negation. A state
    that is not a `Mixture` is treated as the equal mean of all networks.
    """

    def __init__(self, state: State, parts: Sequence[tuple[State, float]]) -> None:
        super().__init__(state)
        self.parts = parts


class Task(NamedTuple):
    """The task that one of the networks was trained on, if tasks differ.

    `head` holds the tensors of its output layer, which techniques do not change, and `net` is a
    network with that number of classes. `data` are training rows of the task; `whole()` returns all
    of them. `fresh()` returns the network's initial state: the base with a new head.
    """

    net: Net
    head: State
    data: Examples
    whole: Callable[[], Examples]
    fresh: Callable[[], State]


class ForEach(list[State]):
    """One network for each source, to be evaluated on that source's task.

    If the sources have a common task, these are the members of an ensemble.
    """


class Sources(NamedTuple):
    """The inputs of a merging technique.

    `states` are K trained networks, already aligned if an alignment is used; `base` is the model
    that all were fine-tuned from, or None if there is none. `net` is a network of their
    architecture on the device, whose weights may be overwritten. `data` are labelled training rows
    on the device, never rows on which the result is evaluated.

    Techniques change the trained weights. Running statistics are mixed with the same shares if the
    weights are a weighted mean of the networks', and are otherwise averaged. Integer buffers are
    those of the first network. Tensors missing from the base, such as a new head, have no task
    vector: every technique of task vectors averages them (`moved`).

    With `tasks`, one for each network, `states` and `base` do not contain heads, and `net` and
    `data` are those of the first task. Techniques for a single task call `one_task()`.
    """

    states: Sequence[State]
    base: State | None
    net: Net
    data: Examples
    generator: np.random.Generator
    tasks: Sequence[Task] = ()

    @property
    def names(self) -> list[str]:
        """The trained tensors, in the order in which the vectors hold them."""
        trained = {name for name, _ in self.net.named_parameters()}
        return sorted(trained & self.states[0].keys() if self.tasks else trained)

    def at(self, state: State, number: int) -> Net:
        """Return the network with weights `state` and the head of task `number`, if any.

        It is in evaluation mode.
        """
        task = self.tasks[number] if self.tasks else None
        net = task.net if task else self.net
        net.load_state_dict(state | task.head if task else state)
        net.eval()
        return net

    def start(self) -> State:
        """Return the base, completed by the networks' mean for tensors that are missing from it.

        Raises `UserError` if there is no base.
        """
        if self.base is None:
            line = "this technique needs the model that all were fine-tuned from"
            raise UserError(f"{line}; give it as `base` (--base)")
        return mixed(self.states) | self.base

    def combined(self, formula: Formula, scope: Scope = "vector") -> State:
        """Return the state whose trained weights are `formula` of the networks' weights.

        It takes 8 K bytes of memory for each weight of a `scope`.
        """
        return self._made(self.names, None, formula, scope)

    def moved(
        self, formula: Formula, scope: Scope = "vector", factors: Sequence[float] | None = None
    ) -> State:
        """Return the base plus `formula` of the task vectors, which are weights minus the base.

        Task vectors are first multiplied by the networks' `factors`, if given. Tensors missing from
        the base are averaged. Memory is as in `combined`. Raises `UserError` if there is no base.
        """
        start = self.start()
        assert self.base is not None
        names = [n for n in self.names if n in self.base]
        if factors is None:
            return self._made(names, start, formula, scope)

        def scaled(tasks: Tensor) -> Tensor:
            by = tasks.new_tensor(factors).view(-1, *[1] * (tasks.ndim - 1))
            return formula(tasks.mul_(by))

        return self._made(names, start, scaled, scope)

    def moved_each(self, formula: Formula, scope: Scope = "vector") -> ForEach:
        """Return a state for each network; `formula` maps task vectors [K, ...] to [K, ...].

        As `moved`, but tensors missing from the base and statistics stay the network's own. The
        formula is evaluated again for each network, which needs less memory.
        """
        found = []
        for k, state in enumerate(self.states):
            moved = self.moved(lambda tasks, k=k: formula(tasks)[k], scope)
            assert self.base is not None
            found.append(state | {n: moved[n] for n in self.names if n in self.base})
        return ForEach(found)

    def _made(
        self, names: Sequence[str], start: State | None, formula: Formula, scope: Scope
    ) -> State:
        found = mixed(self.states)
        groups = [names] if scope == "vector" else [[name] for name in names]
        for group in filter(None, groups):
            taken = _stacked(self.states, group)
            origin = 0 if start is None else _joined(start, group)
            made = origin + formula(taken.sub_(origin))
            for name, part in zip(group, _parts(made, [found[n] for n in group]), strict=True):
                found[name] = part
        return found

    def vector(self, state: State) -> Tensor:
        """Return the trained weights of a state, [P]."""
        return torch.cat([state[name].reshape(-1) for name in self.names])

    def state(self, weights: Tensor) -> State:
        """Return the state with these trained weights [P], and other tensors as in the mean."""
        like = mixed(self.states)
        parts = _parts(weights, [like[name] for name in self.names])
        state = like | dict(zip(self.names, parts, strict=True))
        return state | {name: state[first] for name, first in other_names(self.net).items()}

    def one_task(self) -> None:
        """Raise `UserError` if the networks have their own tasks."""
        if self.tasks:
            raise UserError(
                f"this technique takes networks of one task, and these have {len(self.tasks)}; "
                "choose another"
            )

    def rows(self, number: int | None = None, data: Examples | None = None) -> Rows:
        """Return the training rows, from which batches of any size can be taken.

        They are those of task `number`, or those common to all networks, or other `data` for that
        network. Raises `UserError` if labels merge several of the network's classes, or if there
        are tasks and `number` is None.
        """
        if number is None:
            self.one_task()
        task = self.tasks[number or 0] if self.tasks else None
        data = data or (task.data if task else self.data)
        if data.merge is not None:
            raise UserError(
                "the training rows have fewer classes than the networks, which this technique "
                "would have to tell apart; give rows of all classes, or another technique"
            )
        net = task.net if task else self.net
        return Rows(data, plain=devices.memory_format(net) is torch.contiguous_format)

    def score(self, state: State) -> tuple[float, float]:
        """Return a network's accuracy on the training rows, and its negative mean loss (nats).

        Both are averaged over tasks, if there are several.
        """
        found = [
            evaluate(self.at(state, k), task.data if task else self.data)
            for k, task in enumerate(self.tasks or [None])
        ]
        accuracy = sum(float(one.correct.mean()) for one in found)
        loss = sum(float(one.losses.mean(dtype=np.float64)) for one in found)
        return accuracy / len(found), -loss / len(found)


def _joined(state: State, names: Sequence[str]) -> Tensor:
    """Return one tensor in its own shape, or several as one vector, in float64."""
    if len(names) == 1:
        return state[names[0]].double()
    return torch.cat([state[name].reshape(-1).double() for name in names])


def _stacked(states: Sequence[State], names: Sequence[str]) -> Tensor:
    """Stack `_joined` of K states, [K, ...], without a second copy of all of them."""
    first = _joined(states[0], names)
    found = first.new_empty((len(states), *first.shape))
    for place, state in zip(found, states, strict=True):
        place.copy_(_joined(state, names))
    return found


def _parts(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    parts = vector.reshape(-1).split([tensor.numel() for tensor in like])
    return [part.view_as(one).to(one.dtype) for part, one in zip(parts, like, strict=True)]


def logits(net: nn.Module, inputs: Sequence[Tensor | None]) -> Tensor:
    """Return a network's logits [n, classes], for images or text."""
    return logits_of(net(*inputs))


def mixed(states: Sequence[State], shares: Sequence[float] | None = None) -> State:
    """Return the linear combination of networks with `shares` [K], by default their mean.

    Sums are in float64, so that a network mixed with itself is unchanged.
    """
    shares = [1 / len(states)] * len(states) if shares is None else shares
    found = dict(states[0])
    for name, tensor in states[0].items():
        if tensor.is_floating_point():
            total = torch.zeros_like(tensor, dtype=torch.double)
            for share, state in zip(shares, states, strict=True):
                total += state[name].to(torch.double, copy=True).mul_(share)
            found[name] = total.to(tensor.dtype)
    return found


def mixture(states: Sequence[State], shares: Sequence[float] | None = None) -> Mixture:
    """Return `mixed` as a `Mixture`, which records its parts."""
    shares = [1 / len(states)] * len(states) if shares is None else shares
    return Mixture(mixed(states, shares), tuple(zip(states, map(float, shares), strict=True)))


Positive = Annotated[list[Annotated[float, Field(gt=0, allow_inf_nan=False)]], Field(min_length=1)]
"""A weight above 0 for each network."""


def by_model(values: Sequence[float] | None, sources: Sources, option: str) -> list[float]:
    """Return an option with a number for each network, by default 1.

    Raises `UserError` if the number of values differs from that of networks.
    """
    count = len(sources.states)
    if values is not None and len(values) != count:
        raise UserError(f"{option}: {len(values)} numbers for {count} networks; give one for each")
    return [1.0] * count if values is None else list(values)
