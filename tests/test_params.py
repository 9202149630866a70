"""Params files: all that are shipped are right, and whatever is wrong is refused in one line."""

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from basins import layout, profiles
from basins.errors import UserError
from basins.params import checked, read
from basins.settings.models import Streams

PROJECT = Path(__file__).parents[1]
PROFILES = profiles.names(PROJECT / "profiles")
GONE = object()


@cache
def text(profile: str) -> str:
    return profiles.render(PROJECT / "profiles", profile)


@cache
def laptop() -> dict[str, Any]:
    # Through JSON, so that what aliases share is no longer the same object.
    return json.loads(json.dumps(YAML(typ="safe").load(text("laptop"))))


def edited(at: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    content = copy.deepcopy(laptop())
    *above, last = at
    section: Any = content
    for key in above:
        section = section[key]
    if value is GONE:
        del section[last]
    else:
        section[last] = value
    return content


def written(folder: Path, content: Any) -> Path:
    # JSON is YAML but for these two, and much faster to write.
    line = json.dumps(content, ensure_ascii=False, default=str)
    file = folder / "params.yaml"
    file.write_text(line.replace("NaN", ".nan").replace("Infinity", ".inf"), encoding="utf-8")
    return file


def refusal(file: Path) -> str:
    """Return the one line that `file` is refused with."""
    with pytest.raises(UserError) as caught:
        read(file)
    line = str(caught.value)
    assert line.startswith(f"{file}: ")
    assert line.splitlines() == [line]
    return line.removeprefix(f"{file}: ")


def refused(content: Any) -> str:
    """Return the line of `refusal`, but for the file, which YAML would be long in reading."""
    with pytest.raises(UserError) as caught:
        checked(content)
    line = str(caught.value)
    assert line.splitlines() == [line]
    return line


@pytest.mark.parametrize("profile", PROFILES)
def test_every_shipped_profile_is_right(
    profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BASINS_DATA", str(tmp_path / "nothing"))
    file = tmp_path / "params.yaml"
    file.write_text(text(profile), encoding="utf-8")
    params = read(file)
    assert params.profile == profile
    assert layout.reports(params) == Path("reports") / profile
    assert params.root() == tmp_path / "nothing"
    for recipe, settings_ in params.train.items():
        folder = Path("models") / recipe
        assert layout.models(params, recipe) == [folder / f"seed{k}" for k in settings_.seeds]


def test_the_committed_params_are_the_render_of_their_profile() -> None:
    committed = (PROJECT / "params.yaml").read_text(encoding="utf-8")
    assert committed == text(read(PROJECT / "params.yaml").profile)


def test_data_root_is_used_where_the_environment_names_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BASINS_DATA", raising=False)
    params = read(written(tmp_path, edited(("data_root",), "~/images")))
    assert params.root() == Path.home() / "images"


@pytest.mark.parametrize(
    ("at", "value", "says"),
    [
        ("profil", "x", ["profil: unknown key", "profile, expected_minutes, data_root"]),
        ("data.shapes.nose", 1, ["data.shapes.nose: unknown key", "noise", "clutter"]),
        ("train.nocue.sedes", [0], ["train.nocue.sedes: unknown key", "seeds", "net"]),
        ("train.nocue.net.hight", 3, ["train.nocue.net.hight: unknown key", "depth, width"]),
        ("train.nocue.method.rate", 3, ["train.nocue.method.rate: unknown key", "lr, momentum"]),
        ("connect.mechanisms.paths.0.bend", 1, ["paths.0.bend: unknown key", "there are: none"]),
        ("data.shapes.root", "/etc", ["data.shapes.root: unknown key"]),
        ("a\nb", 1, [r"'a\nb': unknown key"]),
        ("train.nocue.net.a\u2028b", 1, [r"train.nocue.net.'a\u2028b': unknown key"]),
        ("device", GONE, ["device: missing"]),
        ("train.nocue.net.name", GONE, ["train.nocue.net.name: missing"]),
        ("train.nocue.method.lr", GONE, ["train.nocue.method.lr: missing"]),
        ("device", "gpu", ["device: 'gpu'", "'auto', 'cpu' or 'cuda'"]),
        ("device", "auto\nx", [r"device: 'auto\nx'"]),
        ("workers", 0, ["workers: 0", "'auto'", "greater than or equal to 1"]),
        ("workers", "all", ["workers: 'all'", "'auto'", "valid integer"]),
        ("expected_minutes", float("inf"), ["expected_minutes: inf", "finite"]),
        ("expected_minutes", 10**400, ["expected_minutes: 1000", "valid number"]),
        ("profile", "../laptop", ["profile: '../laptop'", "pattern"]),
        ("data_root", 3, ["data_root: 3", "valid string"]),
        ("train", [1], ["train: [1]", "valid dictionary"]),
        ("train.nocue", None, ["train.nocue: None", "Recipe"]),
        ("train.nocue.net", "resnet", ["train.nocue.net: 'resnet'", "Choice"]),
        ("train.cued.cue_proportion", 1.01, ["train.cued.cue_proportion: 1.01", "or equal to 1"]),
        ("train.cued.cue_proportion", -0.1, ["train.cued.cue_proportion: -0.1", "or equal to 0"]),
        ("train.cued.cue_proportion", float("nan"), ["cue_proportion: nan", "finite"]),
        ("train.cued.cue_proportion", "0.8", ["cue_proportion: '0.8'", "valid number"]),
        ("train.cued.cue_proportion", True, ["cue_proportion: True", "valid number"]),
        ("connect.mechanisms.calibration.cue_proportion", 2, ["calibration.cue_proportion: 2"]),
        ("connect.mechanisms.calibration.size", 1, ["calibration.size: 1", "equal to 2"]),
        ("train.nocue.seeds", [0, 1, 0], ["train.nocue.seeds: [0, 1, 0]", "0 is there twice"]),
        ("train.nocue.seeds", [], ["train.nocue.seeds: []", "at least 1"]),
        ("train.nocue.seeds", 3, ["train.nocue.seeds: 3", "valid list"]),
        ("train.nocue.seeds", [0, -1], ["train.nocue.seeds.1: -1", "or equal to 0"]),
        ("train.nocue.seeds", [1.0], ["train.nocue.seeds.0: 1.0", "valid integer"]),
        ("train.nocue.seeds", [True], ["train.nocue.seeds.0: True", "valid integer"]),
        ("train.nocue.seeds", [10**400], ["train.nocue.seeds.0: 1000", "less than 4294967296"]),
        ("data.shapes.seed", 2**64, ["data.shapes.seed: 18446744073709551616", "less than"]),
        ("data.shapes.name", "shape", ["data.shapes: no 'shape'", "data/", "cifar10", "shapes"]),
        ("data.shapes.cue.name", "dot", ["data.shapes.cue: no 'dot'", ": box, dominoes"]),
        ("data.shapes.source", "hub", ["data.shapes.source: 'hub'", "'synthetic'"]),
        ("data.shapes.source", "web", ["data.shapes.source: 'web'", "'files' or 'hub'"]),
        ("train.nocue.net.name", "resnext", ["train.nocue.net: no 'resnext'", "mlp, resnet, vgg"]),
        ("train.nocue.net.depth", 9, ["train.nocue.net.depth: 9", "8 or 18"]),
        ("train.nocue.net.width", 0, ["train.nocue.net.width: 0", "equal to 1"]),
        ("train.nocue.net.width", "16", ["train.nocue.net.width: '16'", "valid integer"]),
        ("train.nocue.method.name", "magic", ["train.nocue.method: no 'magic'", "scratch"]),
        ("train.nocue.method.lr", 0, ["train.nocue.method.lr: 0", "greater than 0"]),
        ("connect.mechanisms.paths.0.name", "bezzier", ["paths.0: no 'bezzier'", "linear"]),
        ("connect.mechanisms.paths", [], ["connect.mechanisms.paths: []", "at least 1"]),
        ("connect.mechanisms.paths", [{"name": "linear"}] * 2, ["'linear' is there twice"]),
        ("connect.mechanisms.paths.0.label", "a/b", ["paths.0.label: 'a/b'", "pattern"]),
        ("connect.mechanisms.alignments.1.name", "magic", ["alignments.1: no 'magic'", "none"]),
        ("connect.mechanisms.alignments.1.restarts", 0, ["alignments.1.restarts: 0", "equal to 1"]),
        ("connect.mechanisms.points", 2, ["connect.mechanisms.points: 2", "or equal to 3"]),
        ("connect.mechanisms.points", 10**9, ["points: 1000000000", "or equal to 1001"]),
        ("connect.mechanisms.points", {"start": 3}, ["connect.mechanisms.points: {'start': 3}"]),
        ("connect.mechanisms.batchnorm", [], ["connect.mechanisms.batchnorm: []", "at least 1"]),
        ("connect.mechanisms.batchnorm", ["reset"] * 2, ["batchnorm: [", "'reset' is there twice"]),
        ("connect.mechanisms.start", "naive", ["start: no 'naive'", "nocue", "others"]),
        ("connect.mechanisms.end", "naive", ["mechanisms.end: no 'naive'", "nocue", "others"]),
        ("connect.mechanisms.data", "cifar", ["connect.mechanisms.data: no 'cifar'", "shapes"]),
        ("train.nocue.data", "cifar", ["train.nocue.data: no 'cifar'", "shapes"]),
        ("probe.nocue.data", "cifar", ["probe.nocue.data: no 'cifar'", "shapes"]),
        ("probe.nocue.diagnostic.name", "anli", ["probe.nocue.diagnostic: no 'anli'", "counter"]),
        ("probe.naive", laptop()["probe"]["nocue"], ["probe: no 'naive'", "nocue"]),
        ("claims.mmd", {}, ["claims: no 'mmd'", "mmc"]),
        ("claims.mmc.c3_raw.name", "c99", ["claims.mmc.c3_raw: no 'c99'", "c3"]),
        ("finetune.finetuned.start", "naive", ["finetune.finetuned.start: no 'naive'", "nocue"]),
        ("finetune.finetuned.data", "cifar", ["finetuned.data: 'cifar', but cued was trained on"]),
        ("finetune.finetuned.clean", 1, ["finetune.finetuned.clean: 1", "equal to 2"]),
        ("finetune.finetuned.protocol", "new", ["protocol: 'new'", "'published' or 'corrected'"]),
        ("finetune.finetuned.methods", {}, ["finetune.finetuned.methods: {}", "at least 1"]),
        ("finetune.finetuned.methods.small.name", "tune", ["methods.small: no 'tune'", "cbft"]),
        ("finetune.finetuned.methods.small.rate", 1, ["methods.small.rate: unknown key", "lr"]),
        ("finetune.finetuned.methods.cbft.protocol", "published", ["cbft.protocol: unknown key"]),
        ("finetune.cued", laptop()["finetune"]["finetuned"], ["cued: two recipes have this name"]),
        ("connect.mechanisms.protocol", "published", ["batchnorm: fixed by the published protoc"]),
        ("connect.mechanisms.calibration", GONE, ["connect.mechanisms.calibration: missing"]),
        ("connect.mechanisms.calibration.sise", 3, ["calibration.sise: unknown key", "size"]),
        ("claims.mmc.c6_cost.other", "none", ["claims.mmc.c6_cost.other: no 'none'", "small"]),
        ("claims.mmc.c1_cued.path", "arc", ["c1_cued.path: no 'arc'", "bezier_nocue, bezier_c"]),
        ("figures.control.experiments", ["row"], ["control.experiments: no 'row'", "mechanisms"]),
        ("tables.fine_tuning.groups", {"70": "x"}, ["fine_tuning.groups: no 'x'", "finetuned"]),
        ("connect.curves.end", "nocue", ["curves.pairs: 'seed' joins two recipes that"]),
        ("toy.theory.name", "toy", ["toy.theory: no 'toy'", "toys/"]),
        ("tables.accuracy.name", "tab", ["tables.accuracy: no 'tab'", "accuracy"]),
        ("claims.mmc.c3_raw.experiment", "row", ["c3_raw.experiment: no 'row'", "mechanisms"]),
        ("claims.mmc.c3_raw.alignment", "star", ["c3_raw.alignment: no 'star'", "none, weight_m"]),
        ("claims.mmc.c3_raw.threshold", float("nan"), ["claims.mmc.c3_raw.threshold: nan"]),
        ("figures.samples.name", "movie", ["figures.samples: no 'movie'", "sample_images"]),
        ("figures.samples.dataset", "cifar", ["figures.samples.dataset: no 'cifar'", "shapes"]),
        ("figures.paths.experiment", "row", ["figures.paths.experiment: no 'row'", "mechanisms"]),
        ("figures.merges.merge", "row", ["figures.merges.merge: no 'row'", "finetuned"]),
        ("figures.paths.colour", "red", ["figures.paths.colour: unknown key", "experiment"]),
        ("statistics.confidence", 95, ["statistics.confidence: 95", "less than 1"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_wrong_value_is_named(at: str, value: Any, says: list[str]) -> None:
    keys = tuple(int(key) if key.isdigit() else key for key in at.split("."))
    line = refused(edited(keys, value))
    for part in says:
        assert part in line
    assert len(line) < 500


@pytest.mark.parametrize("name", ["../cued", "a/b", "a.b", "a b", "Cued", "", ".", "x" * 65, "é"])
@pytest.mark.parametrize("section", ["data", "train", "connect", "figures"])
def test_names_stay_within_their_folder(section: str, name: str) -> None:
    something = next(iter(laptop()[section].values()))
    line = refused(edited((section, name), something))
    assert f"{section}.{name}" in line
    assert repr(name)[:50] in line


def test_an_experiment_joins_models_of_one_net(tmp_path: Path) -> None:
    line = refusal(written(tmp_path, edited(("train", "cued", "net", "width"), 8)))
    assert line.startswith("connect.mechanisms: nocue and cued have different nets")


@pytest.mark.parametrize(
    ("at", "value", "says"),
    [
        ("decide", {"metric": "error"}, ["race.screen.decide.threshold: missing"]),
        ("decide", {"metric": "loss", "threshold": 1, "b": 1}, ["decide.b: unknown key", "alpha"]),
        ("decide", {"metric": "error", "threshold": 1, "overhead": 5}, ["overhead: unknown key"]),
        ("eval_sets", [], ["race.screen.eval_sets: []"]),
        ("points", {"start": 3, "tolerance": 0.1, "limit": 9}, ["race.screen.points: {"]),
        ("end", "naive", ["race.screen.end: no 'naive'"]),
        ("paths", [{"name": "arch"}], ["race.screen.paths.0: no 'arch'"]),
    ],
)
def test_races_are_checked_as_experiments_are(at: str, value: Any, says: list[str]):
    line = refused(edited(("race", "screen"), race() | {at: value}))
    for part in says:
        assert part in line


def test_a_race_is_an_experiment_with_a_decision() -> None:
    right = checked(edited(("race", "screen"), race()))
    assert right.race["screen"].points == race()["points"]


def race() -> dict[str, Any]:
    """Return the settings of a race that are right."""
    more = {"eval_sets": ["nc"], "decide": {"metric": "error", "threshold": 0.05}}
    return {**laptop()["connect"]["mechanisms"], **more}


def test_a_recipe_of_one_seed_has_no_pair(tmp_path: Path) -> None:
    content = edited(("connect", "mechanisms", "end"), "nocue")
    content["train"]["nocue"]["seeds"] = [0]
    line = refusal(written(tmp_path, content))
    assert line == "connect.mechanisms: nocue has one seed; a pair takes two"


def test_a_cluster_needs_its_address(tmp_path: Path) -> None:
    assert read(written(tmp_path, edited(("executor",), "local"))).cluster is None
    content = edited(("executor",), "dask")
    assert refusal(written(tmp_path, content)).startswith("scheduler: missing; executor dask needs")
    address = read(written(tmp_path, content | {"scheduler": "tcp://127.0.0.1:8786"})).cluster
    assert address == "tcp://127.0.0.1:8786"


@pytest.mark.parametrize("value", ["row", [1], {}, None])
def test_names_are_checked_whatever_a_stage_uses(value: Any, tmp_path: Path) -> None:
    file = written(tmp_path, edited(("figures", "paths", "experiment"), value))
    with pytest.raises(UserError, match=r"figures\.paths\.experiment: no .+; there are: mech"):
        read(file, check=[])


def test_only_the_sections_that_a_stage_uses_are_looked_up(tmp_path: Path) -> None:
    file = written(tmp_path, edited(("figures", "samples", "name"), "movie"))
    assert read(file, check=["data", "train"]).figures["samples"].name == "movie"
    assert "no 'movie'" in refusal(file)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file: None is not allowed"),
        (b"- 1\n", "the file: [1] is not allowed"),
        (b"laptop\n", "the file: 'laptop' is not allowed"),
        (b"a: [1\nb: }", "not readable as YAML"),
        (b"device: auto\ndevice: cpu\n", 'duplicate key "device"'),
        (b"\xff\xfe\x00", "not readable as YAML"),
        (b"a: \x00\n", "not readable as YAML"),
        (b"a: *b\n", "undefined alias"),
        (b"a: 2020-99-99\n", "not readable as YAML: month must be in 1..12"),
        (b"a: !!bool x\n", "not readable as YAML"),
        (b"a: " + b"9" * 5000, "not readable as YAML"),
        (b"[" * 1200, "not readable as YAML"),
        (b"device: !!python/object/apply:os._exit [3]\n", "could not determine a constructor"),
        (b"a: &a [*a]\n", "profile: missing"),
    ],
)
def test_a_file_that_is_no_params_file(content: bytes, says: str, tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_bytes(content)
    assert says in refusal(file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert refusal(tmp_path / "params.yaml").startswith("no such file; run from the project's")
    assert refusal(tmp_path).startswith("not readable")


def test_variants_and_early_steps_of_a_recipe_are_models_of_their_own(tmp_path: Path) -> None:
    content = laptop()
    recipe = content["classify"]["nli_forced"]
    recipe["variants"]["late"] = {
        "method": {"checkpoints": [50]},
        "seeds": {"head": [1, 2], "order": [3, 4, 5]},
    }
    params = read(written(tmp_path, content))
    assert {"nli_forced/none", "nli_forced/late", "nli_forced/late/step50"} <= {
        *layout.recipes(params)
    }
    late = layout.classified(params)["nli_forced/late"]
    assert (late.counterexamples, late.method.options["lr"]) == (0.13, 0.001)
    assert late.streams[4] == {"head": 2, "order": 4, "dropout": 0}
    folders = layout.models(params, "nli_forced/late/step50")
    assert folders == [Path(f"models/nli_forced/late/step50/seed{k}") for k in range(6)]
    assert len(layout.models(params, "nli_forced")) == 3 + 3 + 6


def test_streams_vary_by_themselves_or_with_another() -> None:
    follows = Streams.model_validate(
        {"head": [5], "order": {"from": 600, "count": 2}, "dropout": "order", "pooler": "head"}
    )
    assert follows.combinations() == {
        0: {"head": 5, "order": 600, "dropout": 600, "pooler": 5},
        1: {"head": 5, "order": 601, "dropout": 601, "pooler": 5},
    }
    between = Streams.model_validate({"head": [1, 1.5], "order": [7]}).combinations()
    assert between[1] == {"head": 1.5, "order": 7, "dropout": 0}


@pytest.mark.parametrize(
    ("at", "value", "says"),
    [
        ("classify.nli.encoder", "bert", ["classify.nli.encoder: no 'bert'", "grammar"]),
        (
            "classify.nli.encoder",
            "nli_forced/none/seed99",
            ["encoder: nli_forced/none: no 'seed99'", "seed0"],
        ),
        ("classify.nli.encoder", "nli/seed0", ["classify.nli.encoder: no 'nli/seed0'"]),
        ("classify.nli.seeds", {"head": [0], "orders": [1]}, ["classify.nli.seeds"]),
        ("classify.nli.seeds", {"from": 3, "count": 0}, ["classify.nli.seeds", "at least 1"]),
        ("classify.nli.seeds", {"from": -1, "count": 2}, ["classify.nli.seeds", "whole, from 0"]),
        (
            "classify.nli.seeds",
            {"head": "order", "order": "head"},
            ["classify.nli.seeds", "head follows order, which has no seeds of its own"],
        ),
        ("classify.nli.noise", 2, ["classify.nli.noise: 2"]),
        ("pretrain.grammar.vocabulary.name", "bytes", ["no 'bytes'", "wordpiece, words"]),
        ("connect.nli.start", "nli/step10", ["connect.nli.start: no 'nli/step10'"]),
        ("connect.nli.end", "nli_forced", []),
        ("connect.nli.end", "nocue", ["different nets"]),
        ("clusters.nli.experiment", "hans", ["clusters.nli.experiment: no 'hans'"]),
    ],
)
def test_settings_of_text_are_checked(at: str, value: Any, says: list[str]) -> None:
    content = edited(tuple(at.split(".")), value)
    if not says:
        assert checked(content)  # classifiers of two tasks that come from one encoder can be joined
        return
    line = refused(content)
    assert all(part in line for part in says), line


@pytest.mark.parametrize(
    ("label", "words", "says"),
    [
        ("nli_force", "x", ["labels: no 'nli_force'; there are: nli_forced", "others"]),
        ("nli_forced/nothing", "x", ["labels: no 'nli_forced/nothing'; there are: nli_forced/"]),
        ("cued_{share}/{method}", "x", ["labels: no 'cued_{share}/{method}'; there are: "]),
        ("{a}_{a}", "x", ["labels.{a}_{a}", "'{a}' is there twice"]),
        ("NLI", "x", ["labels.NLI", "pattern"]),
        ("nli", 3, ["labels.nli: 3", "valid string"]),
        ("nli", "", ["labels.nli: ''", "pattern"]),
        ("nli", None, ["labels.nli: None", "valid string"]),
        ("nli/step160", "NLI models after half of training", []),
        ("nli_forks/fork{steps}", "forks after {steps} steps", []),
        ("theory", "toy networks", []),
    ],
)
def test_labels_are_checked(label: str, words: Any, says: list[str]) -> None:
    content = edited(("labels", label), words)
    if not says:
        assert checked(content, check=[]).labels[label] == words
        return
    line = refused(content)
    assert all(part in line for part in says), line


def test_the_words_of_a_label_follow_the_keys_that_it_is_for(tmp_path: Path) -> None:
    content = edited(("labels",), {"no{what}": "no {what}", "nli_{kind}/fork{steps}": "{steps}"})
    made = layout.labels(read(written(tmp_path, content), check=[]))
    assert made == {"nocue": "no {cue}", "nli_forks/fork0": "{0}", "nli_forks/fork40": "{40}"}
    content["labels"] |= {"nocue": "plain"}
    assert layout.labels(read(written(tmp_path, content), check=[]))["nocue"] == "plain"
