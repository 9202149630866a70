"""Connectivity-based fine-tuning, CBFT (Mechanistic Mode Connectivity, Table 1)."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import NormalDist
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.optim import SGD

from basins.data.resident import Resident
from basins.training import sgd
from basins.training.features import features, last_layer

Tensors = dict[str, Tensor]


def finetune(
    net: nn.Module,
    clean: Resident,
    cued: Resident,
    order: torch.Generator,
    *,
    epochs: sgd.Epochs = 20,
    batch_size: sgd.BatchSize = 256,
    lr: sgd.Rate = 0.01,
    momentum: sgd.Momentum = 0.9,
    weight_decay: sgd.Weight = 1e-4,
    barrier_weight: sgd.Weight = 1.0,
    margin: sgd.Weight = 1.0,
    invariance_weight: sgd.Weight = 1.0,
    warm_up: Annotated[int, Field(ge=0)] = 1,
    protocol: Literal["published", "corrected"] = "corrected",
) -> Iterator[dict[str, Any]]:
    """Fine-tune `net` in place away from its start's mechanism; yield a log row after each epoch.

    Each step minimises `barrier_weight` times the `barrier` to the start on a batch of `cued`, then
    the cross-entropy on a batch of `clean` plus, after `warm_up` epochs, `invariance_weight` times
    the `invariance` between the two batches. A term with weight 0 is left out, as in the paper's
    ablations (appendix E). Cued batches are full, unless there are too few images; the remainder of
    a shuffle is dropped.

    `published` is the authors' code: positions by `clipped`, and an lr that is constant for two
    epochs and then ends before it reaches 0. `corrected` draws positions by `truncated`, as in the
    paper, and ends at 0. Both alternate two steps with a common momentum, and compare L2-normalised
    means, as in the code, where the paper's formulas do not specify this.

    Args:
        net: the network, whose last layer is its `head`.
        clean: images without the cue, on the device.
        cued: images, some or all of which carry the cue, on the device.
        order: draws the batches and the positions on the line.
        epochs: of the clean images, at least 1.
        batch_size: for both kinds of images, at least 2.
        lr: above 0; it follows half a cosine.
        momentum: in [0, 1).
        weight_decay: at least 0.
        barrier_weight: the weight of the barrier, at least 0.
        margin: the target loss of the barrier (nats), at least 0.
        invariance_weight: the weight of the invariance, at least 0.
        warm_up: the number of epochs without the invariance, at least 0.
        protocol: `published` or `corrected`.

    Yields:
        Log rows as in `scratch`, of the clean images, with the mean `barrier` (nats) and
        `invariance` (0 if left out).

    Raises:
        UserError: the loss diverges, or `net` has no linear layer `head`.
    """
    last_layer(net)
    optimiser = SGD(net.parameters(), lr, momentum, weight_decay=weight_decay, fused=True)
    steps = sgd.steps_of(clean.labels, batch_size)
    position, held = (clipped, 2 * steps) if protocol == "published" else (truncated, 0)
    scheduler = sgd.cosine(optimiser, epochs * steps, held)
    start = {name: weight.detach().clone() for name, weight in net.named_parameters()}
    statistics = {name: buffer.clone() for name, buffer in net.named_buffers()}
    clean_images, cued_images = sgd.loader(net, clean), sgd.loader(net, cued)
    cued_batches = endless(len(cued.labels), batch_size, order)

    def step(rows: Tensor, labels: Tensor) -> Tensors:
        cued_rows = next(cued_batches).to(labels.device)
        images, cued_labels = cued_images(cued_rows), cued.labels[cued_rows]
        gap = apart = torch.zeros((), device=labels.device)
        if barrier_weight:
            gap = barrier(net, start, statistics, position(order), images, cued_labels, margin)
            sgd.move(optimiser, barrier_weight * gap)
        read, logits = features(net, clean_images(rows))
        loss = objective = functional.cross_entropy(logits, labels)
        if invariance_weight and scheduler.last_epoch >= warm_up * steps:
            cued_read, _ = features(net, images)
            apart = invariance(read, labels, cued_read, cued_labels, logits.shape[1])
            objective = loss + invariance_weight * apart
        sgd.move(optimiser, objective)
        return sgd.sums(logits, labels, loss, barrier=gap, invariance=apart)

    net.train()
    yield from sgd.descend(
        step, clean.labels, order, scheduler, epochs=epochs, batch_size=batch_size
    )
    net.eval()


def barrier(
    net: nn.Module,
    start: Tensors,
    statistics: Tensors,
    t: float,
    images: Tensor,
    labels: Tensor,
    margin: float,
) -> Tensor:
    """Return |cross-entropy - margin| in nats on the line from `net` (t = 0) to `start` (t = 1).

    The network keeps its mode; the gradient with respect to the weights of `net` has the factor
    1 - t of the chain rule.

    Args:
        net: the network at t = 0.
        start: the weights at t = 1, by name.
        statistics: by name, replacements for the buffers of `net`, which are left unchanged.
        t: the position on the line, from 0 to 1.
        images: float32 [b, C, H, W].
        labels: int64 [b].
        margin: the target loss (nats).
    """
    weights = {name: weight.lerp(start[name], t) for name, weight in net.named_parameters()}
    logits = functional_call(net, (weights, statistics), (images,))
    return (functional.cross_entropy(logits, labels) - margin).abs()


def invariance(
    read: Tensor, labels: Tensor, cued_read: Tensor, cued_labels: Tensor, classes: int
) -> Tensor:
    """Return the mean over classes of the squared distance between their two mean features.

    Every class mean is normalised to length 1. A class missing from either batch has distance 0,
    and still counts among the `classes`.

    Args:
        read: features [b, d] of one batch.
        labels: its labels, int64 [b].
        cued_read: features [c, d] of the other batch.
        cued_labels: its labels, int64 [c].
        classes: the number of classes.
    """
    mean, there = _class_means(read, labels, classes)
    cued_mean, cued_there = _class_means(cued_read, cued_labels, classes)
    distances = (mean - cued_mean).square().sum(dim=1)
    return (distances * (there & cued_there)).sum() / classes


def clipped(order: torch.Generator) -> float:
    """Draw t = .5 + .5 clip(z, -.5, .5), of whose mass 61.7 % is at the ends, .25 and .75."""
    return 0.5 + 0.5 * min(max(torch.randn((), generator=order).item(), -0.5), 0.5)


def truncated(order: torch.Generator) -> float:
    """Draw t from the normal of mean .5 and deviation .5, truncated to [0, 1]."""
    normal = NormalDist(0.5, 0.5)
    low, high = normal.cdf(0), normal.cdf(1)
    uniform = torch.rand((), generator=order, dtype=torch.float64).item()
    return normal.inv_cdf(low + uniform * (high - low))


def _class_means(read: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Return the direction of each class's mean feature [K, d], and which classes occur [K]."""
    members = labels == torch.arange(classes, device=labels.device)[:, None]
    # A sum has the direction of the mean.
    return functional.normalize(members.to(read.dtype) @ read), members.any(dim=1)


def endless(count: int, size: int, order: torch.Generator) -> Iterator[Tensor]:
    """Yield full batches of rows indefinitely, shuffled again when no full batch is left."""
    while True:
        yield from torch.randperm(count, generator=order).split(size)[: max(1, count // size)]
