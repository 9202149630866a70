"""What holds for every technique of the room, and under every option: a new file is covered."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from basins.errors import UserError
from basins.merges.sources import Sources
from basins.merges.traits import traits
from basins.nets import resnet
from basins.nets.permutation import Net, PermutationSpec
from basins.paths.evaluation import evaluate
from basins.registry import find, keywords, names
from tests.merges.conftest import CLASSES, images, numbers

EVERY = names("merges", "merge")
TWO = {"slerp"}  # a technique of two networks
RATES = {"rate", "high", "low"}  # of techniques that train on: they stay where these are next to 0
REORDERED = {"zipit"}  # whose units come out in another order: the function is what stays
FEW = 2  # steps: at such rates, more do not more
LEARNED = {"adamerging"}  # what it makes of a body depends on what the heads say


def options(name: str) -> Iterator[dict[str, Any]]:
    """Yield the options of a technique as they are, then each other choice that it offers."""
    known = keywords(find("merges", name, "merge"))
    still: dict[str, Any] = {rate: 1e-12 for rate in RATES & set(known)}
    if still and "steps" in known:
        still["steps"] = FEW
    yield still
    for key, parameter in known.items():
        kinds = [parameter.annotation, *get_args(parameter.annotation)]
        choices = [c for k in kinds if get_origin(k) is Literal for c in get_args(k)]
        choices += [True, False] if bool in kinds else []
        yield from ({**still, key: choice} for choice in choices if choice != parameter.default)


CASES = [(name, chosen) for name in EVERY for chosen in options(name)]


def label(value: object) -> str:
    pairs = value.items() if isinstance(value, dict) else []
    shown = [f"{key}={choice}" for key, choice in pairs if key not in RATES | {"steps"}]
    return value if isinstance(value, str) else ",".join(shown) or "plain"


@pytest.mark.parametrize(("name", "chosen"), CASES, ids=label)
def test_a_merge_of_a_network_with_itself_is_that_network(name: str, chosen: dict[str, Any]):
    """Of a residual network with statistics and batch counters; it is its own base as well."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = resnet.build((8, 8, 3), CLASSES, depth=8, width=2)
        net.train()(torch.randn(16, 3, 8, 8))
        pixels = torch.randint(0, 256, (64, 8, 8, 3), dtype=torch.uint8)
    state = {key: tensor.clone() for key, tensor in net.eval().state_dict().items()}
    data = images(1)._replace(images=pixels, labels=torch.arange(64) % CLASSES)
    count = 2 if name in TWO else 3
    sources = Sources([state] * count, state, net, data, np.random.default_rng(0))
    trained = set(sources.names)
    members = find("merges", name, "merge")(sources, **chosen)
    assert members
    for merged in members:
        assert merged.keys() == state.keys()
        if name in REORDERED:
            losses = []
            for one in (merged, state):
                net.load_state_dict(one)
                losses.append(evaluate(net, data).losses)
            np.testing.assert_allclose(*losses, rtol=1e-3, atol=1e-4)
            continue
        for key, tensor in merged.items():
            assert tensor.dtype == state[key].dtype
            if key in trained or not RATES & set(chosen):  # training moves statistics at any rate
                torch.testing.assert_close(tensor, state[key], rtol=1e-4, atol=1e-5)


class Headed(Net):
    """A body, which the base has, and a head, which it lacks."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(12, 8)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images.flatten(1)).relu())

    def permutation_spec(self) -> PermutationSpec:
        return PermutationSpec({})


def headed(count: int, spread: float = 1.0) -> Sources:
    net = Headed()
    like = net.state_dict()
    states = [
        {
            key: numbers(10 * k + i, *t.shape) / 4 * (spread if "head" in key else 1)
            for i, (key, t) in enumerate(like.items())
        }
        for k in range(count)
    ]
    base = {key: numbers(99, *t.shape) / 4 for key, t in like.items() if "body" in key}
    return Sources(states, base, net, images(40), np.random.default_rng(0))


@cache
def needs_base(name: str) -> bool:
    try:
        find("merges", name, "merge")(headed(2)._replace(base=None))
    except UserError as error:
        return "`base`" in str(error)
    return False


@pytest.mark.parametrize(("name", "chosen"), CASES, ids=label)
def test_what_the_base_lacks_is_averaged_and_never_counted(name: str, chosen: dict[str, Any]):
    """Heads of any size leave bodies as they are, and are averaged, or stay with their network."""
    if not needs_base(name):
        pytest.skip("it takes no base")
    technique = find("merges", name, "merge")
    small, large = headed(3), headed(3, 1000.0)
    found = [technique(sources, **chosen) for sources in (small, large)]
    several = len(found[0]) > 1
    for k, (one, other) in enumerate(zip(*found, strict=True)):
        for key in ("body.weight", "body.bias"):
            if name not in LEARNED:
                assert torch.equal(one[key], other[key])
        for key in ("head.weight", "head.bias"):
            for made, sources in ((one, small), (other, large)):
                heads = torch.stack([state[key] for state in sources.states])
                torch.testing.assert_close(made[key], heads[k] if several else heads.mean(0))


def test_some_techniques_need_a_base() -> None:
    assert {"wise_ft", "task_arithmetic", "ties", "dare"} <= set(filter(needs_base, EVERY))
    assert not needs_base("uniform_soup")


class Refusing:
    """Training rows that nobody may look at."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"rows: {name}")


def plain(name: str) -> dict[str, Any]:
    return next(options(name))


def made(name: str, sources: Sources) -> list[dict[str, Tensor]]:
    torch.manual_seed(0)  # dropout and new members
    return find("merges", name, "merge")(sources, **plain(name))


@pytest.mark.parametrize("name", EVERY)
def test_traits_say_what_a_technique_needs(name: str):
    """Without rows where none are needed, without gradients, and under other labels."""
    said = traits(name)
    assert said.base == needs_base(name)
    count = 2 if name in TWO else 3
    rows: Any = headed(count).data
    if not said.rows:
        made(name, headed(count)._replace(data=Refusing()))  # type: ignore
    elif name != "by_layer":
        with pytest.raises(AssertionError, match="rows"):
            made(name, headed(count)._replace(data=Refusing()))  # type: ignore
    if said.gradients and name != "fisher":  # torch.func takes its own, even in inference mode
        with pytest.raises(RuntimeError), torch.inference_mode():
            made(name, headed(count))
    elif not said.gradients:
        with torch.inference_mode():
            made(name, headed(count))
    assert said.cost == "none" or said.rows or name in ("by_layer", "ot_fusion")
    if said.rows and not said.labels:
        other = headed(count)._replace(data=rows._replace(labels=rows.labels.flip(0)))
        for one, again in zip(made(name, headed(count)), made(name, other), strict=True):
            assert all(torch.equal(one[key], again[key]) for key in one)


WEIGHTED = [name for name in EVERY if "weights" in keywords(find("merges", name, "merge"))]


@pytest.mark.parametrize("name", WEIGHTED)
def test_weights_of_networks_count(name: str):
    """Equal weights change nothing, others do, and one for each network is wanted."""
    technique = find("merges", name, "merge")

    def merged(weights: list[float] | None) -> Tensor:
        [state] = technique(headed(3), **plain(name), weights=weights)
        return state["body.weight"]

    torch.testing.assert_close(merged(None), merged([1.0, 1.0, 1.0]))
    assert not torch.allclose(merged(None), merged([1.0, 1.0, 3.0]), atol=1e-3)
    with pytest.raises(UserError, match="2 numbers for 3 networks"):
        merged([1.0, 2.0])


def test_the_techniques_that_weigh_networks() -> None:
    means = {"wise_ft", "regmean", "fisher", "karcher"}
    tasks = {"task_arithmetic", "ties", "dare", "della", "breadcrumbs", "tsv", "iso_c", "magmax"}
    assert means | tasks | {"consensus"} <= set(WEIGHTED)
