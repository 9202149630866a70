"""Make a text encoder: data/<dataset>/ -> models/<encoder>/."""

from __future__ import annotations

import argparse
from pathlib import Path

from basins import devices, parallel
from basins.errors import UserError, one_line
from basins.params import pick, read
from basins.registry import module
from basins.settings import Params, Pretraining
from basins.store import copy_item, seal, whole_folder
from basins.training import text_jobs
from basins.training.mixed import inputs


def main() -> None:
    """Pretrain what the store does not hold yet, or bring it, and lay the folder out as a whole."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("encoder", help="a key of `pretrain` in params.yaml")
    name = parser.parse_args().encoder
    params = read(check=["data", "pretrain"])
    settings = pick(params.pretrain, name, "pretrain")
    method = module("training", settings.method.name, ("pretrain", "bring"))
    with whole_folder(Path("models") / name) as folder:
        if hasattr(method, "bring"):
            method.bring(folder, params.root(), settings.long_rows, **settings.method.options)
        else:
            (item,) = parallel.run(
                text_jobs.run,
                [job(params, name, settings)],
                workers=1,
                title=f"pretrain {name}",
                steps=settings.method.options.get("steps", 3000) // 100,
            )
            copy_item(item, folder)
        seal(folder)


def job(params: Params, name: str, settings: Pretraining) -> text_jobs.Pretraining:
    """Return the pretraining of an encoder."""
    if settings.net is None or settings.vocabulary is None:
        raise UserError(f"pretrain.{name}: a net and a vocabulary are missing")
    data = Path("data") / settings.data
    return text_jobs.Pretraining(
        data=data,
        inputs=inputs(data, "train"),
        root=params.root(),
        device=devices.pick(params.device),
        **settings.model_dump(include={"method", "net", "vocabulary", "long_rows", "seed"}),
    )


if __name__ == "__main__":
    with one_line():
        main()
