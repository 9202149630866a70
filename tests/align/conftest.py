"""One narrow network of every family, with weights and statistics that are not the initial ones."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from basins.nets import bert, mlp, resnet, vgg


class Family(NamedTuple):
    """How to build a family's network, and the shape of its images (none: token ids)."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...] | None

    def inputs(self, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        if self.shape is None:
            return torch.randint(0, 30, (8, 11), generator=generator)
        return torch.randn(8, *self.shape, generator=generator)

    def trained(self, seed: int = 0) -> nn.Module:
        """Return a network in eval mode, every tensor moved off its initial value."""
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed)
            net = self.build()
            for parameter in net.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
            for step in range(3):
                net(self.inputs(100 + step))
        return net.eval()

    def logits(self, net: nn.Module) -> Tensor:
        """Return the logits [8, classes], bare or in a Hugging Face output."""
        with torch.no_grad():
            output = net(self.inputs(7))
        return getattr(output, "logits", output)


FAMILIES = {
    "mlp": Family(lambda: mlp.build((6, 10, 1), 4, depth=3, width=12), (1, 6, 10)),
    "vgg": Family(lambda: vgg.build((16, 24, 2), 4, width=4), (2, 16, 24)),
    "resnet8": Family(lambda: resnet.build((12, 16, 3), 4, depth=8, width=6), (3, 12, 16)),
    "resnet18": Family(lambda: resnet.build((16, 16, 3), 4, depth=18, width=4), (3, 16, 16)),
    "bert": Family(lambda: bert.build_text(30, 3, layers=2, width=24, heads=4), None),
}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]
