"""The table of techniques: what each needs, what came of it, who differs from the ensemble."""

from __future__ import annotations

from itertools import product

import pandas as pd
import pytest

from basins.errors import UserError
from basins.tables import techniques

CASE = {"merge": "nli", "eval_set": "test", "mechanism": "hans"}
HANS = {"deep_ensemble": 0.5, "soup": 0.8, "ties": 0.5}


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    """Four sets; the soup is 30 points above the ensemble on hans, TIES by chance now and then."""
    rows = [
        {
            "merge": "nli", "technique": name, "alignment": alignment, "batchnorm": mode,
            "set": k, "members": 1, "eval_set": eval_set, "loss": 1.0,
            "accuracy": (0.9 if eval_set == "test" else HANS[name])
            + 0.01 * k + (0.02 * (-1) ** k if name == "ties" else 0)
            - (0.3 if alignment == "matched" or mode == "reset" else 0),
        }
        for name, alignment, mode, k, eval_set in product(
            HANS, ("none", "matched"), ("interpolate", "reset"), range(4), ("test", "hans")
        )
        if name != "deep_ensemble" or alignment == "none"
    ]  # fmt: skip
    known = pd.DataFrame(
        {
            "technique": name, "name": name, "family": family, "base": base, "rows": base,
            "labels": False, "gradients": False, "cost": "K forward",
        }
        for name, family, base in (
            ("deep_ensemble", "ensembling", False), ("soup", "aggregation", False),
            ("ties", "aggregation", True),
        )
    )  # fmt: skip
    return {"merge/nli": pd.DataFrame(rows), "merge/nli.techniques": known}


def test_each_technique_has_its_needs_and_its_results(tables):
    found = techniques.table(tables, cases={"NLI": CASE})
    frame = found.frame.set_index("technique")
    assert frame["needs"].tolist() == ["nothing", "nothing", "base, rows"]
    assert frame["family"].tolist() == ["ensembling", "aggregation", "aggregation"]
    assert frame.at["soup", "NLI: test set (%)"].startswith("91.5 [")
    assert frame.at["soup", "NLI: HANS (%)"].startswith("81.5 [")
    assert frame.at["soup", "NLI: less the ensemble"] == "30.0 [30.0, 30.0]"
    assert "NLI: 1 of 2 techniques that mix weights" in found.caption
    assert "(soup)" in found.caption


def test_a_case_may_name_alignment_and_mode(tables):
    case = CASE | {"alignment": "matched", "batchnorm": "interpolate"}
    frame = techniques.table(tables, cases={"NLI": case}).frame.set_index("technique")
    assert frame.at["soup", "NLI: HANS (%)"].startswith("51.5 [")
    assert frame.at["deep_ensemble", "NLI: HANS (%)"].startswith("51.5 [")


def test_what_is_absent_is_named(tables):
    with pytest.raises(UserError, match="no table 'merge/other.techniques'"):
        techniques.table(tables, cases={"x": CASE | {"merge": "other"}})
