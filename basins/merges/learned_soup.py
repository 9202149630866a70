"""Learned soup (Wortsman et al. 2022, appendix I): the mixture that training rows prefer."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from basins.merges.learning import learned, weighted
from basins.merges.sources import Sources, mixed, mixture
from basins.merges.traits import Traits
from basins.merges.trajectory import BATCH, Count, Rate
from basins.weights import State

TRAITS = Traits(
    "aggregation", rows=True, labels=True, gradients=True, cost="a batch backward a step"
)


def merge(
    sources: Sources,
    *,
    by: Literal["network", "tensor"] = "network",
    steps: Annotated[int, Field(ge=0)] = 50,
    rate: Rate = 0.1,
    batch: Count = BATCH,
) -> list[State]:
    """Return the networks mixed by shares that are learned from labels, at first equal.

    Shares are a softmax. With them a factor of the logits is learned, which the loss needs and the
    network does not keep. AdamW at .1, as in the paper, on the cross-entropy of batches. Running
    statistics are mixed as the weights are, or averaged where these are mixed by tensor. Holds all
    networks at once.

    Args:
        sources: the networks and training rows.
        by: a network has one share for all its weights (`network`), or one for each tensor
            (`tensor`, the paper's "by layer").
        steps: of AdamW, at least 0.
        rate: of AdamW, above 0.
        batch: rows of a step, at least 1.

    Raises:
        UserError: when the loss is not finite.
    """
    names = sources.names
    device = sources.states[0][names[0]].device
    groups = len(names) if by == "tensor" else 1
    scores = torch.zeros(groups, len(sources.states), device=device, requires_grad=True)
    sharpness = torch.ones((), device=device, requires_grad=True)
    mean = mixed(sources.states)
    floating = [name for name, tensor in mean.items() if tensor.is_floating_point()]
    moving = names if by == "tensor" else floating
    trained, place = set(names), {n: k for k, n in enumerate(names) if by == "tensor"}
    stacks = {name: torch.stack([state[name] for state in sources.states]) for name in moving}

    def build() -> State:
        shares = scores.softmax(1)
        found = dict(mean)
        for name, stack in stacks.items():
            share = shares[place.get(name, 0)]
            # Statistics have no gradient: they follow the shares, which do not follow them.
            found[name] = weighted(stack, share if name in trained else share.detach())
        return found

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(sharpness * logits, labels)

    more = {"steps": steps, "batch": batch}
    learned(sources, [scores, sharpness], build, loss, rate=rate, **more)
    shares = scores.detach().double().softmax(1).cpu()
    if by == "network":
        return [mixture(sources.states, shares[0].tolist())]
    found = dict(mean)
    for name, share in zip(names, shares, strict=True):
        found[name] = mixed([{name: s[name]} for s in sources.states], share.tolist())[name]
    return [found]
