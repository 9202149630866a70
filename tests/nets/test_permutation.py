import pytest
import torch

from basins.errors import UserError
from basins.nets.permutation import Axis, PermutationSpec, norm, reads, writes

STATE = {
    "conv.weight": torch.zeros(4, 3, 3, 3),
    "norm.weight": torch.zeros(4),
    "norm.bias": torch.zeros(4),
    "norm.running_mean": torch.zeros(4),
    "norm.running_var": torch.zeros(4),
    "head.weight": torch.zeros(2, 24),
    "head.bias": torch.zeros(2),
}


def test_a_spec_by_hand():
    channels = writes("conv", bias=False) + norm("norm") + reads("head", block=6)
    spec = PermutationSpec({"channels": channels})
    spec.check(STATE)
    assert spec.size(STATE, "channels") == 4
    assert channels[0] == Axis("conv.weight", 0)
    assert channels[-1] == Axis("head.weight", 1, 6)
    assert [axis.tensor for axis in norm("n", running=False)] == ["n.weight", "n.bias"]


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ((), "has no axes"),
        (writes("conv"), "the state has no 'conv.bias'"),
        ((Axis("head.bias", 1),), r"'head.bias' of shape \(2,\) has no axis 1"),
        (
            writes("conv", bias=False) + reads("head"),
            "'conv.weight' has 4 units, 'head.weight' has 24",
        ),
        (reads("head", block=5), "does not divide into runs of 5"),
        ((Axis("norm.bias", 0, window=(2, 6)),), "no entries 2 to 6"),
        (reads("head") + reads("head"), "'head.weight' is named twice"),
    ],
)
def test_disagreement_is_one_line(axes, message):
    with pytest.raises(UserError, match=message) as refused:
        PermutationSpec({"units": axes}).check(STATE)
    assert "\n" not in str(refused.value)
    assert "'units'" in str(refused.value)
