"""Pretrain or import a text encoder: data/<dataset>/ -> models/<encoder>/."""

from __future__ import annotations

from functools import partial

import common
from basins import layout
from basins.errors import UserError, one_line
from basins.registry import module
from basins.store import copy_item
from basins.training.encoders import Pretraining
from basins.training.mixed import inputs
from train import spare


def main() -> None:
    """Pretrain the encoder unless it is in the store, or import it, then write the whole folder."""
    params, name, settings = common.entry("pretrain", __doc__)
    method = module("training", settings.method.name, ("pretrain", "bring"))
    if hasattr(method, "bring"):
        bring = partial(method.bring, **settings.method.options, long_rows=settings.long_rows)
        layout.lay_out(params, name, [(params.root(), "")], lambda root, to: bring(to, root))
        return
    if settings.net is None or settings.vocabulary is None:
        raise UserError(f"pretrain.{name}: a net and a vocabulary are missing")
    device, run = common.work(params)
    data = layout.data(settings.data)
    item = Pretraining(
        data=data,
        inputs=inputs(data, "train"),
        root=params.root(),
        device=device,
        **settings.model_dump(include={"method", "net", "vocabulary", "long_rows", "seed"}),
    )
    more = [] if item.find() else spare(params, device)  # one item takes one process
    [folder] = run([item], title=f"pretrain {name}", spare=more)
    layout.lay_out(params, name, [(folder, "")], copy_item)


if __name__ == "__main__":
    with one_line():
        main()
