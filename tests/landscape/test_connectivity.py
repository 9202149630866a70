"""Graphs, ways round and volumes by hand; layers and simplices against evaluations one by one."""

from __future__ import annotations

from itertools import combinations, pairwise, permutations
from math import factorial

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

from basins.data.resident import Resident, normalise
from basins.errors import UserError
from basins.landscape import connectivity, persistence
from basins.landscape.barriers import barrier_linear
from basins.landscape.terrain import Terrain
from basins.nets import mlp, resnet, vgg
from basins.paths.engine import Engine
from basins.weights import flatten, unflatten
from tests import planted

LABELS = [0, 0, 1, 0, 1]
# 0-1 and 2-3 are close; 0-3 only by way of the others.
CHAIN = np.array(
    [[0, 0.1, 0.9, 0.8], [0.1, 0, 0.3, 0.7], [0.9, 0.3, 0, 0.2], [0.8, 0.7, 0.2, 0]], float
)


def ultrametric(seed, n=8):
    """Return distances of a random tree: the height at which two leaves meet."""
    random = np.random.default_rng(seed)
    found, groups = np.zeros((n, n)), [[k] for k in range(n)]
    for height in np.sort(random.uniform(0, 1, n - 1)):
        a, b = (groups.pop(int(random.integers(len(groups)))) for _ in "ab")
        found[np.ix_(a, b)] = found[np.ix_(b, a)] = height
        groups.append(a + b)
    return found


@pytest.fixture(scope="module")
def terrain():
    random = np.random.default_rng(0)
    images = torch.from_numpy(random.integers(0, 255, (40, 4, 4, 3), dtype=np.uint8))
    data = Resident(images, torch.from_numpy(random.integers(0, 3, 40)))
    states = []
    for seed in range(len(LABELS)):
        torch.manual_seed(seed)
        net = mlp.build((4, 4, 3), 3, depth=2, width=6)
        states.append({name: 3 * tensor for name, tensor in net.state_dict().items()})
    _, barriers, _ = planted.experiment(LABELS)
    value = barriers["barrier_linear"]
    barriers = barriers.assign(ci_low=value - 0.01, ci_high=value + 0.01)
    models = tuple(planted.names(len(LABELS)))
    clusters = pd.DataFrame({"model": models, "cluster": LABELS, "measure": "convexity_gap"})
    return Terrain(
        models=models,
        vectors=tuple(map(flatten, states)),
        engine=Engine(mlp.build((4, 4, 3), 3, depth=2, width=6)),
        batchnorm="interpolate",
        calibration=None,
        sets={"test": data, "lexical_overlap": data},
        train=data,
        tables={"barriers": barriers, "clusters": clusters},
        generator=np.random.default_rng(0),
    )


def rows(terrain, test, **options):
    terrain = terrain._replace(generator=np.random.default_rng(1))
    return pd.DataFrame(connectivity.measure(terrain, test=test, **options))


def loss(terrain, vector):
    """Return a mean loss by an evaluation of the test's own."""
    net = mlp.build((4, 4, 3), 3, depth=2, width=6)
    net.load_state_dict(unflatten(vector, net.state_dict()))
    data = terrain.train
    with torch.no_grad():
        return float(functional.cross_entropy(net(normalise(data.images)).double(), data.labels))


def test_edges_need_a_whole_interval():
    low, high = np.array([[0, 0.0], [0.2, 0.09]]), np.array([[0, 0.09], [0.3, 0.11]])
    edges = connectivity.graph(low, high, 0.1)
    np.testing.assert_array_equal(edges, [[1, 1], [0, np.nan]])
    numbers = connectivity.components(CHAIN < 0.25)
    assert [numbers[0] == numbers[1], numbers[2] == numbers[3], numbers.max()] == [True, True, 1]


def test_the_lowest_way_round():
    """Against every path there is, one after the other."""
    for barriers in (CHAIN, ultrametric(1, 5) + planted_noise(5)):
        found, n = persistence.bottleneck(barriers), len(barriers)
        for i, j in permutations(range(n), 2):
            between = [k for k in range(n) if k not in (i, j)]
            ways = [
                max(barriers[a, b] for a, b in pairwise((i, *middle, j)))
                for size in range(n - 1)
                for middle in permutations(between, size)
            ]
            assert found[i, j] == min(ways)
    assert persistence.bottleneck(CHAIN)[0, 3] == 0.3
    assert connectivity.ultrametric_defect(CHAIN)[0, 3] == pytest.approx(0.5)


def planted_noise(n):
    noise = np.random.default_rng(3).uniform(0, 0.5, (n, n))
    return np.triu(noise, 1) + np.triu(noise, 1).T


@pytest.mark.parametrize("seed", range(3))
def test_an_ultrametric_has_no_defect(seed):
    barriers = ultrametric(seed)
    assert np.abs(connectivity.ultrametric_defect(barriers)).max() == 0
    shuffled = connectivity.permuted(barriers, np.random.default_rng(seed))
    assert np.array_equal(shuffled, shuffled.T)
    upper = np.triu_indices(8, 1)
    assert sorted(shuffled[upper]) == sorted(barriers[upper])
    assert connectivity.ultrametric_defect(shuffled).mean() > 0.01


def test_pairs_that_were_not_joined_are_no_way():
    barriers = np.array([[0, 0.5, np.nan], [0.5, 0, np.nan], [np.nan, np.nan, 0]])
    assert persistence.bottleneck(barriers)[0].tolist() == [0, 0.5, np.inf]


@pytest.mark.parametrize("dimensions", [1, 2, 4])
def test_volumes(dimensions):
    """Of a corner of a cube, wherever it lies, and as Cayley and Menger have it."""
    generator = torch.Generator().manual_seed(dimensions)
    corner = torch.cat([torch.zeros(1, dimensions), 2 * torch.eye(dimensions)])
    turned = torch.linalg.qr(torch.randn(30, dimensions, generator=generator).double())[0]
    points = corner.double() @ turned.T + 3
    expected = np.log(2.0**dimensions / factorial(dimensions))
    assert connectivity.log_volume(points) == pytest.approx(expected)
    count = dimensions + 1
    bordered = torch.ones(count + 1, count + 1).double()
    bordered[0, 0] = 0
    bordered[1:, 1:] = torch.cdist(points, points) ** 2
    squared = (-1) ** count * torch.linalg.det(bordered)
    squared /= 2**dimensions * factorial(dimensions) ** 2
    assert connectivity.log_volume(points) == pytest.approx(float(squared.log()) / 2)
    flat = torch.cat([points, points.mean(0, keepdim=True)])
    assert connectivity.log_volume(flat) < connectivity.log_volume(points) - 10


def test_layers_of_the_nets():
    from basins.nets import bert

    assert connectivity.layers(mlp.build((2, 2, 1), 3, depth=2)) == ["hidden.0", "hidden.1", "head"]
    small = vgg.build((4, 4, 1), 3, width=1)
    assert connectivity.layers(small) == [*(f"features.{k}" for k in range(10)), "head"]
    blocks = [f"blocks.{k}" for k in range(3)]
    assert connectivity.layers(resnet.build((4, 4, 1), 3, depth=8, width=1)) == [
        "stem", *blocks, "head",
    ]  # fmt: skip
    net = bert.build_text(9, 2, layers=2, width=8, heads=2)
    found = connectivity.layers(net)
    tuned = [f"bert.encoder.layer.{k}" for k in range(2)]
    assert found == ["bert.embeddings", *tuned, "bert.pooler", "classifier"]
    weights = {name for name, _ in net.named_parameters()}
    assert all(any(name.startswith(f"{layer}.") for layer in found) for name in weights)


def test_the_graph_of_planted_clusters(terrain):
    """Two clusters: low within, high between, so one high merge, and two basins above the noise."""
    found = rows(terrain, "D1", eps=0.025, nulls=50)
    edges = found[found["quantity"] == "edge"].groupby("group")["value"].mean()
    assert edges["within"] == 1 and edges["between"] == 0
    value = found[found["null"] == 0].set_index("quantity")["value"]
    assert value["components"] == 2 and value["basins"] == 2
    merges = found[found["quantity"] == "merge"]["value"].to_numpy()
    barriers = found[(found["quantity"] == "barrier") & (found["group"] == "between")]["value"]
    assert (np.diff(merges) >= 0).all() and merges[-1] == barriers.min() == value["highest merge"]
    nulls = found[found["null"] == 1].groupby("group")["value"]
    assert (nulls.size() == 50).all()
    # Among barriers in random places there is mostly a lower way between the clusters.
    assert nulls.median()["permuted"] < 0.5 * value["highest merge"]
    assert found["models"].str.count(r" \+ ").max() == len(LABELS) - 1


def test_the_noise_holds_for_all_pairs_at_once():
    low, high = np.zeros((4, 4)), np.full((4, 4), 0.2)
    pairs = connectivity.Pairs(CHAIN, low, high)
    assert pairs.noise(0.95) == pytest.approx(0.1 * 2.6383 / 1.95996, rel=1e-4)


def test_ways_round_by_pair(terrain):
    found = rows(terrain, "D2", nulls=3)
    defect = found[found["quantity"] == "ultrametric defect"]
    assert len(defect) == 10 and (defect["value"] >= 0).all()
    mean = found[found["quantity"] == "mean ultrametric defect"]
    assert mean.iloc[0]["value"] == pytest.approx(defect["value"].mean())
    assert mean["group"].value_counts().to_dict() == {
        "recipe": 1, "permuted": 3, "equal distances": 3,
    }  # fmt: skip


def test_other_paths_and_sets(terrain):
    barriers = terrain.tables["barriers"]
    bent = barriers.assign(path="bezier", barrier_linear=barriers["barrier_linear"] / 2)
    more = terrain._replace(tables={**terrain.tables, "barriers": pd.concat([barriers, bent])})
    curves, diagnostic = rows(more, "D3"), rows(more, "D6")
    loss_rows = barriers[barriers["metric"] == "loss"].set_index(["model_a", "model_b"])
    for found, eval_set, scale in ((curves, "test", 0.5), (diagnostic, "lexical_overlap", 1)):
        expected = scale * loss_rows[loss_rows["eval_set"] == eval_set]["barrier_linear"]
        keys = [f"{a} + {b}" for a, b in expected.index]
        assert found.set_index("models")["value"].reindex(keys).tolist() == expected.tolist()
    assert set(curves["quantity"]) == {"barrier, bezier"}
    assert rows(more, "D4").empty


def test_without_rows_there_are_none(terrain):
    assert rows(terrain._replace(tables={}), "D1").empty


def test_layers_against_evaluations_one_by_one(terrain):
    found = rows(terrain, "D5", pairs=1, points=5)
    names, ts = ["hidden.0", "hidden.1", "head"], np.linspace(0, 1, 5)
    vectors = dict(zip(terrain.models, terrain.vectors, strict=True))
    assert set(found["models"].value_counts()) == {3 * 3 + 2} and found["models"].nunique() == 4
    for models, part in found.groupby("models"):
        held, other = (vectors[name] for name in models.split(" + "))
        value = part.set_index(["quantity", "group"])["value"]

        def barrier(moved, held=held, other=other):
            where = terrain.engine.flat.where(moved)
            losses = [loss(terrain, torch.where(where, held.lerp(other, t), held)) for t in ts]
            return float(barrier_linear(ts, losses))

        for k, name in enumerate(names):
            for quantity, moved in (
                ("layerwise barrier", names[k : k + 1]),
                ("barrier up to layer", names[: k + 1]),
                ("barrier from layer", names[k:]),
            ):
                assert value[quantity, name] == pytest.approx(barrier(moved), abs=1e-5)
        total = part[part["quantity"] == "interaction"]["value"].item()
        single = sum(value["layerwise barrier", name] for name in names)
        assert total == pytest.approx(value["barrier up to layer", "head"] - single)


def test_layers_have_no_moving_averages(terrain):
    with pytest.raises(UserError, match="D5: layers have no batchnorm moving; take reset"):
        rows(terrain._replace(batchnorm="moving"), "D5")


def test_simplices_of_copies_and_of_strangers(terrain):
    """Copies of one model enclose no volume and no rise; strangers enclose what corners do."""
    copies = terrain._replace(vectors=(terrain.vectors[0],) * len(LABELS))
    flat = rows(copies, "D7", draws=4).set_index("quantity")["value"]
    assert flat["simplex loss excess"].abs().max() < 1e-5
    assert (flat["share of low loss"] == 1).all()
    assert (flat["log volume"] == -np.inf).all()

    found = rows(terrain, "D7", simplices=1, draws=6, eps=1e-3)
    vectors = dict(zip(terrain.models, terrain.vectors, strict=True))
    assert set(found["group"]) == {"within", "between"}
    for models, part in found.groupby("models"):
        corners = [vectors[name] for name in models.split(" + ")]
        value = part.set_index("quantity")["value"]
        volume = connectivity.log_volume(torch.stack(corners))
        assert value["log volume"] == pytest.approx(volume)
        share = value["share of low loss"]
        assert share in np.arange(7) / 6
        with np.errstate(divide="ignore"):
            low = volume + np.log(share)
        assert value["log volume of low loss"] == pytest.approx(low)


def test_a_convex_bowl_is_a_simplex_of_low_loss(terrain):
    """A linear model's loss is convex, so no mixture is above the corners'."""
    generator = torch.Generator().manual_seed(0)
    net = mlp.build((4, 4, 3), 3, depth=1, width=3)
    base = flatten(net.state_dict())
    where = Engine(net).flat.where(["head"])
    vectors = tuple(
        torch.where(where, torch.randn(len(base), generator=generator), base) for _ in LABELS
    )
    bowl = terrain._replace(vectors=vectors, engine=Engine(net))
    found = rows(bowl, "D7", draws=6).set_index("quantity")["value"]
    assert found["simplex loss excess"].max() <= 1e-6
    assert (found["share of low loss"] == 1).all()


def test_sets_of_models_are_of_one_kind(terrain):
    found = rows(terrain, "D7", simplices=2, corners=2, draws=1)
    labels = dict(zip(terrain.models, LABELS, strict=True))
    pairs = {frozenset(pair) for pair in combinations(terrain.models, 2)}
    for group, models in zip(found["group"], found["models"], strict=True):
        pair = models.split(" + ")
        assert frozenset(pair) in pairs
        assert (labels[pair[0]] == labels[pair[1]]) == (group == "within")
