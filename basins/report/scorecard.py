"""The scorecard: a row for each distinct claim, drawn as a forest plot around its threshold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any, NamedTuple

from basins.claims.ledger import KINDS, Shown
from basins.report import contents, words

LINE, ROW, PAD = 7.0, 44.0, 6.0
"""In a plot: the height of an interval, the maximum height of all intervals, and the margin."""


class Interval(NamedTuple):
    """An interval as drawn, from -1 to 1: 0 is the threshold, and above 0 is the claim's side.

    `low_cut` and `high_cut` say if it extends beyond the plot; `paper` is the paper's value.
    """

    verdict: str
    mean: float | None
    low: float | None
    high: float | None
    low_cut: bool
    high_cut: bool
    paper: float | None


def groups(
    claims: Sequence[Mapping[str, Any]],
    sources: Mapping[str, Shown],
    anchors: Mapping[str, str],
    presets: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Return the claims by paper and statement, as the page shows them.

    Args:
        claims: entries of `claims.json`, optionally with their `profile`.
        sources: where each claim is shown, by its id.
        anchors: the names of the page's figures and tables, by their anchors.
        presets: the explorer's state for each claim that it can show, by id.

    Claims with the same statement are one row, with their measurements below it.
    """
    papers: dict[str, dict[tuple[str, str], list[Mapping[str, Any]]]] = {}
    for claim in claims:
        rows = papers.setdefault(claim["paper"], {})
        rows.setdefault((claim["kind"], claim["statement"]), []).append(claim)
    return [
        {
            "title": title,
            "counts": _counts(claim for group in rows.values() for claim in group),
            "rows": [
                _row(group, sources, anchors, presets or {})
                for kind in KINDS
                for (of, _), group in rows.items()
                if of == kind
            ],
        }
        for title, rows in papers.items()
    ]


def _row(
    group: Sequence[Mapping[str, Any]],
    sources: Mapping[str, Shown],
    anchors: Mapping[str, str],
    presets: Mapping[str, str],
) -> dict[str, Any]:
    first, counts = group[0], _counts(group)
    line = max(2.5, min(LINE, ROW / len(group)))
    written = [contents.written(claim) for claim in group]
    return {
        "statement": words.linked(first["statement"]),
        "plain": first["statement"].rstrip("."),
        "kind": KINDS[first["kind"]],
        "where": first["where"],
        "counts": counts,
        "verdict": max(counts, key=lambda pair: pair[1])[0] if len(counts) == 1 else "mixed",
        "verdicts": " ".join(word.replace(" ", "-") for word, _ in counts),
        "numbers": _numbers(group, written),
        "n": _span([claim["n"] for claim in group]),
        "paper": " ".join(sorted({str(claim["matches"]) for claim in group if claim["reported"]})),
        "exploratory": all(claim["exploratory"] for claim in group),
        "intervals": intervals(group),
        "height": line * len(group) + PAD,
        "line": line,
        "claims": [
            {
                **shown,
                "profile": claim.get("profile", ""),
                "anchor": anchor(claim),
                "statistic": words.linked(shown["statistic"]),
                "links": links(sources.get(claim["id"], Shown()), anchors),
                "preset": presets.get(claim["id"], ""),
            }
            for claim, shown in zip(group, written, strict=True)
        ],
    }


def anchor(claim: Mapping[str, Any]) -> str:
    """Return the id of a claim on the page, which is stable so that links keep working."""
    parts = ["claim", *([claim["profile"]] if "profile" in claim else []), claim["id"]]
    return "-".join(parts).replace("/", "-")


def intervals(group: Sequence[Mapping[str, Any]]) -> list[Interval]:
    """Return the intervals of claims with one statement on a common scale around the threshold."""
    measured = [_around(claim) for claim in group]
    largest = max(
        (abs(v) for around in measured for v in (around[0], around[3]) if v is not None), default=0
    )
    half = max((abs(v) for a in measured for v in a[1:3] if v is not None), default=0)
    span = min(half, 2.5 * largest) or half or 1.0

    def at(value: float | None) -> float | None:
        return None if value is None else max(-1.0, min(1.0, value / span))

    return [
        Interval(
            claim["verdict"],
            at(mean),
            at(low),
            at(high),
            low is not None and low < -span,
            high is not None and high > span,
            at(paper),
        )
        for claim, (mean, low, high, paper) in zip(group, measured, strict=True)
    ]


def _around(claim: Mapping[str, Any]) -> tuple[float | None, ...]:
    """Return estimate, interval and the paper's value relative to the threshold; claim above 0."""
    names = ("estimate", "ci_low", "ci_high", "reported")
    mean, low, high, paper = (_finite(claim[name]) for name in names)
    threshold, direction = claim["threshold"], claim["direction"]
    if direction == "above":
        return tuple(None if v is None else v - threshold for v in (mean, low, high, paper))
    if direction == "within":
        ends = None if low is None or high is None else (low, high)
        far = None if ends is None else max(map(abs, ends))
        near = None if ends is None else 0.0 if ends[0] <= 0 <= ends[1] else min(map(abs, ends))
        sizes = [None if v is None else abs(v) for v in (mean, paper)]
        return tuple(None if v is None else threshold - v for v in (sizes[0], far, near, sizes[1]))
    return tuple(None if v is None else threshold - v for v in (mean, high, low, paper))


def links(found: Shown, anchors: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the links from a claim to the figures and tables of its page and to its rows."""
    ids = [f"figure-{key}" for key in found.figures] + [f"table-{key}" for key in found.tables]
    shown = [{"text": anchors[name], "href": f"#{name}"} for name in ids if name in anchors]
    return shown + [{"text": f"{name}.csv", "href": contents.file(name)} for name in found.rows]


def _numbers(group: Sequence[Mapping[str, Any]], written: Sequence[Mapping[str, Any]]) -> str:
    """Return the estimate with its interval, or the range of several estimates."""
    if len(group) == 1:
        only = written[0]
        if group[0]["estimate"] is None:
            return "–"
        if group[0]["ci_low"] is None:
            is_p = only["statistic"].startswith("p ")
            return f"{'p = ' if is_p else ''}{only['estimate']}{only['unit']}"
        return f"{only['estimate']} [{only['ci_low']}, {only['ci_high']}]{only['unit']}"
    known = [
        (claim["estimate"], shown["estimate"] + shown["unit"])
        for claim, shown in zip(group, written, strict=True)
        if claim["estimate"] is not None
    ]
    if not known:
        return "–"
    low, high = min(known)[1], max(known)[1]
    return low if low == high else f"{low.removesuffix(' %')} to {high}"


def _span(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"


def _counts(claims: Iterable[Mapping[str, Any]]) -> list[tuple[str, int]]:
    made = Counter(claim["verdict"] for claim in claims)
    known = [word for word in contents.VERDICTS if made[word]]
    return [(word, made[word]) for word in [*known, *(w for w in made if w not in known)]]


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and isfinite(value) else None
