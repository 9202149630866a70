"""Two merges of the same networks are held against each other, set by set."""

from __future__ import annotations

import pandas as pd
import pytest

from basins.claims import sok_merging
from basins.claims.sok import paper
from basins.errors import UserError
from tests.claims import planted
from tests.claims.planted import SEEDS, SPREAD, VERDICTS, WIDE

MARGIN = 0.1
OPTIONS = {"merge": "tuned", "eval_set": "ri", "threshold": MARGIN}
# By how much the ensemble is better, and what of sets that is shared by both.
EFFECTS = {
    "merge_relies": {"supported": 0.4, "contradicted": 0.0, "inconclusive": MARGIN},
    "merge_equal": {"supported": 0.0, "contradicted": 0.4, "inconclusive": MARGIN},
}


def rows(less, spread):
    """Both techniques on every set; sets differ by far more than the two on one of them do."""
    made = []
    for k in range(SEEDS):
        average = 0.1 + 0.02 * k
        for technique, value in (("uniform_soup", average), ("deep_ensemble", average + less)):
            own = value + (spread[k] if technique == "deep_ensemble" else 0)
            ids = {"technique": technique, "alignment": "none", "batchnorm": "reset", "set": k}
            made.append({**ids, "eval_set": "ri", "accuracy": own})
            made.append({**ids, "eval_set": "nc", "accuracy": 0.5})
            made.append({**ids, "eval_set": "ri", "batchnorm": "interpolate", "accuracy": 0.9 * k})
            made.append({**ids, "eval_set": "ri", "technique": "fisher", "accuracy": -9.0})
    return pd.DataFrame(made)


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("name", EFFECTS)
def test_the_difference_is_held_against_the_threshold(name, verdict):
    less = EFFECTS[name][verdict]
    wide = WIDE / 4 if verdict == "inconclusive" else SPREAD
    entry = planted.decide(paper, name, OPTIONS, {"merge/tuned": rows(less, wide)})
    assert (entry["verdict"], entry["n"]) == (verdict, SEEDS)
    assert entry["estimate"] == pytest.approx(less + wide.mean())


def test_a_set_that_only_one_of_the_two_has_does_not_count():
    table = rows(0.4, SPREAD)
    single = (table["set"] == 3) & (table["technique"] == "uniform_soup")
    entry = planted.decide(paper, "merge_relies", OPTIONS, {"merge/tuned": table.loc[~single]})
    assert entry["n"] == SEEDS - 1


SETS = ["one/test", "two/test"]
OVER_TASKS = {"merge": "tasks", "eval_sets": SETS}
# What both techniques are, and by how much the first is better on average over both tasks.
TASKS = {
    "tasks_better": (
        {"technique": "ties", "threshold": 0.0}, ("ties", "uniform_soup"),
        {"supported": 0.1, "contradicted": -0.1, "inconclusive": 0.0},
    ),
    "tasks_lost": (
        {"threshold": 0.0}, ("uniform_soup", "single"),
        {"supported": -0.1, "contradicted": 0.1, "inconclusive": 0.0},
    ),
}  # fmt: skip


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("name", TASKS)
def test_tasks_count_alike(name, verdict):
    options, techniques, effects = TASKS[name]
    spread = WIDE / 4 if verdict == "inconclusive" else SPREAD
    made = []
    for k in range(SEEDS):
        for first, technique in zip((1, 0), techniques, strict=True):
            gain = first * (effects[verdict] + spread[k])
            ids = {"technique": technique, "alignment": "none", "batchnorm": "interpolate"}
            own = {"one/test": 0.3 + 0.01 * k + 3 * gain, "two/test": 0.8 - gain, "one/ood": 9.0}
            made += [{**ids, "set": k, "eval_set": s, "accuracy": a} for s, a in own.items()]
    entry = planted.decide(
        paper, name, {**OVER_TASKS, **options}, {"merge/tasks": pd.DataFrame(made)}
    )
    assert (entry["verdict"], entry["n"]) == (verdict, SEEDS)
    assert entry["estimate"] == pytest.approx(effects[verdict] + spread.mean())


def test_a_technique_that_was_not_measured_is_named():
    with pytest.raises(UserError, match="merge/tuned has no deep_ensemble on c$"):
        planted.decide(
            paper, "merge_relies", {**OPTIONS, "eval_set": "c"}, {"merge/tuned": rows(0.4, SPREAD)}
        )


def test_every_claim_is_tested_here():
    assert sok_merging.part.claims.keys() == EFFECTS.keys() | TASKS.keys()
