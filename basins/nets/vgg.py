"""VGG-13 as in Mechanistic Mode Connectivity: strided convolutions, BatchNorm, one linear layer."""

from collections import OrderedDict
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from basins.nets.permutation import Net, PermutationSpec, norm, reads, writes

# (multiple of the width, stride) of every 3x3 convolution.
LAYERS = {
    13: ((1, 1), (1, 2), (2, 1), (2, 2), (4, 1), (4, 2), (8, 1), (8, 2), (8, 1), (8, 1)),
}


class VGG(Net):
    """Convolution, BatchNorm and ReLU, repeated; a mean over the image; a linear layer."""

    def __init__(
        self, channels: int, num_classes: int, layers: tuple[tuple[int, int], ...], width: int
    ):
        """Create `layers`, each (multiple of `width`, stride)."""
        super().__init__()
        self.features = nn.Sequential()
        for multiple, stride in layers:
            self.features.append(_layer(channels, multiple * width, stride))
            channels = multiple * width
        self.head = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, C, H, W] to logits [n, num_classes]."""
        return self.head(self.features(images).mean((2, 3)))

    def permutation_spec(self) -> PermutationSpec:
        """Return one group per convolution: its channels."""
        names = [f"features.{i}" for i in range(len(self.features))]
        readers = [f"{name}.conv" for name in names[1:]] + ["head"]
        return PermutationSpec(
            {
                name: writes(f"{name}.conv", bias=False) + norm(f"{name}.norm") + reads(reader)
                for name, reader in zip(names, readers, strict=True)
            }
        )


def build(
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    depth: Literal[13] = 13,
    width: Annotated[int, Field(ge=1)] = 64,
) -> VGG:
    """Build the VGG of MMC section 3 for images (H, W, C) of any size, with PyTorch's default init.

    The paper calls it VGG-13: ten convolutions of 1, 2, 4 and 8 times `width` channels, strided
    instead of pooled, without dropout. At width 64 and three channels it has 9,413,066 parameters
    for 10 classes and 9,459,236 for 100.
    """
    return VGG(image_shape[2], num_classes, LAYERS[depth], width)


def _layer(channels: int, width: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(width), relu=nn.ReLU()))
