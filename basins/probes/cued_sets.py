"""The splits of a stored image dataset: training images with and without cue, and diagnostic sets.

The sets are those of the counterfactual diagnostic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from basins.data import cued, images, natural
from basins.data.images import ImageData, Split
from basins.data.natural import Attributed
from basins.errors import UserError
from basins.probes import counterfactual
from basins.registry import find, split_options


def splits(
    name: str,
    loaded: ImageData | Attributed,
    cue: Mapping[str, Any] | None,
    given: Mapping[str, Any],
) -> tuple[dict[str, Split], dict[str, Any]]:
    """Return the splits of a dataset by name, and the checksums of its cue's files.

    Args:
        name: the dataset's name in error messages.
        loaded: its images; `Attributed` ones have a natural cue.
        cue: a file of `data/cues/` with its options, for images without a natural cue.
        given: the arguments `source`, `root` and `seed` of every cue.

    Raises:
        UserError: a cue is missing or not allowed, or the images are not valid.
    """
    if isinstance(loaded, Attributed):
        images.check(loaded.data, name)
        if cue is not None:
            raise UserError(f"data.{name}.cue: leave it out; the cue is in the images themselves")
        return natural.splits(loaded, name, given["seed"]), {}
    images.check(loaded, name)
    if cue is None:
        raise UserError(f"data.{name}.cue: missing; images take one of basins/data/cues/")
    count, (file, options) = len(loaded.classes), split_options(cue)
    draw = find("data.cues", file, "cue")
    train = cued.draw(loaded.train, count, draw("train", **given, **options))
    of_test = draw("test", **given, **options)
    sets = counterfactual.sets(loaded.test, count, of_test, given["seed"])
    checksums = {"cue_files_md5": dict(of_test.checksums)}
    return {"train": train.plain, "train_c": train.cued, **sets}, checksums
