"""RegMean++ (Nguyen et al. 2025): RegMean on what the merged layers before make."""

from __future__ import annotations

from typing import Literal

from basins.merges.regmean import Shrink, inputs, solved
from basins.merges.sources import Positive, Sources, by_model, mixed
from basins.merges.traits import Traits
from basins.weights import State

TRAITS = Traits("aggregation", rows=True, cost="K forward a block")


def merge(
    sources: Sources,
    *,
    by: Literal["block", "layer"] = "block",
    shrink: Shrink = 0.9,
    weights: Positive | None = None,
) -> list[State]:
    """Return what RegMean does, each layer's inputs made by the merged layers before it.

    Blocks are merged in the order in which they are called. The inputs of a block's layers are what
    each network's own block reads and makes of its training rows, behind blocks that are merged
    already, and embeddings and norms outside blocks that are averaged. Where all networks read the
    same rows, a layer whose inputs come from merged ones alone becomes the mean.

    Args:
        sources: the networks and training rows.
        by: what is merged at once: a `block` (the paper's layer of a transformer), which is an
            entry of a list of modules, as its name says by a number, or a linear layer or
            convolution outside of any; or each `layer` for itself.
        shrink: as RegMean's.
        weights: as RegMean's.

    Raises:
        UserError: a layer's system is singular, or `weights` are not one for each network.
    """
    given = by_model(weights, sources, "regmean_plusplus: weights")
    merged = mixed(sources.states, [weight / sum(given) for weight in given])
    blocks: dict[str, list[str]] = {}
    for layer in inputs(sources, sources.states[0]):
        if f"{layer}.weight" in merged:  # no task's head
            blocks.setdefault(block(layer) if by == "block" else layer, []).append(layer)
    for name, layers in blocks.items():
        grams = []
        for k, state in enumerate(sources.states):
            own = {key: tensor for key, tensor in state.items() if key.startswith(f"{name}.")}
            grams.append(inputs(sources, merged | own, k, layers))
        merged |= solved(sources.states, grams, given, merged, shrink)
    return [merged]


def block(layer: str) -> str:
    """Return the name up to its first number: of the outermost list's entry; or the whole name."""
    parts = layer.split(".")
    number = next((k for k, part in enumerate(parts) if part.isdigit()), len(parts))
    return ".".join(parts[: number + 1])
