"""Write the parts of README.md that follow from rows, and docs/glossary.md."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from basins.errors import UserError, one_line
from basins.params import read
from basins.report import profile, readme, site, words
from basins.store import whole_file

REPORTS = Path("reports")


def main() -> None:
    """Replace the text between `<!-- <name> -->` and `<!-- end -->` in the README."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    names = site.ordered([file.parent.name for file in REPORTS.glob("*/params.yaml")])
    parts = readme.parts([profile.rows_of(read(REPORTS / name / "params.yaml")) for name in names])
    page = Path("README.md")
    text = page.read_text(encoding="utf-8")
    for name, part in parts.items():
        start = f"<!-- {name} -->\n"
        pattern = rf"{re.escape(start)}.*?(?=<!-- end -->)"
        new = start + part
        text, count = re.subn(pattern, lambda _, new=new: new, text, flags=re.DOTALL)
        if count != 1:
            raise UserError(f"{page}: {count} places are marked <!-- {name} -->, not one")
    with whole_file(page) as file:
        file.write_text(text, encoding="utf-8")
    with whole_file(Path("docs/glossary.md")) as file:
        file.write_text(words.markdown(), encoding="utf-8")


if __name__ == "__main__":
    with one_line():
        main()
