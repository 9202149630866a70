"""Make one dataset and its evaluation sets: params -> data/<name>/ and sample thumbnails."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from basins import results
from basins.data import cued, disk, images
from basins.data.samples import thumbnails
from basins.errors import one_line
from basins.params import pick, read
from basins.probes import counterfactual
from basins.registry import find
from basins.store import folder_hash, whole_file, whole_folder


def main() -> None:
    """Load or synthesise, draw the cues once, write everything as a whole."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="a key of `data` in params.yaml")
    name = parser.parse_args().name
    params = read()
    settings = pick(params.data, name, "data")

    load, cue = find("data", settings.name, "load"), find("data.cues", settings.cue.name, "cue")
    given = {"source": settings.source, "root": params.root(), "seed": settings.seed}
    loaded = load(**given, **settings.options)
    images.check(loaded, name)
    count = len(loaded.classes)
    train = cued.draw(loaded.train, count, cue("train", **given, **settings.cue.options))
    test_cue = cue("test", **given, **settings.cue.options)
    sets = counterfactual.sets(loaded.test, count, test_cue, settings.seed)
    splits = {"train": train.plain, "train_c": train.cued, **sets}
    with whole_folder(Path("data") / name) as folder:
        disk.save(folder, splits, loaded.classes)
    reports = params.reports() / "results" / "data"
    results.write(thumbnails(name, sets, loaded.classes), reports / f"{name}.csv")
    with whole_file(reports / f"{name}.json") as file:
        made = {
            "sha256": folder_hash(Path("data") / name),
            "files_md5": loaded.checksums,
            "cue_files_md5": dict(test_cue.checksums),
        }
        file.write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    with one_line():
        main()
