"""Write a profile's report: claims, figures and tables -> index.html and tables/."""

from __future__ import annotations

import argparse
from pathlib import Path

from basins import layout
from basins.errors import one_line
from basins.figures import style
from basins.params import read
from basins.report import cards, contents, profile, tables
from basins.store import whole_file, whole_folder


def main() -> None:
    """Write the report from the other stages' results, and its tables as Markdown and LaTeX.

    Figures and pages are not in git; `drawn.sha256` has their hashes.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    params = read(parser.parse_args().params, check=["tables"])
    reports = layout.reports(params)
    made = profile.load(params)
    labels = style.labelled(layout.labels(params))
    with labels, whole_folder(reports / "tables") as folder:
        linked = contents.ledger(made.claims, made.sources, linked=True)
        plain = contents.ledger(made.claims, made.sources)
        (folder / "ledger.md").write_text(tables.markdown(linked))
        (folder / "ledger.tex").write_text(tables.latex(plain, wide="claim"))
        for name, table in made.tables.items():
            (folder / f"{name}.md").write_text(tables.markdown(table.frame))
            (folder / f"{name}.tex").write_text(tables.latex(table.frame))
    with whole_file(reports / "models.md") as file:
        file.write_text(cards.markdown(params.model_dump(), made.rows["summary/probes"]))
    with whole_file(reports / "index.html") as file:
        file.write_text(profile.render(made))
    with whole_file(reports / "drawn.sha256") as file:
        file.write_text(profile.hashes(reports))
    print(f"report: {reports / 'index.html'}")


if __name__ == "__main__":
    with one_line():
        main()
