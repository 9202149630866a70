"""What was not reproduced is said, and every claim leads to what shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from basins import results
from basins.claims.ledger import Shown, entries
from basins.claims.registration import Registration
from basins.claims.results import Results
from basins.params import read
from basins.registry import module, names
from basins.report import contents
from basins.report.contents import headline
from basins.statistics import cluster_rows

PROJECT = Path(__file__).parents[2]
CLAIM = {
    "id": "mmc/c3_raw",
    "where": "Fig. 4",
    "statement": "Paths have barriers.",
    "statistic": "mean barrier",
    "estimate": 0.0123,
    "ci_low": 0.0101,
    "ci_high": None,
    "threshold": 0.05,
    "direction": "above",
    "n": 3,
    "kind": "paper",
    "reason": "",
    "unseen": None,
    "confound": "",
    "smallest_effect": None,
    "reported": None,
    "matches": "not reported",
    "registered": "yes",
    "since": "abc 2026-01-01",
    "exploratory": "",
}
BARRIER = {"name": "c3_barrier", "experiment": "toys", "alignment": "none"}
FIGURES = {
    "grid": {
        "name": "path_grid",
        "experiments": {"all": ["toys"]},
        "lines": [{"alignment": "none"}],
    },
    "matched": {"name": "barrier_matrix", "experiment": "toys", "alignment": "weight_matching"},
    "others": {"name": "barrier_matrix", "experiment": "other", "alignment": "none"},
    "elsewhere": {"name": "strategy", "experiment": "toys", "alignment": "none"},
}


def test_each_of_the_papers_claims_that_is_contradicted_has_its_sentence():
    claims = [
        {
            **CLAIM,
            "ci_high": 0.0149,
            "verdict": verdict,
            "kind": kind,
            "p_holm": None,
            "verdict_holm": verdict,
        }
        for verdict in contents.VERDICTS
        for kind in ("paper", "control", "ours")
    ]
    assert headline(claims) == [
        "“Paths have barriers.” Contradicted: mean barrier is 0.0123 [0.0101, 0.0149], "
        "threshold 0.0500, n = 3."
    ]
    (sentence,) = headline([{**claims[6], "verdict_holm": "inconclusive"}])
    assert sentence.endswith("n = 3; inconclusive after correction for multiple comparisons.")
    contradicted = claims[6]
    (sentence,) = headline([{**contradicted, "reported": 0.02}])
    assert "Contradicted, as by the paper's own 0.0200: mean barrier is" in sentence
    assert headline([{**contradicted, "reported": 0.06}]) == headline([contradicted])


def test_a_claim_is_shown_by_the_figures_of_its_kind_that_name_its_subjects():
    assert contents.sources("mmc", BARRIER, FIGURES, {}).figures == ("grid",)
    matched = {**BARRIER, "alignment": "weight_matching"}
    assert contents.sources("mmc", matched, FIGURES, {}).figures == ("matched",)


def test_a_method_is_found_in_its_group_and_a_table_without_options_shows_all():
    figures = {
        key: {"name": "counterfactual_probe", "recipes": ["cued", f"{group}/small"]}
        for key, group in (("right", "tuned"), ("wrong", "tuned_80"))
    }
    claim = {"name": "c4_gap", "group": "tuned", "method": "small"}
    assert contents.sources("mmc", claim, figures, {}).figures == ("right",)
    tables = {"clusters": {"name": "clusters"}, "other": {"name": "clusters", "experiments": ["b"]}}
    several = {"name": "c3_several", "experiment": "a"}
    assert contents.sources("lcrgs", several, {}, tables).tables == ("clusters",)


@pytest.mark.parametrize("profile", ["laptop", "cifar", "mnli", "paws"])
def test_every_claim_leads_to_the_rows_that_decided_it_and_to_a_figure_or_table(
    profile, monkeypatch
):
    test, tested = cluster_rows.several, {}

    def several(rows, *, confidence):  # takes seconds, and many claims need the same
        if (key := (rows.to_csv(), confidence)) not in tested:
            tested[key] = test(rows, confidence=confidence)
        return tested[key]

    monkeypatch.setattr(cluster_rows, "several", several)

    class Recorder(dict):
        def __getitem__(self, name):
            seen.add(name)
            return super().__getitem__(name)

    folder = PROJECT / "reports" / profile
    params = read(folder / "params.yaml", check=[])
    choices = {
        section: {key: choice.model_dump() for key, choice in getattr(params, section).items()}
        for section in ("figures", "tables")
    }
    tables = Recorder(results.read_all(folder / "results"))
    for paper, claims in params.claims.items():
        for key, claim in claims.items():
            seen: set[str] = set()
            settings, known = {key: claim.model_dump()}, module("claims", paper, "paper").paper
            assert [*entries(known, Results.of(params, tables), settings, Registration())]
            found = contents.sources(paper, claim.model_dump(), **choices)
            needed = {"clusters", "barriers", "probes"}  # by preconditions, too
            assert set(found.rows) <= seen <= set(found.rows) | needed, key
            assert all((folder / contents.file(name)).is_file() for name in found.rows), key
            # No figure shows PAWS by cluster.
            assert found.figures or found.tables or claim.name == "c6_paws", key


@pytest.mark.parametrize("name", names("claims", "paper"))
def test_what_is_listed_exists(name):
    for claim in module("claims", name, "paper").paper.claims.values():
        assert {*claim.shown.figures} <= {*names("figures", "draw")}
        assert {*claim.shown.tables} <= {*names("tables", "table")}


def test_the_ledger_has_a_row_a_claim_and_leads_to_files():
    claims = [{**CLAIM, "verdict": "inconclusive", "p_holm": 0.0123, "confound": "luck"}]
    claims[0] |= {"registered": "no", "reason": "too few", "exploratory": "seen"}
    sources = {CLAIM["id"]: Shown(("fig4",), ("barriers",), ("published_models",))}
    plain, linked = (contents.ledger(claims, sources, linked=k) for k in (False, True))
    assert plain.iloc[0].tolist() == [
        "mmc/c3_raw", "paper", "Fig. 4", "Paths have barriers.", "0.0123 [0.0101, –]",
        "above 0.0500", "–", 3, "inconclusive", "0.012", "not reported",
        "no (since abc 2026-01-01)", "too few; confounded: luck; exploratory: seen",
        "fig4, barriers, published_models",
    ]  # fmt: skip
    assert linked.at[0, "shown by"] == (
        "fig4, [barriers](../tables/barriers.md), "
        "[published_models](../../published/published_models.csv)"
    )
    decided = [{**claims[0], "verdict": "supported", "reason": "", "unseen": 0.265}]
    remarks = contents.ledger(decided, sources).iloc[0][
        "limits of the verdict, or why there is none"
    ]
    assert remarks.startswith(
        "up to 26 % of seeds may be of a kind that was not sampled; confounded: luck"
    )
    assert contents.ledger([], {}).columns.tolist() == plain.columns.tolist()


def test_accuracies_and_errors_are_in_percent():
    claim = {**CLAIM, "verdict": "inconclusive", "p_holm": None, "ci_high": 0.0149}
    for statistic in ("mean accuracy on RI of cued", "mean barrier_linear of the error on NC"):
        shown = contents.written({**claim, "statistic": statistic, "reported": 0.0151})
        assert (shown["estimate"], shown["threshold"], shown["unit"]) == ("1.2", "5.0", " %")
        assert shown["matches"].startswith("1.5")
    shown = contents.written({**claim, "statistic": "r with the accuracy on NC"})
    assert (shown["estimate"], shown["unit"]) == ("0.0123", "")


@pytest.mark.parametrize(
    ("direction", "estimate", "side"),
    [("above", 0.1, True), ("above", 0.0, False), ("below", 0.0, True), ("within", -0.04, True),
     ("within", -0.06, False)],
)  # fmt: skip
def test_an_estimate_lies_on_a_side_whatever_is_decided(direction, estimate, side):
    claim = {**CLAIM, "direction": direction, "estimate": estimate, "verdict": "inconclusive"}
    assert contents.side(claim) == side
    test = {**claim, "ci_low": None}
    assert not contents.side(test) and contents.side({**test, "verdict": "supported"})
