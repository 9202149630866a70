"""Make one dataset and its evaluation sets: params -> data/<name>/ and a few samples."""

from __future__ import annotations

import json
from pathlib import Path

import common
from basins import layout, results
from basins.data import cued, disk, images, natural, samples, text
from basins.data.images import ImageData, Split
from basins.data.natural import Attributed
from basins.errors import UserError, one_line
from basins.probes import counterfactual
from basins.registry import find
from basins.settings import Choice, Data
from basins.store import folder_hash, seal, whole_file, whole_folder


def main() -> None:
    """Load or synthesise, draw the cues once, write everything as a whole."""
    params, name, settings = common.entry("data", __doc__)
    given = {"source": settings.source, "root": params.root(), "seed": settings.seed}
    loaded = find("data", settings.name, "load")(**given, **settings.options)

    reports = layout.results(params, "data")
    plain = loaded.data if isinstance(loaded, Attributed) else loaded
    md5 = {"files_md5": plain.checksums}
    with whole_folder(layout.data(name)) as folder:
        if isinstance(loaded, Attributed):
            sets = _natural(name, loaded, settings, folder)
            shown = samples.of_images(name, sets, loaded.data.classes)
        elif isinstance(loaded, ImageData):
            sets, md5["cue_files_md5"] = _images(name, loaded, settings.cue, given, folder)
            shown = samples.of_images(name, sets, loaded.classes)
        else:
            text.check(loaded, name)
            text.save(folder, loaded)
            # Others' sentences may not be passed on.
            classes = loaded.classes if settings.source == "synthetic" else {}
            shown = samples.of_text(name, loaded.splits, classes)
        seal(folder)
    results.write(samples.table(shown), reports / f"{name}.csv")
    with whole_file(reports / f"{name}.json") as file:
        made = {"sha256": folder_hash(layout.data(name)), **md5}
        file.write_text(json.dumps(made, indent=1) + "\n")


def _images(name: str, loaded: ImageData, cue: Choice | None, given: dict, folder: Path):
    """Write the images with and without their cue; return the sets, and the cue's files' md5."""
    images.check(loaded, name)
    if cue is None:
        raise UserError(f"data.{name}.cue: missing; images take one of basins/data/cues/")
    count = len(loaded.classes)
    draw = find("data.cues", cue.name, "cue")
    train = cued.draw(loaded.train, count, draw("train", **given, **cue.options))
    of_test = draw("test", **given, **cue.options)
    sets = counterfactual.sets(loaded.test, count, of_test, given["seed"])
    splits = {"train": train.plain, "train_c": train.cued, **sets}
    disk.save(folder, splits, loaded.classes)
    return sets, dict(of_test.checksums)


def _natural(name: str, loaded: Attributed, settings: Data, folder: Path) -> dict[str, Split]:
    """Write the images of which some have their cue by themselves, and return the sets."""
    images.check(loaded.data, name)
    if settings.cue is not None:
        raise UserError(
            f"data.{name}.cue: leave it out; the cue is in the images of {settings.name}"
        )
    splits = natural.splits(loaded, name, settings.seed)
    disk.save(folder, splits, loaded.data.classes)
    return {key: splits[key] for key in counterfactual.SETS}


if __name__ == "__main__":
    with one_line():
        main()
