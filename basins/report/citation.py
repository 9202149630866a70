"""Files for citing the report: its numbers as LaTeX macros, and references as BibTeX."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from basins.report import contents

DIGITS = dict(
    zip(
        "0123456789",
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
        strict=True,
    )
)
KINDS = {"conference-paper": "inproceedings", "article": "article", "software": "misc"}


def macros(ledgers: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return a macro for every estimate, as `laptopLcrgsConeGap`, with ...Low, ...High and ...N.

    Digits in names are spelled out, since LaTeX commands consist of letters only.
    """
    lines = ["% Every number is from the rows; written by `make site`.\n"]
    for profile, claims in ledgers.items():
        for claim in map(contents.written, claims):
            name = command(profile, claim["id"])
            unit = "\\,\\%" if claim["unit"] else ""
            values = {"": "estimate", "Low": "ci_low", "High": "ci_high", "N": "n"}
            for suffix, key in values.items():
                shown = f"{claim[key]}".replace(contents.text.ABSENT, "--")
                shown += "" if suffix == "N" else unit
                lines.append(f"\\newcommand{{\\{name}{suffix}}}{{{shown}}}\n")
    return "".join(lines)


def command(profile: str, identifier: str) -> str:
    """Return the name of a claim's macro, without its backslash."""
    words = re.split(r"[^a-zA-Z0-9]+", f"{profile}_{identifier}")
    first, *others = ("".join(DIGITS.get(letter, letter) for letter in word) for word in words)
    return first + "".join(word[:1].upper() + word[1:] for word in others)


def bibtex(file: Path) -> str:
    """Return BibTeX entries of this software and the papers it reproduces from `CITATION.cff`."""
    cited = YAML(typ="safe").load(file)
    return "\n".join(_entries([{**cited, "year": ""}, *cited["references"]]))


def _entries(references: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for reference in references:
        names = [_name(author) for author in reference["authors"]]
        fields = {
            "title": f"{{{reference['title']}}}",
            "author": " and ".join(names),
            "year": reference["year"],
            "booktitle": reference.get("collection-title", ""),
            "url": reference.get("url", ""),
            "note": f"Version {reference['version']}" if "version" in reference else "",
        }
        key = re.sub(r"\W", "", names[0].split(",")[0].split(" ")[-1].lower())
        lines = [f"  {name} = {{{value}}},\n" for name, value in fields.items() if value]
        kind = KINDS.get(reference["type"], "misc")
        yield f"@{kind}{{{key}{reference['year']},\n{''.join(lines)}}}\n"


def _name(author: Mapping[str, str]) -> str:
    if "name" in author:
        return f"{{{author['name']}}}"
    return ", ".join(author[k] for k in ("family-names", "given-names") if k in author)
