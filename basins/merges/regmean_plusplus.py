"""RegMean++ (Nguyen et al. 2025): RegMean with inputs computed by the merged layers before."""

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
    """Merge as RegMean does, with each layer's inputs computed by the merged layers before it.

    Blocks are merged in the order in which they are called. The inputs of a block's layers are
    those in each network's own block on its training rows, after the blocks that have already been
    merged; embeddings and norms outside blocks are averaged. If all networks read the same rows, a
    layer whose inputs come only from merged layers becomes the mean.

    Args:
        sources: the networks and training rows.
        by: what is merged at once: a `block` (the paper's transformer layer), which is an entry of
            a list of modules, recognised by the number in its name, or a linear layer or
            convolution outside of blocks; or each `layer` separately.
        shrink: as in RegMean.
        weights: as in RegMean.

    Raises:
        UserError: a layer's system is singular, or the number of `weights` is wrong.
    """
    given = by_model(weights, sources, "regmean_plusplus: weights")
    merged = mixed(sources.states, [weight / sum(given) for weight in given])
    blocks: dict[str, list[str]] = {}
    for layer in inputs(sources, sources.states[0]):
        if f"{layer}.weight" in merged:  # not a task's head
            blocks.setdefault(block(layer) if by == "block" else layer, []).append(layer)
    for name, layers in blocks.items():
        grams = []
        for k, state in enumerate(sources.states):
            own = {key: tensor for key, tensor in state.items() if key.startswith(f"{name}.")}
            grams.append(inputs(sources, merged | own, k, layers))
        merged |= solved(sources.states, grams, given, merged, shrink)
    return [merged]


def block(layer: str) -> str:
    """Return the name up to its first number, an entry of the outermost list, or the whole name."""
    parts = layer.split(".")
    number = next((k for k, part in enumerate(parts) if part.isdigit()), len(parts))
    return ".".join(parts[: number + 1])
