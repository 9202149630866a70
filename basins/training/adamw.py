"""AdamW as used for BERT: linear warm-up and decay, clipped gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

Share = Annotated[float, Field(ge=0, lt=1)]
Norm = Annotated[float, Field(gt=0)]


def optimiser(parts: Sequence[nn.Module], lr: float, weight_decay: float) -> AdamW:
    """Return AdamW for the networks' weights, with BERT's betas .9 and .999 and epsilon 1e-6.

    Weight decay is not applied to vectors: biases and the weights of LayerNorm.
    """
    weights = list(dict.fromkeys(weight for part in parts for weight in part.parameters()))
    groups = [
        {"params": [weight for weight in weights if weight.ndim > 1]},
        {"params": [weight for weight in weights if weight.ndim < 2], "weight_decay": 0.0},
    ]
    return AdamW(groups, lr, (0.9, 0.999), 1e-6, weight_decay, fused=True)


def linear(optimiser: AdamW, steps: int, warmup: float) -> LRScheduler:
    """Increase lr linearly over the first `warmup` share of `steps`, then decrease it to 0."""
    rise = int(warmup * steps)

    def share(done: int) -> float:
        return (done + 1) / (rise + 1) if done < rise else (steps - done) / (steps - rise)

    return LambdaLR(optimiser, share)


def move(optimiser: AdamW, loss: Tensor, clip: float) -> None:
    """Take one step on `loss`, with the norm of the gradient over all weights clipped at `clip`."""
    optimiser.zero_grad()
    loss.backward()
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    nn.utils.clip_grad_norm_(weights, clip)
    optimiser.step()
