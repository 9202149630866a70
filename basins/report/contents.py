"""The ledger in the report of a profile, and where each claim is shown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from basins.claims.ledger import KINDS, Shown
from basins.figures import style
from basins.registry import module
from basins.report import tables as text
from basins.results import file_of

Choices = Mapping[str, Mapping[str, Any]]  # the name of a file with its options, by key

VERDICTS = ("supported", "inconclusive", "contradicted", "not applicable")
"""The verdicts on a claim, in the order in which they are counted."""

SHARE = re.compile(r"^(mean )?(accuracy on|\w+ of the error\b)")
"""The beginnings of statistics that are accuracies or errors, which are written in percent."""

_SUBJECTS = ("experiment", "group", "toy", "aspect", "method", "other")
_WAYS = ("path", "alignment")  # tables show all, figures those that they name


def sources(
    paper: str,
    claim: Mapping[str, Any],
    figures: Choices,
    tables: Choices,
) -> Shown:
    """Return the keys of the figures and tables that show a claim, and the names of its rows.

    Args:
        paper: the name of the claim's file.
        claim: its function's `name`, with its options.
        figures: figures by key: the `name` of each file, with its options.
        tables: tables by key, in the same way.

    A figure shows a claim if the claim lists its file and its options name the experiment, group,
    method, path and so on of the claim; one without options shows everything.
    """
    shown = module("claims", paper, "paper").paper.claims[claim["name"]].shown

    def among(choices: Choices, files: Sequence[str], about: Sequence[str]) -> tuple[str, ...]:
        subjects = {claim[option] for option in about if option in claim}
        return tuple(
            key
            for key, choice in choices.items()
            if choice["name"] in files and (len(choice) == 1 or subjects <= {*_words(choice)})
        )

    return Shown(
        among(figures, shown.figures, _SUBJECTS + _WAYS),
        among(tables, shown.tables, _SUBJECTS),
        tuple(name.format(**claim) for name in shown.rows),
    )


def all_sources(params: Mapping[str, Mapping[str, Any]]) -> dict[str, Shown]:
    """Return where each claim, `<paper>/<key>`, is shown; `params` are a profile's sections."""
    return {
        f"{paper}/{key}": sources(paper, claim, params["figures"], params["tables"])
        for paper, claims in params["claims"].items()
        for key, claim in claims.items()
    }


def file(rows: str) -> str:
    """Return the path of the table `rows` relative to the report."""
    published = rows == "published_models"
    return f"../published/{rows}.csv" if published else str(file_of(Path("results"), rows))


def counts(
    claims: Sequence[Mapping[str, Any]], field: str = "verdict"
) -> list[tuple[str, list[tuple[str, int]]]]:
    """Return, for each kind of claim, how many have each verdict."""
    kinds = [kind for kind in KINDS if any(claim["kind"] == kind for claim in claims)]
    made = Counter((claim["kind"], claim[field]) for claim in claims)
    return [(KINDS[kind], [(word, made[kind, word]) for word in VERDICTS]) for kind in kinds]


def side(claim: Mapping[str, Any]) -> bool:
    """Return whether an estimate is on its claim's side of the threshold, decided or not.

    For a test, return whether the claim is supported, since a p-value has no side.
    """
    estimate, threshold = claim["estimate"], claim["threshold"]
    if estimate is None or claim["ci_low"] is None:
        return claim["verdict"] == "supported"
    if claim["direction"] == "within":
        return abs(estimate) < threshold
    return estimate > threshold if claim["direction"] == "above" else estimate < threshold


def headline(claims: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one sentence for each of the paper's claims that is contradicted.

    It says where the number that the paper reports for the same case contradicts the claim, too.
    """
    sentences = []
    for claim in claims:
        if claim["verdict"] != "contradicted" or claim["kind"] != "paper":
            continue
        shown, paper = written(claim), claim["reported"]
        above = claim["direction"] == "above"
        same = paper is not None and (paper > claim["threshold"]) != above
        unit, left = shown["unit"], shown["verdict_holm"] != "contradicted"
        sentences.append(
            f"“{shown['statement']}” Contradicted"
            + (f", as by the paper's own {shown['reported']}{unit}" if same else "")
            + f": {shown['statistic']} is {shown['estimate']} [{shown['ci_low']}, "
            f"{shown['ci_high']}]{unit}, threshold {shown['threshold']}{unit}, n = {shown['n']}"
            + (f"; {shown['verdict_holm']} after correction for multiple comparisons" * left)
            + "."
        )
    return sentences


def written(claim: Mapping[str, Any]) -> dict[str, Any]:
    """Return `claim` in words, and its numbers as text, with common units and decimals.

    Its `labels` are those of its profile, by default those of `style.labelled`.
    """
    names = ("estimate", "ci_low", "ci_high", "threshold", "smallest_effect", "reported")
    share = bool(SHARE.search(str(claim["statistic"])))
    factor = 100 if share else 1
    values = {k: float("nan") if claim[k] is None else factor * float(claim[k]) for k in names}
    places = 1 if share else text.decimals(values.values())
    shown = {k: text.number(value, places) for k, value in values.items()}
    p = claim["p_holm"]
    matches = claim["matches"]
    if claim["reported"] is not None:
        matches = f"{shown['reported']}: {matches}"
    said: dict[str, Any] = {"unit": " %" if share else ""}
    said |= {"p_holm": text.ABSENT if p is None else f"{p:.2g}", "matches": matches}
    left = claim["unseen"]  # only verdicts have it; otherwise there is a reason
    beyond = (
        f"up to {style.percent(left)} of seeds may be of a kind that was not sampled"
        if left
        else ""
    )
    texts = ("statistic", "confound", "reason")
    said |= {k: style.display(claim[k], claim.get("labels")) for k in texts}
    said["why"] = said["reason"] or beyond
    return {**claim, **shown, **said}


def ledger(
    claims: Sequence[Mapping[str, Any]],
    sources: Mapping[str, Shown],
    *,
    linked: bool = False,
) -> pd.DataFrame:
    """Return the ledger as a table of texts, one row a claim.

    `sources` says where each claim is shown, by its id; if `linked`, as Markdown links from a file
    in `tables/`.
    """

    def shown(found: Shown) -> str:
        places = dict.fromkeys(found.figures, "")  # drawn from the rows, and not in git
        places |= {key: f"tables/{key}.md" for key in found.tables if key not in places}
        places |= {name: file(name) for name in found.rows}
        return ", ".join(f"[{k}](../{v})" if linked and v else k for k, v in places.items())

    columns = {
        "id": lambda claim: claim["id"],
        "kind": lambda claim: claim["kind"],
        "where": lambda claim: claim["where"],
        "claim": lambda claim: claim["statement"],
        "estimate": lambda claim: (
            f"{claim['estimate']} [{claim['ci_low']}, {claim['ci_high']}]{claim['unit']}"
        ),
        "required": lambda claim: f"{claim['direction']} {claim['threshold']}{claim['unit']}",
        "supported from": lambda claim: claim["smallest_effect"],
        "n": lambda claim: claim["n"],
        "verdict": lambda claim: claim["verdict"],
        "p (Holm)": lambda claim: claim["p_holm"],
        "matches": lambda claim: claim["matches"],
        "registered": lambda claim: f"{claim['registered']} (since {claim['since'] or 'now'})",
        "limits of the verdict, or why there is none": lambda claim: _remarks(claim),
        "shown by": lambda claim: shown(sources.get(claim["id"], Shown())),
    }
    rows = [[cell(claim) for cell in columns.values()] for claim in map(written, claims)]
    return pd.DataFrame(rows, columns=list(columns))


def _remarks(claim: Mapping[str, Any]) -> str:
    """Return the limits of a verdict, or why there is none, and other remarks."""
    remarks = {"": claim["why"], "confounded": claim["confound"]}
    remarks |= {"exploratory": claim["exploratory"]}
    return "; ".join(f"{k}: {v}" if k else v for k, v in remarks.items() if v)


def _words(options: Any) -> Iterator[str]:
    """Yield every name in nested options, keys included, and the parts of `group/method`."""
    if isinstance(options, Mapping | list):
        for part in options:
            yield from _words(part)
    if isinstance(options, Mapping):
        yield from _words([*options.values()])
    elif isinstance(options, str):
        yield from {options, *options.split("/")}
