"""Matrix products of linear layers by oneDNN, which torch includes in addition to MKL.

MKL uses AVX-512 only on Intel's processors. On others that have it, oneDNN's fp32 products are
twice as fast. Elsewhere they are slower: a step of fine-tuning takes a third longer, on Intel's
processors and on AMD's without AVX-512 alike (docs/speed.md).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from basins import devices

WIDE = torch.backends.cpu.get_cpu_capability() == "AVX512"
FASTER = WIDE and "Intel" not in devices.processor()  # whether oneDNN is, of the two
WORTH = 2**21  # multiplications; with fewer, the overhead of a call exceeds its gain
PLAIN = ("none", [], "")  # oneDNN's function of the result, with its arguments: none
ROWS = 64  # in training, rows are padded to a multiple: oneDNN keeps 2 MB for each number of rows


class Linear(nn.Linear):
    """`nn.Linear` that uses oneDNN for large fp32 products on a CPU where it is the faster."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the layer's output for `input` with any leading dimensions."""
        rows = input.numel() // self.in_features
        if not _offered(input) or rows * self.weight.numel() < WORTH:
            return functional.linear(input, self.weight, self.bias)
        flat = input.reshape(rows, self.in_features)
        if not torch.is_grad_enabled():
            output = torch.ops.mkldnn._linear_pointwise(flat, self.weight, self.bias, *PLAIN)
        else:
            padded = functional.pad(flat, (0, 0, 0, -rows % ROWS)) if rows % ROWS else flat
            output = Product.apply(padded, self.weight)[:rows]
            output = output if self.bias is None else output + self.bias
        return output.view(*input.shape[:-1], self.out_features)


class Product(torch.autograd.Function):
    """`left` [n, k] times the transpose of `right` [m, k], differentiable any number of times."""

    @staticmethod
    def forward(ctx, left: Tensor, right: Tensor) -> Tensor:  # noqa: D102 (autograd's interface)
        ctx.save_for_backward(left, right)
        return torch.ops.mkldnn._linear_pointwise(left, right, None, *PLAIN)

    @staticmethod
    def backward(ctx, slope: Tensor) -> tuple[Tensor | None, Tensor | None]:  # noqa: D102
        left, right = ctx.saved_tensors
        needs_left, needs_right = ctx.needs_input_grad
        return (
            Product.apply(slope, right.T) if needs_left else None,
            Product.apply(slope.T, left.T) if needs_right else None,
        )


def by_onednn(net: nn.Module) -> None:
    """Turn the linear layers of `net` into `Linear`, keeping their weights."""
    for module in net.modules():
        if type(module) is nn.Linear:
            module.__class__ = Linear


def _offered(input: Tensor) -> bool:
    """Return whether oneDNN's product should replace torch's: never while it is traced."""
    return (
        FASTER
        and input.device.type == "cpu"
        and input.dtype == torch.float32
        and torch.backends.mkldnn.is_available()
        and not torch.is_autocast_enabled("cpu")
        and not torch._C._are_functorch_transforms_active()
    )
