"""Residual networks for small images: the CIFAR ResNet-18, and a ResNet-8 for small machines."""

from collections import OrderedDict
from typing import Annotated, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from basins.nets.permutation import Axis, Net, PermutationSpec, norm, reads, writes

# (multiple of the width, stride) of every basic block.
BLOCKS = {
    8: ((1, 2), (2, 2), (4, 2)),
    18: ((1, 1), (1, 1), (2, 2), (2, 1), (4, 2), (4, 1), (8, 2), (8, 1)),
}


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut: the identity, or 1x1 if the shape changes."""

    def __init__(self, channels: int, width: int, stride: int):
        """Map `channels` to `width` channels, and divide the image's sides by `stride`."""
        super().__init__()
        self.inner = _conv_norm(channels, width, 3, stride).append(nn.ReLU())
        self.outer = _conv_norm(width, width, 3, 1)
        same = stride == 1 and channels == width
        self.shortcut = nn.Identity() if same else _conv_norm(channels, width, 1, stride)

    def forward(self, stream: Tensor) -> Tensor:
        """Map the residual stream [n, channels, H, W] to the next, [n, width, H', W']."""
        return F.relu(self.outer(self.inner(stream)) + self.shortcut(stream))


class ResNet(Net):
    """A 3x3 stem, basic blocks, a mean over the image, a linear layer."""

    def __init__(
        self, channels: int, num_classes: int, blocks: tuple[tuple[int, int], ...], width: int
    ):
        """Create `blocks`, each (multiple of `width`, stride)."""
        super().__init__()
        self.stem = _conv_norm(channels, width, 3, 1).append(nn.ReLU())
        self.blocks = nn.Sequential()
        channels = width
        for multiple, stride in blocks:
            self.blocks.append(Block(channels, multiple * width, stride))
            channels = multiple * width
        self.head = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, C, H, W] to logits [n, num_classes]."""
        return self.head(self.blocks(self.stem(images)).mean((2, 3)))

    def permutation_spec(self) -> PermutationSpec:
        """Return a group for each block's inner channels and one for each residual stream.

        An identity shortcut continues its stream; a convolution starts a new one, named after the
        block (the first after the stem).
        """
        stream = "stem"
        groups = {stream: _writes(stream)}
        for i, block in enumerate(self.blocks):
            name = f"blocks.{i}"
            groups[stream] += reads(f"{name}.inner.conv")
            groups[f"{name}.inner"] = _writes(f"{name}.inner") + reads(f"{name}.outer.conv")
            if not isinstance(block.shortcut, nn.Identity):
                groups[stream] += reads(f"{name}.shortcut.conv")
                stream = name
                groups[stream] = _writes(f"{name}.shortcut")
            groups[stream] += _writes(f"{name}.outer")
        groups[stream] += reads("head")
        return PermutationSpec(groups)


def build(
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    depth: Literal[8, 18] = 18,
    width: Annotated[int, Field(ge=1)] = 64,
) -> ResNet:
    """Build a ResNet for images (H, W, C) of any size, with PyTorch's default initialisation.

    Depth 18 is the ResNet-18 of MMC section 3: stages of two blocks of 1, 2, 4 and 8 times `width`
    channels and strides 1, 2, 2, 2; at width 64 and three channels 11,173,962 parameters for 10
    classes. Depth 8 is ours: three blocks of 1, 2 and 4 times `width`, each of stride 2 (width 16:
    78,330 parameters).
    """
    return ResNet(image_shape[2], num_classes, BLOCKS[depth], width)


def _conv_norm(channels: int, width: int, kernel: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, width, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(width)))


def _writes(name: str) -> tuple[Axis, ...]:
    return writes(f"{name}.conv", bias=False) + norm(f"{name}.norm")
