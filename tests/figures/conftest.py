"""Small tables with hand-made numbers, in the columns of the results."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

EVAL_SETS = ("ri", "c", "rc", "nc")
MODELS = ("plain/seed0", "plain/seed10", "plain/seed2", "spurious/seed0")


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    """All the tables that figures read, with a different number in every row."""
    return {
        "paths": _paths(),
        "barriers": _barriers(),
        "probes": _probes(),
        "summary/paths": _summary_paths(),
        "summary/probes": _summary_probes(),
        "samples": _samples(),
    }


def _chosen(**more: object) -> dict[str, object]:
    return {
        "experiment": "seeds",
        "path": "linear",
        "alignment": "none",
        "batchnorm": "reset",
        **more,
    }


def _paths() -> pd.DataFrame:
    return pd.DataFrame(
        _chosen(
            model_a=a, model_b=b, eval_set=s, t=t, n=100, loss_se=0.01,
            accuracy=0.9 - 0.01 * pair - 0.02 * k - 0.3 * t * (1 - t),
            loss=1 + 0.1 * pair + 0.2 * k + t * (1 - t),
        )
        for pair, (a, b) in enumerate(combinations(MODELS, 2))
        for k, s in enumerate(EVAL_SETS)
        for t in (0.0, 0.5, 1.0)
    )  # fmt: skip


def _summary_paths() -> pd.DataFrame:
    groups = [("plain", "plain", "separate"), ("plain", "spurious", "shared")]
    frame = pd.DataFrame(
        _chosen(
            recipe_a=a, recipe_b=b, init=init, eval_set=s, metric=metric, t=t, seeds=3, pairs=3,
            mean=high - 0.05 * group - 0.02 * k - 0.3 * t * (1 - t),
        )
        for group, (a, b, init) in enumerate(groups)
        for k, s in enumerate(EVAL_SETS)
        for metric, high in (("accuracy", 0.9), ("loss", 2.0))
        for t in (0.0, 0.5, 1.0)
    )  # fmt: skip
    return frame.assign(ci_low=frame["mean"] - 0.02, ci_high=frame["mean"] + 0.03)


def _barriers() -> pd.DataFrame:
    return pd.DataFrame(
        _chosen(
            model_a=a, model_b=b, eval_set=s, metric=metric, distance=3.0,
            barrier_linear=scale * (0.5 + 0.1 * pair + 0.01 * k),
            barrier_mid=scale * (0.1 * pair - 0.2),
        )
        for pair, (a, b) in enumerate(combinations(MODELS, 2))
        for k, s in enumerate(EVAL_SETS)
        for metric, scale in (("loss", 1.0), ("error", 0.1))
    )  # fmt: skip


def _probes() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "recipe": recipe, "seed": seed, "diagnostic": "counterfactual", "slice": s,
            "metric": metric, "value": 0.3 * r + 0.1 * k + 0.01 * seed, "n": 100,
        }
        for r, recipe in enumerate(("plain", "spurious"))
        for seed in range(3)
        for k, s in enumerate(EVAL_SETS)
        for metric in ("accuracy", "loss")
    )  # fmt: skip


def _summary_probes() -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "recipe": recipe, "diagnostic": "counterfactual", "slice": s, "metric": metric,
            "mean": 0.3 * r + 0.1 * k + 0.01, "seeds": 3,
        }
        for r, recipe in enumerate(("plain", "spurious"))
        for k, s in enumerate(EVAL_SETS)
        for metric in ("accuracy", "loss")
    )  # fmt: skip
    return frame.assign(ci_low=frame["mean"] - 0.02, ci_high=frame["mean"] + 0.03)


def _samples() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "dataset": "toys", "eval_set": s, "label": label, "class": name,
            "png": _png(40 * k + label),
        }
        for k, s in enumerate(EVAL_SETS)
        for label, name in enumerate(("cat", "dog", "owl"))
    )  # fmt: skip


def _png(level: int) -> str:
    buffer = BytesIO()
    Image.fromarray(np.full((4, 6, 3), level, np.uint8)).save(buffer, "png")
    return b64encode(buffer.getvalue()).decode()
