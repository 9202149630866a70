"""Fine-tune a text encoder, once per seed: data/, models/<encoder>/ -> models/<recipe>/."""

from __future__ import annotations

from basins import parallel

if __name__ == "__main__":
    parallel.start("basins.training.classifiers")

import common
from basins import layout
from basins.errors import one_line
from basins.store import folder_hash
from basins.training.classifiers import Classifying, lay_out
from basins.training.mixed import inputs
from basins.training.starts import Streams


def main() -> None:
    """Fine-tune the models that are not in the store, in parallel, then write the whole folder."""
    params, name, recipe = common.entry("classify", __doc__)
    device, run = common.work(params)
    data, encoder = layout.data(recipe.data), layout.MODELS / recipe.encoder
    given = {
        "data": data,
        "inputs": inputs(data, "train", "counterexamples"),
        "encoder": encoder,
        "fingerprint": folder_hash(encoder),
    }
    items = {
        f"{label}/seed{number}": Classifying(
            **given,
            mixture=params.data[recipe.data].seed,
            streams=Streams(**streams),
            number=number,
            device=device,
            **part.model_dump(include={"method", "counterexamples", "noise"}),
        )
        for label, part in recipe.parts().items()
        for number, streams in part.streams.items()
    }
    folders = run([*items.values()], title=f"classify {name}")
    places = (place.removeprefix("/") for place in items)
    layout.lay_out(params, name, zip(folders, places, strict=True), lay_out)


if __name__ == "__main__":
    with one_line():
        main()
