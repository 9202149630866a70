"""Put everything on one page: claims, figures and tables of a profile -> index.html and tables/."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from basins import layout, results
from basins.errors import one_line
from basins.params import read
from basins.registry import find
from basins.report import cards, contents, explorer, page, tables
from basins.store import whole_file, whole_folder

TITLE = "Same loss, same mechanism?"


def main() -> None:
    """Write the report from what the other stages left, and its tables as Markdown and LaTeX."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    params = read(parser.parse_args().params, check=["tables"])
    reports = layout.reports(params)
    rows = {**results.read_all(reports / "results")}
    if outcomes := sorted((reports / "results" / "connect").glob("*.samples.csv")):
        rows["outcomes"] = results.gather(outcomes)
    claims = json.loads((reports / "claims.json").read_text())
    chosen = params.tables.items()
    shown = {key: find("tables", c.name, "table")(rows, **c.options) for key, c in chosen}

    sources = contents.all_sources(params.model_dump(include={"claims", "figures", "tables"}))

    with whole_folder(reports / "tables") as folder:
        linked = contents.ledger(claims, sources, linked=True)
        plain = contents.ledger(claims, sources)
        (folder / "ledger.md").write_text(tables.markdown(linked))
        (folder / "ledger.tex").write_text(tables.latex(plain, wide="claim"))
        for name, table in shown.items():
            (folder / f"{name}.md").write_text(tables.markdown(table.frame))
            (folder / f"{name}.tex").write_text(tables.latex(table.frame))
    with whole_file(reports / "models.md") as file:
        file.write_text(cards.markdown(params.model_dump(), rows["summary/probes"]))
    figures = {
        key: page.Drawing(
            title=key.replace("_", " "),
            caption=find("figures", choice.name, "caption")(**choice.options),
            svg=(reports / "figures" / f"{key}.svg").read_text(),
        )
        for key, choice in params.figures.items()
    }
    text = page.render(
        title=TITLE,
        profile=params.profile,
        headline=contents.headline(claims),
        claims=claims,
        figures=figures,
        tables=shown,
        params=(reports / "params.yaml").read_text(),
        provenance=json.loads((reports / "provenance.json").read_text()),
        sources=sources,
        curves=explorer.pack(
            rows,
            confidence=params.statistics.confidence,
            datasets={name: made.data for name, made in params.connect.items()},
        ),
    )
    with whole_file(reports / "index.html") as file:
        file.write_text(text)
    print(f"report: {reports / 'index.html'}")


if __name__ == "__main__":
    with one_line():
        main()
