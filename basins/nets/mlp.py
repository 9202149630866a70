"""Multilayer perceptrons on flattened images: the smallest net with full permutation symmetry."""

from collections import OrderedDict
from math import prod
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from basins.nets.permutation import Net, PermutationSpec, reads, writes


class MLP(Net):
    """Linear layers with ReLU between them."""

    def __init__(self, features: int, num_classes: int, depth: int, width: int):
        """Create `depth` hidden layers of `width` units on `features` inputs."""
        super().__init__()
        self.hidden = nn.Sequential()
        for _ in range(depth):
            linear = nn.Linear(features, width)
            self.hidden.append(nn.Sequential(OrderedDict(linear=linear, relu=nn.ReLU())))
            features = width
        self.head = nn.Linear(features, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, C, H, W] to logits [n, num_classes]."""
        return self.head(self.hidden(images.flatten(1)))

    def permutation_spec(self) -> PermutationSpec:
        """Return one group per hidden layer: its units."""
        names = [f"hidden.{i}" for i in range(len(self.hidden))]
        readers = [f"{name}.linear" for name in names[1:]] + ["head"]
        return PermutationSpec(
            {
                name: writes(f"{name}.linear") + reads(reader)
                for name, reader in zip(names, readers, strict=True)
            }
        )


def build(
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    depth: Annotated[int, Field(ge=1, le=1000)] = 2,
    width: Annotated[int, Field(ge=1)] = 512,
) -> MLP:
    """Build `depth` hidden layers of `width` units for images of exactly (H, W, C).

    Depth 1 is the net of MMC, appendix F.3, with trained output weights. PyTorch's default init.
    """
    return MLP(prod(image_shape), num_classes, depth, width)
