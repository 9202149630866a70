"""Checks that permuting units by a network's permutation spec preserves its function.

A wrong spec would silently make every barrier after alignment meaningless.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from basins import seeds
from basins.align.permute import permute, random_permutations
from basins.errors import UserError
from basins.nets import checkpoint
from basins.nets.outputs import logits_of
from basins.nets.permutation import Net

ROUNDING = 1e-2  # relative change of float32 outputs; a wrong spec changes them by about 1


def check(model: Path) -> None:
    """Raise `UserError` if the network in `model` has no spec, or one that changes its outputs."""
    net, config = checkpoint.load(model), checkpoint.read_config(model)
    if not hasattr(net, "permutation_spec"):
        raise UserError(
            f"{model}: a {config['model_type']} has no permutation_spec(); align by none"
        )
    with seeds.torch_stream("equivalence"):
        changed = change(net, checkpoint.random_inputs(config, 4), seeds.generator("equivalence"))
    if not changed < ROUNDING:
        raise UserError(
            f"{model}: permuting its units by permutation_spec() in basins/nets/"
            f"{checkpoint.family(config)}.py changes its outputs by {changed:.0%}; correct the spec"
        )


@torch.no_grad()
def change(net: Net, inputs: Sequence[Tensor], generator: np.random.Generator) -> float:
    """Return how much permuting all units of a network at random changes its outputs.

    It is the largest difference of its outputs on `inputs`, divided by their largest magnitude; for
    a correct spec it is a rounding error. The network is left unchanged.
    """
    state, spec = {name: t.clone() for name, t in net.state_dict().items()}, net.permutation_spec()
    said = []
    for moved in (permute(state, spec, random_permutations(state, spec, generator)), state):
        net.load_state_dict(moved)
        output = net.eval()(*inputs)
        said.append(logits_of(output).double())
    return float((said[0] - said[1]).abs().max() / said[1].abs().max())
