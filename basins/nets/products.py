"""Matrix products of linear layers by oneDNN, which torch has beside MKL.

MKL takes AVX-512 on Intel's processors alone: on others oneDNN's fp32 products are twice as fast.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

WORTH = 2**21  # multiplications; with fewer, what a call costs is more than it gains
ROWS = (
    64  # in training rows are filled up to a multiple: oneDNN keeps 2 MB for every number of them
)


class Linear(nn.Linear):
    """`nn.Linear`, whose large products in fp32 on a CPU are oneDNN's."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the layer's output, of whatever leading dimensions `input` has."""
        rows = input.numel() // self.in_features
        if not _offered(input) or rows * self.weight.numel() < WORTH:
            return functional.linear(input, self.weight, self.bias)
        flat = input.reshape(rows, self.in_features)
        if torch.is_grad_enabled() and rows % ROWS:
            flat = functional.pad(flat, (0, 0, 0, -rows % ROWS))
        output = Product.apply(flat, self.weight)[:rows]
        output = output if self.bias is None else output + self.bias
        return output.view(*input.shape[:-1], self.out_features)


class Product(torch.autograd.Function):
    """`left` [n, k] times the transpose of `right` [m, k], differentiable any number of times."""

    @staticmethod
    def forward(ctx, left: Tensor, right: Tensor) -> Tensor:  # noqa: D102 (autograd's interface)
        ctx.save_for_backward(left, right)
        return torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], "")

    @staticmethod
    def backward(ctx, slope: Tensor) -> tuple[Tensor | None, Tensor | None]:  # noqa: D102
        left, right = ctx.saved_tensors
        needs_left, needs_right = ctx.needs_input_grad
        return (
            Product.apply(slope, right.T) if needs_left else None,
            Product.apply(slope.T, left.T) if needs_right else None,
        )


def by_onednn(net: nn.Module) -> None:
    """Let the linear layers of `net` be `Linear`, with the weights that they have."""
    for module in net.modules():
        if type(module) is nn.Linear:
            module.__class__ = Linear


def _offered(input: Tensor) -> bool:
    """Return whether oneDNN's product can stand for torch's: not where something traces it."""
    return (
        input.device.type == "cpu"
        and input.dtype == torch.float32
        and torch.backends.mkldnn.is_available()
        and not torch.is_autocast_enabled("cpu")
        and not torch._C._are_functorch_transforms_active()
    )
