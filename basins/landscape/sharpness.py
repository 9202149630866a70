"""epsilon-sharpness: how far the loss rises within a small box around a network (LCRGS, 4.7).

Keskar et al. 2017, equation 4, over all parameters. The box around the weights w is
|y_i - w_i| <= epsilon (|w_i| + 1); the paper's code has w_i + 1, which is the same only for
w_i >= 0, and has no width at -1. Dropout is off, as in the evaluation of the loss.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from basins import devices
from basins.item import Item, Step
from basins.nets import checkpoint
from basins.nets.control import Control
from basins.nets.inputs import inputs
from basins.paths.evaluation import Examples
from basins.registry import option
from basins.weights import FlatModule

Value = Callable[[Tensor], tuple[float, Tensor]]


class Sharpness(NamedTuple):
    """A network's mean loss (nats), the highest loss found in the box, and their difference.

    `sharpness` is 100 (worst - loss) / (1 + loss), never below 0; `n` counts the examples.
    """

    loss: float
    worst: float
    sharpness: float
    n: int


def highest(
    value: Value, start: Tensor, radius: Tensor, told: Step, *, step: float, passes: int
) -> tuple[float, float]:
    """Return a function's value at `start`, and the highest value found by ascent in a box.

    It is projected sign-gradient ascent: every coordinate moves by the sign of its gradient and is
    clipped to the box. In a box so small that the function is linear, a first step of at least 1/2
    reaches the maximum.

    Args:
        value: returns the function's value at a point [size] and its gradient [size].
        start: the centre of the box [size].
        radius: half the width of the box [size].
        told: called after each pass.
        step: the length of the first step, in widths of the box; later steps decrease linearly.
        passes: the number of steps.
    """
    low, high = start - radius, start + radius
    found, gradient = first, _ = value(start)
    best, point = first, start
    for left in range(passes, 0, -1):
        size = 2 * step * left / passes
        point = torch.clamp(point + size * radius * gradient.sign(), low, high)
        found, gradient = value(point)
        best = max(best, found)
        told()
    return first, best


def sharpness(
    net: nn.Module,
    data: Examples,
    told: Step,
    *,
    epsilon: Annotated[float, Field(gt=0, lt=1)],
    passes: Annotated[int, Field(ge=1)],
    step: Annotated[float, Field(gt=0, le=1)] = 1.0,
    examples: Annotated[int, Field(ge=1)] | None = None,
) -> Sharpness:
    """Return the epsilon-sharpness of a network on the first examples of a set, or on all.

    The paper uses one pass of SGD over batches of 128 at a rate of 8e-5, which does not reach the
    maximum, particularly if a network's gradients are small. Here each pass uses the gradient over
    all examples. BatchNorm's statistics and the network's weights are left unchanged.

    Args:
        net: the network; it is left in evaluation mode, without gradients.
        data: the set.
        told: called after each pass.
        epsilon: half the width of the box, in units of |w| + 1; in (0, 1). 1e-5 in the paper.
        passes: steps of the ascent, at least 1. One is enough at an epsilon of 1e-5; at 1e-3 the
            loss is far from linear and needs five or more.
        step: as in `highest`; in (0, 1].
        examples: how many of the dataset's first rows are used, at least 1; None means all.
    """
    net.eval()
    flat = FlatModule(net)
    start = flat.vector.clone()
    trained = flat.trained
    gradient = torch.zeros_like(start)
    for name, weight in net.named_parameters():
        weight.grad = gradient[flat.places[name]].view_as(weight)  # backward accumulates here
    count = sum(len(labels) for _, labels in _first(data, examples))
    plain = devices.memory_format(net) is torch.contiguous_format  # images are channels-last

    def value(point: Tensor) -> tuple[float, Tensor]:
        flat.vector.copy_(point)
        gradient.zero_()
        total = 0.0
        for given, labels in _first(data, examples):
            output = net(*(x.contiguous() if plain and x is not None else x for x in given))
            losses = _losses(getattr(output, "logits", output), labels, data.merge)
            (losses.sum() / count).backward()
            total += float(losses.detach().sum(dtype=torch.float64))
        return total / count, gradient

    radius = torch.where(trained, epsilon * (start.abs() + 1), 0)
    loss, worst = highest(value, start, radius, told, step=step, passes=passes)
    flat.vector.copy_(start)
    net.zero_grad()
    return Sharpness(loss, worst, 100 * (worst - loss) / (1 + loss), count)


@dataclass(frozen=True)
class Ascent(Item):
    """The sharpness of one model; `options` are those of `sharpness`.

    `eval_set` is an evaluation set in the dataset's folder `data`, whose hash is `fingerprint`.
    """

    model: Control
    data: Path
    fingerprint: str
    eval_set: str
    options: dict[str, Any]
    device: torch.device
    kind: ClassVar[str] = "sharpness"

    def __str__(self) -> str:
        return str(self.model)

    def decides(self) -> dict[str, Any]:
        """Return everything that determines the sharpness, except code and machine."""
        return {
            "model": self.model.identity(),
            "net": self.model.net(),
            "data": [self.fingerprint, self.eval_set],
            "options": self.options,
        }

    def make(self, folder: Path, step: Step) -> None:
        """Write `sharpness.json`; each pass of the ascent is a step."""
        net = checkpoint.load(self.model.model).to(self.device)
        data = inputs(self.data, self.eval_set, self.model.model, self.device)
        value = sharpness(net, data, step, **self.options)
        (folder / "sharpness.json").write_text(json.dumps(value._asdict()))

    def steps(self) -> int:
        """Return the number of passes."""
        return option(sharpness, self.options, "passes")

    def result(self, folder: Path) -> Sharpness:
        """Return the sharpness."""
        return Sharpness(**json.loads((folder / "sharpness.json").read_text()))


def _first(
    data: Examples, examples: int | None
) -> Iterator[tuple[tuple[Tensor | None, ...], Tensor]]:
    """Yield the batches of the dataset's first rows, in whatever order examples are stored."""
    seen = 0
    for given, labels in data.batches():
        rows = slice(seen, seen + len(labels))
        at = torch.arange(rows.start, rows.stop) if data.order is None else data.order[rows]
        seen, kept = rows.stop, at < (torch.inf if examples is None else examples)
        if kept.all():
            yield given, labels
        elif kept.any():
            yield tuple(None if x is None else x[kept] for x in given), labels[kept]


def _losses(logits: Tensor, labels: Tensor, merge: Tensor | None) -> Tensor:
    """Return the cross-entropy [n] of logits [n, K], whose classes may be merged."""
    if merge is None:
        return functional.cross_entropy(logits, labels, reduction="none")
    merged = logits.masked_fill(merge != labels[:, None], -torch.inf).logsumexp(dim=1)
    return logits.logsumexp(dim=1) - merged
