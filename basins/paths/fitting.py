"""Trains the inner control point of a path to minimise the mean loss along the path."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from basins.data.cued import Cued
from basins.data.images import Split
from basins.data.resident import resident
from basins.nets.outputs import logits_of
from basins.paths.engine import Coefficients, combine
from basins.training import sgd
from basins.training.rows import Rows
from basins.weights import FlatModule

Share = Annotated[float, Field(ge=0, le=1)]
Mixture = Callable[[float, float, int], Rows]  # of counterexamples and noise, by a seed
Load = Callable[[Tensor], Sequence[Tensor | None]]


def minimise(
    coefficients: Coefficients,
    net: nn.Module,
    ends: Sequence[Tensor],
    data: Cued | Mixture,
    order: torch.Generator,
    *,
    cue_proportion: Share = 0.0,
    counterexamples: Share = 0.0,
    noise: Share = 0.0,
    seed: Annotated[int, Field(ge=0)] = 0,
    epochs: sgd.Epochs,
    batch_size: sgd.BatchSize,
    lr: sgd.Rate,
    momentum: sgd.Momentum,
    weight_decay: sgd.Weight,
    decayed: Literal["inner", "curve"] = "inner",
    precision: sgd.Precision = "fp32",
    protocol: Literal["published", "corrected"] = "corrected",
) -> Iterator[dict[str, Any]]:
    """Train `net` as the inner control point between two `ends`; yield a log row per epoch.

    For every batch t is drawn uniformly, and SGD on the inner point minimises the cross-entropy of
    the network at t, with BatchNorm and dropout in training mode. Dropout draws from torch's global
    generator. The inner point's BatchNorm statistics are the mean of the ends'; the fit does not
    use them, only `interpolate` does.

    `corrected` starts at the mean of the ends and uses the gradient with respect to the inner
    point, which is the network's gradient times the coefficient. `published` is the code of
    Mechanistic Mode Connectivity (section 4; 15 epochs, batch size 128, lr .1, momentum .9, weight
    decay 1e-4): it starts at the initial weights of `net` and scales the learning rate instead of
    the gradient, which also affects weight decay and earlier gradients in the momentum.

    Args:
        coefficients: `coefficients(t)` are those of the first end, the inner point and the second
            end.
        net: the network, newly initialised on the device and left in evaluation mode.
        ends: two flat weights [size] on the net's device.
        data: the training images, or a function that mixes the training rows of a text (LCRGS,
            appendix G).
        order: draws the batches and t.
        cue_proportion: the share of images with the cue, from 0 to 1. This and the next three
            should be those with which the ends were trained.
        counterexamples: the share of a text's rows that are counterexamples, from 0 to 1.
        noise: the share of a text's rows with a wrong label, from 0 to 1.
        seed: the dataset's seed, which draws these two shares.
        epochs: at least 1.
        batch_size: at least 2.
        lr: above 0; it is divided by ten after two thirds of the steps.
        momentum: in [0, 1).
        weight_decay: at least 0.
        decayed: what weight decay is applied to: the `inner` point, as in the code of Mechanistic
            Mode Connectivity, or the weights of the `curve` at t, as in Garipov et al.'s, which
            allows a bend with a larger norm.
        precision: of the forward pass: `fp32`, or `bf16` by autocast.
        protocol: `published` or `corrected`.

    Yields:
        epoch, its last lr, and its mean loss (nats) and accuracy along the path.

    Raises:
        UserError: the loss diverges.
    """
    if isinstance(data, Cued):
        labels, inputs = _images(net, data.at(cue_proportion), ends[0].device)
    else:
        rows = data(counterexamples, noise, seed)
        labels, inputs = rows.labels, rows.batch
    flat = FlatModule(net)
    mean = (ends[0] + ends[1]) / 2
    inner = flat.vector.clone() if protocol == "published" else mean.clone()
    inner.grad = gradient = torch.zeros_like(inner)
    for name, weight in net.named_parameters():
        weight.grad = gradient[flat.places[name]].view_as(weight)  # backward accumulates here
    decay = weight_decay if decayed == "inner" else 0.0
    optimiser = SGD([inner], lr, momentum, weight_decay=decay, fused=True)
    turn = epochs * sgd.steps_of(labels, batch_size) * 2 / 3
    scheduler = LambdaLR(optimiser, lambda done: 1.0 if done < turn else 0.1)
    autocast = torch.autocast(inner.device.type, torch.bfloat16, enabled=precision == "bf16")

    def step(batch: Tensor, targets: Tensor) -> dict[str, Tensor]:
        point = coefficients(float(torch.rand((), generator=order)))
        combine((ends[0], inner, ends[1]), point, out=flat.vector)
        with autocast:
            output = net(*inputs(batch))
            logits = logits_of(output)
        loss = functional.cross_entropy(logits.float(), targets)
        gradient.zero_()
        loss.backward()
        if decayed == "curve":
            gradient.add_(flat.vector, alpha=weight_decay)
        if protocol == "published":
            optimiser.param_groups[0]["lr"] *= point[1]  # until the scheduler's next step
        else:
            gradient.mul_(point[1])
        optimiser.step()
        return sgd.sums(logits, targets, loss)

    net.train()
    yield from sgd.descend(step, labels, order, scheduler, epochs=epochs, batch_size=batch_size)
    flat.vector.copy_(torch.where(flat.trained, inner, mean))
    net.eval()


def _images(net: nn.Module, images: Split, device: torch.device) -> tuple[Tensor, Load]:
    """Return the labels [n], and a function from rows [b] to the network's positional inputs."""
    placed = resident(images, device)
    load = sgd.loader(net, placed)
    return placed.labels, lambda rows: (load(rows),)
