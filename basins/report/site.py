"""The site: an overview of all profiles, with the reports of the profiles as tabs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from basins import layout
from basins.claims.ledger import Shown
from basins.report import findings, page, profile, scorecard, words
from basins.report.findings import Card
from basins.statistics.seeds import FEWEST

TITLE = "Same loss, same mechanism?"
ORDER = ("cifar", "cifar_control", "cifar100", "dominoes", "mnli", "mnli_crossed", "mnli_factors")
ORDER += ("paws", "cola", "laptop", "study")
"""The order of the profiles; any others follow."""


class Profile(NamedTuple):
    """The parts of a profile that the overview uses."""

    name: str
    about: str
    claims: Sequence[Mapping[str, Any]]
    sources: Mapping[str, Shown]
    presets: Mapping[str, str]
    figures: Mapping[str, page.Drawing]
    commit: str
    labels: Mapping[str, str] = {}

    @classmethod
    def of(cls, made: profile.Profile) -> Profile:
        """Return the overview's parts of a profile's report."""
        return cls(
            made.params.profile,
            profile.about(made.params),
            made.claims,
            made.sources,
            made.presets,
            made.figures,
            _short(str(made.provenance["commit"])),
            layout.labels(made.params),
        )


def ordered(names: Sequence[str]) -> list[str]:
    """Return the profiles in the order of the site."""
    return sorted(names, key=lambda name: (name not in ORDER, name in ORDER and ORDER.index(name)))


def tabs(names: Sequence[str], current: str = "") -> list[page.Tab]:
    """Return the links from one page to all pages of the site; `current` is a profile or empty."""
    up = "../" if current else ""
    story = page.Tab("Overview", f"{up}index.html", not current)
    return [
        story,
        *(page.Tab(words.spaced(n), f"{up}{n}/index.html", n == current) for n in ordered(names)),
    ]


def render(
    profiles: Sequence[Profile],
    cards: Sequence[Card],
    hero: Mapping[str, Any] | None,
    hero_about: str,
) -> str:
    """Return the first page of the site.

    Args:
        profiles: all profiles, in their order.
        cards: the findings over all of them.
        hero: the data of the slider (`hero.pack`), if there are any.
        hero_about: its data and networks, in a line.
    """
    claims = [
        {**claim, "profile": p.name, "labels": p.labels} for p in profiles for claim in p.claims
    ]
    figures = {(p.name, key): drawing for p in profiles for key, drawing in p.figures.items()}
    said, sentences = answer(cards, claims)
    data = {"hero-data": hero} if hero else {}
    scripts = [*(["hero"] if hero else []), "scorecard"]
    shown = page.scores(claims, {}, {}, {})
    links = {scorecard.anchor(claim): _links(claim, profiles) for claim in claims}
    for paper in shown["papers"]:
        for row in paper["rows"]:
            for claim in row["claims"]:
                claim["links"], claim["preset"] = links[claim["anchor"]]
    note = f"{hero_about}. BatchNorm recomputed at every point on images without the cue."
    return page.template("site.html").render(
        **page.frame(scripts, data, tabs([p.name for p in profiles])),
        **shown,
        title=TITLE,
        description=f"{said} {sentences[0]}",
        profile="",
        explorer=False,
        answer=said,
        sentences=sentences,
        hero=hero,
        hero_note=note if hero else "",
        cards=[
            page.shown_card(
                card,
                figures,
                lambda profile, key: f"{profile}/index.html#figure-{key}",
                lambda profile, claim: f"#{scorecard.anchor({'id': claim, 'profile': profile})}",
            )
            for card in cards
        ],
        profiles=[p._asdict() for p in profiles],
        exploratory=sum(bool(claim["exploratory"]) for claim in claims),
        lacking=sum(claim["verdict"] == "not applicable" for claim in claims),
        few=sum(claim["n"] < FEWEST for claim in claims),
        total=len(claims),
    )


def _short(commit: str) -> str:
    """Return a shortened commit, or that the code is in none."""
    commit, space, changes = commit.partition(" ")
    return f"{commit[:12]}{space}{changes}" if len(commit) == 40 else "in no commit"


def _links(
    claim: Mapping[str, Any], profiles: Sequence[Profile]
) -> tuple[list[dict[str, str]], str]:
    """Return the links of a claim into its profile's page, and to its curves there."""
    own = next(p for p in profiles if p.name == claim["profile"])
    anchors = {f"figure-{key}": drawing.title for key, drawing in own.figures.items()}
    found = scorecard.links(own.sources.get(claim["id"], Shown()), anchors)
    preset = own.presets.get(claim["id"], "")
    links = [
        {"text": link["text"], "href": f"{own.name}/index.html{link['href']}"}
        if link["href"].startswith("#")
        else {"text": link["text"], "href": f"{own.name}/{link['href']}"}
        for link in found
    ]
    return links, preset and f"{own.name}/index.html{preset}"


def answer(cards: Sequence[Card], claims: Sequence[Mapping[str, Any]]) -> tuple[str, list[str]]:
    """Return the main answer, the evidence for it, and how certain it is."""
    counted = {
        word: sum(c["verdict"] == word for c in claims) for word in ("supported", "contradicted")
    }
    undecided = len(claims) - sum(counted.values())
    certainty = (
        f"Of the {len(claims)} claims measured here {counted['supported']} are "
        f"supported, {counted['contradicted']} contradicted and {undecided} undecided or not "
        "applicable: networks are small, and claims with fewer than six seeds are never decided."
    )
    merging = next((card for card in cards if card.key == "merging"), None)
    if merging is None or merging.title != findings.APART:
        return "Do networks with the same loss rely on the same features?", [certainty]
    values = {effect.what: effect.value.split(" [")[0] for effect in merging.effects[:4]}
    evidence = (
        "An ensemble and a weight average of the same fine-tuned networks reach "
        f"{values['NC, ensemble']} % and {values['NC, average']} % on images without the cue. On "
        f"random images, where only the cue predicts the label, the ensemble scores "
        f"{values['RI, ensemble']} % and the average {values['RI, average']} %."
    )
    sure = f"How certain is it? This comparison is {merging.status} sets of networks. {certainty}"
    return "Two models with the same accuracy can rely on different features.", [evidence, sure]
