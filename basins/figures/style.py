"""One style for all figures: sizes, colours, display names, and reproducible files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from itertools import cycle
from pathlib import Path

import matplotlib
import matplotlib.style
from matplotlib.artist import Artist
from matplotlib.axis import Axis
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from basins.statistics.seeds import SHARES
from basins.store import whole_file

COLUMN_WIDTH = 3.25
"""Width in inches of one column of an ICML page."""

PAGE_WIDTH = 6.75
"""Width in inches of both columns of an ICML page."""

EVAL_SETS = {
    "nc": "without cue",
    "c": "with cue",
    "rc": "random cue",
    "ri": "random image",
}
"""The counterfactual sets in the order of every figure (MMC section 3, Table 1)."""

DATA = {
    "shapes": "synthetic images",
    "dominoes": "Dominoes",
    "fashion_mnist": "Fashion-MNIST",
    "glyphs": "drawn digits",
    "nli": "synthetic sentence pairs (NLI)",
    "qqp": "QQP",
    "mnli": "MNLI",
    "cola": "CoLA",
    "paraphrase": "synthetic paraphrases",
    "acceptability": "synthetic acceptability",
}
"""Names of datasets; others use the words of their key, which may also name an experiment."""

DEFINITIONS = {
    "barrier_linear": "barrier above the chord",
    "barrier_mean": "barrier above the mean of the endpoints",
    "barrier_mid": "barrier at the midpoint",
    "barrier_endpoint": "barrier above the worse endpoint",
    "convexity_gap": "convexity gap",
}
"""The five barrier definitions, which are kept separate."""

NAMES: Mapping[str, str] = {
    r"bezier_nocue": "Bézier path fitted without the cue",
    r"bezier_plain": "Bézier path fitted without counterexamples",
    r"bezier_cued": "Bézier path fitted with the cue",
    r"\bbezier\b": "Bézier path",
    r"\blinear\b": "straight path",
    r"(?<!/)\bnone\b": "units not matched",
    r"weight_matching": "weight matching",
    r"activation_matching": "activation matching",
    r"\bsinkhorn\b": "Sinkhorn matching",
    r"\buniverse\b": "universe matching",
    r"\brepair\b": "REPAIR",
    r"reset_cued": "BatchNorm recomputed with the cue",
    r"\breset\b": "BatchNorm recomputed",
    r"\binterpolate\b": "BatchNorm interpolated",
    r"\bmoving\b": "BatchNorm as trained",
    r"\bshared init\b": "shared initialisation",
    r"\bseparate init\b": "separate initialisations",
    r"barrier_linear": "barrier",
    r"barrier_endpoint": "barrier above the worse endpoint",
    r"barrier_mean": "barrier above the mean of the endpoints",
    r"barrier_mid": "barrier at the midpoint",
    r"barrier_best": "barrier under the best permutation",
    r"barrier_bound": "lower bound of the barrier over permutations",
    r"\btheory pairs of same_(\w+)": r"pairs of toy networks that use the \1 attribute",
    r"\btheory pairs of simple_both": "pairs of toy networks, of the simple attribute and of both",
    r"\btheory pairs of different": "pairs of toy networks that use different attributes",
    r"\bmnli/(?=test\b|lexical)": "MNLI, ",  # what one of several tasks is measured on
    r"\bnli/(?=test\b|lexical)": "NLI, ",
    r"\bqqp/(?=test\b|paws)": "QQP, ",
    r"\bcola/(?=test\b|ood)": "CoLA, ",
    r"\b(paraphrase|acceptability)/(?=test\b|paws|ood)": r"\1, ",
    r"convexity_gap": "convexity gap",
    r"lexical_overlap": "HANS lexical overlap",
    r"\b(subsequence|constituent)/": r"HANS \1/",
    r"/non-entailment": ", not entailed",
    r"/entailment": ", entailed",
    r"(?<=entailed)/[lsc][en]_": ", ",
    r"\bhans\b": "HANS",
    r"\bmnli\b": "MNLI models",
    r"\bcola\b": "CoLA models",
    r"\bpaws\b": "PAWS",
    r"\bood\b": "out of distribution",
    r"\bcifar(\d+)": r"CIFAR-\1",
    r"\bqqp\b": "QQP models",
    r"\bnli(?=\b|_)": "NLI models",
    r"/step(\d+)": r", step \1",
    r"/fork(\d+)": r" after \1 steps",
    r"\bf1\b": "F1",
    r"\bmcc\b": "MCC",
    r"\bauc\b": "AUC",
    r"\bcbft_no_(barrier|invariance)\b": r"CBFT without its \1 loss",
    r"\bcbft\b": "CBFT",
    r"\bllrt\b": "LLRT",
    r"\blpft\b": "LP-FT",
    r"\bfinetuned\b": "fine-tuned",
    r"\bcued\b": "cue-trained",
    r"\bnocue\b": "no-cue",
}
"""Display names by pattern, in this order, for all profiles; their `labels` have their own."""

METHODS = {
    "small": "low-rate fine-tuning",
    "medium": "medium-rate fine-tuning",
    "large": "high-rate fine-tuning",
    "scratch": "training from scratch on clean images",
}
"""Methods of fine-tuning whose keys are English words; a label names them in braces."""

_LABELS: ContextVar[Mapping[str, str]] = ContextVar("labels")

LINESTYLES = {"shared": "-", "separate": (0, (3, 1))}
"""Line style by whether the two models of a pair started from the same weights."""

MARKERS = ("o", "s", "^", "D", "v", "P")
"""Markers for printing in grey; one fewer than colours, so that a repeated colour differs."""

CHANCE = {"color": "#666666", "linewidth": 0.8, "linestyle": (0, (1, 1.5))}
"""How the accuracy of guessing is drawn."""

ON_PALE = "#010101"
"""Black text on a pale cell; not a colour that the themes of the report replace."""

_STYLE = Path(__file__).with_name("style.mplstyle")


@contextmanager
def styled() -> Iterator[None]:
    """Apply this style regardless of the user's own settings; also a decorator."""
    with matplotlib.style.context(_STYLE, after_reset=True):
        yield


def new(width: float, height: float) -> Figure:
    """Return an empty figure of `width` x `height` inches, independent of pyplot."""
    figure = Figure(figsize=(width, height))
    FigureCanvasSVG(figure)  # seaborn draws the canvas to read labels; this one is not rasterised
    return figure


def ordered_sets(eval_sets: Iterable[str]) -> list[str]:
    """Return the distinct `eval_sets`: nc, c, rc, ri, test, then any others in their order."""
    known = [*EVAL_SETS, "test"]
    present = dict.fromkeys(eval_sets)
    return [s for s in known if s in present] + [s for s in present if s not in known]


def set_title(eval_set: str) -> str:
    """Return the display name of `eval_set`, such as "NC: without cue"."""
    if eval_set not in EVAL_SETS:
        # A recipe may have the same key, and its label is not a name of the set.
        return "test set" if eval_set == "test" else _general(eval_set)
    return f"{eval_set.upper()}: {EVAL_SETS[eval_set]}"


def on(eval_set: str) -> str:
    """Return the name of `eval_set` in a sentence: "NC" or "the test set"."""
    name = set_title(eval_set).partition(":")[0]
    return f"the {name}" if eval_set == "test" else name


def quantity(metric: str) -> str:
    """Return what an axis of `metric` is called, with its unit: "accuracy (%)"."""
    unit = " (%)" if metric in SHARES else " (nats)" if metric == "loss" else ""
    return f"{display(metric)}{unit}"


def sentence(key: str) -> str:
    """Return the words of `key` as the beginning of a sentence; capitals within them stay."""
    words = display(key)
    return words[:1].upper() + words[1:]


def joined(words: Iterable[str]) -> str:
    """Return a list as in a sentence: "NC, C, RC and RI"."""
    known = [*words]
    return " and ".join([", ".join(known[:-1]), known[-1]] if len(known) > 1 else known)


def dataset(name: str) -> str:
    """Return the name of a dataset: from `DATA`, or the words of its key."""
    return DATA.get(name, display(name))


@contextmanager
def labelled(labels: Mapping[str, str]) -> Iterator[None]:
    """Within this, write the keys of one profile by its labels (`layout.labels`)."""
    token = _LABELS.set(labels)
    try:
        yield
    finally:
        _LABELS.reset(token)


def display(name: str, labels: Mapping[str, str] | None = None) -> str:
    """Return a text with keys of the settings replaced by words: `nocue` by "no-cue".

    `labels` are those of the keys' profile, by default those of `labelled`. Their words are final,
    but for keys in braces.
    """
    labels = _LABELS.get({}) if labels is None else labels
    pieces = re.split(_any_of(tuple(labels)), name)
    return "".join(_label(labels[p]) if k % 2 else _general(p) for k, p in enumerate(pieces))


@cache
def _any_of(keys: Sequence[str]) -> re.Pattern[str]:
    """Return a pattern of keys, the longest first.

    A key of letters alone may be an English word, so it has to be a whole text, or the first item
    in brackets.
    """
    longest = sorted(keys, key=len, reverse=True)
    found = [rf"(?<![^(]){key}(?![^,)])" if key.isalpha() else key for key in longest]
    return re.compile(rf"(?<![\w/])({'|'.join(found) or '(?!)'})(?!\w)")


def _label(words: str) -> str:
    return re.sub(r"{(\w+)}", lambda key: METHODS.get(key[1]) or _general(key[1]), words)


def _general(text: str) -> str:
    for pattern, word in NAMES.items():
        text = re.sub(pattern, word, text)
    return text.replace("_", " ")


def colours(names: Iterable[str]) -> dict[str, str]:
    """Give each distinct name its colour, in order of appearance."""
    with styled():
        palette = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
    return dict(zip(dict.fromkeys(names), cycle(palette), strict=False))


def markers(names: Iterable[str]) -> dict[str, str]:
    """Give each distinct name its marker, in order of appearance."""
    return dict(zip(dict.fromkeys(names), cycle(MARKERS), strict=False))


def legend(figure: Figure, handles: Sequence[Artist]) -> None:
    """Put the labelled `handles` above the panels of `figure`, in as few lines as fit."""
    labels = [str(handle.get_label()) for handle in handles]
    for columns in range(len(labels), 0, -1):
        box = figure.legend(handles, labels, loc="outside upper center", ncols=columns)
        if columns == 1 or box.get_window_extent().width <= figure.bbox.width:
            return
        box.remove()


def percent(share: float) -> str:
    """Write a share of 1 in whole percent."""
    return f"{100 * share:z.0f} %"


def guessing(chance: float | None) -> str:
    """Return the sentence of a caption on the accuracy of guessing, if it is marked."""
    return "" if chance is None else f" Dotted: guessing ({percent(chance)})."


def in_percent(axis: Axis) -> None:
    """Label the fractions on `axis` as percentages; the unit belongs in the axis label."""
    axis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=""))


@styled()
def save(figure: Figure, stem: Path) -> tuple[Path, Path]:
    """Write `<stem>.svg` and `<stem>.pdf` reproducibly, each by atomic rename.

    Returns the two paths. There are no dates; ids come from a fixed salt, and fonts from
    matplotlib's own files.
    """
    # The first layout is of ticks that change with it, the second of those that are drawn. It would
    # still change slightly with each draw; fixing it makes a second save identical.
    for _ in range(2):
        figure.draw_without_rendering()
    figure.set_layout_engine("none")
    # The solver's last bits depend on memory addresses, and ids in the SVG depend on them.
    for ax in figure.axes:
        left, bottom, width, height = ax.get_position(original=True).bounds
        ax.set_position((round(left, 9), round(bottom, 9), round(width, 9), round(height, 9)))
    svg, pdf = (stem.with_name(f"{stem.name}.{suffix}") for suffix in ("svg", "pdf"))
    for target, date in ((svg, "Date"), (pdf, "CreationDate")):
        with whole_file(target) as partial:
            figure.savefig(partial, format=target.suffix[1:], metadata={date: None})
    return svg, pdf
