"""Losses of every example, computed fast and, for a sample, a second time by the plain network."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.utils._pytree import tree_leaves, tree_map

from basins.align.batchnorm import same_draws
from basins.data.images import Evaluation
from basins.errors import UserError
from basins.nets.outputs import logits_of

Precision = Literal["fp32", "bf16"]


class Examples(Protocol):
    """Labelled examples in batches on the device."""

    @property
    def order(self) -> Tensor | None:
        """The dataset's row [n] of each emitted example, or None if they are in order."""
        ...

    @property
    def merge(self) -> Tensor | None:
        """The class of the examples that each class of the network [K] counts as, or None."""
        ...

    def batches(self) -> Iterator[tuple[tuple[Tensor | None, ...], Tensor]]:
        """Yield the network's positional inputs and the labels, every example once."""
        ...


class Objective(Protocol):
    """An objective other than classification by cross-entropy.

    Examples that have one hold it in an attribute `objective`.
    """

    def __call__(self, output: Any, labels: Any) -> tuple[Tensor, Tensor]:
        """Return losses [n] and metrics [n, M] of a network's output for a batch of n examples."""
        ...


@runtime_checkable
class Episodes(Protocol):
    """Data without batches that evaluate a network themselves, such as episodes of an agent."""

    def measured(self, net: Callable[..., Any]) -> Evaluation:
        """Return losses [n] and metrics [n, M] of the plain network."""
        ...


SAMPLE = 2  # examples of a batch whose losses are computed a second time
EVERY = 10_000  # the least number of examples evaluated between two such samples
TOLERANCE = {"fp32": 1e-3, "bf16": 0.1}
"""The largest allowed difference of two losses: nats, times the largest logit if that exceeds 1."""


@dataclass
class DoubleEntry:
    """The outcome of computing losses a second time by the plain network.

    The plain network is the one its author wrote, with nothing folded, traced or packed, in fp32.
    `compared` counts examples; `apart` is the largest difference (nats, divided by the largest
    logit if that exceeds 1). `plain` says that the fast computation was wrong and is no longer
    used; `alone` that the loss of an example does not depend on the rest of its batch.
    """

    compared: int = 0
    apart: float = 0.0
    plain: bool = False
    alone: bool = True
    due: int = 0  # examples until the next sample
    turn: int = -1  # the number of the batch from which it is taken


def outcome(entries: Collection[DoubleEntry]) -> dict[str, Any]:
    """Return the combined outcome of second computations, for the provenance.

    `plain` counts the entries in which the fast computation was wrong, and `by_batch` those in
    which losses depend on the batch.
    """
    return {
        "examples": sum(entry.compared for entry in entries),
        "largest_difference": max((entry.apart for entry in entries), default=0.0),
        "plain": sum(entry.plain for entry in entries),
        "by_batch": sum(not entry.alone for entry in entries),
    }


_entries: WeakKeyDictionary[nn.Module, DoubleEntry] = WeakKeyDictionary()


def double_entry(net: nn.Module) -> DoubleEntry:
    """Return the outcome of second computations for a network or function in this process."""
    return _entries.setdefault(net, DoubleEntry())


def anew(net: nn.Module) -> DoubleEntry:
    """Start a new double entry, so that its samples do not depend on earlier measurements."""
    _entries[net] = DoubleEntry()
    return _entries[net]


def autocast(net: nn.Module, precision: Precision) -> torch.autocast:
    """Return the context in which a network computes in a precision."""
    device = next(net.parameters()).device.type
    return torch.autocast(device, torch.bfloat16, enabled=precision == "bf16")


@torch.inference_mode()
def evaluate(
    net: nn.Module, data: Examples | Episodes, precision: Precision = "fp32"
) -> Evaluation:
    """Return loss and correctness of each example, with the network in evaluation mode.

    For every `EVERY` examples, `SAMPLE` losses are computed a second time, by `net.plainly` if it
    exists and otherwise by `net`, in fp32. If they differ by more than `TOLERANCE`, a warning is
    given and the plain network is used from then on. If `data` has an `Objective`, its metrics,
    float32 [n, M], replace correctness, as do those of `Episodes`, which are measured once. Raises
    `UserError` if there is no objective and outputs are not logits [n, K] of at least two classes,
    or labels are not classes.
    """
    entry = double_entry(net.eval())
    plain: Callable[..., Any] = getattr(net, "plainly", net)
    if isinstance(data, Episodes):
        with same_draws(net):
            return data.measured(plain)
    found = _Found([], [], -1)
    if not entry.plain:
        try:
            with same_draws(net), autocast(net, precision):
                found = _all(net, data, entry.turn)
        except UserError:
            raise
        except Exception as error:  # tracing may have followed a wrong branch
            if plain is net:
                raise
            _give_up(net, entry, f"fails ({type(error).__name__})")
        else:
            entry.due -= sum(map(len, found.losses))
            if entry.due <= 0:
                with same_draws(net):
                    _compare(net, plain, data, found, entry, precision)
    if entry.plain:
        with same_draws(net):
            found = _all(plain, data, -1)
    losses, correct = (torch.cat(parts).cpu().numpy() for parts in (found.losses, found.correct))
    if data.order is None:
        return Evaluation(losses, correct)
    rows = np.argsort(data.order.cpu().numpy())
    return Evaluation(losses[rows], correct[rows])


class _Found(NamedTuple):
    """Loss and correctness [n] of each batch, and one batch: its number, inputs, labels, logits."""

    losses: list[Tensor]
    correct: list[Tensor]
    number: int
    inputs: Any = ()
    labels: Any = torch.empty(0)
    logits: Tensor = torch.empty(0)


def _all(net: Callable[..., Any], data: Examples, turn: int) -> _Found:
    """Evaluate all batches; keep the batch number `turn`, or the last if there are fewer."""
    objective: Objective | None = getattr(data, "objective", None)
    losses, correct, outside, kept = [], [], [], ()
    for number, (inputs, labels) in enumerate(data.batches()):
        logits = torch.empty(0)
        if objective is not None:
            for parts, part in zip(
                (losses, correct), objective(_call(net, inputs), labels), strict=True
            ):
                parts.append(part)
        else:
            logits = _logits(net, inputs, labels)
            answers, classes = logits.argmax(dim=1), logits.shape[1]
            if data.merge is not None:  # a class gets the sum of the merged probabilities
                other = data.merge != labels[:, None]
                merged = logits.masked_fill(other, -torch.inf).logsumexp(dim=1)
                losses.append(logits.logsumexp(dim=1) - merged)
                answers = data.merge[answers]
            else:
                outside.append((labels < 0) | (labels >= classes))
                # Torch ignores labels of -100, and fails for labels above the number of classes.
                losses.append(
                    functional.cross_entropy(logits, labels.clamp(0, classes - 1), reduction="none")
                )
            # For NaN, argmax returns the first class, which must not count as correct.
            correct.append((answers == labels) & losses[-1].isfinite())
        if number <= turn or turn < 0:
            kept = (number, inputs, labels, logits)
    if not kept or not sum(map(len, losses)):
        raise UserError("a set without examples has no loss; give some")
    if outside and bool(torch.cat(outside).any()):
        count = int(torch.cat(outside).sum())
        raise UserError(f"{count} labels are not among the network's classes; drop or map them")
    return _Found(losses, correct, *kept)


def _call(net: Callable[..., Any], inputs: Any) -> Any:
    """Return the output for inputs given by name or by position."""
    return net(**inputs) if isinstance(inputs, Mapping) else net(*inputs)


def _logits(net: Callable[..., Any], inputs: Any, labels: Tensor) -> Tensor:
    output = _call(net, inputs)
    logits = logits_of(output)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[1] < 2:
        what = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UserError(
            f"{_name(net)}: it returns {what}; what is measured is the cross-entropy of "
            "classifiers, whose output is logits [n, classes], of two classes or more"
        )
    if labels.ndim != 1 or labels.is_floating_point():
        found = f"{labels.dtype} {list(labels.shape)}".removeprefix("torch.")
        raise UserError(f"labels are {found}; cross-entropy takes classes, integers [n]")
    return logits.float()


def _compare(
    net: nn.Module,
    plain: Callable[..., Any],
    data: Examples,
    found: _Found,
    entry: DoubleEntry,
    precision: Precision,
) -> None:
    """Compute two losses of the kept batch a second time: of its first row, and of `_other`."""
    classes = getattr(data, "objective", None) is None
    if classes and not entry.compared and _probabilities(found.logits):
        raise UserError(
            f"{_name(net)}: it returns probabilities (rows from 0 to 1 that add up to 1); return "
            "logits, what they are the softmax of"
        )
    losses = found.losses[found.number]
    count = len(losses)
    rows = sorted({0, _other(found.inputs, count)})[:SAMPLE]

    def part(x: Any) -> Any:
        return x[rows] if isinstance(x, Tensor) and x.ndim and len(x) == count else x

    labels, given = tree_map(part, found.labels), tree_map(part, found.inputs)
    if classes and _apart(found.logits[rows], labels, data, losses[rows]) > TOLERANCE[precision]:
        raise UserError(
            f"{_name(net)}: losses by two formulas of the same logits differ; this is a defect of "
            "basins: please report it"
        )
    try:
        apart = _again(plain, given, labels, data, losses[rows])
    except Exception:  # it may only accept batches of one size
        apart = torch.inf
    entry.due, entry.turn = EVERY, 0 if entry.turn < 0 else entry.turn + 1
    if found.number < entry.turn - 1:  # there is no such batch
        entry.turn = 0
    entry.compared += len(rows)
    if apart > TOLERANCE[precision] and (plain is not net or precision != "fp32"):
        whole = _again(plain, found.inputs, found.labels, data, losses)
        if whole > TOLERANCE[precision]:
            entry.apart = max(entry.apart, whole)
            _give_up(net, entry, f"differs by up to {whole:.2g} nats")
            return
    if apart <= TOLERANCE[precision]:
        entry.apart = max(entry.apart, apart)
    elif entry.alone:
        entry.alone = False
        warnings.warn(
            f"{_name(net)}: what it says of an example depends on the others in the batch, or is "
            "drawn anew; losses are those of batches",
            stacklevel=3,
        )


def _other(inputs: Any, count: int) -> int:
    """Return the row, after the first, with most padding (-inf in a mask [n, ...]), or the last."""
    for x in tree_leaves(inputs):
        if isinstance(x, Tensor) and x.is_floating_point() and x.ndim > 1 and len(x) == count:
            padding = x.isneginf().flatten(1).sum(1)[1:]
            if bool(padding.any()):
                return 1 + int(padding.argmax())
    return count - 1


def _again(
    plain: Callable[..., Any], inputs: Any, labels: Any, data: Examples, losses: Tensor
) -> float:
    """Return the largest difference of losses [n] to the plain network's, as in `TOLERANCE`."""
    objective: Objective | None = getattr(data, "objective", None)
    if objective is None:
        return _apart(_logits(plain, inputs, labels), labels, data, losses)
    expected = objective(_call(plain, inputs), labels)[0].double()
    apart = (losses.double() - expected).abs() / expected.abs().clamp(min=1)
    return _largest(apart, losses, expected)


def _apart(logits: Tensor, labels: Tensor, data: Examples, losses: Tensor) -> float:
    """Return the largest difference of losses [n] to those of logits [n, K], as in `TOLERANCE`."""
    logits = logits.double()
    own = []
    for said, label in zip(logits, labels, strict=True):
        right = said[label] if data.merge is None else said[data.merge == label].logsumexp(0)
        own.append(said.logsumexp(0) - right)
    expected = torch.stack(own)
    apart = (losses.double() - expected).abs() / logits.abs().amax(1).clamp(min=1)
    return _largest(apart, losses, expected)


def _largest(apart: Tensor, losses: Tensor, expected: Tensor) -> float:
    alike = ~losses.isfinite() & ~expected.isfinite()
    return float(apart.masked_fill(alike, 0).nan_to_num(torch.inf).max())


def _probabilities(logits: Tensor) -> bool:
    sums = logits.sum(1)
    return bool((logits >= 0).all() and ((sums - 1).abs() < 1e-4).all())


def _give_up(net: nn.Module, entry: DoubleEntry, what: str) -> None:
    entry.plain = True
    warnings.warn(
        f"{_name(net)}: computed fast (BatchNorm folded, code traced, rows packed or bf16) it "
        f"{what} from the network called as it is, which is measured instead",
        stacklevel=4,
    )


def _name(net: Any) -> str:
    owner = getattr(net, "__self__", net)
    return (
        type(getattr(owner, "plainly", owner)).__name__
        if isinstance(owner, fx.GraphModule)
        else type(owner).__name__
    )
