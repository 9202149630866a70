"""Rows of LCRGS's claims, with an effect planted in those that a claim is about."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from basins.claims.lcrgs import paper
from tests.claims import planted
from tests.claims.planted import SEEDS

CLUSTER = [0, 1, 0, 1, 0, 1, 0, 1, 1, 0, 1, 0]
SMALLER = [k for k, label in enumerate(CLUSTER) if label]
ON = {"experiment": "nli", "eval_set": "test"}
EARLY = {"experiment": "early", "final": "nli", "eval_set": "test"}
CURVED = {**ON, "experiment": "curves", "path": "bezier"}
BENT = {**CURVED, "clusters": "nli"}
SLICE = {"experiment": "nli", "slice": "overlap"}
CHOICE = {"experiment": "nli", "measure": "convexity_gap"}


def gap(value):
    return {"convexity_gap": value}


def straight(value):
    return {"barrier_linear": value}


def mid(value):
    return {"barrier_mid": value}


def decide(name, options, tables):
    entry = planted.decide(paper, name, options, tables)
    assert entry["id"] == "lcrgs/key" and entry["where"]
    return entry


def effect(name, verdict):
    return planted.effect(paper.claims[name].side, verdict)


def clusters(labels=CLUSTER, experiment="nli", recipe="nli"):
    models = [f"{recipe}/seed{k}" for k in range(len(labels))]
    own = pd.DataFrame({"experiment": experiment, "model": models, "cluster": labels})
    others = own.assign(cluster=own["cluster"].to_numpy()[::-1], measure="distance")
    return pd.concat([own.assign(measure="convexity_gap"), others])


def probes(values, noise=0.001):
    """What models score on the diagnostic, and rows that say nothing."""
    rows = pd.DataFrame(
        {
            "recipe": "nli", "seed": k, "slice": "overlap", "metric": "accuracy", "value": value,
            "ci_low": value - 1.96 * noise, "ci_high": value + 1.96 * noise,
        }
        for k, value in enumerate(values)
    )  # fmt: skip
    wrong = {"recipe": "other", "slice": "swap", "metric": "loss"}
    return pd.concat(
        [rows.assign(**{key: name}, value=-7.0) for key, name in wrong.items()] + [rows]
    )


@pytest.fixture(autouse=True)
def clusters_are_shown(monkeypatch):
    planted.show(monkeypatch)


def shown(spread=1.0):
    """Tables with clusters, in which strategies vary."""
    return {
        "clusters": clusters(),
        "probes": probes(spread * np.linspace(0, 0.9, SEEDS)),
    }


def barriers(which, columns, other, size, spread, *, labels=CLUSTER, recipe="nli", **ids):
    """Rows of all pairs: those of the kind have the value, the others `other`; and distractors."""
    rows = []
    for a, b in combinations(range(len(labels)), 2):
        values = columns(size + spread[a] + spread[b])
        if which != "all" and (labels[a] != labels[b]) != (which == "between"):
            values = dict.fromkeys(values, other)
        pair = [f"{recipe}/seed{a}", f"{recipe}/seed{b}"][:: (-1) ** (a + b)]
        zeros = dict.fromkeys(("convexity_gap", "barrier_linear"), 0.0)
        rows.append({"model_a": pair[0], "model_b": pair[1], **zeros, **values})
    frame = pd.DataFrame(rows).assign(
        experiment="nli", path="linear", alignment="none", batchnorm="interpolate",
        eval_set="test", metric="loss",
    ).assign(**ids)  # fmt: skip
    wrong = [
        frame.assign(**{column: value}, **dict.fromkeys(columns(0.0), -7.0))
        for column, value in {
            "experiment": "other", "path": "chain", "alignment": "star", "batchnorm": "reset",
            "eval_set": "dev", "metric": "error",
        }.items()
    ]  # fmt: skip
    return pd.concat([*wrong, frame])
