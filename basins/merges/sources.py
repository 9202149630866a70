"""What a merging technique may use.

A technique is a file of this room with a function `merge(sources, **options) -> list[State]`. One
state is a merged model; several are the members of an ensemble, whose probabilities are averaged.
With `MIXES = False` beside it the networks are not aligned for it, whatever the alignments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from basins import devices
from basins.errors import UserError
from basins.nets.permutation import Net
from basins.paths.engine import Examples, evaluate
from basins.weights import State, other_names


class Sources(NamedTuple):
    """What a merging technique may use.

    `states` are K trained networks, already aligned where an alignment is asked for; `base` is what
    they were all fine-tuned from, or None where they have nothing in common. `net` is a network of
    their architecture on the device, whose weights may be overwritten. `data` are labelled training
    rows on the device, never those that the result is evaluated on.

    Techniques work on the trained weights, one vector [P] a network. Running statistics are no
    weights: where weights are a weighted mean of the networks', so are they; elsewhere they are
    averaged. Integer buffers are those of the first network.
    """

    states: Sequence[State]
    base: State | None
    net: Net
    data: Examples
    generator: np.random.Generator

    @property
    def names(self) -> list[str]:
        """The trained tensors, in the order in which the vectors hold them."""
        return sorted(name for name, _ in self.net.named_parameters())

    def weights(self) -> Tensor:
        """Return every network's trained weights, [K, P]."""
        return torch.stack([self.vector(state) for state in self.states])

    def vector(self, state: State) -> Tensor:
        """Return the trained weights of a state, [P]."""
        return torch.cat([state[name].reshape(-1) for name in self.names])

    def origin(self) -> Tensor:
        """Return the base's weights, [P]; the mean of the networks' for a tensor that it lacks.

        That is a new head: without a start in common it has no direction of its own, and is
        averaged. Raises `UserError` where there is no base.
        """
        if self.base is None:
            raise UserError("this technique needs what the models were fine-tuned from; set `base`")
        return self.vector(mixed(self.states) | self.base)

    def state(self, weights: Tensor) -> State:
        """Return the state with these trained weights [P], and all else as in the mean."""
        like = mixed(self.states)
        parts = weights.to(torch.float32).split([like[name].numel() for name in self.names])
        new = zip(self.names, parts, strict=True)
        state = like | {name: part.view_as(like[name]) for name, part in new}
        return state | {name: state[first] for name, first in other_names(self.net).items()}

    def batches(self) -> list[tuple[tuple[Tensor | None, ...], Tensor]]:
        """Return the training rows in batches that the network can be trained on.

        Raises `UserError` where their labels are not the network's classes, but several in one.
        """
        if self.data.merge is not None:
            raise UserError(
                "the training rows have fewer classes than the networks, which this technique "
                "would have to tell apart; give rows of all classes, or another technique"
            )
        plain = devices.memory_format(self.net) is torch.contiguous_format
        return [
            (tuple(x.contiguous() if plain and x is not None else x for x in inputs), labels)
            for inputs, labels in self.data.batches()
        ]

    def score(self, state: State) -> tuple[float, float]:
        """Return a network's accuracy on the training rows, and less its mean loss (nats)."""
        self.net.load_state_dict(state)
        found = evaluate(self.net, self.data)
        return float(found.correct.mean()), -float(found.losses.mean(dtype=np.float64))


def logits(net: nn.Module, inputs: Sequence[Tensor | None]) -> Tensor:
    """Return a network's logits [n, classes], of images or of text."""
    output = net(*inputs)
    return getattr(output, "logits", output)


def mixed(states: Sequence[State], shares: Sequence[float] | None = None) -> State:
    """Return the combination of networks with these `shares` [K], their mean by default.

    Sums are in float64, so that a network mixed with itself is that network.
    """
    shares = [1 / len(states)] * len(states) if shares is None else shares
    first = states[0]
    return first | {
        name: sum(
            (share * s[name].double() for share, s in zip(shares, states, strict=True)),
            start=torch.zeros_like(tensor, dtype=torch.double),
        ).to(tensor.dtype)
        for name, tensor in first.items()
        if tensor.is_floating_point()
    }
