"""Routing: each example is answered by the member of least entropy, as an evaluation counts it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from basins.data.resident import normalise
from basins.merges import deep_ensemble, routed
from basins.merges.evaluation import Ensemble, evaluations
from basins.merges.sources import Sources
from basins.paths.engine import Engine
from tests.merges.conftest import Linear, images, numbers


def test_the_surest_answers_by_hand():
    """Two members, three classes: one is sure of the first example, the other of the second."""
    flat = SimpleNamespace(vector=torch.zeros(2, 3))
    shown = SimpleNamespace(refresh=lambda: lambda: flat.vector.clone())
    engine: Any = SimpleNamespace(flat=flat, folded=shown, net=nn.Identity())
    said = torch.tensor(
        [[[0.8, 0.1, 0.1], [0.4, 0.3, 0.3], [0.2, 0.2, 0.6]],
         [[0.3, 0.3, 0.4], [0.0, 0.9, 0.1], [0.2, 0.2, 0.6]]]
    )  # fmt: skip
    members = [*said.log()]
    flat.vector = torch.zeros(3, 3)
    answers = Ensemble(engine, members, routed=True)().exp()
    torch.testing.assert_close(answers, torch.stack([said[0, 0], said[1, 1], said[0, 2]]))
    torch.testing.assert_close(Ensemble(engine, members)().exp(), said.mean(0))


def test_an_evaluation_is_of_the_surest_network():
    data, weights = images(60), [numbers(k, 3, 12) for k in range(3)]
    states = [{"head.weight": w} for w in weights]
    engine = Engine(Linear())
    sources = Sources(states, None, engine.net, data, np.random.default_rng(0))  # pyright: ignore
    members = routed.merge(sources)
    rows = normalise(data.images).flatten(1)
    said: Tensor = torch.stack([(rows @ w.T).log_softmax(1) for w in weights])
    surest = [int(np.argmin(e)) for e in (-(said.exp() * said).sum(2)).T.numpy()]
    assert len(set(surest)) == 3
    expected = [-float(said[k, i, data.labels[i]]) for i, k in enumerate(surest)]
    found = evaluations(engine, members, sources, {"interpolate": None}, {"a": data})
    np.testing.assert_allclose(found["interpolate", "a"].losses, expected, atol=1e-5)
    mean = evaluations(
        engine, deep_ensemble.merge(sources), sources, {"interpolate": None}, {"a": data}
    )
    assert not np.allclose(mean["interpolate", "a"].losses, expected, atol=1e-2)
