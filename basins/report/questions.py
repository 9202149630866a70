"""The main questions, each with its answers and the claims that decide it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Question(NamedTuple):
    """A question, and its answer if all estimates lie on the side of their claims, or if not.

    `claims` are keys of the ledger, each with what it measures; of several keys separated by `|`,
    the first that a profile has is used. `figures` are keys of its figures in the same way.
    """

    key: str
    asks: str
    holds: str
    fails: str
    claims: Mapping[str, str]
    figures: str


OTHER_HEADS = (61, 62, 63, 64)
"""Heads of `study` besides that of its registered claims: a finding holds for each, or is open."""

QUESTIONS = (
    Question(
        "fine-tuning",
        "Does fine-tuning on clean data remove a cue?",
        "Fine-tuning at a low rate keeps the cue; CBFT removes it",
        "Fine-tuning does not always keep the cue, or CBFT does not always remove it",
        {
            "mmc/c6_small_80|mmc/c6_small|mmc/c6_other_small": "RI after fine-tuning at a low rate",
            "mmc/c6_cbft_ri_80|mmc/c6_cbft_ri": "RI after CBFT",
        },
        "table1|probe_finetuned|fig5",
    ),
    Question(
        "curve",
        "Do networks with different mechanisms lie in one connected basin?",
        "A curve without a barrier on the data it was fitted to has one on other data",
        "A curve without a barrier on the data it was fitted to need not have one on other data",
        {
            "mmc/c1_nocue": "barrier (error) on NC, curve fitted to NC",
            "mmc/c2_nocue": "barrier (error) on C, the same curve",
            "mmc/c1_cued": "barrier (error) on C, curve fitted to C",
            "mmc/c2_cued": "barrier (error) on NC, the same curve",
        },
        "fig4",
    ),
    Question(
        "conjecture",
        "Does a barrier after matching mean different mechanisms?",
        "After matching, networks of different data keep a higher barrier than networks of the "
        "same data",
        "After matching, the barrier between networks of different data is less than 5 points "
        "above that between networks of the same data",
        {
            "mmc/c12_contrast|mmc/c12_contrast_64": "barrier (error), different data less the same "
            "data"
        },
        "width|control",
    ),
    Question(
        "clusters",
        "Do fine-tuned text models fall into clusters of strategies?",
        "Convexity gaps split the seeds of one recipe into clusters",
        "The seeds of one recipe do not form clusters",
        {
            "lcrgs/c3_several_mnli|lcrgs/c3_several_paws|lcrgs/c3_several|"
            "lcrgs/cell_several_one_head": "p for gaps without structure, the first of four "
            "conditions for clusters"
        },
        "mnli_gaps|nli_gaps|paws_gaps",
    ),
    Question(
        "heads",
        "Does a common initial head lower the barriers between fine-tuned text models?",
        "A new head for each model raises the barriers between models of one encoder",
        "A new head for each model does not raise the barriers between models of one encoder",
        {
            "lcrgs/head_apart|lcrgs/cell_head": "mean barrier (nats), a new head each less one "
            "head for all",
            **{
                f"lcrgs/cell_head_other_head_{head}": f"the same, less head {head} for all"
                for head in OTHER_HEADS
            },
        },
        "mnli_new_head_gaps|cell_heads|paws_new_head_gaps",
    ),
    Question(
        "distance",
        "Does the convexity gap between two fine-tuned models predict how they generalise?",
        "The larger the convexity gap between two models of one head, the more they differ in "
        "strategy",
        "The convexity gap between two models of one head does not predict how much they differ in "
        "strategy",
        {
            "lcrgs/strategy_gap_lexical_overlap|lcrgs/cell_strategy_gap_lexical_overlap": "r of "
            "gap and difference in HANS accuracy, at equal accuracy, one head for all",
            **{
                f"lcrgs/cell_strategy_gap_other_head_{head}": f"the same, head {head} for all"
                for head in OTHER_HEADS
            },
        },
        "mnli_in_and_out|cell_in_and_out|cell_heads",
    ),
    Question(
        "factorial",
        "Does the head or the order of the rows determine the barrier between two models?",
        "The initial head determines the barrier between two models more than the order of the "
        "rows does",
        "The initial head does not determine the barrier between two models more than the order "
        "of the rows does",
        {
            "lcrgs/share_head": "share of the barriers that the head explains",
            "lcrgs/more|lcrgs/share_more": "the same, less the share of the order",
        },
        "mnli_factorial|factorial",
    ),
    Question(
        "cause",
        "Does what determines the barrier between two models determine their strategy, too?",
        "The initial head, more than the order of the rows, determines a model's strategy",
        "The order of the rows, more than the initial head, determines a model's strategy",
        {
            "lcrgs/more_strategy|lcrgs/share_more_strategy": "share of the variance of HANS "
            "accuracy that the head explains, less that of the order"
        },
        "mnli_factorial|factorial",
    ),
    Question(
        "midpoint",
        "Does averaging two fine-tuned models help out of distribution?",
        "Out of distribution, the average of two fine-tuned models has a lower loss than the mean "
        "of the two",
        "Out of distribution, the average of two fine-tuned models does not have a lower loss than "
        "the mean of the two",
        {
            "lcrgs/c7_any_out|lcrgs/c7_any_lexical_overlap|lcrgs/c7_any_ood|"
            "lcrgs/cell_any_lexical_overlap": "loss at the midpoint less the mean of the endpoints"
        },
        "mnli_types|nli_types|paws_types",
    ),
    Question(
        "published",
        "Do the clusters of the models in LCRGS predict accuracy on HANS?",
        "The clusters of the paper's own models predict accuracy on HANS at equal accuracy on MNLI",
        "The clusters of the paper's own models do not predict accuracy on HANS at equal accuracy "
        "on MNLI",
        {"lcrgs/c4_published_given": "partial correlation with HANS"},
        "published",
    ),
)
"""In the order of their cards, which follow that of `findings.merged`."""
