"""Hidden units of LSTM, GRU and RNN: what moves together, and what stays."""

import numpy as np
import pytest
import torch
from torch import nn

from basins.align import weight_matching
from basins.align.permute import permute
from basins.align.traced import trace
from basins.nets.permutation import Axis
from tests.align.traced_nets import planted, said

KINDS = {nn.RNN: 1, nn.GRU: 3, nn.LSTM: 4}  # how many blocks of rows there are, one a gate
ROWS = torch.randn(4, 7, 5, generator=torch.Generator().manual_seed(0))


class Recurrent(nn.Module):
    """Units that a recurrent layer of eight reads, and a head on its outputs or last state."""

    def __init__(self, kind, *, state=False, **options):
        super().__init__()
        self.first, self.inner = nn.Linear(5, 6), kind(6, 8, batch_first=True, **options)
        width = options.get("proj_size", 8) * (1 + options.get("bidirectional", False))
        self.state, self.head = state, nn.Linear(width, 3)

    def forward(self, x):
        outputs, state = self.inner(self.first(x).relu())
        if not self.state:
            return self.head(outputs.mean(1))
        state = state[0] if isinstance(state, tuple) else state
        return self.head(state[-1])


def recurrent(kind, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Recurrent(kind, **options).eval()


def hidden(layer, gates, reads, *, bias=True):
    """Return the axes of a layer's hidden units, by hand: rows of every gate, and columns."""
    names = [f"weight_ih_{layer}", f"weight_hh_{layer}"]
    names += [f"bias_ih_{layer}", f"bias_hh_{layer}"] if bias else []
    windows = [(8 * k, 8 * k + 8) for k in range(gates)] if gates > 1 else [None]
    rows = {Axis(f"inner.{name}", 0, 1, window) for name in names for window in windows}
    return frozenset(rows | {Axis(f"inner.weight_hh_{layer}", 1), *reads})


def groups(net, rows=ROWS):
    return {frozenset(axes) for axes in trace(net, (rows,)).spec.groups.values()}


FIRST = [Axis("first.weight", 0), Axis("first.bias", 0)]


@pytest.mark.parametrize("steps", [1, 7])
@pytest.mark.parametrize("state", [False, True])
@pytest.mark.parametrize(("kind", "gates"), KINDS.items())
def test_layers_on_top_of_each_other(kind, gates, state, steps):
    """One step does not show that the state is read again; the spec is that of any number."""
    net = recurrent(kind, state=state, num_layers=2)
    assert groups(net, ROWS[:, :steps]) == {
        frozenset([*FIRST, Axis("inner.weight_ih_l0", 1)]),
        hidden("l0", gates, [Axis("inner.weight_ih_l1", 1)]),
        hidden("l1", gates, [Axis("head.weight", 1)]),
    }


@pytest.mark.parametrize(("kind", "gates"), KINDS.items())
def test_directions_move_by_themselves(kind, gates):
    net = recurrent(kind, bidirectional=True, bias=False)
    assert groups(net) == {
        frozenset([*FIRST, Axis("inner.weight_ih_l0", 1), Axis("inner.weight_ih_l0_reverse", 1)]),
        hidden("l0", gates, [Axis("head.weight", 1, 1, (0, 8))], bias=False),
        hidden("l0_reverse", gates, [Axis("head.weight", 1, 1, (8, 16))], bias=False),
    }


def test_projected_states_and_cells_move_by_themselves():
    """A projection writes the state; the cell's units are read by it alone."""
    rows = [
        Axis(f"inner.{n}_{m}_l0", 0, 1, (8 * k, 8 * k + 8))
        for k in range(4)
        for n in ("weight", "bias")
        for m in ("ih", "hh")
    ]
    assert groups(recurrent(nn.LSTM, proj_size=3)) == {
        frozenset([*FIRST, Axis("inner.weight_ih_l0", 1)]),
        frozenset([*rows, Axis("inner.weight_hr_l0", 1)]),
        frozenset(
            [Axis("inner.weight_hr_l0", 0), Axis("inner.weight_hh_l0", 1), Axis("head.weight", 1)]
        ),
    }


OPTIONS = [
    {"num_layers": 2, "bidirectional": True},
    {"state": True, "num_layers": 2},
    {"bias": False},
]


@pytest.mark.parametrize(
    ("kind", "options"),
    [*((kind, options) for kind in KINDS for options in OPTIONS), (nn.LSTM, {"proj_size": 3})],
)
def test_planted_permutations_keep_the_function_and_are_matched(kind, options):
    net = recurrent(kind, **options)
    found = trace(net, (ROWS,))
    assert found.fixed == {"head.bias": "an output"}
    longer = torch.randn(4, 9, 5)
    before = said(net, longer)
    state, moved = planted(net, found.spec)
    assert not torch.equal(moved["inner.weight_hh_l0"], state["inner.weight_hh_l0"])
    matched = weight_matching.align(state, moved, found.spec, generator=np.random.default_rng(0))
    for key, tensor in permute(moved, found.spec, matched).items():
        torch.testing.assert_close(tensor, state[key])
    net.load_state_dict(moved)
    torch.testing.assert_close(said(net, longer), before)


@pytest.mark.parametrize("kind", KINDS)
def test_planted_permutations_are_matched_through_noise(kind):
    """Noise as large as the weights; with each axis matched by itself half of the units were."""
    net = Recurrent(kind)
    spec = trace(net, (ROWS,)).spec
    state, moved = planted(net, spec)
    noisy = {key: value + value.std() * torch.randn_like(value) for key, value in moved.items()}
    matched = weight_matching.align(state, noisy, spec, generator=np.random.default_rng(0))
    for key, tensor in permute(moved, spec, matched).items():
        torch.testing.assert_close(tensor, state[key])


class Packed(Recurrent):
    """Rows of several lengths."""

    def forward(self, x):
        rows = self.first(x).relu()
        packed = nn.utils.rnn.pack_padded_sequence(rows, [7, 5, 4, 2], batch_first=True)
        return self.head(self.inner(packed)[1][-1])


class Loop(nn.Module):
    """A cell that is called step by step."""

    def __init__(self, cell, read=lambda state: state):
        super().__init__()
        self.inner, self.head, self.read = cell(5, 8), nn.Linear(8, 3), read

    def forward(self, x):
        state = x.new_zeros(len(x), 8)
        for step in x.unbind(1):
            state = self.read(self.inner(step, state))
        return self.head(state)


@pytest.mark.parametrize(
    ("net", "moves", "stays"),
    [
        (Packed(nn.GRU), True, {"first.weight": "_pack_padded_sequence"}),
        (Loop(nn.GRUCell), True, {}),
        (Loop(nn.GRUCell, lambda state: state.cumsum(1)), False, {"inner.weight_hh": "cumsum"}),
    ],
)
def test_what_cannot_be_followed_stays_and_is_named(net, moves, stays):
    found = trace(net, (ROWS,))
    before = said(net, ROWS)
    state, moved = planted(net, found.spec)
    hidden = next(name for name in state if name.startswith("inner.weight_hh"))
    assert moves == (not torch.equal(moved[hidden], state[hidden]))
    assert all(why in found.fixed[name] for name, why in stays.items())
    net.load_state_dict(moved)
    torch.testing.assert_close(said(net, ROWS), before)
