"""Training rows of a text classifier with shares of counterexamples and of wrong labels.

Both shares influence the phenomenon of LCRGS. In MNLI, 0.07 % of the training rows contradict the
lexical overlap heuristic (McCoy, Pavlick and Linzen 2019); here the share can be chosen.
"""

from __future__ import annotations

from pathlib import Path

from basins import seeds
from basins.data import text
from basins.data.text import Columns, fields
from basins.errors import UserError


def mix(
    train: Columns,
    pool: Columns | None,
    counterexamples: float,
    noise: float,
    classes: tuple[str, ...],
    seed: int,
) -> Columns:
    """Replace a share `counterexamples` of the rows by rows of the pool, then change some labels.

    A larger share contains the rows of a smaller one, with the same replacements, and the two
    shares are drawn independently.

    Args:
        train: the rows of the training split.
        pool: the counterexamples, or None if the dataset has none.
        counterexamples: the share of rows that are replaced, from 0 to 1.
        noise: the share of all rows whose label is changed to another class, from 0 to 1.
        classes: the names of the classes.
        seed: determines the draws.

    Returns:
        The sentences and labels, with as many rows as `train`, in its order.

    Raises:
        UserError: rows should be replaced, but the pool is missing, too small, or has other
            sentence columns.
    """
    names, count = (*fields(train), "label"), len(train["label"])
    mixed = {name: list(train[name]) for name in names}
    replaced = round(counterexamples * count)
    if replaced and (pool is None or not set(names) <= set(pool)):
        raise UserError(f"no counterexamples with the columns {', '.join(names)}; set the share 0")
    if replaced and pool is not None:
        available = len(pool["label"])
        if replaced > available:
            raise UserError(
                f"counterexamples {counterexamples} of {count} rows are {replaced}, but the "
                f"dataset has {available}; lower the share or give the dataset more"
            )
        draw = seeds.generator("counterexamples", seed)
        places, taken = draw.permutation(count), draw.permutation(available)
        for place, row in zip(places[:replaced].tolist(), taken.tolist(), strict=False):
            for name in names:
                mixed[name][place] = pool[name][row]
    draw = seeds.generator("noise", seed)
    places, steps = draw.permutation(count), draw.integers(1, len(classes), count)
    for place in places[: round(noise * count)]:
        mixed["label"][place] = int((mixed["label"][place] + steps[place]) % len(classes))
    return mixed


def mixed(data: Path, counterexamples: float, noise: float, seed: int) -> Columns:
    """Return the training rows of the dataset in the folder `data`, mixed by `mix`."""
    pool = text.read(data, "counterexamples") if counterexamples else None
    classes = text.class_names(data, "train")
    return mix(text.read(data, "train"), pool, counterexamples, noise, classes, seed)
