"""Images whose cue is their own attribute: Waterbirds' official format, on small files."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from basins import profiles
from basins.data import disk, natural, waterbirds
from basins.errors import UserError
from tests.projects import PROJECT, stage

FOLDER = "waterbird_complete95_forest2water2"
# Images of each split, class and place; a pixel's red is the class, green the place, blue a number.
COUNTS = {("0", 0, 0): 9, ("0", 0, 1): 2, ("0", 1, 0): 1, ("0", 1, 1): 5}
COUNTS |= {("2", 0, 0): 6, ("2", 0, 1): 6, ("2", 1, 0): 3, ("2", 1, 1): 3, ("1", 0, 0): 2}
COLUMNS = ("img_id", "img_filename", "y", "split", "place", "place_filename")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rows = []
    for (split, y, place), count in COUNTS.items():
        for _ in range(count):
            name = f"{len(rows) + 1:03}.Bird/{len(rows)}.png"
            (tmp_path / FOLDER / name).parent.mkdir(parents=True)
            pixels = np.full((12, 8, 3), (100 * y, 100 * place, len(rows)), np.uint8)
            Image.fromarray(pixels).save(tmp_path / FOLDER / name)
            rows.append((len(rows), name, y, split, place, f"/o/{place}.jpg"))
    write(tmp_path, rows)
    return tmp_path


def write(root: Path, rows: list, columns: tuple = COLUMNS) -> None:
    with (root / FOLDER / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def rows_of(root: Path) -> list[list[str]]:
    return list(csv.reader((root / FOLDER / "metadata.csv").open()))[1:]


def load(root: Path) -> natural.Attributed:
    return waterbirds.load(source="files", root=root, seed=0, size=8)


def kinds(split) -> tuple[np.ndarray, np.ndarray]:
    """Return class and place as the pixels show them."""
    return split.images[:, 0, 0, 0] // 100, split.images[:, 0, 0, 1] // 100


def test_splits_classes_and_places_are_those_of_the_file(root):
    found = load(root)
    assert found.data.classes == ("landbird", "waterbird")
    assert found.data.train.images.shape == (17, 8, 8, 3)
    assert len(found.data.test.labels) == 18
    for split, places in ((found.data.train, found.train), (found.data.test, found.test)):
        shown, there = kinds(split)
        assert (shown == split.labels).all() and (there == places).all()
    assert set(found.data.checksums) == {"metadata.csv"}


def test_sets_have_images_of_the_class_and_place_that_they_say(root):
    made = natural.splits(load(root), "birds", 0)
    assert list(made) == ["train", "train_c", "nc", "c", "rc", "ri"]
    for name, split in made.items():
        labels, (shown, place) = split.labels, kinds(split)
        counts = [9, 5] if name.startswith("train") else [6, 3]
        assert np.bincount(labels).tolist() == counts
        if name == "ri":
            assert (shown != labels).all() and (place == labels).all()
            continue
        assert (shown == labels).all()
        if name in ("c", "train_c"):
            assert (place == labels).all()
        elif name != "rc":  # every place as often, also in any first part of the class
            for label in (0, 1):
                assert place[labels == label].tolist() == [k % 2 for k in range(counts[label])]
    numbers = made["nc"].images[:, 0, 0, 2]
    assert len(set(numbers.tolist())) == len(numbers)  # none twice where there are enough
    again, other = (natural.splits(load(root), "birds", seed) for seed in (0, 1))
    assert all((made[name].images == again[name].images).all() for name in made)
    assert any((made[name].images != other[name].images).any() for name in made)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (2, "2", "line 2: y is '2', none of 0, 1"),
        (3, "", "line 2: split is '', none of 0, 1, 2"),
        (4, "water", "line 2: place is 'water', none of 0, 1"),
        (1, "../secret.png", "line 2: '../secret.png' is no image of this folder"),
        (1, "/etc/x.png", "line 2: '/etc/x.png' is no image of this folder"),
        (1, "", "is no image of this folder"),
        (1, "none.png", "none.png: not a readable image"),
    ],
)
def test_a_wrong_value_is_said_with_its_line(root, column, value, message):
    rows = rows_of(root)
    rows[0][column] = value
    write(root, rows)
    with pytest.raises(UserError) as raised:
        load(root)
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_what_is_lacking_is_said(root):
    rows = rows_of(root)
    write(root, rows, ("img_id", "file", *COLUMNS[2:]))
    with pytest.raises(UserError, match=r"metadata.csv: not as published \(no img_filename in it"):
        load(root)
    write(root, [row for row in rows if row[3] != "2"])
    with pytest.raises(UserError, match=r"not as published \(no row of split 2\)"):
        load(root)
    (root / FOLDER / "metadata.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"metadata.csv: not readable"):
        load(root)
    (root / FOLDER / "metadata.csv").unlink()
    with pytest.raises(UserError, match="No such file.*; unpack the official archive into"):
        load(root)


def test_a_group_without_images_is_named(root):
    write(root, [row for row in rows_of(root) if row[2:5] != ["1", "0", "0"]])
    with pytest.raises(UserError, match="dataset 'birds', train: no waterbird has the attribute 0"):
        natural.splits(load(root), "birds", 0)


def test_the_stage_writes_the_sets_and_refuses_a_drawn_cue(root):
    yaml = YAML(typ="safe")
    params = yaml.load(profiles.render(PROJECT / "profiles", "laptop"))
    birds = {"name": "waterbirds", "source": "files", "seed": 0, "size": 8}

    def run(**more: object) -> object:
        params["data"]["shapes"] = birds | more
        with (root / "params.yaml").open("w") as file:
            yaml.dump(params, file)
        return stage(root, "stages/data.py", "shapes", BASINS_DATA=str(root))

    assert run() is None
    for name, split in natural.splits(load(root), "birds", 0).items():
        written = disk.read(root / "data/shapes", name)
        assert (written.images == split.images).all() and (written.labels == split.labels).all()
    assert disk.class_names(root / "data/shapes") == waterbirds.CLASSES
    assert run(cue={"name": "box"}) == (
        "error: data.shapes.cue: leave it out; the cue is in the images themselves"
    )
