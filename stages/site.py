"""Build the site: one story over all profiles that have rows, and a tab for each -> site/."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from basins.errors import UserError, one_line
from basins.params import read
from basins.report import citation, findings, hero, profile, site
from basins.store import whole_folder

REPORTS = Path("reports")
KEPT = ("*.csv", "*.json", "*.md", "*.tex", "*.yaml", "figures/*", "results/**/*.csv*", "tables/*")
"""What is copied beside a profile's page, so that its links lead somewhere."""


def main() -> None:
    """Write `site/`, which works offline and from any folder, from rows and drawn figures alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("site"))
    out = parser.parse_args().out
    names = site.ordered([file.parent.name for file in REPORTS.glob("*/params.yaml")])
    if not names:
        raise UserError(f"{REPORTS}: no profile has rows; run `make repro` first")
    made = [profile.load(read(REPORTS / name / "params.yaml")) for name in names]
    told = [
        site.Profile(
            one.params.profile,
            profile.about(one.params),
            one.claims,
            one.sources,
            one.presets,
            one.figures,
            str(one.provenance["commit"]),
        )
        for one in made
    ]
    cards = findings.cards(
        {one.params.profile: one.claims for one in made},
        {one.params.profile: one.rows for one in made},
        {one.params.profile: [*one.figures] for one in made},
    )
    slider, slider_about = first_screen(made)
    with whole_folder(out) as folder:
        for one in made:
            name = one.params.profile
            for pattern in KEPT:
                for file in (REPORTS / name).glob(pattern):
                    target = folder / file.relative_to(REPORTS)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, target)
            (folder / name / "index.html").write_text(
                profile.render(one, site.tabs(names, name)), encoding="utf-8"
            )
        shutil.copytree(REPORTS / "published", folder / "published")
        text = site.render(told, cards, slider, slider_about)
        (folder / "index.html").write_text(text, encoding="utf-8")
        ledgers = {one.params.profile: one.claims for one in made}
        (folder / "numbers.tex").write_text(citation.macros(ledgers), encoding="utf-8")
        (folder / "papers.bib").write_text(citation.bibtex(Path("CITATION.cff")), encoding="utf-8")
        (folder / "findings.json").write_text(
            json.dumps([card._asdict() for card in cards], indent=1) + "\n", encoding="utf-8"
        )
    print(f"site: {out / 'index.html'}")


def first_screen(made: list[profile.Profile]) -> tuple[dict | None, str]:
    """Return what the slider shows, of the first profile whose examples have outcomes, and a line.

    Where none has, of the first that has both kinds of path.
    """
    found = []
    for one in made:
        if packed := hero.pack(one.rows, profile.datasets(one.params)):
            live = any(e["curve"] for examples in packed["examples"].values() for e in examples)
            about = profile.about(one.params, packed["dataset"])
            found.append((not live, len(found), packed, f"Profile {one.params.profile}: {about}"))
    if not found:
        return None, ""
    _, _, packed, about = min(found, key=lambda entry: entry[:2])
    return packed, about


if __name__ == "__main__":
    with one_line():
        main()
