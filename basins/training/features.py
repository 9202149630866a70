"""A classifier's last layer and its input features."""

from __future__ import annotations

from torch import Tensor, nn

from basins.errors import UserError


def last_layer(net: nn.Module) -> nn.Linear:
    """Return the linear layer `head` of `net`; raises `UserError` if it has none."""
    head = getattr(net, "head", None)
    if not isinstance(head, nn.Linear):
        raise UserError(
            f"{type(net).__name__}: this method needs the last layer, an nn.Linear that the net "
            "calls `head`; rename it, or choose another method"
        )
    return head


def features(net: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the last layer's inputs [n, d] and the logits [n, K], from one forward pass.

    Raises `UserError` as `last_layer` does.
    """
    read: list[Tensor] = []
    with last_layer(net).register_forward_pre_hook(lambda _, inputs: read.extend(inputs)):
        logits = net(images)
    return read[0], logits
