"""Further training from a trained network, and the points that it passes.

What the techniques that continue training have in common: plain SGD with momentum on the training
rows. They do so from every network of a set; ensembles pool what the runs collect, averages take
the mean of the runs' averages.
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
"""Rows of a step by default, on every device: with full batches members would not differ."""


def run(
    sources: Sources,
    start: State,
    rates: Sequence[float],
    momentum: float,
    batch: int = BATCH,
) -> Iterator[State]:
    """Yield the network after each step of SGD from `start`.

    BatchNorm is in training mode and dropout is off, so that the batches are all the noise there
    is. A state is the network itself until the next step: copy what is to stay.

    Args:
        sources: the network and training rows.
        start: the state to begin at.
        rates: the learning rate of each step, at least one.
        momentum: of SGD, from 0 to below 1.
        batch: rows of a step. An epoch takes all training rows in an order drawn anew, but for
            those that do not fill a batch.

    Raises:
        UserError: when the loss is not finite.
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
    """Return a copy of a state that later steps leave alone."""
    return {name: tensor.detach().clone() for name, tensor in state.items()}
