"""What a result depends on: the modules that are there are those that run, and no others."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from basins import code, layout, profiles
from basins.align import alignments
from basins.data import disk
from basins.errors import UserError
from basins.item import Item, get
from basins.landscape import sharpness
from basins.merges.merged import Merged
from basins.params import read
from basins.paths import points, races
from basins.paths.fits import Fit, fingerprint
from basins.paths.pairs import along, grid
from basins.probes.probing import Probing
from basins.training.image_models import FineTuning, Training
from basins.training.sample import Sample
from tests.landscape.test_terrain import job as measurement
from tests.paths.conftest import data
from tests.paths.test_points import CPU, LINEAR, evaluate, models, nothing, sets
from tests.training.test_image_models import NAIVE, base, tuning
from tests.training.test_text_models import classifying, encoder, here, pretrained, pretraining

__all__ = ["base", "classifying", "data", "encoder", "here", "measurement", "models"]
__all__ += ["pretrained", "pretraining", "sets"]
PROJECT = Path(__file__).parents[1]
MODULES = sorted(
    ".".join(path.relative_to(PROJECT).with_suffix("").parts)
    for room in ("basins", "stages")
    for path in (PROJECT / room).rglob("*.py")
)


def closure(item: Item) -> dict[str, str]:
    return code.closure([type(item).__module__, "basins.devices"], item.decides())


@contextmanager
def modules_that_run() -> Iterator[set[str]]:
    """Give a set that gets the names of the modules whose functions are called meanwhile."""
    seen: set[str] = set()

    def look(frame, event, _):
        if event == "call" and frame.f_code.co_name != "<module>":
            seen.add(frame.f_globals.get("__name__", ""))

    sys.setprofile(look)
    try:
        yield seen
    finally:
        sys.setprofile(None)


def check(item: Item) -> set[str]:
    """Make an item, and hold the modules that run against its closure; return the closure."""
    get(item, nothing)  # whatever is looked up before it
    folder = item.find()
    assert folder is not None
    shutil.rmtree(folder)
    with modules_that_run() as seen:
        get(item, nothing)
    ours = {name for name in seen if name.startswith("basins.")} - set(code.PLUMBING)
    known = {*closure(item)}
    assert ours - known == set(), type(item).__name__
    return known


def test_trained_images(base: Training):
    known = check(base)
    assert {"basins.nets.resnet", "basins.training.scratch", "basins.training.sgd"} <= known
    assert not {"basins.nets.vgg", "basins.training.cbft", "basins.data.shapes"} & known
    known = check(tuning(base, NAIVE))
    assert {"basins.training.naive", "basins.data.clean"} <= known
    assert "basins.training.scratch" not in known


def test_trained_text(classifying, pretraining):
    known = check(pretraining)
    assert {"basins.nets.checkpoint", "basins.nets.bert", "basins.data.words"} <= known
    assert "basins.data.wordpiece" not in known
    known = check(classifying)
    assert {"basins.nets.checkpoint", "basins.data.mixture", "basins.training.classifier"} <= known
    assert not {"basins.nets.resnet", "basins.training.replaced_tokens"} & known


def test_alignments_points_and_races(models, sets):
    pairs = [tuple(models[:2])]
    given = (sets.calibration, sets.fingerprint, "corrected", CPU)
    [item] = alignments.plan(pairs, {"name": "activation_matching"}, *given)
    known = check(item)
    assert {"basins.data.calibration", "basins.align.activations", "basins.nets.resnet"} <= known
    assert "basins.align.weight_matching" not in known
    [edge, *_] = points.plan([along(LINEAR, pairs[0], grid(3))], sets)
    known = check(edge)
    assert not {"basins.paths.bezier", "basins.align.star", "basins.merges.sources"} & known
    curve = along(LINEAR, pairs[0], grid(3))
    options = {"metric": "error", "threshold": 0.3, "batch": 20}
    sets = sets._replace(batchnorm=("reset",), names=("test",))
    check(races.Race(curve, grid(3), evaluate([races.ends(curve)], sets), options, sets))


def test_fits(models, sets):
    path = {"name": "bezier", "cue_proportion": 0.0, "epochs": 1, "batch_size": 64, "lr": 0.01}
    path |= {"momentum": 0.9, "weight_decay": 0.0}
    there = fingerprint(Path("data"))
    fit = Fit("curve", path, (models[0], models[1]), Path("data"), there, "corrected", CPU)
    known = check(fit)
    assert {"basins.data.mixture", "basins.training.mixed", "basins.paths.bezier"} <= known
    assert "basins.paths.chain" not in known


@pytest.mark.parametrize("technique", ["uniform_soup", "fisher"])
def test_merges(models, sets, technique):
    item = Merged(tuple(models), None, {"name": technique}, Sample(Path("data"), 32), sets)
    known = check(item)
    assert {"basins.training.sample", "basins.align.batchnorm", "basins.align.repair"} <= known
    assert "basins.merges.karcher" not in known and "basins.align.alignments" not in known


def test_measures_of_models(models, sets, measurement):
    data, there = Path("data"), sets.fingerprint
    options = {"epsilon": 0.001, "passes": 1, "examples": 20}
    check(sharpness.Ascent(models[0], data, there, "test", options, CPU))
    known = check(measurement)
    assert f"basins.landscape.{measurement.aspect['name']}" in known


def test_a_diagnostic(models, data):
    splits = dict.fromkeys(("train", "nc", "c", "rc", "ri"), data.test)
    disk.save(Path("data"), splits, data.classes)
    item = Probing(models[0], Path("data"), "x", {"name": "counterfactual"}, CPU)
    assert "basins.probes.counterfactual" in check(item)
    texts = replace(item, diagnostic={"name": "paws"})
    assert "basins.probes.binary" in closure(texts)


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the code, which is looked at instead of ours."""
    for room in ("basins", "stages"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / room, tmp_path / "copy" / room, ignore=ignored)
    monkeypatch.setattr(code, "ROOT", tmp_path / "copy")
    monkeypatch.setattr(code, "read", read_once)
    forget()
    yield tmp_path / "copy"
    forget()


@cache
def read_once(name: str) -> code.Source:
    """Do as `code.read`, but parse the same content, and what lies beside it, once for all copies.

    Which other modules there are is no part of it: no copy here lacks one of ours.
    """
    module = code._file(name)
    beside = sorted(path for path in module.parent.iterdir() if path.suffix not in ("", ".py"))
    content = (name, module.read_bytes(), *((path.name, path.read_bytes()) for path in beside))
    if content not in parsed:
        parsed[content] = parse(name)
    return parsed[content]


parse = code.read.__wrapped__
parsed: dict[tuple, code.Source] = {}


def forget() -> None:
    """Let the code be read again."""
    code.read.cache_clear()
    code._closure.cache_clear()


def file(copy: Path, module: str) -> Path:
    return copy / f"{module.replace('.', '/')}.py"


def test_every_change_of_a_module_counts_and_no_comment_does(copy: Path):
    looked_at = [m for m in MODULES if m not in code.PLUMBING and not m.endswith("__init__")]
    before = {name: code.read(name) for name in looked_at}
    forget()
    said = "The last line, explained."
    for name in before:
        text = file(copy, name).read_text()
        file(copy, name).write_text(f'# why\n\n{text}\n\n\n# end\n\n"""{said}"""\n')
    for name, source in before.items():  # a string may be a name, wherever it stands
        assert code.read(name) == source._replace(strings=source.strings | {said}), name
    forget()
    for name in before:
        file(copy, name).write_text(file(copy, name).read_text() + "\nTHERE = 1\n")
    assert not [name for name in before if code.read(name).digest == before[name].digest]


def stages(copy: Path) -> dict[str, dict[str, str]]:
    """Return the closure of every stage, by the two profiles that have all kinds between them."""
    forget()
    return {
        f"{profile}:{stage}": code.closure([f"stages.{script}"], settings)
        for profile in ("laptop", "study")
        for stage, script, settings in planned(profile)
    }


@cache
def planned(profile: str) -> list[tuple[str, str, Any]]:
    """Return the stages of a profile of ours, which no copy changes."""
    with TemporaryDirectory() as folder:
        params = Path(folder) / "params.yaml"
        params.write_text(profiles.render(PROJECT / "profiles", profile))
        return [*layout.stages(read(params, check=[]))]


def changed(copy: Path, module: str, edit: Callable[[str], str] | None = None) -> set[str]:
    """Return the stages whose code is another after an edit of a module."""
    path = file(copy, module)
    text = path.read_text()
    path.write_text(edit(text) if edit else f"{text}\nTHERE = 1\n")
    return differing(stages(copy))


def differing(after: dict[str, dict[str, str]]) -> set[str]:
    """Return the stages whose code is another than ours."""
    return {
        stage.partition(":")[2] for stage, modules in as_it_is().items() if after[stage] != modules
    }


@cache
def as_it_is() -> dict[str, dict[str, str]]:
    """Return the closures of our stages: those of a copy, as nothing in them names a folder."""
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        patch.setattr(code, "ROOT", PROJECT)
        return stages(Path(folder))


def kinds(found: set[str]) -> set[str]:
    return {stage.partition("@")[0] for stage in found}


def test_a_net_counts_where_its_models_are_used(copy: Path):
    """Its permutation spec decides alignments, though training gives the same bytes."""
    found = changed(
        copy,
        "basins.nets.resnet",
        lambda text: text.replace("def permutation_spec(self)", "def permutation_spec(self, _=0)"),
    )
    assert {"train@cued", "connect@mechanisms", "connect@finetuned", "probe", "merge"} <= found
    assert not {"connect@nli", "classify@nli", "data@shapes", "figures"} & found


@pytest.mark.parametrize(
    ("module", "those", "others"),
    [
        ("basins.training.sample", {"merge", "aspect"}, {"train@cued", "probe"}),
        ("basins.data.calibration", {"connect@mechanisms", "merge"}, {"figures"}),
        ("basins.data.mixture", {"classify@nli", "connect@nli_curves"}, {"data@nli", "figures"}),
        ("basins.probes.binary", {"probe"}, {"connect@nli", "figures"}),
        ("basins.data.cues.box", {"data@shapes"}, {"train@cued", "probe"}),
        ("basins.figures.style", {"figures"}, {"claims", "connect@nli"}),
        ("basins.landscape.persistence", {"aspect"}, {"connect@nli", "merge"}),
        ("basins.claims.mmc", {"claims"}, {"analyze", "figures"}),
    ],
)
def test_planted_changes(copy: Path, module: str, those: set[str], others: set[str]):
    found = changed(copy, module)
    assert those <= found
    assert not others & found


def test_a_section_without_entries_chooses_nothing(copy: Path):
    (copy / "params.yaml").write_text(profiles.render(PROJECT / "profiles", "study"))
    params = read(copy / "params.yaml", check=[])
    settings = {stage: settings for stage, _, settings in layout.stages(params)}
    assert not params.plane and settings["plane"] is None and settings["probe"]
    assert not [m for m in code.closure(["stages.merge"], None) if m.endswith((".ties", ".resnet"))]
    assert "basins.merges.ties" in code.closure(["stages.merge"], [])


def test_what_settings_mean_counts_everywhere(copy: Path):
    """Variants and the numbers of a factorial are no plumbing."""
    old, new = "product(*varied.values())", "[*product(*varied.values())][::-1]"
    text = file(copy, "basins.settings.models").read_text()
    assert old in text
    found = changed(copy, "basins.settings.models", lambda text: text.replace(old, new))
    assert {"train", "classify", "connect", "merge", "probe"} <= kinds(found)


def test_what_is_not_python_counts_where_it_lies(copy: Path):
    style = copy / "basins" / "report" / "page.css"
    style.write_text(style.read_text() + "p {}\n")
    assert differing(stages(copy)) == {"report"}


def test_a_new_file_of_a_room_counts_for_those_that_name_it(copy: Path):
    shutil.copy(file(copy, "basins.merges.ties"), file(copy, "basins.merges.newly"))
    assert differing(stages(copy)) == set()
    roots = ["basins.merges.merged"]
    assert "basins.merges.newly" in code.closure(roots, [{"name": "newly"}])
    assert "basins.merges.newly" in code.closure(roots)  # whoever names none may mean any


def test_a_module_that_cannot_be_parsed_is_one_line(copy: Path):
    file(copy, "basins.merges.ties").write_text("def merge(:\n")
    with pytest.raises(UserError, match=r"merges/ties\.py, line 1: cannot be parsed"):
        code.closure(["basins.merges.merged"], [{"name": "ties"}])


def test_a_room_that_is_no_plain_string_is_refused(copy: Path):
    path = file(copy, "basins.merges.merged")
    path.write_text(path.read_text().replace('find("merges", name', 'find("mer" + "ges", name'))
    with pytest.raises(UserError, match="give the package as a plain string"):
        code.read("basins.merges.merged")


def test_plumbing_is_there_and_has_a_reason():
    for name, reason in code.PLUMBING.items():
        assert name in MODULES and reason


def test_an_item_of_another_kind_has_another_key(models, sets):
    edge = points.Points((models[0], models[1]), ((0.5, 0.5),), sets)
    assert edge.key()["code"] != FineTuning.__name__
    assert replace(edge, points=((0.4, 0.6),)).key() != edge.key()
