"""Continues training from a trained network, and yields the states along the run.

It is shared by techniques that continue training by SGD with momentum on the training rows, from
every network of a set. Ensembles pool the members of all runs; averages are averaged over runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import Field
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import SGD

from basins.errors import UserError
from basins.merges.sources import Sources, logits
from basins.weights import State

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


BATCH = 64
"""Default number of rows per step on every device: full batches would give equal members."""


def run(
    sources: Sources,
    start: State,
    rates: Sequence[float],
    momentum: float,
    batch: int = BATCH,
) -> Iterator[State]:
    """Yield the state after each step of SGD from `start`.

    BatchNorm is in training mode and dropout is off, so that batches are the only source of noise.
    A state shares memory with the network and changes at the next step: copy it to keep it.

    Args:
        sources: the network and training rows.
        start: the initial state.
        rates: the learning rate of each step, at least one.
        momentum: of SGD, in [0, 1).
        batch: rows per step. An epoch uses all training rows in a new random order, except for a
            last incomplete batch.

    Raises:
        UserError: the loss is not finite.
    """
    sources.one_task()
    net = sources.net
    net.load_state_dict(start)
    net.eval()
    for module in net.modules():
        module.train(isinstance(module, _BatchNorm))
    optimiser = SGD(net.parameters(), rates[0], momentum)
    batches = sources.rows().shuffled(batch, sources.generator)
    for step, rate in enumerate(rates):
        for group in optimiser.param_groups:
            group["lr"] = rate
        inputs, labels = next(batches)
        loss = functional.cross_entropy(logits(net, inputs), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if not loss.isfinite():
            raise UserError(
                f"step {step + 1}: the loss is {float(loss.detach())}; lower the rate ({rate})"
            )
        yield net.state_dict()
    optimiser.zero_grad()
    net.eval()


def copied(state: State) -> State:
    """Return a copy of a state that later steps do not change."""
    return {name: tensor.detach().clone() for name, tensor in state.items()}
