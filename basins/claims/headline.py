"""The main numbers of a run: metrics.json, and the lines that `make repro` ends with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

LIMIT = 40
VERDICTS = ("supported", "inconclusive", "contradicted", "not applicable")
HARDEST = "lexical_overlap/non-entailment"
"""The slice of HANS that LCRGS emphasises (section 2); all of its slices would be too many."""


def metrics(
    claims: Sequence[Mapping[str, Any]], tables: Mapping[str, pd.DataFrame]
) -> dict[str, dict[str, Any]]:
    """Return at most `LIMIT` numbers, by kind and name, for `dvc metrics`.

    These are the counts of verdicts, without and with Holm's correction; then, for each recipe, the
    accuracy on the first and the last set of its diagnostic; then, for each experiment, the mean
    barrier of the loss (nats) over its pairs, on straight paths in distribution. If there are more
    numbers, the last ones are dropped.
    """
    numbers: dict[str, dict[str, Any]] = {
        "claims": _counts(claims, "verdict"),
        "claims_holm": _counts(claims, "verdict_holm"),
    }
    all_means = [*_accuracies(tables["summary/probes"]), *_barriers(tables["barriers"])]
    for kind, name, value in all_means[: LIMIT - 2 * len(VERDICTS)]:
        numbers.setdefault(kind, {})[name] = value
    return numbers


def summary(claims: Sequence[Mapping[str, Any]], numbers: Mapping[str, Mapping]) -> list[str]:
    """Return the last lines of a run: verdicts by paper, the first accuracy and barrier."""
    lines = []
    for paper in dict.fromkeys(claim["paper"] for claim in claims):
        counts = _counts([claim for claim in claims if claim["paper"] == paper], "verdict")
        counted = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
        lines.append(f"{paper.partition(':')[0]}: {counted}")
    for kind, words in (("accuracy", "accuracy of"), ("barrier", "mean barrier of the loss in")):
        for name, value in [*numbers.get(kind, {}).items()][:1]:
            lines.append(f"{words} {name}: {value:.3f}")
    return lines


def _counts(claims: Sequence[Mapping[str, Any]], key: str) -> dict[str, int]:
    counts = Counter(claim[key] for claim in claims)
    return {verdict: counts[verdict] for verdict in VERDICTS}


def _accuracies(probes: pd.DataFrame) -> Iterator[tuple[str, str, float]]:
    """Yield the accuracies of whole recipes; names of their variants contain a `/`."""
    shown = probes.query(
        "metric == 'accuracy' and not recipe.str.contains('/')"
        " and (not slice.str.contains('/') or slice == @HARDEST)"
    )
    for recipe, rows in shown.groupby("recipe", sort=False):
        means = dict(zip(rows["slice"], rows["mean"], strict=True))
        for part in dict.fromkeys([[*means][0], [*means][-1]]):
            yield "accuracy", f"{recipe} on {part}", float(means[part])


def _barriers(barriers: pd.DataFrame) -> Iterator[tuple[str, str, float]]:
    straight = barriers.query("metric == 'loss' and path == 'linear' and alignment == 'none'")
    for experiment, rows in straight.groupby("experiment", sort=False):
        sets = rows["eval_set"].unique()
        domain = next((name for name in ("test", "nc") if name in sets), sets[0])
        first = (rows["batchnorm"] == rows["batchnorm"].iloc[0]) & (rows["eval_set"] == domain)
        yield "barrier", str(experiment), float(rows.loc[first, "barrier_linear"].mean())
