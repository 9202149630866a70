"""What was not reproduced is said, and every claim leads to what shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from basins import results
from basins.params import read
from basins.registry import find, module, names
from basins.report import contents
from basins.report.contents import Sources, headline

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


def test_a_claim_that_was_not_reproduced_has_its_sentence():
    verdicts = ("reproduced", "not reproduced", "undecided")
    claims = [{**CLAIM, "ci_high": 0.0149, "verdict": verdict} for verdict in verdicts]
    assert headline(claims) == [
        "Paths have barriers. Not reproduced: mean barrier is 0.012 [0.010, 0.015], "
        "threshold 0.05, 3 seeds."
    ]


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


def test_a_claim_that_nobody_listed_has_no_sources():
    assert contents.sources("mine", {"name": "c1"}, FIGURES, {}) == Sources()


@pytest.mark.parametrize("profile", ["laptop", "cifar"])
def test_every_claim_leads_to_the_rows_that_decided_it_and_to_a_figure_or_table(profile):
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
            assert [*find("claims", paper, "decide")(tables, {key: claim.model_dump()}, 0.95)]
            found = contents.sources(paper, claim.model_dump(), **choices)
            assert set(found.rows) == seen, key
            assert all((folder / contents.file(name)).is_file() for name in found.rows), key
            # No figure shows PAWS by cluster.
            assert found.figures or found.tables or claim.name == "c6_paws", key


def test_what_is_listed_exists():
    for paper, claims in contents.SHOWN.items():
        known = module("claims", paper, "CLAIMS").CLAIMS
        for beginning, (figures, tables, _) in claims.items():
            assert any(name.startswith(beginning) for name in known) or beginning == "c10"
            assert {*figures} <= {*names("figures", "draw")}
            assert {*tables} <= {*names("tables", "table")}


def test_the_ledger_has_a_row_a_claim_and_leads_to_files():
    claims = [{**CLAIM, "verdict": "undecided", "p_holm": 0.0123}]
    sources = {CLAIM["id"]: Sources(("fig4",), ("barriers",), ("published_models",))}
    plain, linked = (contents.ledger(claims, sources, linked=k) for k in (False, True))
    assert plain.iloc[0].tolist() == [
        "mmc/c3_raw", "Fig. 4", "Paths have barriers.", "0.0123 [0.0101, –]", "above 0.0500", 3,
        "undecided", "0.012", "fig4, barriers, published_models",
    ]  # fmt: skip
    assert linked.at[0, "shown by"] == (
        "[fig4](../figures/fig4.svg), [barriers](../tables/barriers.md), "
        "[published_models](../../published/published_models.csv)"
    )
    assert contents.ledger([], {}).columns.tolist() == plain.columns.tolist()
