"""What a merging technique may use.

A technique is a file of this room with a function `merge(sources, **options) -> list[State]`. One
state is a merged model; several are the members of an ensemble, whose probabilities are averaged.
`TRAITS` beside it say what it needs (`traits.py`).

Networks may each have a task of their own, with its data and its head. What is merged then is the
rest of them, the encoder, and the merged one is evaluated on every task with that task's head.
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
"""What a formula takes at once: all trained weights as a vector, or one tensor after the other."""

Formula = Callable[[Tensor], Tensor]
"""From what K networks have, [K, ...] float64, to what the merged one has, [...]."""


class Mixture(dict[str, Tensor]):
    """A state that is a weighted mean of others: `parts`, each with its share.

    REPAIR aims at their statistics. A share below 0, as negation has, is no part of a mean, and
    REPAIR leaves it out. What is no `Mixture` counts as equal parts of all networks.
    """

    def __init__(self, state: State, parts: Sequence[tuple[State, float]]) -> None:
        super().__init__(state)
        self.parts = parts


class Task(NamedTuple):
    """What one of several networks was trained for, where that is not the same for all.

    `head` are the tensors of its output layer, which no technique changes, and `net` is a network
    of that many classes. `data` are training rows of the task, and `whole()` gives all of them.
    `fresh()` is the network as its training began, from the base with a new head.
    """

    net: Net
    head: State
    data: Examples
    whole: Callable[[], Examples]
    fresh: Callable[[], State]


class ForEach(list[State]):
    """A network for each of the sources: where they have tasks, each is of its own.

    Where they have one task together, these are the members of an ensemble.
    """


class Sources(NamedTuple):
    """What a merging technique may use.

    `states` are K trained networks, already aligned where an alignment is asked for; `base` is what
    they were all fine-tuned from, or None where they have nothing in common. `net` is a network of
    their architecture on the device, whose weights may be overwritten. `data` are labelled training
    rows on the device, never those that the result is evaluated on.

    Techniques work on the trained weights. Running statistics are no weights: where weights are a
    weighted mean of the networks', so are they; elsewhere they are averaged. Integer buffers are
    those of the first network. A tensor that the base lacks, such as a new head, has no change to
    count, trim, drop or sign: every technique of task vectors averages it (`moved`).

    With `tasks`, one for each network, `states` and `base` lack the heads, and `net` and `data` are
    those of the first task. A technique that is for one task says so by `one_task()`.
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
        """Return the network with the weights `state`, and with the head of a network's task.

        It is in evaluation mode.
        """
        task = self.tasks[number] if self.tasks else None
        net = task.net if task else self.net
        net.load_state_dict(state | task.head if task else state)
        net.eval()
        return net

    def start(self) -> State:
        """Return the base, and of the tensors that it lacks the networks' mean.

        Raises `UserError` where there is no base.
        """
        if self.base is None:
            raise UserError("this technique needs what the models were fine-tuned from; set `base`")
        return mixed(self.states) | self.base

    def combined(self, formula: Formula, scope: Scope = "vector") -> State:
        """Return the state whose trained weights are `formula` of the networks'.

        8 K bytes for each weight of a `scope`.
        """
        return self._made(self.names, None, formula, scope)

    def moved(
        self, formula: Formula, scope: Scope = "vector", factors: Sequence[float] | None = None
    ) -> State:
        """Return the base plus `formula` of the task vectors: weights less those of the base.

        Each network's is multiplied by its number in `factors`, where there are any. Only over
        tensors that the base has; all others are averaged. Memory is as in `combined`. Raises
        `UserError` where there is no base.
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
        """Return a state for each network, of `formula` from task vectors [K, ...] to [K, ...].

        As `moved`, but a tensor that the base lacks stays the network's, and so do its statistics.
        One at a time is worked out anew, so that memory does not grow with their number.
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
        """Return the state with these trained weights [P], and all else as in the mean."""
        like = mixed(self.states)
        parts = _parts(weights, [like[name] for name in self.names])
        state = like | dict(zip(self.names, parts, strict=True))
        return state | {name: state[first] for name, first in other_names(self.net).items()}

    def one_task(self) -> None:
        """Raise `UserError` where the networks have tasks of their own."""
        if self.tasks:
            raise UserError(
                f"this technique takes networks of one task, and these have {len(self.tasks)}; "
                "choose another"
            )

    def rows(self, number: int | None = None, data: Examples | None = None) -> Rows:
        """Return the training rows, to be taken in batches of any size.

        They are those of a network's task, by its number, or those that are the same for all; or
        other `data`, as that network reads them. Raises `UserError` where their labels are not the
        network's classes, but several in one, or where each task has its own and none is named.
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
        """Return a network's accuracy on the training rows, and less its mean loss (nats).

        Means over the tasks, where there are several.
        """
        found = [
            evaluate(self.at(state, k), task.data if task else self.data)
            for k, task in enumerate(self.tasks or [None])
        ]
        accuracy = sum(float(one.correct.mean()) for one in found)
        loss = sum(float(one.losses.mean(dtype=np.float64)) for one in found)
        return accuracy / len(found), -loss / len(found)


def _joined(state: State, names: Sequence[str]) -> Tensor:
    """Return one tensor in its shape, or several as one vector, float64."""
    if len(names) == 1:
        return state[names[0]].double()
    return torch.cat([state[name].reshape(-1).double() for name in names])


def _stacked(states: Sequence[State], names: Sequence[str]) -> Tensor:
    """Return the tensors of K states as `_joined` does, [K, ...], without a second copy of all."""
    first = _joined(states[0], names)
    found = first.new_empty((len(states), *first.shape))
    for place, state in zip(found, states, strict=True):
        place.copy_(_joined(state, names))
    return found


def _parts(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    parts = vector.reshape(-1).split([tensor.numel() for tensor in like])
    return [part.view_as(one).to(one.dtype) for part, one in zip(parts, like, strict=True)]


def logits(net: nn.Module, inputs: Sequence[Tensor | None]) -> Tensor:
    """Return a network's logits [n, classes], of images or of text."""
    return logits_of(net(*inputs))


def mixed(states: Sequence[State], shares: Sequence[float] | None = None) -> State:
    """Return the combination of networks with these `shares` [K], their mean by default.

    Sums are in float64, so that a network mixed with itself is that network.
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
    """Return what `mixed` does, and what it is a mixture of."""
    shares = [1 / len(states)] * len(states) if shares is None else shares
    return Mixture(mixed(states, shares), tuple(zip(states, map(float, shares), strict=True)))


Positive = Annotated[list[Annotated[float, Field(gt=0, allow_inf_nan=False)]], Field(min_length=1)]
"""A weight above 0 for each network."""


def by_model(values: Sequence[float] | None, sources: Sources, option: str) -> list[float]:
    """Return an option that has a number for each network, 1 for each where it is None.

    Raises `UserError` where there are more or fewer numbers than networks.
    """
    count = len(sources.states)
    if values is not None and len(values) != count:
        raise UserError(f"{option}: {len(values)} numbers for {count} networks; give one for each")
    return [1.0] * count if values is None else list(values)
