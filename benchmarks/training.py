"""Training several seeds in parallel, compared with one at a time, along the same trajectory.

The baseline is the usual loop: a `DataLoader` whose processes transform image after image, torch on
all cores, one seed at a time. Both sides start from the same weights and see the same batches.
Early in training rounding errors double at every step, so that memory layouts differ within ten
steps; losses are therefore compared with the loop in the project's layout, on one thread.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, RandomSampler

from basins import seeds
from basins.data.resident import Resident, normalise
from basins.errors import UserError
from basins.item import runner
from basins.nets import checkpoint
from basins.training import scratch
from benchmarks.evaluation import TRANSFORM, Items
from benchmarks.fixtures import CORES, CPU, NET, RECIPE, Data, dataset, start_workers
from benchmarks.harness import Row, ratio, rounds, threads

SIDE, IMAGES, SEEDS = 32, 3200, 4
STEPS, TOLERANCE = 100, 1e-5  # number of losses that must agree; tolerance in nats


def measure(repetitions: int) -> Iterator[Row]:
    """Yield the ratio of seeds per hour, after checking that trajectories agree."""
    with tempfile.TemporaryDirectory() as folder:
        data = dataset(Path(folder), IMAGES, 10, SIDE)
        images = data.calibration(IMAGES).load(CPU)
        loop = sequential(images, 1, 1, our_pixels, torch.channels_last)
        difference = np.abs(our_losses(images) - loop[:STEPS]).max()
        if not difference <= TOLERANCE:
            raise UserError(f"training: the first {STEPS} losses differ by up to {difference} nats")
        sides = (lambda: sequential(images, SEEDS), lambda: ours(data), start_workers)
        alone, together, start_time = rounds(sides, repetitions)
    yield ratio(
        "seeds per hour against a sequential loop, same trajectory",
        alone,
        together - start_time,
        must=2,
        aim=4,
        net=NET,
        side=SIDE,
        images=IMAGES,
        recipe=RECIPE,
        seeds=SEEDS,
        workers=CORES,
        start_seconds=start_time.tolist(),
        steps_compared=STEPS,
        loss_difference=float(difference),
    )


def ours(data: Data) -> None:
    """Train the seeds as the stage `train` does, with an empty store."""
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        runner(CORES)(data.seeds(SEEDS), title="seeds")


def sequential(
    data: Resident,
    count: int,
    cores: int = CORES,
    transform: Callable[[Any], Any] = TRANSFORM,
    layout: torch.memory_format = torch.contiguous_format,
) -> np.ndarray:
    """Train `count` seeds one after the other; return the losses [steps] of the last."""
    losses = []
    items = Items(data, transform)
    with threads(cores):
        for seed in range(count):
            net, order = start(data, seed)
            sampler = RandomSampler(items, generator=order)
            loader = DataLoader(items, RECIPE["batch_size"], sampler=sampler, num_workers=CORES)
            optimiser = SGD(
                net.parameters(),
                RECIPE["lr"],
                RECIPE["momentum"],
                weight_decay=RECIPE["weight_decay"],
                fused=True,
            )
            schedule = OneCycleLR(
                optimiser, RECIPE["lr"], len(loader), pct_start=0.3, cycle_momentum=False
            )
            losses = []
            net.train()
            for images, labels in loader:
                logits = net(images.contiguous(memory_format=layout))
                loss = functional.cross_entropy(logits, labels)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
                losses.append(loss.item())
    return np.array(losses)


def our_pixels(image: Image.Image) -> Tensor:
    """Return an image [3, height, width], rounded as in the project's own arithmetic."""
    return normalise(torch.from_numpy(np.array(image))[None])[0]


def our_losses(data: Resident) -> np.ndarray:
    """Return the first `STEPS` losses of seed 0, trained by the project's code."""
    net, order = start(data, 0)
    seen: list[Tensor] = []
    net.register_forward_hook(lambda net, inputs, logits: seen.append(logits.detach()))
    with threads(1):
        list(scratch.train(net, data, order, **RECIPE))
    _, order = start(data, 0)
    batches = torch.randperm(len(data.labels), generator=order).split(RECIPE["batch_size"])
    losses = map(functional.cross_entropy, seen, (data.labels[batch] for batch in batches))
    return torch.stack(list(losses))[:STEPS].numpy()


def start(data: Resident, seed: int) -> tuple[nn.Module, torch.Generator]:
    """Return a seed's initial network and the generator of its batches."""
    config = {"net": NET, "image_shape": data.images.shape[1:], "num_classes": 10}
    with seeds.torch_stream("init", seed):
        return checkpoint.initialise(config), seeds.torch_generator("order", seed)
