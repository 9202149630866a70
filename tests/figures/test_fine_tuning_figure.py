"""Table 1 as a figure: every mark is a number of the rows or of the paper, in its place."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from basins.claims.published import PUBLISHED, SETS
from basins.errors import UserError
from basins.figures import fine_tuning

OPTIONS = {
    "groups": {"90": "late", "80": "early"},
    "methods": {"cbft": "CBFT", "llrt": "LLRT"},
    "published": "cifar10",
}


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    made = pd.DataFrame(
        {
            "recipe": f"{group}/{method}", "slice": s, "seeds": 3,
            "mean": 0.6 + 0.01 * k + 0.1 * (group == "late"),
            "diagnostic": "counterfactual", "metric": "accuracy",
        }
        for group in ("early", "late")
        for method in ("llrt", "cbft")
        for k, s in enumerate(("ri", "nc", "rc", "c"))
    )  # fmt: skip
    low, high = made["mean"] - 0.03, made["mean"] + 0.06
    return {"summary/probes": made.assign(ci_low=low, ci_high=high)}


def test_every_mark_is_a_number_of_the_rows_or_of_the_paper(tables):
    panels = fine_tuning.draw(tables, **OPTIONS, chance=0.1).axes
    assert [ax.get_title().split(":")[0] for ax in panels] == ["NC", "C", "RC", "RI"]
    labels = [label.get_text() for label in panels[0].get_yticklabels()]
    assert labels == ["CBFT", "LLRT", "CBFT", "LLRT"]
    assert [text.get_text() for text in panels[-1].texts] == ["80 %\ncue", "90 %\ncue"]
    rows = tables["summary/probes"].set_index(["recipe", "slice"])
    cells = [(p, g, m) for p, g in (("80", "early"), ("90", "late")) for m in ("cbft", "llrt")]
    for k, (ax, eval_set) in enumerate(zip(panels, SETS, strict=True)):
        marks = {line.get_label(): line.get_xdata() for line in ax.lines}
        (bars,) = [[s[:, 0] for s in c.get_segments()] for c in ax.collections]
        ours = rows.loc[[(f"{g}/{m}", eval_set) for _, g, m in cells]]
        dots = ax.containers[0].lines[0].get_xdata().astype(float)
        np.testing.assert_allclose(dots, ours["mean"])
        np.testing.assert_allclose(bars, ours[["ci_low", "ci_high"]])
        known = np.array([PUBLISHED["cifar10"][p][m][k] / 100 for p, _, m in cells])
        inside = (known >= ours["ci_low"]) & (known <= ours["ci_high"])
        for word, there in (("inside our interval", inside), ("outside it", ~inside)):
            found = marks[f"the paper's, {word}"]
            np.testing.assert_allclose(found, np.where(there, known, np.nan))


def test_the_title_counts_what_agrees(tables):
    words = fine_tuning.title(tables, **OPTIONS)
    # Ours has CBFT and LLRT alike on every set, so no pair is in the paper's order.
    assert words.startswith("0 of 8 pairs of methods") and "of its 16 numbers" in words
    tables["summary/probes"].loc[lambda f: f["recipe"].str.endswith("cbft"), "mean"] += 0.001
    # The paper has CBFT above LLRT on NC and RC at both, and on C at 90 %.
    assert fine_tuning.title(tables, **OPTIONS).startswith("5 of 8 pairs of methods")


def test_one_seed_is_drawn_without_a_bar_and_an_absent_group_is_named(tables):
    alone = tables["summary/probes"].assign(ci_low=np.nan, ci_high=np.nan)
    figure = fine_tuning.draw({"summary/probes": alone}, **OPTIONS)
    figure.draw_without_rendering()
    with pytest.raises(UserError, match="recipe 'gone/cbft'; there are"):
        fine_tuning.draw(tables, **{**OPTIONS, "groups": {"80": "gone"}})
