"""Make one dataset and its evaluation sets: params -> data/<name>/ and a few samples."""

from __future__ import annotations

import json

import common
from basins import layout, results
from basins.data import disk, samples, text
from basins.data.natural import Attributed
from basins.data.text import TextData
from basins.errors import one_line
from basins.probes import cued_sets
from basins.probes.counterfactual import SETS
from basins.registry import find
from basins.store import folder_hash, seal, whole_file, whole_folder


def main() -> None:
    """Load or generate the data, draw the cues once, and write the whole folder."""
    params, name, settings = common.entry("data", __doc__)
    given = {"source": settings.source, "root": params.root(), "seed": settings.seed}
    loaded = find("data", settings.name, "load")(**given, **settings.options)
    plain = loaded.data if isinstance(loaded, Attributed) else loaded
    md5 = {"files_md5": plain.checksums}
    with whole_folder(layout.data(name)) as folder:
        if isinstance(loaded, TextData):
            text.check(loaded, name)
            text.save(folder, loaded)
            # Sentences of real datasets are not redistributed.
            classes = loaded.classes if settings.source == "synthetic" else {}
            shown = samples.of_text(name, loaded.splits, classes)
        else:
            cue = settings.cue and settings.cue.model_dump()
            splits, of_cue = cued_sets.splits(name, loaded, cue, given)
            md5 |= of_cue
            disk.save(folder, splits, plain.classes)
            shown = samples.of_images(name, {key: splits[key] for key in SETS}, plain.classes)
        seal(folder)
    reports = layout.results(params, "data")
    results.write(samples.table(shown), reports / f"{name}.csv")
    with whole_file(reports / f"{name}.json") as file:
        made = {"sha256": folder_hash(layout.data(name)), **md5}
        file.write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    with one_line():
        main()
