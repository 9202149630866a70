"""From an experiment's rows to clusters, what they go with, and the stage that writes it all."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from basins import results
from basins.errors import UserError
from basins.statistics import cluster_rows, strategies
from tests import planted

LABELS = [0, 1, 0, 0, 1, 0, 0, 0, 1, 0]
CHOSEN = {**{k: planted.IDS[k] for k in ("path", "alignment", "batchnorm")}, "eval_set": "test"}
PROJECT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(cluster_rows, "DRAWS", 59)


def analyse(paths, barriers, probes, **options):
    chosen = {"chosen": CHOSEN, "slices": ["lexical_overlap", "constituent"], "resamples": 200}
    return strategies.analyse("nli", paths, barriers, probes, {}, **(chosen | options))


@pytest.fixture(scope="module")
def rows():
    return planted.experiment(LABELS)


def test_scores_tell_the_slice_that_goes_with_the_clusters_and_no_other(rows):
    paths, barriers, _ = rows
    found = analyse(paths, barriers, planted.probes(LABELS))
    assert {name: list(table) for name, table in found.items()} == strategies.TABLES
    for measure, part in found["clusters"].groupby("measure"):
        assert part["cluster"].tolist() == LABELS, measure
        assert part["model"].tolist() == planted.names(10)
    table = found["association"]
    assert set(table["measure"]) == set(strategies.MEASURES)
    gap = table.query("measure == 'convexity_gap'").set_index(["slice", "statistic"])
    assert gap.at[("lexical_overlap", "pearson"), "estimate"] < -0.95
    assert gap.at[("lexical_overlap", "auc"), "estimate"] == 1
    assert gap.at[("lexical_overlap", "difference"), "estimate"] == pytest.approx(-0.8, abs=0.05)
    assert gap.at[("lexical_overlap", "pearson"), "p"] < 0.02 < gap.at[("constituent", "auc"), "p"]
    assert "behind" not in gap.index.get_level_values("statistic")
    assert (table.query("statistic == 'behind'")["measure"] != "convexity_gap").all()


def test_clusters_and_scores_know_nothing_of_diagnostics(rows):
    """LCRGS's claim 13: all of it comes from curves in domain."""
    paths, barriers, _ = rows
    without = [table.query("eval_set == 'test'") for table in (paths, barriers)]
    found = analyse(paths, barriers, planted.probes(LABELS))
    others = analyse(*without, planted.probes(LABELS[::-1]))
    for name in ("clusters", "cluster_choice"):
        pd.testing.assert_frame_equal(found[name], others[name])
    assert not found["association"].equals(others["association"])


def test_sharpness_is_a_rival_without_clusters(rows):
    paths, barriers, _ = rows
    probes, names = planted.probes(LABELS), planted.names(10)
    sharp = {**{name: 1.0 + k for k, name in enumerate(names)}, "other/seed0": 9.0}
    plain = analyse(paths, barriers, probes)
    found = analyse(paths, barriers, probes, sharpness=dict(reversed(sharp.items())))
    own = found["association"].query("measure == 'sharpness' and slice == 'lexical_overlap'")
    own = own.set_index("statistic")["estimate"]
    assert list(own.index) == ["pearson", "spearman", "partial", "behind"]
    y = probes.query("slice == 'lexical_overlap'").sort_values("seed")["value"].to_numpy(float)
    r = np.corrcoef(np.arange(10), y)[0, 1]
    assert own["pearson"] == pytest.approx(r)
    gap = plain["association"].query("measure == 'convexity_gap' and statistic == 'pearson'")
    ahead = abs(gap.query("slice == 'lexical_overlap'")["estimate"].item()) - abs(r)
    assert own["behind"] == pytest.approx(ahead)
    others = found["association"].query("measure != 'sharpness'")
    pd.testing.assert_frame_equal(others, plain["association"])
    with pytest.raises(UserError, match=r"clusters.nli.sharpness: nli/seed3 has none"):
        analyse(paths, barriers, probes, sharpness={k: v for k, v in sharp.items() if k[-1] != "3"})


def test_the_same_rows_give_the_same_tables(rows):
    paths, barriers, _ = rows
    first, second = (analyse(paths, barriers, planted.probes(LABELS)) for _ in range(2))
    for name in first:
        pd.testing.assert_frame_equal(first[name], second[name])


def test_curves_and_barriers_are_averaged_by_type_of_pair(rows):
    paths, barriers, _ = rows
    found = analyse(paths, barriers, planted.probes(LABELS))
    curves = found["pair_types"].query("eval_set == 'lexical_overlap' and metric == 'loss'")
    between = curves.query("pair_type == 'between clusters'").sort_values("t")
    np.testing.assert_allclose(between["t"], planted.TS, atol=1e-7)
    assert set(between["pairs"]) == {21} and set(between["seeds"]) == {10}
    arch = 0.05 * 4 * planted.TS * (1 - planted.TS)
    expected = 0.4 + 2.6 * planted.TS - arch  # from the larger cluster on, whichever came first
    np.testing.assert_allclose(between["mean"], expected, atol=2e-3)
    gaps = found["pair_barriers"].query(
        "eval_set == 'test' and metric == 'loss' and definition == 'convexity_gap'"
    )
    means = gaps.set_index("pair_type")["mean"]
    assert means["between clusters"] > 5 * means["within the larger cluster"]


def test_accuracy_in_domain_comes_from_the_ends():
    paths, _, _ = planted.experiment([0, 1, 0, 0])
    found = strategies.in_domain(paths.query("eval_set == 'test'"), planted.names(4)[::-1])
    assert found == pytest.approx([0.903, 0.902, 0.891, 0.9])


def test_what_is_missing_is_named(rows):
    paths, barriers, _ = rows
    probes = planted.probes(LABELS)
    with pytest.raises(UserError, match="clusters.nli.diagnostics: .*'passive'.*constituent:acc"):
        analyse(paths, barriers, probes, slices=["passive"])
    with pytest.raises(UserError, match="not every model .*'lexical_overlap:f1'"):
        analyse(paths, barriers, probes, slices=["lexical_overlap:f1"])
    with pytest.raises(UserError, match="not every model"):
        analyse(paths, barriers, probes.query("seed != 3"))
    with pytest.raises(UserError, match="clusters.nli.eval_set: no rows of 'dev'; there are: lex"):
        analyse(paths, barriers, probes, chosen={**CHOSEN, "eval_set": "dev"})
    f1 = planted.probes(LABELS, slices=["paws"], metric="f1")
    found = analyse(paths, barriers, f1, slices=["paws:f1"])["association"]
    assert set(found["metric"]) == {"f1"}


@pytest.fixture
def stage(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(PROJECT / "stages")  # which has `common`
    spec = importlib.util.spec_from_file_location("stage", PROJECT / "stages" / "clusters.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    entry = SimpleNamespace(
        experiment="nli",
        eval_set="test",
        diagnostics=["lexical_overlap"],
        sharpness="nli",
        learned=None,
    )
    params = SimpleNamespace(
        profile="laptop",
        statistics=SimpleNamespace(resamples=100, confidence=0.95),
        probe={"nli": None},
        clusters={"nli": entry},
    )
    monkeypatch.setattr(module.common, "read", lambda check: params)
    monkeypatch.setattr(sys, "argv", ["clusters"])
    return module


def test_the_stage_writes_every_table_and_resamples_examples(stage, rows, tmp_path):
    paths, barriers, examples = rows
    folder = tmp_path / "reports" / "laptop" / "results"
    results.write(paths, folder / "connect" / "nli.csv")
    results.write(barriers, folder / "connect" / "nli.barriers.csv")
    results.write(planted.probes(LABELS), folder / "probe" / "nli.csv")
    sharp = pd.DataFrame({"model": planted.names(10), "sharpness": np.arange(10.0)})
    results.write(sharp, folder / "sharpness" / "nli.csv")
    with pytest.raises(UserError, match="no losses of this pair"):
        stage.main()
    planted.write_losses(examples, tmp_path / "losses" / "nli")
    stage.main()
    written = folder / "clusters" / "nli"
    assert {file.stem for file in written.iterdir()} == set(strategies.TABLES)
    tables = {name: results.read(written / f"{name}.csv") for name in strategies.TABLES}
    gap = tables["clusters"].query("measure == 'convexity_gap'")
    assert gap["cluster"].tolist() == LABELS and (gap["stability_examples"] == 1).all()
    far = tables["clusters"].query("measure == 'distance'")
    assert far["stability_examples"].isna().all()
    assert "sharpness" in set(tables["association"]["measure"])
    noisy = tables["cluster_choice"].query("statistic == 'stability_examples'")
    assert set(noisy["measure"]) == {"convexity_gap", "barrier_linear"}


def test_without_diagnostics_there_are_clusters_and_no_association(rows):
    paths, barriers, _ = rows
    found = analyse(paths, barriers, planted.probes(LABELS), slices=[])
    assert found["association"].empty
    assert {name: list(table) for name, table in found.items()} == strategies.TABLES
    assert len(found["clusters"]) == len(LABELS) * len(strategies.MEASURES)


def test_resampled_measures_are_of_the_losses(stage, rows, tmp_path):
    paths, barriers, examples = rows
    planted.write_losses(examples, tmp_path / "losses" / "nli")
    points = paths.query("eval_set == 'test'")
    found = stage.resampled(Path("losses/nli"), points, 300)
    own = barriers.query("eval_set == 'test' and metric == 'loss'").set_index(
        ["model_a", "model_b"]
    )
    assert set(found) == set(own.index)
    for pair, measures in found.items():
        for name, values in measures.items():
            assert values.shape == (300,)
            spread = max(values.std(), 1e-4)
            assert abs(np.median(values) - own.at[pair, name]) < 3 * spread + 0.005
