"""Fine-tune a text encoder, once a seed: data/, models/<encoder>/ -> models/<recipe>/."""

from __future__ import annotations

from basins import parallel

if __name__ == "__main__":
    parallel.start("basins.training.text_jobs")

import argparse
from pathlib import Path

from basins import devices
from basins.errors import one_line
from basins.params import pick, read
from basins.store import folder_hash, seal, whole_folder
from basins.training import text_jobs
from basins.training.mixed import inputs


def main() -> None:
    """Tune what the store does not hold yet, in parallel, then lay the folder out as a whole."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", help="a key of `classify` in params.yaml")
    name = parser.parse_args().recipe
    params = read(check=["data", "classify"])
    recipe = pick(params.classify, name, "classify")
    data, encoder = Path("data") / recipe.data, Path("models") / recipe.encoder
    given = {
        "data": data,
        "inputs": inputs(data, "train", "counterexamples"),
        "encoder": encoder,
        "fingerprint": folder_hash(encoder),
    }
    pending = {
        (label, number): text_jobs.Classifying(
            **given,
            mixture=params.data[recipe.data].seed,
            streams=text_jobs.Streams(**streams),
            number=number,
            device=devices.pick(params.device),
            **part.model_dump(include={"method", "counterexamples", "noise"}),
        )
        for label, part in recipe.parts().items()
        for number, streams in part.streams.items()
    }
    jobs = [*pending.values()]
    items = parallel.run(
        text_jobs.run,
        jobs,
        workers=devices.workers(params.workers, jobs[0].device),
        title=f"classify {name}",
        steps=recipe.method.options.get("epochs", 3),
        scheduler=params.cluster,
    )
    with whole_folder(Path("models") / name) as folder:
        for (label, number), item in zip(pending, items, strict=True):
            text_jobs.lay_out(item, folder / label, number)
        seal(folder)


if __name__ == "__main__":
    with one_line():
        main()
