"""What the explorer is given is what the tables say, each name and each grid once."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from basins.report import explorer
from tests.report import planted


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return planted.tables()


def _curves(packed: dict) -> list[dict]:
    """Read the columns back, in the order of the curves."""
    columns, names = packed["columns"], packed["names"]
    found, offset = [], 0
    for k, grid in enumerate(packed["grid"]):
        ts = packed["grids"][grid]
        curve = {column: names[column][columns[column][k]] for column in explorer.CURVE}
        part = slice(offset, offset + len(ts))
        values = {name: packed[name][part] for name in ("loss", "loss_se", "accuracy")}
        found.append({**curve, "n": packed["n"][k], "t": ts, **values})
        offset += len(ts)
    return found


def test_every_row_of_the_paths_can_be_read_back_in_whatever_order_they_come(tables):
    shuffled = tables["paths"].sample(frac=1, random_state=0)
    packed = explorer.pack({**tables, "paths": shuffled}, confidence=0.95)
    rows = pd.DataFrame(_curves(packed)).explode(["t", "loss", "loss_se", "accuracy"])
    keys = [*explorer.CURVE, "t"]
    wanted = tables["paths"].sort_values(keys)[rows.columns].reset_index(drop=True)
    found = rows.sort_values(keys).astype(wanted.dtypes.to_dict()).reset_index(drop=True)
    pd.testing.assert_frame_equal(found, wanted)
    assert len(packed["grids"]) == 1


def test_every_barrier_stands_at_its_curve(tables):
    packed = explorer.pack(tables, confidence=0.95)
    barriers = tables["barriers"].sample(frac=1, random_state=0)
    assert explorer.pack({**tables, "barriers": barriers}, confidence=0.95) == packed
    known = tables["barriers"].query("metric == 'loss'").set_index(explorer.CURVE)
    for k, curve in enumerate(_curves(packed)):
        row = known.loc[tuple(curve[column] for column in explorer.CURVE)]
        assert packed["barriers"]["loss"]["barrier_linear"][k] == row["barrier_linear"]
    assert set(packed["barriers"]["error"]["distance"]) == {12.35}


def test_the_matrix_offers_what_the_barriers_have(tables):
    assert "barrier_split" not in explorer.pack(tables, confidence=0.95)["measures"]
    split = {**tables, "barriers": tables["barriers"].assign(barrier_split=0.5)}
    packed = explorer.pack(split, confidence=0.95)
    assert "barrier_split" in packed["measures"]
    assert set(packed["barriers"]["error"]["barrier_split"]) == {0.5}


def test_both_ends_share_their_names_and_sets_come_in_the_figures_order(tables):
    names = explorer.pack(tables, confidence=0.95)["names"]
    assert names["model_a"] == names["model_b"] == [*planted.MODELS]
    assert names["eval_set"] == ["nc", "c"]


def test_what_is_not_finite_or_was_not_measured_is_null(tables):
    paths = tables["paths"].copy()
    paths.loc[0, "loss"], paths.loc[1, "loss"] = np.nan, np.inf
    packed = explorer.pack(
        {**tables, "paths": paths, "barriers": tables["barriers"].iloc[2:]}, confidence=0.95
    )
    assert packed["loss"][:2] == [None, None]
    assert packed["barriers"]["loss"]["convexity_gap"][:2] == [None, 0.25]
    assert "NaN" not in explorer.embed(packed) and "Infinity" not in explorer.embed(packed)


def test_of_too_many_models_the_first_of_every_experiment_are_packed(monkeypatch):
    models = [f"net/seed{k}" for k in range(30)]
    curve = dict.fromkeys(explorer.CURVE, "one") | {
        "n": 9,
        "loss": 1.0,
        "loss_se": 0.1,
        "accuracy": 0.5,
    }
    rows = [
        {**curve, "experiment": name, "model_a": a, "model_b": b, "t": t}
        for name, own in (("few", models[20:24]), ("many", models))
        for a, b in combinations(own, 2)
        for t in (0.0, 0.5, 1.0)
    ]
    paths = pd.DataFrame(rows)
    tables = {"paths": paths, "barriers": planted.tables()["barriers"]}
    assert explorer.pack(tables, confidence=0.95)["shown"] is None
    monkeypatch.setattr(explorer, "LIMIT", 3 * (4 * 3 // 2 + 10 * 9 // 2))
    packed = explorer.pack(tables, confidence=0.95)
    assert packed["shown"] == 10
    found = {(c["experiment"], c["model_a"], c["model_b"]) for c in _curves(packed)}
    wanted = {("few", *pair) for pair in combinations(models[20:24], 2)}
    assert found == wanted | {("many", *pair) for pair in combinations(models[:10], 2)}


def test_samples_follow_their_curves_and_their_order_in_the_outcomes(tables):
    shuffled = {
        name: tables[name].sample(frac=1, random_state=0) for name in ("samples", "outcomes")
    }
    datasets = {"toys": "shapes", "alone": "texts"}
    packed = explorer.pack({**tables, **shuffled}, confidence=0.95, datasets=datasets)
    samples = [["disc", planted.PIXEL, ""], ["square", planted.PIXEL, ""]]
    assert packed["samples"]["shapes"] == {"nc": samples, "c": samples}
    assert packed["samples"]["texts"] == {
        "c": [["no", "", "One\nTwo"], ["no", "", "Three\nFour"], ["yes", "", "Five"]]
    }
    told = {(c["experiment"], o) for c, o in zip(_curves(packed), packed["outcomes"], strict=True)}
    assert told == {("toys", "+- +- ++"), ("alone", "+++ +-+ +++"), ("alone", "")}


def test_samples_of_before_there_were_texts_can_be_shown(tables):
    old = {**tables, "samples": tables["samples"].drop(columns=["example", "text"])}
    old["samples"] = old["samples"].query("dataset == 'shapes'")
    datasets = {"toys": "shapes"}
    found, wanted = (explorer.pack(t, confidence=0.95, datasets=datasets) for t in (old, tables))
    assert found["samples"] == wanted["samples"]


def test_samples_are_packed_only_where_an_experiment_shows_them(tables):
    assert explorer.pack(tables, confidence=0.95)["samples"] == {}


def test_paths_and_barriers_are_enough(tables):
    packed = explorer.pack({k: tables[k] for k in ("paths", "barriers")}, confidence=0.95)
    assert set(packed["outcomes"]) == {""}
    assert packed["clusters"] == packed["samples"] == {}
    assert packed["loss"] == explorer.pack(tables, confidence=0.95)["loss"]


def test_the_interval_is_that_of_the_confidence(tables):
    assert explorer.pack(tables, confidence=0.95)["z"] == 1.96
    assert explorer.pack(tables, confidence=0.99)["z"] == 2.5758


def test_json_survives_a_page_and_cannot_end_its_script():
    hostile = {"</script><script>alert(1)</script><!--": ["é", 1, None]}
    text = explorer.embed(hostile)
    assert "<" not in text and json.loads(text) == hostile


def test_it_opens_on_a_fitted_path_between_two_recipes_at_its_middle(tables):
    assert explorer.pack(tables, confidence=0.95)["first"] == {
        "experiment": "toys", "path": "bezier", "alignment": "none", "batchnorm": "reset",
        "set": "nc", "pair": "plain/seed0 → odd/seed2", "t": "0.5",
        "beside": "toys|linear|none|reset",
    }  # fmt: skip


def joined(experiment: str, ends: list[tuple[str, str]], path: str, **columns: object) -> dict:
    """Return paths and barriers between models, whose barriers grow from pair to pair."""
    names = ["experiment", "path", "alignment", "batchnorm", "eval_set"]
    rows = pd.DataFrame(ends, columns=["model_a", "model_b"])
    rows = rows.assign(**dict(zip(names, [experiment, path, "none", "reset", "test"], strict=True)))
    curves = pd.concat([rows.assign(t=t) for t in (0.0, 0.5, 1.0)])
    curves = curves.assign(n=9, loss=1.0, loss_se=0.1, accuracy=0.5)
    heights = rows.assign(barrier_linear=np.arange(len(rows)) / 10, ci_low=0, ci_high=1, **columns)
    both = pd.concat([heights.assign(metric=metric) for metric in ("loss", "error")])
    return {"paths": curves, "barriers": both}


def opening(*parts: dict) -> dict[str, str]:
    tables = {name: pd.concat([part[name] for part in parts]) for name in ("paths", "barriers")}
    return explorer.pack(tables, confidence=0.95)["first"]


def test_a_path_from_a_network_to_itself_neither_opens_nor_counts():
    seeds = [f"net/seed{k}" for k in range(4)]
    selves = joined("selves", [(m, m.replace("net", "again")) for m in seeds], "bezier", distance=0)
    few = joined("few", [*combinations(seeds[:3], 2)], "linear", distance=1.0)
    first = opening(selves, few)
    assert (first["experiment"], first["pair"]) == ("few", "net/seed1 → net/seed2")
    many = joined("many", [*combinations(seeds, 2)], "linear", distance=1.0)
    first = opening(selves, few, many)
    assert (first["experiment"], first["pair"]) == ("many", "net/seed2 → net/seed3")
    assert opening(selves)["experiment"] == "selves"  # as there is nothing else


def test_the_matrix_opens_on_a_set_with_barriers():
    ends = [("plain/seed0", "odd/seed0"), ("plain/seed1", "odd/seed1")]
    flat = joined("curves", ends, "bezier", distance=1.0)
    flat["barriers"]["barrier_linear"] = 0.0
    steep = joined("curves", ends, "bezier", distance=1.0)
    steep = {name: table.assign(eval_set="paws") for name, table in steep.items()}
    assert opening(flat, steep)["set"] == "paws"
    assert opening(flat)["set"] == "test"


def test_a_curve_between_recipes_opens_before_more_pairs_of_one():
    seeds = [f"net/seed{k}" for k in range(4)]
    many = joined("many", [*combinations(seeds, 2)], "linear", distance=1.0)
    curve = joined("curves", [("plain/seed0", "odd/seed0")], "bezier", distance=1.0)
    assert opening(many, curve)["experiment"] == "curves"
