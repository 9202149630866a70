"""Pretraining a text encoder by replaced token detection (Clark et al. 2020) and masked tokens.

A sentence is paired with a restatement, some of whose tokens are replaced; to detect these, the
encoder has to compare both. Masked tokens alone do not teach a small encoder to do so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from basins import seeds
from basins.data.vocabulary import SPECIAL
from basins.errors import UserError
from basins.training import adamw, sgd
from basins.training.rows import Rows

if TYPE_CHECKING:
    from transformers import BertModel

MASK = SPECIAL.index("[MASK]")
LOGGED = 100  # steps between two rows of the log

Share = Annotated[float, Field(gt=0, lt=1)]


def pretrain(
    net: BertModel,
    data: Rows,
    draws: torch.Generator,
    *,
    steps: Annotated[int, Field(ge=1)] = 3000,
    batch_size: sgd.BatchSize = 32,
    lr: sgd.Rate = 1e-3,
    warmup: adamw.Share = 0.1,
    weight_decay: sgd.Weight = 0.01,
    clip: adamw.Norm = 1.0,
    replaced: Share = 0.3,
    within: adamw.Share = 0.3,
    masked: Share = 0.15,
) -> Iterator[dict[str, Any]]:
    """Train the encoder `net` in place, without dropout, and yield a log row every 100 steps.

    Some tokens of the second sentences are masked, and some of the others are replaced by random
    tokens that follow the same token elsewhere, possibly by the original token. Two heads, which
    are discarded afterwards, predict the masked tokens and detect replaced ones; the loss is the
    sum of their mean cross-entropies, in nats.

    Args:
        net: the encoder, left in evaluation mode.
        data: pairs of sentences with the same meaning, on the device.
        draws: determines everything random.
        steps: at least 1.
        batch_size: at least 2.
        lr: the peak learning rate, above 0.
        warmup: the share of steps of the linear warm-up, in [0, 1); lr then decreases to 0.
        weight_decay: of matrices, at least 0; not applied to vectors.
        clip: the largest norm of the gradient over all weights, above 0.
        replaced: the share of unmasked tokens that are replaced, between 0 and 1.
        within: the share of these that is drawn from the same row, in [0, 1), so that knowing the
            row's words does not suffice for detection; others are drawn from any row.
        masked: the share of tokens that are masked, between 0 and 1.

    Yields:
        step, its lr, and since the last row the means of both losses (nats), `detection` and
        `masked`, and the shares of replaced tokens (`found`) and of others (`alarms`) that were
        classified as replaced. There is a row after the last step.

    Raises:
        UserError: the loss diverges.
    """
    device, width = data.ids.device, net.config.hidden_size
    with seeds.torch_stream("heads", draws.initial_seed()):
        detector = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1))
        guesser = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
    heads = nn.ModuleList([detector, guesser]).to(device)
    optimiser = adamw.optimiser([net, heads], lr, weight_decay)
    scheduler = adamw.linear(optimiser, steps, warmup)
    words = net.get_input_embeddings().weight
    follow, drawn = Followers(data), batches(data.lengths.cpu(), batch_size, draws)
    sums, done = torch.zeros(6, device=device), 0
    net.eval()  # no dropout

    for step in range(1, steps + 1):
        ids, mask, types = data.batch(next(drawn).to(device))
        hidden, kept, new = corrupt(ids, types, follow, draws, replaced, within, masked)
        false = (new != ids)[kept]

        states = net(new.masked_fill(hidden, MASK), mask, types).last_hidden_state
        scores = detector(states[kept])[:, 0]
        told = functional.binary_cross_entropy_with_logits(scores, false.float(), reduction="sum")
        guesses = guesser(states[hidden]) @ words.T
        guessed = functional.cross_entropy(guesses, ids[hidden], reduction="sum")
        detection = told / max(1, len(false))
        masking = guessed / max(1, len(guesses))
        rate = scheduler.get_last_lr()[0]
        adamw.move(optimiser, detection + masking, clip)
        scheduler.step()

        taken = scores > 0
        counts = (taken & false, false, taken & ~false, ~false)
        sums += torch.stack([detection.detach(), masking.detach(), *(c.sum() for c in counts)])
        if step % LOGGED == 0 or step == steps:
            taken_steps = step - done
            told_, guessed_, found, replaced_, alarms, others = sums.tolist()
            if not told_ + guessed_ < float("inf"):
                raise UserError(f"diverged before step {step}: lower lr ({lr})")
            yield {
                "step": step,
                "lr": rate,
                "detection": told_ / taken_steps,
                "masked": guessed_ / taken_steps,
                "found": found / max(1, replaced_),
                "alarms": alarms / max(1, others),
            }
            sums.zero_()
            done = step


def corrupt(
    ids: Tensor,
    types: Tensor,
    follow: Followers,
    draws: torch.Generator,
    replaced: float,
    within: float,
    masked: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return which tokens of the second sentences are masked, which are not, and the new ids.

    Args:
        ids: int64 [b, T].
        types: 1 for tokens of the second sentences, int64 [b, T].
        follow: the tokens that follow each token in the rows.
        draws: determines everything random.
        replaced: the share of unmasked tokens that are replaced.
        within: the share of these that is drawn from the same row.
        masked: the share of tokens that are masked.

    Returns:
        bool [b, T], bool [b, T] and int64 [b, T]. Special tokens are in neither of the first two.
    """

    def chosen(share: float) -> Tensor:
        return torch.rand(ids.shape, generator=draws).to(ids.device) < share

    content = ids >= len(SPECIAL)
    hidden = content & (types == 1) & chosen(masked)
    kept = content & (types == 1) & ~hidden
    new = torch.where(chosen(within), near(ids, content, draws), follow.draw(ids, draws))
    return hidden, kept, torch.where(kept & chosen(replaced), new, ids)


class Followers:
    """The tokens that follow each token in the rows, to be drawn from."""

    def __init__(self, data: Rows) -> None:
        before, after = data.ids[:-1], data.ids[1:]
        kept = (after >= len(SPECIAL)) & (data.types[1:] == 1)
        before, self.tokens = before[kept], after[kept]
        order = before.argsort(stable=True)
        self.tokens = self.tokens[order]
        self.counts = torch.bincount(before, minlength=int(data.ids.max()) + 1)
        self.starts = self.counts.cumsum(0) - self.counts

    def draw(self, ids: Tensor, draws: torch.Generator) -> Tensor:
        """Return, for each of the ids [b, T], a token that follows the token before it."""
        chances = torch.rand(ids.shape, generator=draws).to(ids.device)
        before = ids.roll(1, dims=1)
        places = self.starts[before] + (chances * self.counts[before]).long()
        return self.tokens[places.clamp_max(len(self.tokens) - 1)]


def near(ids: Tensor, content: Tensor, draws: torch.Generator) -> Tensor:
    """Return, for each of the ids [b, T], one from its row that follows the same token."""
    before = ids.roll(1, dims=1)
    alike = (before[:, :, None] == before[:, None]) & content[:, None]
    chances = torch.rand(alike.shape, generator=draws).to(ids.device)
    return ids.gather(1, (chances * alike).argmax(2))


def batches(lengths: Tensor, batch_size: int, draws: torch.Generator) -> Iterator[Tensor]:
    """Yield batches of rows of similar length indefinitely, with every row once per epoch."""
    while True:
        rows = torch.randperm(len(lengths), generator=draws)
        rows = rows[lengths[rows].argsort(stable=True)]
        parts = rows.split(batch_size)
        for i in torch.randperm(len(parts), generator=draws).tolist():
            yield parts[i]
