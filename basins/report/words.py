"""The words of the report: what keys of the settings are called, and what the terms mean."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from html import escape
from typing import Any, NamedTuple

from markupsafe import Markup

from basins.figures import style


class Term(NamedTuple):
    """A term, what it means here, and by `|` the forms in which it is written."""

    name: str
    meaning: str
    forms: str = ""


GLOSSARY = (
    Term("cue", "A feature that gives the class away and is easier to learn than the object: here "
         "a small box whose place encodes the class. p is the share of training images that have "
         "it."),
    Term("NC, no cue", "Test images without the cue: accuracy on the task itself.", "NC"),
    Term("C, with cue", "The same images with the cue of their own class.", "C"),
    Term("RC, random cue", "The same images with the cue of a random class. A network that relies "
         "on the cue fails here.", "RC"),
    Term("RI, random image", "Images of random classes that carry the cue of the label. Only the "
         "cue predicts the label, so high accuracy means that the network relies on it.", "RI"),
    Term("mechanism", "What a network's output depends on. Two networks share a mechanism as far "
         "as interventions on the input (removing or swapping the cue) change their outputs "
         "alike."),
    Term("path", "A curve of weights from one network to another, t = 0 to t = 1: the straight "
         "line, or a quadratic Bézier curve whose middle point is trained."),
    Term("loss barrier", "The largest height of loss (or error) on a path above the straight line "
         "between the losses of its two endpoints. 0 means linearly connected.",
         "loss barrier|barrier"),
    Term("convexity gap", "The largest height of loss between any two points of a path above the "
         "line that joins them (LCRGS). It is at least the loss barrier."),
    Term("matching", "Permuting the hidden units of one network to fit the other before they are "
         "joined, by weights or by activations; it does not change what the network computes.",
         "weight matching|activation matching"),
    Term("BatchNorm", "Running means and variances do not fit weights between two networks. They "
         "are interpolated, or recomputed at each point on images without (or with) the cue; "
         "figures and claims say which, since accuracies depend on it."),
    Term("CBFT", "Connectivity-based fine-tuning (MMC): fine-tuning that pushes the network across "
         "a barrier from its starting point and makes it invariant to the cue."),
    Term("LLRT, LP-FT", "Retraining the last layer alone; training it first, then everything.",
         "LLRT|LP-FT"),
    Term("HANS, PAWS", "Diagnostic sets for text: sentence pairs with the same words and different "
         "meanings. A model that relies on word overlap fails on them.", "HANS|PAWS"),
    Term("in distribution", "Held-out data drawn as the training data were."),
    Term("seed", "One training run: its initial weights, order of data and augmentation. Intervals "
         "are over seeds unless a caption says otherwise."),
    Term("supported, contradicted", "The whole 95 % interval lies on the claim's side of its "
         "threshold, or on the other. Never with fewer than six seeds.", "supported|contradicted"),
    Term("inconclusive", "The interval contains the threshold, or there are too few seeds for an "
         "interval with the stated coverage."),
    Term("not applicable", "A precondition of the claim fails, such as clusters that are not "
         "there."),
    Term("Holm", "Verdicts after correction for multiple comparisons over all claims of a profile "
         "(Holm's method)."),
    Term("exploratory", "A claim whose threshold, sign or selection was set or changed after its "
         "rows existed. All others were registered before the run."),
    Term("MMC", "Mechanistic Mode Connectivity, Lubana et al., ICML 2023."),
    Term("LCRGS", "Linear Connectivity Reveals Generalization Strategies, Juneja et al., ICLR "
         "2023."),
    Term("SoK", "SoK: On Finding Common Ground in Loss Landscapes Using Deep Model Merging "
         "Techniques, a survey. It has no experiments; claims under this name are ours."),
)  # fmt: skip
"""The terms of the report, in the order in which one needs them."""


FACTS = {
    "files_md5": "MD5 of its files",
    "cue_files_md5": "MD5 of its cue's files",
    "double_entry": "losses computed twice",
    "largest_difference": "largest difference (nats, over the largest logit above 1)",
    "plain": "items evaluated the plain way since",
    "by_batch": "items whose losses depend on the rest of a batch",
}
"""What the entries of `provenance.json` are called; others are by the words of their keys."""


def facts(entries: Mapping[str, Any], called: Callable[[str], str] = style.display) -> Any:
    """Return the provenance of a profile in words, at any depth, without what is empty.

    `called` says what a key is called that `FACTS` has not.
    """
    told = {}
    for key, value in entries.items():
        if key.endswith("files_md5"):
            value = [f"{file}: {digest}" for file, digest in value.items()]
        elif isinstance(value, Mapping):
            value = facts(value, style.dataset if key == "data" else style.display)
        elif isinstance(value, float):
            value = f"{value:.2g}"
        if value not in ({}, []):
            told[FACTS.get(key) or called(key)] = value
    return told


def plain(text: str) -> str:
    """Return a text in which keys of the settings are words: `barrier_linear` is "barrier"."""
    return style.display(text)


def spaced(name: str) -> str:
    """Return the name of a profile as a page writes it: `study_images` is "study images"."""
    return name.replace("_", " ")


def tied(text: str) -> str:
    """Return a text in which no line ends between a number and its sign: "65.8 %", "n = 3"."""
    return re.sub(r"(?<=\d) (?=%)|(?<=\bn) (?== \d)|(?<=\bn =) (?=\d)", "\u00a0", text)


def anchor(term: Term) -> str:
    """Return the id under which a page explains a term."""
    return "term-" + re.sub(r"\W+", "-", term.name).strip("-").lower()


def linked(text: str) -> Markup:
    """Return a text as markup whose terms lead to their meaning, and say it when pointed at."""
    written = str(escape(text, quote=True))
    meanings = {}
    for term in GLOSSARY:
        meanings.update(dict.fromkeys((term.forms or term.name).split("|"), term))
    names = "|".join(map(re.escape, sorted(meanings, key=len, reverse=True)))
    seen: set[str] = set()

    def link(match: re.Match[str]) -> str:
        term = meanings[match[0]]
        if term.name in seen:
            return match[0]
        seen.add(term.name)
        meaning = escape(term.meaning, quote=True)
        return f'<a class="term" href="#{anchor(term)}" title="{meaning}">{match[0]}</a>'

    return Markup(re.sub(rf"(?<![\w&.#-])(?:{names})(?![\w-])", link, written))


def markdown() -> str:
    """Return the glossary as a page of Markdown."""
    lines = [f"**{term.name}**: {term.meaning}\n" for term in GLOSSARY]
    return "\n".join(["# Glossary\n", "Terms as this project uses them.\n", *lines])
