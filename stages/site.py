"""Build the site: an overview of all profiles with rows, and a page for each: -> site/."""

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


def main() -> None:
    """Write `site/` from rows and figures alone; it works offline and from any folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("site"))
    out = parser.parse_args().out
    names = site.ordered([file.parent.name for file in REPORTS.glob("*/params.yaml")])
    if not names:
        raise UserError(f"{REPORTS}: no profile has rows; run `make repro` first")
    made = {name: profile.load(read(REPORTS / name / "params.yaml")) for name in names}
    ledgers = {name: one.claims for name, one in made.items()}
    cards = findings.cards(
        ledgers,
        {name: one.rows for name, one in made.items()},
        {name: [*one.figures] for name, one in made.items()},
    )
    with whole_folder(out) as folder:
        for name, one in made.items():
            profile.copy(REPORTS / name, folder / name)
            page = profile.render(one, site.tabs(names, name))
            (folder / name / "index.html").write_text(page, encoding="utf-8")
        shutil.copytree(REPORTS / "published", folder / "published")
        story = [site.Profile.of(one) for one in made.values()]
        page = site.render(story, cards, *hero.first(made.values()))
        (folder / "index.html").write_text(page, encoding="utf-8")
        (folder / "numbers.tex").write_text(citation.macros(ledgers), encoding="utf-8")
        (folder / "papers.bib").write_text(citation.bibtex(Path("CITATION.cff")), encoding="utf-8")
        cards_text = json.dumps([card._asdict() for card in cards], indent=1) + "\n"
        (folder / "findings.json").write_text(cards_text, encoding="utf-8")
    print(f"site: {out / 'index.html'}")


if __name__ == "__main__":
    with one_line():
        main()
