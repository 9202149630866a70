"""What each operation between two layers allows to permute, and what it leaves fixed."""

import pytest
import torch
from torch import nn

from basins.align.traced import rules, trace
from tests.align.traced_nets import PIXELS, ROWS, Stranger, planted, said

THIRDS = [(0, 2), (2, 4), (4, 6)]


def test_what_is_not_known_is_left_fixed_and_named():
    found = trace(Stranger(lambda units: units.sort(-1).values), (ROWS,))
    assert list(found.spec.groups) == ["second"]
    assert found.fixed["first.bias"] == "sort"
    assert found.fixed["unused.weight"] == "not used on the example"
    assert found.fixed["first.weight"] == "sort; an input"
    assert found.fixed["second.weight"] == "sort"  # its columns
    assert "first.bias and 1 more (sort)" in str(found)


def put(units, columns):
    made = units.new_zeros(units.shape)
    if columns is None:
        made[[*range(len(units))]] = units
    else:
        made[:, columns] = units
    return made


@pytest.mark.parametrize(
    ("between", "first"),
    [
        (lambda units: put(units, None), True),
        (lambda units: put(units, [3, 4, 0, 1, 5, 2]), False),
        (lambda units: units.as_strided((2, 3, 6), (6, 6, 1)).flatten(0, 1), True),
        (lambda units: units.as_strided((4, 6), (5, 1)), False),
        (lambda units: units.as_strided((2, 6), (6, 1), 3), False),
        (lambda units: units[:, [3, 4, 0, 1, 5, 2]], False),
        (lambda units: units.cumsum(1), False),
        (lambda units: units.roll(1, 1), False),
        (lambda units: units.roll(1), False),
        (lambda units: units * torch.arange(6), False),
        (lambda units: units[:, ::2].repeat_interleave(2, 1), True),
        (lambda units: units[:, :5:2].repeat_interleave(2, 1), True),
        (lambda units: units[:, 1:4:2].repeat_interleave(3, 1), False),
        (lambda units: units - units.mean(1, keepdim=True), True),
        (lambda units: nn.functional.softmax(units, 1) + units.std(1, keepdim=True), True),
        (lambda units: torch.einsum("nu,mu->nm", units, units) @ units, True),
        (lambda units: units.clone().mul_(2).add_(units), True),
        (lambda units: units * torch.ones(6), True),
        (lambda units: nn.functional.mish(nn.functional.hardswish(units + 0, True), True), True),
        (lambda units: torch.ops.aten.gelu_(units + 0).abs_(), True),
        (lambda units: nn.functional.logsigmoid(nn.functional.threshold(units, 0, 1, True)), True),
        (lambda units: nn.functional.prelu(-units, torch.full((6,), 0.2)), True),
    ],
)
def test_operations_keep_units_in_order_only_where_they_must(between, first):
    net = Stranger(between)
    found = trace(net, (ROWS,))
    assert ("first" in found.spec.groups) == first and "second" in found.spec.groups
    before = said(net, ROWS)
    net.load_state_dict(planted(net, found.spec)[1])
    torch.testing.assert_close(said(net, ROWS), before)


@pytest.mark.parametrize(
    ("between", "windows"),
    [
        (lambda u: torch.cat(u.chunk(2, 1)[::-1], 1), [[(0, 3)], [(3, 6)]]),
        (lambda u: u[:, :3] * u[:, 3:], [[(0, 3), (3, 6)]]),
        (lambda u: nn.functional.glu(u), [[(0, 3), (3, 6)]]),
        (lambda u: nn.functional.group_norm(u, 2), [[None], [(0, 3)], [(3, 6)]]),
        (lambda u: torch.stack([u[:, :2], u[:, 2:4], u[:, 4:]]).sum(0), [THIRDS]),
        (lambda u: u.view(-1, 3, 2).amax(2), [[None], *([third] for third in THIRDS)]),
        (lambda u: u.view(-1, 3, 2).softmax(1).flatten(1), [[None], THIRDS]),
    ],
)
def test_windows_are_those_of_the_operation(between, windows):
    """By group, where the first layer's units are that it moves together."""
    net = Stranger(between)
    net.second = nn.Linear(between(torch.randn(2, 6)).shape[1], 6)
    found = trace(net, (ROWS,))
    first = [
        {axis.window for axis in group if axis.tensor == "first.bias"}
        for group in found.spec.groups.values()
    ]
    before = said(net, ROWS)
    net.load_state_dict(planted(net, found.spec)[1])
    torch.testing.assert_close(said(net, ROWS), before)
    assert {frozenset(f) for f in first if f} == {frozenset(w) for w in windows}


@pytest.mark.parametrize(
    ("second", "groups"),
    [
        (nn.Conv2d(6, 6, 3), 2),
        (nn.Conv2d(6, 6, 3, groups=6), 1),
        (nn.Conv2d(6, 12, 3, groups=2), 4),
        (nn.ConvTranspose2d(6, 12, 3, groups=2), 4),
        (nn.ConvTranspose2d(6, 4, 3, stride=2), 2),
    ],
)
def test_convolutions_of_every_kind(second, groups):
    """Of a grouped one: the groups, what one writes, and what all read alike, or the reverse."""
    head = nn.Linear(second.out_channels, 3)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), second, nn.ReLU(), Means(), head)
    found = trace(net, (PIXELS,))
    before = said(net, PIXELS)
    net.load_state_dict(planted(net, found.spec)[1])
    torch.testing.assert_close(said(net, PIXELS), before)
    assert len(found.spec.groups) == groups and list(found.fixed) == ["5.bias"]


class Means(nn.Module):
    def forward(self, images):
        return images.mean((2, 3))


def test_a_wrong_rule_is_caught_and_named(monkeypatch):
    """The proof is independent of the rules: here the order of a sum is taken to be nothing."""
    monkeypatch.setitem(rules.RULES, "cumsum", lambda call: [call.layout("self")])
    net = Stranger(lambda units: units.cumsum(1))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()  # weights that hide it are not those that it is looked at with
    found = trace(net, (ROWS,))
    assert list(found.spec.groups) == ["second"]
    assert found.fixed["first"] == "permuting it changes the outputs"
    assert found.fixed["first.weight"] == "permuting it changes the outputs; an input"


def test_units_that_a_weight_both_reads_and_writes_stay():
    """Matching them would be a quadratic assignment."""
    net = nn.Sequential(nn.Linear(5, 6), Residual(), nn.Linear(6, 3))
    found = trace(net, (ROWS,))
    assert not found.spec.groups
    assert "the same units on two axes of one tensor" in found.fixed["1.inner.weight"]


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(6, 6)

    def forward(self, x):
        return x + self.inner(x)
