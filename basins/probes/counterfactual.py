"""The four counterfactual image sets of Mechanistic Mode Connectivity (section 2.4 of its code).

| set | image | cue | read as |
|---|---|---|---|
| `nc` | its own | none | accuracy without the cue |
| `c`  | its own | its class's | accuracy with the cue |
| `rc` | its own | a random one | reliance on the image |
| `ri` | a random one | its class's | reliance on the cue: the target stays the cue's class |

The cue proportion is 1 in all of them. The paper draws `rc` and `ri` again at every access; here
they are drawn once, so that all models and points of paths are evaluated on the same examples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from basins import seeds
from basins.data.cue import Cue
from basins.data.images import Evaluation, Split

SETS = ("nc", "c", "rc", "ri")


def sets(test: Split, num_classes: int, cue: Cue, seed: int) -> dict[str, Split]:
    """Return the four sets, each with as many examples as `test`, in its order."""
    count = len(test.labels)
    own = cue.assign(test.labels, num_classes)
    random = cue.randomise(seeds.generator("cue", seed), count, num_classes)
    others = seeds.generator("counterfactual_image", seed).integers(count, size=count)

    def drawn(images: np.ndarray, codes: np.ndarray | None) -> Split:
        return Split(cue.draw(images, codes, num_classes), test.labels)

    return {
        "nc": drawn(test.images, None),
        "c": drawn(test.images, own),
        "rc": drawn(test.images, random),
        "ri": drawn(test.images[others], own),
    }


def measures(
    evaluations: Mapping[str, Evaluation], columns: Mapping[str, Mapping[str, Sequence]]
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield (slice, metric, value of each example [n]) of one model: accuracy and loss (nats).

    `columns` are not used.
    """
    for name in SETS:
        yield name, "accuracy", evaluations[name].correct
        yield name, "loss", evaluations[name].losses
