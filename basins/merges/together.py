"""Multi-task training (Caruana 1997): a reference for merging, which avoids its cost."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from basins.errors import UserError
from basins.merges.sources import ForEach, Sources, Task
from basins.merges.traits import Traits
from basins.merges.trajectory import Count, Rate
from basins.nets.outputs import logits_of
from basins.training import adamw
from basins.weights import State

TRAITS = Traits(
    "reference",
    base=True,
    rows=True,
    labels=True,
    gradients=True,
    cost="an epoch backward, of all rows",
    mixes=False,
)


def merge(
    sources: Sources,
    *,
    epochs: Count = 1,
    batch: Count = 32,
    rate: Rate = 1e-3,
    warmup: adamw.Share = 0.1,
    decay: Annotated[float, Field(ge=0)] = 0.01,
    clip: adamw.Norm = 1.0,
) -> ForEach:
    """Return one network trained from the base on all tasks, with a head for each.

    Training is as in `training/classifier.py`, except that tasks alternate by batch, with as many
    steps as `epochs` over all tasks' rows. It starts from the first network's initial state, and
    each head from its network's. Heads are trained as well, and returned; statistics are those of
    each network's training. Without tasks it trains on the training rows, from the base completed
    by the networks' mean. Dropout draws from torch's global generator.

    Args:
        sources: the base and all training rows of the tasks.
        epochs: at least 1.
        batch: rows per step, at least 1.
        rate: AdamW's peak learning rate, above 0.
        warmup: the share of steps of the linear warm-up, in [0, 1).
        decay: AdamW's weight decay of matrices, at least 0.
        clip: the largest norm of the gradient, above 0.

    Raises:
        UserError: there is no base, or the loss is not finite.
    """
    tasks: list[Task | None] = [*sources.tasks] or [None]
    starts = [task.fresh() if task else sources.start() for task in tasks]
    names = sources.names
    shared = {name: nn.Parameter(starts[0][name].clone()) for name in names}
    heads = [
        {name: nn.Parameter(start[name].clone()) for name in (task.head if task else ())}
        for task, start in zip(tasks, starts, strict=True)
    ]
    trained = nn.ParameterList([*shared.values(), *(p for head in heads for p in head.values())])
    rows = [sources.rows(k, task.whole() if task else sources.data) for k, task in enumerate(tasks)]
    steps = epochs * sum(-(-len(each) // batch) for each in rows)
    optimiser = adamw.optimiser([trained], rate, decay)
    scheduler = adamw.linear(optimiser, steps, warmup)
    nets = [
        sources.at(_without(start, task), k)
        for k, (task, start) in enumerate(zip(tasks, starts, strict=True))
    ]
    streams = [each.shuffled(batch, sources.generator) for each in rows]
    for step in range(steps):
        turn = step % len(tasks)
        inputs, labels = next(streams[turn])
        nets[turn].train()
        weights: dict[str, Any] = shared | heads[turn]
        output = functional_call(nets[turn], weights, tuple(inputs))
        loss = functional.cross_entropy(logits_of(output), labels)
        if not loss.isfinite():
            raise UserError(f"together: step {step + 1}: the loss is {float(loss)}; lower the rate")
        adamw.move(optimiser, loss, clip)
        scheduler.step()
    first, found = _without(starts[0], tasks[0]), ForEach()
    for net, head in zip(nets, heads, strict=True):
        moved = {name: b.clone() for name, b in net.eval().named_buffers() if name in first}
        made = {name: parameter.detach() for name, parameter in (shared | head).items()}
        found.append(first | moved | made)
    return found


def _without(state: State, task: Task | None) -> State:
    return {name: t for name, t in state.items() if task is None or name not in task.head}
