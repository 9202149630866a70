"""Named streams: the same draws everywhere, and no two streams alike."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from basins import seeds

STREAMS = [
    ("init",),
    ("init", 0),
    ("init", 1),
    ("order", 1),
    ("init", "1"),
    ("init", 1, 0),
    ("init", 10),
    ("init", -1),
    ("init", "a", "b"),
    ("init", "ab"),
]


@pytest.mark.parametrize(
    ("stream", "seed"),
    [
        (("init", 0), 841_448_757_520_665_135),
        (("init", "0"), 1_167_251_190_064_608_405),
        (("cue", 3, "train"), 684_931_922_864_312_711),
    ],
)
def test_the_derivation_never_changes(stream: tuple[str, ...], seed: int) -> None:
    assert seeds.derive(*stream) == seed


def test_known_draws() -> None:
    assert seeds.generator("cue", 3).integers(1000, size=4).tolist() == [843, 342, 773, 346]
    order = torch.randperm(6, generator=seeds.torch_generator("order", 3))
    assert order.tolist() == [5, 2, 0, 1, 4, 3]


@pytest.mark.parametrize("stream", STREAMS)
def test_the_same_stream_gives_the_same_draws(stream: tuple[str, ...]) -> None:
    first, again = (seeds.generator(*stream).random(8) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    first, again = (torch.rand(8, generator=seeds.torch_generator(*stream)) for _ in range(2))
    assert torch.equal(first, again)


def test_other_names_and_keys_give_other_draws() -> None:
    assert len({seeds.generator(*stream).random() for stream in STREAMS}) == len(STREAMS)
    draws = {torch.rand(1, generator=seeds.torch_generator(*s)).item() for s in STREAMS}
    assert len(draws) == len(STREAMS)
    assert all(0 <= seeds.derive(*stream) < 2**63 for stream in STREAMS)


def test_torch_stream_fixes_initialisation_and_leaves_the_global_state() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with seeds.torch_stream("init", 0):
        first = torch.nn.Linear(3, 2).weight
    assert torch.equal(torch.rand(3), expected)
    with seeds.torch_stream("init", 0):
        again = torch.nn.Linear(3, 2).weight
    with seeds.torch_stream("init", 1):
        other = torch.nn.Linear(3, 2).weight
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_torch_stream_puts_the_state_back_after_a_failure() -> None:
    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), seeds.torch_stream("init", 0):
        torch.rand(1 // 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_torch_stream_seeds_the_gpu_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout on a GPU draws from the GPU's generator."""
    state = ["before"]
    for name, function in {
        "is_available": lambda: True,
        "current_device": lambda: 0,
        "get_rng_state": lambda device: state[0],
        "set_rng_state": lambda new, device: state.__setitem__(0, new),
        "manual_seed": lambda seed: state.__setitem__(0, seed),
    }.items():
        monkeypatch.setattr(torch.cuda, name, function)
    with seeds.torch_stream("dropout", 3):
        assert state == [seeds.derive("dropout", 3)]
    assert state == ["before"]


@pytest.mark.parametrize("hash_seed", ["0", "77"])
def test_the_hash_seed_of_python_does_not_matter(hash_seed: str) -> None:
    # Without torch, whose import takes most of a second.
    code = (
        "import sys, types; sys.modules['torch'] = types.ModuleType('torch')\n"
        "from basins.seeds import generator; print(generator('order', 'x', 2).random())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) == seeds.generator("order", "x", 2).random()
