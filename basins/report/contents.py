"""What the report of a profile says first: its ledger, and where each claim can be looked up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from basins.report import tables as text

Choices = Mapping[str, Mapping[str, Any]]  # a file's name with its options, by key


class Sources(NamedTuple):
    """What shows a claim: files of `figures/`, files of `tables/`, and tables of `results/`."""

    figures: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()


_CURVES = Sources(("path_grid", "barrier_matrix"), ("barriers",), ("summary/barriers",))
_PAIRS = _CURVES._replace(rows=("barriers",))
_PROBES = Sources(("counterfactual_probe",), ("fine_tuning", "accuracy"), ("probes",))
_TOYS = Sources(("toy",), (), ("toy/{toy}",))
_ALIKE = Sources(("control",), ("barriers",), ("invariance",))
_GAPS = Sources(("convexity_gaps", "pair_types"), (), ("barriers", "clusters"))
_CLUSTERS = Sources(("convexity_gaps",), ("clusters",), ("cluster_choice",))
_SCORES = Sources(("strategy",), (), ("association",))
_SLICES = Sources(("cluster_histogram",), (), ("probes", "clusters"))
_PUBLISHED = Sources(("published_models",), ("published_models",), ("published_models",))


def _aspect(*figures: str) -> Sources:
    return Sources(figures, (), ("aspects/{aspect}",))


SHOWN = {
    "mmc": {
        "c1": _CURVES,
        "c2": _CURVES,
        "c3": _CURVES,
        "c4": _PROBES,
        "c4_connected": _CURVES,
        "c5": _PROBES,
        "c5_barrier": _CURVES,
        "c6": _PROBES,
        "c7": _PROBES,
        "c8": _PROBES,
        "c9": _CURVES,
        "c10": _PROBES,
        "c11": _TOYS,
        "c12": _ALIKE,
    },
    "lcrgs": {
        "c1": _GAPS,
        "c2": _GAPS,
        "c3": _CLUSTERS,
        "c4": _SCORES,
        "c4_published": _PUBLISHED,
        "c5": _SLICES,
        "c5_published": _PUBLISHED,
        "c5_reversed": Sources(_SLICES.figures, (), ("association",)),
        "c6": _SCORES,
        "c7": _GAPS,
        "c8": _GAPS,
        "c9": Sources(("dynamics",), (), ("barriers", "clusters")),
        "c10": Sources(("strategy", "sharpness"), (), ("association",)),
        "c11": _CLUSTERS,
        "c11_within": _GAPS,
        "c12": Sources(("path_grid",), (), ("barriers", "clusters")),
    },
    "sok": {
        "a": _aspect("aspect_convexity"),
        "b": _aspect("instability"),
        "c": _aspect("directedness"),
        "d": _aspect("merge_tree", "layerwise"),
        "d3": _PAIRS,
        "d4": _PAIRS,
    },
}
"""By paper, what shows its claims, by what the names of their functions begin with."""

_SUBJECTS = ("experiment", "group", "toy", "aspect", "method", "other")
_WAYS = ("path", "alignment")  # a table shows all, a figure those that it names


def sources(
    paper: str,
    claim: Mapping[str, Any],
    figures: Choices,
    tables: Choices,
) -> Sources:
    """Return the keys of the figures and tables that show a claim, and the names of its rows.

    Args:
        paper: the name of the claim's file.
        claim: its function's `name`, with its options.
        figures: figures by key: the `name` of each file, with its options.
        tables: tables by key, in the same way.

    A figure shows a claim where `SHOWN` lists its file and its options name whatever experiment,
    group, method, path and so on the claim is about; one without options shows all there is.
    """
    beginnings = [known for known in SHOWN.get(paper, {}) if claim["name"].startswith(known)]
    if not beginnings:
        return Sources()
    shown = SHOWN[paper][max(beginnings, key=len)]

    def among(choices: Choices, files: Sequence[str], about: Sequence[str]) -> tuple[str, ...]:
        subjects = {claim[option] for option in about if option in claim}
        return tuple(
            key
            for key, choice in choices.items()
            if choice["name"] in files and (len(choice) == 1 or subjects <= {*_words(choice)})
        )

    return Sources(
        among(figures, shown.figures, _SUBJECTS + _WAYS),
        among(tables, shown.tables, _SUBJECTS),
        tuple(name.format(**claim) for name in shown.rows),
    )


def all_sources(params: Mapping[str, Mapping[str, Any]]) -> dict[str, Sources]:
    """Return what shows each claim, by `<paper>/<key>`; `params` has the sections of a profile."""
    return {
        f"{paper}/{key}": sources(paper, claim, params["figures"], params["tables"])
        for paper, claims in params["claims"].items()
        for key, claim in claims.items()
    }


def file(rows: str) -> str:
    """Return where the table `rows` lies, seen from the report."""
    return f"../published/{rows}.csv" if rows == "published_models" else f"results/{rows}.csv"


def headline(claims: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one sentence a claim that was not reproduced: what it says and what was found."""
    return [
        f"{claim['statement']} Not reproduced: {claim['statistic']} is "
        f"{claim['estimate']:.3f} [{claim['ci_low']:.3f}, {claim['ci_high']:.3f}], "
        f"threshold {claim['threshold']:g}, {claim['n']} seeds."
        for claim in claims
        if claim["verdict"] == "not reproduced"
    ]


def written(claim: Mapping[str, Any]) -> dict[str, Any]:
    """Return `claim` with its numbers as text, in its units all to the decimals of that claim."""
    names = ("estimate", "ci_low", "ci_high", "threshold")
    values = {k: float("nan") if claim[k] is None else float(claim[k]) for k in names}
    places = text.decimals(values.values())
    shown = {k: text.number(value, places) for k, value in values.items()}
    p = claim["p_holm"]
    return {**claim, **shown, "p_holm": text.ABSENT if p is None else f"{p:.2g}"}


def ledger(
    claims: Sequence[Mapping[str, Any]],
    sources: Mapping[str, Sources],
    *,
    linked: bool = False,
) -> pd.DataFrame:
    """Return the ledger as a table of texts, one row a claim.

    `sources` has what shows each claim, by its id; where `linked`, as Markdown links from a file in
    `tables/`.
    """

    def shown(found: Sources) -> str:
        places = {key: f"figures/{key}.svg" for key in found.figures}
        places |= {key: f"tables/{key}.md" for key in found.tables if key not in places}
        places |= {name: file(name) for name in found.rows}
        return ", ".join(f"[{k}](../{v})" if linked else k for k, v in places.items())

    columns = [
        "id",
        "where",
        "claim",
        "estimate",
        "required",
        "n",
        "verdict",
        "p (Holm)",
        "shown by",
    ]
    rows = [
        [
            claim["id"],
            claim["where"],
            claim["statement"],
            f"{claim['estimate']} [{claim['ci_low']}, {claim['ci_high']}]",
            f"{claim['direction']} {claim['threshold']}",
            claim["n"],
            claim["verdict"],
            claim["p_holm"],
            shown(sources.get(claim["id"], Sources())),
        ]
        for claim in map(written, claims)
    ]
    return pd.DataFrame(rows, columns=columns)


def _words(options: Any) -> Iterator[str]:
    """Yield every name in nested options, keys included, and the parts of `group/method`."""
    if isinstance(options, Mapping | list):
        for part in options:
            yield from _words(part)
    if isinstance(options, Mapping):
        yield from _words([*options.values()])
    elif isinstance(options, str):
        yield from {options, *options.split("/")}
