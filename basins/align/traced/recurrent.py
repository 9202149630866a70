"""The hidden units of LSTM, GRU and RNN, which are read again at the next time step."""

from __future__ import annotations

import re
from collections.abc import Callable

from torch import Tensor, nn

from basins.align.traced import layout as lay
from basins.align.traced.layout import Layout
from basins.align.traced.units import Place


def loops(net: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Return, for every recurrent layer, the weight [gates * hidden, state] that reads its state.

    It is paired with the weight that writes the state, the same one unless states are projected.
    """
    return [
        (weight, getattr(module, name.replace("hh", "hr"), weight))
        for module in net.modules()
        if isinstance(module, nn.RNNBase | nn.RNNCellBase)
        for name, weight in module.named_parameters(recurse=False)
        if re.fullmatch(r"weight_hh(_l\d+(_reverse)?)?", name)  # but no parametrisation of it
    ]


def tie(net: nn.Module, known: Callable[[Tensor], Layout]) -> None:
    """Identify the units that every gate writes with those that are read at the next step.

    Tracing an example of one step does not show this, as its initial state is zero.
    """
    for reads, writes in loops(net):
        state = reads.shape[1]
        gates = lay.reshaped(known(writes), (len(writes) // state, state, writes.shape[1]))
        lay.hold(gates, [0], Place("gates"))
        lay.contract([(lay.collapse(gates, 0), "gsh"), (known(reads), "ks")], "s")
