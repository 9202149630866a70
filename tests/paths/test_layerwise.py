"""Layer-wise paths against whole networks put together by hand."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from basins.align.batchnorm import reset
from basins.data.resident import Resident
from basins.errors import UserError
from basins.nets import mlp, resnet, vgg
from basins.paths import layerwise
from basins.paths.evaluation import evaluate
from basins.weights import FlatModule, flatten

TS = (0.0, 0.4, 1.0)
NETS = {
    "resnet": lambda: resnet.build((16, 16, 3), 10, depth=8, width=4),
    "vgg": lambda: vgg.build((16, 16, 3), 10, width=4),
    "mlp": lambda: mlp.build((16, 16, 3), 10, depth=2, width=8),
}


def different(kind: str, calibration: Resident, count: int) -> list[nn.Module]:
    nets = [NETS[kind]() for _ in range(count)]
    for net in nets:
        reset(net, calibration)
    return nets


def layers(net: nn.Module) -> list[str]:
    return [name for name, module in net.named_modules() if list(module.parameters(recurse=False))]


@pytest.mark.parametrize("with_reset", [True, False])
@pytest.mark.parametrize("kind", NETS)
def test_every_layer_equals_the_plain_way(kind, with_reset, calibration, examples):
    nets = different(kind, calibration, 3 if kind == "mlp" else 2)
    states = [copy.deepcopy(net.state_dict()) for net in nets]
    names = layers(nets[0])
    parts = {name: [name] for name in names} | {"upper half": names[len(names) // 2 :]}
    start, *ends = map(flatten, states)
    found = layerwise.along(
        nets[0], start, ends, parts, TS, calibration if with_reset else None, {"set": examples}
    )
    plain = NETS[kind]()
    for part, moving in parts.items():
        for number, end in enumerate(states[1:]):
            for t, evaluation in zip(TS, found[part, number, "set"], strict=True):
                state = copy.deepcopy(states[0])
                for name, value in end.items():
                    if value.is_floating_point() and name.rpartition(".")[0] in moving:
                        state[name] = (1 - t) * state[name] + t * value
                plain.load_state_dict(state)
                if with_reset:
                    reset(plain, calibration)
                expected = evaluate(plain, examples).losses
                np.testing.assert_allclose(evaluation.losses, expected, atol=1e-4, rtol=1e-4)


def test_what_does_not_move_is_run_once(calibration, examples):
    a, b = different("vgg", calibration, 2)
    first = next(module for module in a.modules() if isinstance(module, nn.Conv2d))
    runs = []
    first.register_forward_hook(lambda *_: runs.append(1))
    parts = {"head": layers(a)[-1:]}
    start, end = (flatten(net.state_dict()) for net in (a, b))
    layerwise.along(a, start, [end, end], parts, TS, None, {"set": examples})
    twice = 2  # two examples through both halves, and through the whole
    assert len(runs) == len(list(examples.batches())) + twice


def test_a_network_that_cannot_be_traced_is_not_split(examples):
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(768, 10)

        def forward(self, images):
            logits = self.layer(images.flatten(1))
            return logits if logits.sum() > 0 else -logits

    torch.manual_seed(0)
    a, b = Branching(), Branching()
    start, end = (flatten(net.state_dict()).clone() for net in (a, b))
    expected = [evaluate(net, examples).losses for net in (a, b)]
    found = layerwise.along(a, start, [end], {"all": ["layer"]}, (0, 1), None, {"set": examples})
    for evaluation, losses in zip(found["all", 0, "set"], expected, strict=True):
        np.testing.assert_allclose(evaluation.losses, losses, atol=1e-6)


def test_an_unknown_layer_is_named():
    with pytest.raises(UserError, match="no weights in a module 'tail'"):
        FlatModule(NETS["mlp"]()).where(["tail"])
