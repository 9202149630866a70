"""An experiment on text whose models fall into two clusters, with made-up numbers."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from basins.landscape.barriers import BARRIERS

TS = np.linspace(0, 1, 11)
IDS = {"experiment": "nli", "path": "linear", "alignment": "none", "batchnorm": "interpolate"}
HEIGHT = {"test": 0.1, "lexical_overlap": 0.0}
ENDS = {"test": (0.5, 0.5), "lexical_overlap": (0.4, 3.0)}


def names(count):
    return [f"nli/seed{k}" for k in range(count)]


def losses(first, second, eval_set, random, between=1.0):
    """A curve [T]: a dip within a cluster, a bump between, and noise of the pair."""
    ends = [ENDS[eval_set][end] for end in (first, second)]
    chord = ends[0] + (ends[1] - ends[0]) * TS
    arch = 4 * TS * (1 - TS)
    bump = between * HEIGHT[eval_set] * arch**2 if first != second else 0
    return chord - 0.05 * arch + bump + random.normal(0, 0.001, len(TS))


def experiment(labels, between=1.0, seed=0):
    """Rows of points and of pairs, and the losses of 50 examples by pair; `labels` are clusters."""
    random = np.random.default_rng(seed)
    models, paths, barriers, examples = names(len(labels)), [], [], {}
    for a, b in combinations(range(len(labels)), 2):
        pair = IDS | {"model_a": models[a], "model_b": models[b]}
        for eval_set in ENDS:
            curve = losses(labels[a], labels[b], eval_set, random, between)
            noise = random.normal(0, 0.02, (len(TS), 50))
            examples[models[a], models[b], eval_set] = (
                curve[:, None] + noise - noise.mean(1)[:, None]
            ).astype(np.float32)
            accuracy = [0.9 - 0.01 * labels[a] + 0.001 * a, 0.9 - 0.01 * labels[b] + 0.001 * b]
            for t, loss in zip(TS, curve, strict=True):
                share = accuracy[0] + t * (accuracy[1] - accuracy[0])
                values = {"n": 50, "loss": loss, "loss_se": 0.01, "accuracy": share}
                paths.append({**pair, "t": t, "eval_set": eval_set, **values})
            for metric, scale in (("loss", 1.0), ("error", 0.1)):
                found = {name: float(f(TS, scale * curve)) for name, f in BARRIERS.items()}
                bounds = {"ci_low": 0.0, "ci_high": 0.1}
                bounds["distance"] = 5.5 + 0.3 * (labels[a] != labels[b]) + random.normal(0, 0.02)
                barriers.append({**pair, "eval_set": eval_set, "metric": metric, **found, **bounds})
    return pd.DataFrame(paths), pd.DataFrame(barriers), examples


def probes(labels, slices=("lexical_overlap", "constituent"), metric="accuracy", seed=0):
    """Rows of models: the first slice goes with the cluster, the others do not."""
    random = np.random.default_rng(seed)
    noise = random.normal(0, 0.03, (len(slices), len(labels)))
    return pd.DataFrame(
        {
            "recipe": "nli", "seed": k, "diagnostic": "hans", "slice": name, "metric": metric,
            "value": 0.5 + noise[s, k] + (0.4 - 0.8 * label) * (s == 0), "n": 1000,
        }
        for s, name in enumerate(slices)
        for k, label in enumerate(labels)
    )  # fmt: skip


def write_losses(examples, folder: Path):
    """Files as `paths.points.Losses.write` makes them."""
    folder.mkdir(parents=True)
    for a, b in dict.fromkeys(key[:2] for key in examples):
        tensors = {f"interpolate/{eval_set}/losses": examples[a, b, eval_set] for eval_set in ENDS}
        file = f"linear-none-{a}--{b}.safetensors".replace("/", "-")
        save_file(tensors | {"distance": np.array(5.5)}, folder / file)
