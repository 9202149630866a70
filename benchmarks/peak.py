"""The peak rate of this machine, to which rates are compared, and what a network computes.

Operations are multiplications and additions of numbers: those with a convolution's padding are not
counted, as kernels omit them. They would be 31 % of a 3x3 convolution of 4x4 pixels, and make its
rate seem that much higher.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from basins.nets.products import Product
from benchmarks.harness import seconds, threads

SQUARES = (512, 1024, 2048)
# (channels, side of the image, batch) of 3x3 convolutions: those of ResNet-8 and of VGG-13.
CONVOLUTIONS = (
    (16, 32, 64),
    (32, 16, 64),
    (64, 8, 128),
    (64, 32, 32),
    (128, 16, 32),
    (256, 8, 64),
    (512, 4, 128),
)
ENOUGH = 0.25  # seconds for each shape


def operations(net: nn.Module, images: Tensor) -> int:
    """Count the FLOPs of a network's convolutions and linear layers for images [n, c, h, w]."""
    total = 0

    def count(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Conv2d):
            ones = torch.ones(1, 1, *inputs[0].shape[2:])
            window = torch.ones(1, 1, *layer.kernel_size)
            how: Any = (layer.stride, layer.padding, layer.dilation)
            products = int(functional.conv2d(ones, window, None, *how).sum())
            channels = layer.out_channels * layer.in_channels // layer.groups
            total += 2 * len(output) * channels * products
        elif isinstance(layer, nn.Linear):
            total += 2 * output.numel() * layer.in_features

    hooks = [layer.register_forward_hook(count) for layer in net.modules()]
    with torch.inference_mode():
        net(images)
    for hook in hooks:
        hook.remove()
    return total


@torch.inference_mode()
def peak_rate(count: int, dtype: torch.dtype) -> float:
    """Return the highest FLOP/s of `count` threads over matrix products and convolutions."""
    with threads(count):
        return max(_rate(flops, call) for flops, call in _grid(dtype))


def _grid(dtype: torch.dtype) -> Iterator[tuple[float, Callable[[], object]]]:
    """Yield the FLOPs of a call, and the call."""
    stream = torch.Generator().manual_seed(0)
    for size in SQUARES:
        left, right = torch.randn(2, size, size, generator=stream).to(dtype)
        yield 2 * size**3, lambda left=left, right=right: left @ right
        if dtype == torch.float32:
            yield 2 * size**3, lambda left=left, right=right: Product.apply(left, right)
    for channels, side, batch in CONVOLUTIONS:
        kernel = torch.randn(channels, channels, 3, 3, generator=stream).to(dtype)
        images = torch.randn(batch, channels, side, side, generator=stream).to(dtype)
        conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        flops = operations(conv, images)
        for layout in (torch.contiguous_format, torch.channels_last):
            x, w = images.contiguous(memory_format=layout), kernel.contiguous(memory_format=layout)
            yield flops, lambda x=x, w=w: functional.conv2d(x, w, padding=1)


def _rate(flops: float, call: Callable[[], object]) -> float:
    call()
    spent, best = 0.0, float("inf")
    while spent < ENOUGH:
        taken = seconds(call)
        spent, best = spent + taken, min(best, taken)
    return flops / best
