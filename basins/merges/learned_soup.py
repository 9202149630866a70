"""Learned soup (Wortsman et al. 2022, appendix I): mixing weights learned on training rows."""

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
    """Return the networks mixed with shares that are learned from labels, initially equal.

    Shares are a softmax. A scale of the logits is learned as well, and then discarded. AdamW at a
    rate of .1, as in the paper, minimises the cross-entropy of batches. Running statistics are
    mixed with the same shares if `by` is `network`, and otherwise averaged. All networks are in
    memory at once.

    Args:
        sources: the networks and training rows.
        by: one share for all weights of a network (`network`), or one for each tensor (`tensor`,
            the paper's "by layer").
        steps: of AdamW, at least 0.
        rate: AdamW's learning rate, above 0.
        batch: rows per step, at least 1.

    Raises:
        UserError: the loss is not finite.
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
            # Statistics use the current shares, but shares get no gradient through statistics.
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
