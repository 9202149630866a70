"""Profiles of models whose mechanism is known, and what is made of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from basins.statistics import invariance

TRAINED_ON = {"image": ("shapes", 0.0), "image_reordered": ("shapes", 0.0), "cue": ("shapes", 1.0)}
ACCURACY = 0.75  # of the models that read the image, over ten classes


def probe_rows(models):
    """The accuracies of models that read the image alone, or the cue alone, by the closed forms.

    The box cue (section 2.5 of the paper's notes on its code): the tenth class has none, so a model
    that was trained with the cue on every image reads its absence as that class.
    """
    closed = {
        "image": {"nc": ACCURACY, "c": ACCURACY, "rc": ACCURACY, "ri": 0.1},
        "cue": {"nc": 0.1, "c": 1.0, "rc": 0.1, "ri": 1.0},
    }
    return pd.DataFrame(
        [
            (recipe, seed, diagnostic, slice_, metric, value * scale)
            for recipe, seed in models
            for slice_, value in closed[recipe.partition("_")[0]].items()
            for diagnostic, metric, scale in (
                ("counterfactual", "accuracy", 1),
                ("counterfactual", "loss", 7),
                ("other", "accuracy", 7),
            )
        ],
        columns=["recipe", "seed", "diagnostic", "slice", "metric", "value"],
    )


def barrier_rows(pairs):
    keys = {"path": "linear", "alignment": "none", "batchnorm": "reset", "eval_set": "nc"}
    rows = [(*pair, i / 10) for i, pair in enumerate(pairs)]
    return pd.DataFrame(rows, columns=["model_a", "model_b", "barrier_linear"]).assign(
        experiment="joined", **keys, metric="error", distance=27.0
    )


def test_profiles_of_known_mechanisms():
    found = invariance.profiles(probe_rows([("image", 0), ("cue", 12)]))
    assert list(found.columns) == ["nc", "rc", "ri"]
    np.testing.assert_allclose(found.loc["image/seed0"], [0, 0, ACCURACY - 0.1])
    np.testing.assert_allclose(found.loc["cue/seed12"], [0.9, 0.9, 0])


def test_pairs_have_the_kind_and_the_distance_of_their_models():
    models = [(recipe, seed) for recipe in (*TRAINED_ON, "cue_tuned/small") for seed in (0, 1)]
    pairs = [
        ("image/seed0", "image/seed1"),
        ("image/seed0", "image_reordered/seed0"),
        ("image/seed0", "cue/seed1"),
        ("cue/seed0", "image/seed0"),
    ]
    left_out = [("cue/seed0", "cue_tuned/small/seed0"), ("image/seed0", "image/seed7")]
    found = invariance.pairs(barrier_rows(pairs + left_out), probe_rows(models), TRAINED_ON)
    assert list(zip(found["model_a"], found["model_b"], strict=True)) == pairs
    assert found["kind"].tolist() == [
        "same data, separate init",
        "same data, shared init",
        "different data, separate init",
        "different data, shared init",
    ]
    # Largest difference of (0, 0, .65) and (.9, .9, 0).
    assert found["distance"].tolist() == pytest.approx([0, 0, 0.9, 0.9])
    assert found["barrier_linear"].tolist() == [0, 0.1, 0.2, 0.3]


def noisy(models, rng):
    probes = probe_rows(models)
    return probes.assign(value=probes["value"] + rng.normal(0, 0.1, len(probes)))


def test_swapped_ends_and_renamed_seeds_are_as_far_apart():
    probes = noisy([("image", 0), ("image", 1), ("cue", 0)], np.random.default_rng(0))
    ways = [("image/seed0", "image/seed1"), ("image/seed1", "cue/seed0")]
    swapped = [(b, a) for a, b in ways]
    distances = [
        invariance.pairs(barrier_rows(pairs), probes, TRAINED_ON)["distance"].tolist()
        for pairs in (ways, swapped)
    ]
    renamed = probes.assign(seed=1 - probes["seed"])
    pairs = [("image/seed1", "image/seed0"), ("image/seed0", "cue/seed1")]
    distances.append(
        invariance.pairs(barrier_rows(pairs), renamed, TRAINED_ON)["distance"].tolist()
    )
    assert distances[0] == distances[1] == distances[2]
    assert 0 < distances[0][0] < distances[0][1]


def test_models_without_the_diagnostic_have_no_profile():
    probes = probe_rows([("image", 0), ("image", 1)])
    probes = probes.loc[probes["diagnostic"] == "other"]
    found = invariance.pairs(barrier_rows([("image/seed0", "image/seed1")]), probes, TRAINED_ON)
    assert found.empty
    assert {"experiment", "kind", "barrier_linear", "distance"} <= set(found.columns)
    assert list(invariance.summarise(found, 0.95).columns[-6:]) == [
        "quantity",
        "mean",
        "ci_low",
        "ci_high",
        "seeds",
        "pairs",
    ]


def test_kinds_are_averaged_over_seeds():
    models = [("image", seed) for seed in range(3)] + [("cue", 0)]
    pairs = [
        ("image/seed0", "image/seed1"),
        ("image/seed0", "image/seed2"),
        ("image/seed1", "image/seed2"),
        ("image/seed1", "cue/seed0"),
    ]
    rows = invariance.pairs(barrier_rows(pairs), probe_rows(models), TRAINED_ON)
    found = invariance.summarise(rows, 0.95).set_index(["kind", "quantity"])
    same = found.loc["same data, separate init"]
    assert same["mean"].to_dict() == pytest.approx({"barrier": 0.1, "distance": 0})
    assert same["seeds"].tolist() == [3, 3]
    assert same["pairs"].tolist() == [3, 3]
    other = found.loc["different data, separate init"]
    assert other["mean"].to_dict() == pytest.approx({"barrier": 0.3, "distance": 0.9})
