"""Objectives for measuring networks: a loss for every example, and further metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from basins.checkpoints.models import written
from basins.errors import UserError
from basins.nets.outputs import logits_of

Function = Callable[[Any, Any], Tensor]
"""Maps a network's output and the targets of a batch of n examples to a value for each, [n]."""

RESERVED = {
    *("experiment", "model_a", "model_b", "path", "alignment", "batchnorm", "t", "eval_set", "n"),
    *("loss", "loss_se", "merge", "technique", "sources", "set", "members", "f1", "mcc"),
}
"""Names that no metric may have: of other columns of the rows, and of scores of two classes."""

IGNORED = -100  # a target that is ignored, as in torch and Hugging Face


@dataclass(frozen=True)
class Objective:
    """A loss, and metrics by name; each maps outputs and targets of n examples to [n]."""

    loss: Function
    metrics: Mapping[str, Function] = field(default_factory=dict)

    def __call__(self, output: Any, targets: Any) -> tuple[Tensor, Tensor]:
        """Return the losses [n] and the metrics [n, M], float32."""
        losses = _numbers(self.loss(output, targets), "loss", None)
        values = [
            _numbers(metric(output, targets), name, len(losses))
            for name, metric in self.metrics.items()
        ]
        return losses, torch.stack(values, 1) if values else losses.new_zeros(len(losses), 0)


def objective(
    loss: str | Function, metrics: Mapping[str, Function] | None = None
) -> Objective | None:
    """Return the objective for a name in `LOSSES` or for functions; None for classification.

    A function may be given as `FILE.py:FUNCTION`.

    Raises `UserError` if the name is unknown, metrics are given for classification, or a metric
    has a reserved name.
    """
    if taken := sorted(RESERVED & {*(metrics or {})}):
        raise UserError(f"metrics: {taken[0]!r} is the name of a column of the rows; take another")
    if isinstance(loss, str) and ".py:" in loss:
        loss = written(loss, "--loss", lambda function: function)
    if callable(loss):
        return Objective(loss, dict(metrics or {}))
    if loss == "classification":
        if metrics:
            raise UserError(
                "loss 'classification' has accuracy, F1 and MCC; for other metrics give "
                "loss=lambda output, target: cross_entropy(output, target, reduction='none')"
            )
        return None
    if loss not in LOSSES:
        known = ", ".join(["classification", *LOSSES])
        raise UserError(f"loss {loss!r}: there are {known}, or a function of output and target")
    found = LOSSES[loss]
    return Objective(found.loss, {**found.metrics, **(metrics or {})})


def _numbers(found: Any, name: str, count: int | None) -> Tensor:
    if not isinstance(found, Tensor) or found.ndim != 1 or count not in (None, len(found)):
        said = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        wanted = "[n]" if count is None else f"[{count}]"
        raise UserError(
            f"{name}: it returns {said}, not a number for each example, {wanted}; take no mean "
            "over the batch (reduction='none'), but one over whatever else an example has"
        )
    return found.float()


def outputs(output: Any) -> Tensor:
    """Return a network's output, or its `logits` if it is a dict or an output object."""
    found = logits_of(output)
    if not isinstance(found, Tensor):
        raise UserError(f"the network returns {type(found).__name__}; give a loss that takes it")
    return found.float()


def _alike(output: Any, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return outputs and targets of equal shape [n, ...], dropping a last dimension of size 1."""
    found = outputs(output)
    if found.ndim == targets.ndim + 1 and found.shape[-1] == 1:
        found = found[..., 0]
    if found.shape != targets.shape:
        raise UserError(f"outputs {list(found.shape)} and targets {list(targets.shape)} differ")
    return found, targets.float()


def _each(values: Tensor) -> Tensor:
    """Return the mean over all dimensions but the first."""
    return values.flatten(1).mean(1) if values.ndim > 1 else values


def squared_error(output: Any, targets: Tensor) -> Tensor:
    """Return (output - target)^2, in the target's unit squared, averaged over each row."""
    found, wanted = _alike(output, targets)
    return _each((found - wanted) ** 2)


def absolute_error(output: Any, targets: Tensor) -> Tensor:
    """Return |output - target|, in the target's unit, averaged over each row."""
    found, wanted = _alike(output, targets)
    return _each((found - wanted).abs())


def binary_cross_entropy(output: Any, targets: Tensor) -> Tensor:
    """Return the cross-entropy (nats) of logits and targets 0 or 1, both [n] or [n, labels].

    It is averaged over labels. Raises `UserError` if a target is not in [0, 1].
    """
    found, wanted = _alike(output, targets)
    if not bool(((wanted >= 0) & (wanted <= 1)).all()):
        raise UserError(
            f"targets are from {float(wanted.min()):g} to {float(wanted.max()):g}; give 0 or 1"
        )
    return _each(functional.binary_cross_entropy_with_logits(found, wanted, reduction="none"))


def hits(output: Any, targets: Tensor) -> Tensor:
    """Return the share of labels predicted correctly, where a logit above 0 predicts 1."""
    found, wanted = _alike(output, targets)
    return _each(((found > 0) == (wanted > 0.5)).float())


def exact(output: Any, targets: Tensor) -> Tensor:
    """Return 1 for rows whose labels are all predicted correctly, else 0."""
    return (hits(output, targets) == 1).float()


def _next(output: Any, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits [n, T - 1, tokens], the next tokens [n, T - 1], and which of these count."""
    logits = outputs(output)
    if logits.ndim != 3 or logits.shape[:2] != targets.shape:
        raise UserError(
            f"outputs {list(logits.shape)} and targets {list(targets.shape)}; a language model has "
            "logits [n, T, tokens] for token ids [n, T]"
        )
    wanted = targets[:, 1:]
    return logits[:, :-1], wanted.clamp(min=0), wanted != IGNORED


def _by_token(values: Tensor, counts: Tensor) -> Tensor:
    return (values * counts).sum(1) / counts.sum(1)  # NaN for a row without tokens


def next_token(output: Any, targets: Tensor) -> Tensor:
    """Return the cross-entropy of the next token (nats), averaged over a row's tokens.

    Logits are [n, T, tokens]; targets are token ids [n, T], or -100 to be ignored. If all rows have
    the same number of tokens, the mean over rows is the loss per token.
    """
    logits, wanted, counts = _next(output, targets)
    losses = functional.cross_entropy(logits.transpose(1, 2), wanted, reduction="none")
    return _by_token(losses, counts)


def next_token_hits(output: Any, targets: Tensor) -> Tensor:
    """Return the share of a row's tokens that have the largest logit."""
    logits, wanted, counts = _next(output, targets)
    return _by_token((logits.argmax(2) == wanted).float(), counts)


def negative_reward(output: Any, targets: Any) -> Tensor:
    """Return the negative of a network's single output, a reward; targets are not used."""
    found = outputs(output)
    return -(found[..., 0] if found.ndim == 2 and found.shape[1] == 1 else found)


LOSSES = {
    "regression": Objective(squared_error, {"absolute_error": absolute_error}),
    "binary": Objective(binary_cross_entropy, {"accuracy": hits}),
    "multilabel": Objective(binary_cross_entropy, {"accuracy": hits, "exact": exact}),
    "language": Objective(next_token, {"accuracy": next_token_hits}),
    "reward": Objective(negative_reward),
}
"""Losses other than classification, by name, each with its metrics."""
