"""Claims of Mechanistic Mode Connectivity (arXiv 2211.08422).

C3 of its Fig. 4: the straight path between a model trained without the cue and one trained with it
has a barrier, with and without permuting units first. The other claims need paths and fine-tunes
that are not part of the pipeline yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from basins.errors import UserError
from basins.statistics.verdict import verdict

PAPER = "Mechanistic Mode Connectivity"
STATEMENTS = {
    "c3_raw": "The linear path from a no-cue to a cue model has a barrier.",
    "c3_matched": "The barrier remains after the units are permuted to match.",
}


def decide(
    tables: Mapping[str, pd.DataFrame], settings: Mapping[str, Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield one ledger entry for each claim in `settings` : experiment, alignment, threshold.

    Statistic: `barrier_linear` of the error (a share) on images without the cue, BatchNorm reset,
    averaged over pairs of a no-cue and a cue model from separate initialisations.
    """
    for claim, setting in settings.items():
        if claim not in STATEMENTS:
            raise UserError(f"claims.mmc: no claim {claim!r}; there are: {', '.join(STATEMENTS)}")
        rows = tables["summary/barriers"]
        row = rows[
            (rows.experiment == setting["experiment"])
            & (rows.path == "linear")
            & (rows.alignment == setting["alignment"])
            & (rows.recipe_a != rows.recipe_b)
            & (rows.init == "separate")
            & (rows.batchnorm == "reset")
            & (rows.eval_set == "nc")
            & (rows.metric == "error")
            & (rows.definition == "barrier_linear")
        ]
        if len(row) != 1:
            raise UserError(
                f"claims.mmc.{claim}: experiment {setting['experiment']!r} has {len(row)} fitting "
                "rows, not one; it must join two recipes on path `linear` with batchnorm `reset`"
            )
        found = row.iloc[0]
        yield {
            "id": f"mmc/{claim}",
            "paper": PAPER,
            "where": "Fig. 4",
            "statement": STATEMENTS[claim],
            "statistic": "mean linear barrier of the error on images without the cue",
            "estimate": float(found["mean"]),
            "ci_low": float(found.ci_low),
            "ci_high": float(found.ci_high),
            "threshold": setting["threshold"],
            "direction": "above",
            "n": int(found.seeds),
            "verdict": verdict(found.ci_low, found.ci_high, setting["threshold"], "above"),
        }
