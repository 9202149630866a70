"""Evaluation of merges: the losses of one network, or of an ensemble's averaged probabilities."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import log
from typing import Any

import torch
from torch import Tensor, nn

from basins.align.repair import repair
from basins.data.images import Evaluation
from basins.data.resident import Resident
from basins.merges.routed import Routed
from basins.merges.sources import Mixture, Sources, logits
from basins.paths.engine import Engine
from basins.paths.evaluation import Examples, Precision, evaluate
from basins.weights import State, flatten

Evaluations = dict[tuple[str, str], Evaluation]


class Ensemble(nn.Module):
    """Networks whose probabilities are averaged; their logarithms are returned as logits.

    If `routed`, each example gets the probabilities of the network with the lowest entropy on it,
    the first in case of ties.
    """

    def __init__(self, engine: Engine, vectors: Sequence[Tensor], *, routed: bool = False) -> None:
        """Take members as flat states [size], evaluated one after the other in a single network."""
        super().__init__()
        self.net, self.engine, self.vectors, self.routed = engine.net, engine, vectors, routed

    def forward(self, *inputs: Tensor | None) -> Tensor:
        """Return logits [n, classes]."""
        return self._together(self.engine.folded.refresh, inputs)

    def plainly(self, *inputs: Tensor | None) -> Tensor:
        """Return the same, computed by the networks without folded BatchNorm."""
        return self._together(lambda: getattr(self.net, "plainly", self.net), inputs)

    def _together(self, settled: Callable[[], Any], inputs: tuple[Tensor | None, ...]) -> Tensor:
        said = []
        for vector in self.vectors:
            self.engine.flat.vector.copy_(vector)
            said.append(logits(settled(), inputs).float().log_softmax(1))
        every = torch.stack(said)
        if not self.routed:
            return every.logsumexp(0) - log(len(said))
        surest = torch.special.entr(every.exp()).sum(2).argmin(0)
        return every[surest, torch.arange(len(surest), device=surest.device)]


def evaluations(
    engine: Engine,
    members: Sequence[State],
    sources: Sources,
    batchnorm: Mapping[str, Resident | None],
    sets: Mapping[str, Examples],
    precision: Precision = "fp32",
) -> Evaluations:
    """Evaluate the members together; return evaluations by (batchnorm, set).

    Args:
        engine: assembles a network and evaluates it.
        members: the state of one network, or of several whose probabilities are averaged or, if
            `Routed`, chosen by example.
        sources: the networks that were merged, and training rows.
        batchnorm: as in `Engine.along`, or `repair`: REPAIR on the training rows, with statistics
            averaged over a `Mixture`'s parts by their shares, or else over all sources equally. A
            network that equals a source, and the members of an ensemble, are not repaired.
        sets: the evaluation sets, by name.
        precision: of the evaluation: `fp32` or `bf16`.
    """
    found: Evaluations = {}
    alone = len(members) == 1 and not any(_same(members[0], source) for source in sources.states)
    for mode, calibration in batchnorm.items():
        settled = []
        for state in members:
            engine.flat.vector.copy_(flatten(state))
            if mode == "repair" and alone:
                inputs = [given for given, _ in sources.rows().pieces()]
                parts = _parts(state, sources)
                repair(sources.net, [part for part, _ in parts], inputs, [w for _, w in parts])
            function = engine.settle(mode, calibration, precision)
            settled.append(engine.flat.vector.clone())
        if len(settled) > 1:
            function = Ensemble(engine, settled, routed=isinstance(members, Routed))
        for name, data in sets.items():
            found[mode, name] = evaluate(function, data, precision)
    return found


def _parts(state: State, sources: Sources) -> list[tuple[State, float]]:
    """Return the states of which a state is a mean, with their shares above 0."""
    if isinstance(state, Mixture):
        return [(part, share) for part, share in state.parts if share > 0]
    return [(source, 1.0) for source in sources.states]


def _same(one: State, other: State) -> bool:
    return torch.equal(flatten(one), flatten(other))
