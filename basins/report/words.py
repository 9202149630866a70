"""The words of the report: display names of the settings' keys, and the glossary."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from html import escape
from typing import Any, NamedTuple

from markupsafe import Markup

from basins.figures import style


class Term(NamedTuple):
    """A term, its meaning here, and the forms in which it is written, separated by `|`."""

    name: str
    meaning: str
    forms: str = ""


GLOSSARY = (
    Term("cue", "A feature that reveals the class and is easier to learn than the object, such as "
         "a small box whose position encodes the class. p is the share of training images that "
         "have it."),
    Term("NC, no cue", "Test images without the cue, which measure accuracy on the task itself.",
         "NC"),
    Term("C, with cue", "The same images with the cue of their own class.", "C"),
    Term("RC, random cue", "The same images with the cue of a random class. A network that relies "
         "on the cue fails on them.", "RC"),
    Term("RI, random image", "Images of random classes that carry the cue of the label. Only the "
         "cue predicts the label, so high accuracy means that the network relies on it.", "RI"),
    Term("mechanism", "What a network's output depends on. Two networks share a mechanism as far "
         "as interventions on the input (removing or swapping the cue) change their outputs "
         "alike."),
    Term("path", "A curve of weights from one network (t = 0) to another (t = 1): the straight "
         "line, or a quadratic Bézier curve whose middle control point is trained."),
    Term("loss barrier", "The largest height of the loss (or error) along a path above the "
         "straight line between the losses of its two endpoints. Networks whose straight path has "
         "barrier 0 are linearly connected.", "loss barrier|barrier"),
    Term("convexity gap", "The largest barrier of any segment of a path: the height of the loss "
         "above the line between any two points of the path (LCRGS). It is at least the loss "
         "barrier."),
    Term("matching", "Permuting the hidden units of one network to fit those of the other before "
         "the two are joined, by weights or by activations. It does not change what the network "
         "computes.", "weight matching|activation matching"),
    Term("BatchNorm", "The running means and variances of two networks do not fit the weights "
         "between them. They are interpolated, or recomputed at each point on images without (or "
         "with) the cue; figures and claims say which, since accuracies depend on it."),
    Term("CBFT", "Connectivity-based fine-tuning (MMC): fine-tuning that moves the network across "
         "a barrier from its starting point and makes it invariant to the cue."),
    Term("LLRT, LP-FT", "LLRT retrains the last layer alone; LP-FT trains it first, and then all "
         "layers.", "LLRT|LP-FT"),
    Term("HANS, PAWS", "Diagnostic sets for text: pairs of sentences with the same words and "
         "different meanings. A model that relies on word overlap fails on them.", "HANS|PAWS"),
    Term("in distribution", "On held-out data from the distribution of the training data."),
    Term("seed", "One training run: its initial weights, data order and augmentation. Intervals "
         "are over seeds unless a caption says otherwise."),
    Term("supported, contradicted", "The whole 95 % interval lies on the claim's side of the "
         "threshold (supported), or on the other side (contradicted). With fewer than six seeds, "
         "claims are neither.", "supported|contradicted"),
    Term("inconclusive", "The interval contains the threshold, or there are too few seeds for an "
         "interval with the stated coverage."),
    Term("not applicable", "A precondition of the claim fails: for example, no clusters are "
         "shown."),
    Term("Holm", "Holm's correction for multiple comparisons, over all claims of a profile."),
    Term("exploratory", "A claim whose threshold, sign or selection was set or changed after its "
         "rows existed. All other claims were registered before the run."),
    Term("MMC", "Mechanistic Mode Connectivity, Lubana et al., ICML 2023."),
    Term("LCRGS", "Linear Connectivity Reveals Generalization Strategies, Juneja et al., ICLR "
         "2023."),
    Term("SoK", "SoK: On Finding Common Ground in Loss Landscapes Using Deep Model Merging "
         "Techniques, a survey without experiments; claims under this name are ours."),
)  # fmt: skip
"""The terms of the report, in the order in which readers need them."""


FACTS = {
    "files_md5": "MD5 of its files",
    "cue_files_md5": "MD5 of its cue's files",
    "double_entry": "losses computed twice",
    "largest_difference": "largest difference (nats, over the largest logit above 1)",
    "plain": "items for which the fast evaluation was wrong and was replaced",
    "by_batch": "items whose losses depend on the rest of a batch",
}
"""Names of entries of `provenance.json`; other entries are named by the words of their keys."""


def facts(entries: Mapping[str, Any], called: Callable[[str], str] = style.display) -> Any:
    """Return the provenance of a profile in words, at any depth, without empty entries.

    `called` returns the name of a key that is not in `FACTS`.
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


def spaced(name: str) -> str:
    """Return the name of a profile as displayed: "study images" for `study_images`."""
    return name.replace("_", " ")


def tied(text: str) -> str:
    """Return a text without line breaks between a number and its sign: "65.8 %", "n = 3"."""
    return re.sub(r"(?<=\d) (?=%)|(?<=\bn) (?== \d)|(?<=\bn =) (?=\d)", "\u00a0", text)


def anchor(term: Term) -> str:
    """Return the id of a term in the glossary of a page."""
    return "term-" + re.sub(r"\W+", "-", term.name).strip("-").lower()


def linked(text: str) -> Markup:
    """Return a text as markup whose terms link to the glossary, with their meaning as a title."""
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
