"""The generated parts of the README: the answer, the findings, and counts of verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from basins.claims.ledger import KINDS
from basins.report import contents, findings, profile, site
from basins.report.findings import Card, Effect

VERDICTS = contents.VERDICTS


def parts(profiles: Sequence[profile.Rows]) -> dict[str, str]:
    """Return the text of each generated part of the README, by its name."""
    cards = findings.cards(
        {one.params.profile: one.claims for one in profiles},
        {one.params.profile: one.rows for one in profiles},
        {},
    )
    claims = [claim for one in profiles for claim in one.claims]
    answer, sentences = site.answer(cards, claims)
    return {
        "answer": "\n\n".join([f"**{answer}**", *sentences]) + "\n",
        "findings": "".join(_findings(cards)),
        "counts": "".join(_counts(profiles)),
    }


def _findings(cards: Sequence[Card]) -> Iterator[str]:
    """Yield the lines of a table with a row for each finding, from its first profile.

    Where others decide the opposite as surely, from them as well.
    """
    yield "| finding | measured [95 % interval] | profile, claims | n | status |\n"
    yield "|---|---|---|---|---|\n"
    for card in cards:
        first = card.effects[0]
        against = card.others.get("not in", []) if card.status == findings.BOTH else []
        shown = [e for e in card.effects if e.profile in (first.profile, *against)]
        where = (f", `{e.profile}`" if against else "" for e in shown)
        papers = (f" (paper: {e.paper})" if e.paper[:1].isdigit() else "" for e in shown)
        parts = zip(shown, where, papers, strict=True)
        said = [f"{e.what}{place}: {e.value}{paper}" for e, place, paper in parts]
        claims = [_claims(first.profile, shown)]
        for word, of in card.others.items():
            claims.append(f"; {word} " + ", ".join(_claims(profile, shown) for profile in of))
        cells = [card.title, "<br>".join(said), "".join(claims), first.n, card.status]
        yield f"| {' | '.join(cells)} |\n"


def _claims(profile: str, shown: Sequence[Effect]) -> str:
    """Return a profile with its claims among the effects."""
    own = (f" `{effect.claim}`" for effect in shown if effect.claim and effect.profile == profile)
    return f"`{profile}`{''.join(own)}"


def _counts(profiles: Sequence[profile.Rows]) -> Iterator[str]:
    """Yield the lines of a table of how many claims of each kind have each verdict, by profile."""
    yield f"| claims; in brackets after Holm's correction | {' | '.join(VERDICTS)} |\n"
    yield f"|---|{'---|' * len(VERDICTS)}\n"
    for one in profiles:
        papers = {claim["paper"]: claim["paper"].partition(":")[0] for claim in one.claims}
        for paper, short in papers.items():
            for kind, words in KINDS.items():
                own = [c for c in one.claims if c["paper"] == paper and c["kind"] == kind]
                if own:
                    cells = [_cell([claim["verdict"] for claim in own], word) for word in VERDICTS]
                    held = [_cell([c["verdict_holm"] for c in own], word) for word in VERDICTS]
                    both = (a if a == b else f"{a} ({b})" for a, b in zip(cells, held, strict=True))
                    ledger = (
                        f"[`{one.params.profile}`](reports/{one.params.profile}/tables/ledger.md)"
                    )
                    yield f"| {short}, {ledger}, {words} | {' | '.join(both)} |\n"


def _cell(verdicts: Sequence[str], word: str) -> str:
    return str(verdicts.count(word))
