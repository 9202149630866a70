"""Recovers the subcase of a HANS pair, one of 30, from its words (McCoy et al. 2019, appendix).

It is for files of HANS without this column. Patterns are HANS's templates with HANS's own words, so
a pair that matches only one subcase must belong to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache

from basins.data.nli import HEURISTICS

# The regular expression for each capital letter in the patterns.
NOUN = (
    "(?:actor|artist|athlete|author|banker|doctor|judge|lawyer|manager|president|professor"
    "|scientist|secretary|senator|student|tourist)"
)
VERB = (
    "(?:admired|advised|avoided|believed|called|contacted|encouraged|helped|introduced|mentioned"
    "|recognized|recommended|saw|stopped|supported|thanked)"
)
NOUNS = rf"(?:{NOUN}s?|secretaries)"
CLAUSE = rf"(?:arrived|danced|performed|ran|resigned|shouted|slept|waited|{VERB} the {NOUNS})"
SLOTS = {
    "N": f"the {NOUNS}",
    "X": NOUNS,
    "V": VERB,
    "W": CLAUSE,  # a verb, with its object if it takes one
    "Q": f"(?:who|that) (?:{CLAUSE}|the {NOUNS} {VERB})",
    "R": "who|that",
    "P": "near|behind|by|in front of|next to",
    "B": "was|were",
    "A": "important|popular|famous|young|happy|helpful|serious|angry",
    "S": "believed|knew|heard",
    "K": "studied|paid|helped|investigated|presented",
    "L": "in the (?:museum|school|library|office|laboratory)",
    "T": "while|after|before|when|although|because|since",
    "Z": "hid|moved|presented|paid|studied|stopped|fought",
    "O": "paid|explored|won|wrote|left|read|ate",
    "J": r"the \w+(?: cream)?",
    "U": "if|unless",
    "D": "in case|whether or not",
    "C": "after|before|because|although|though|since|while",
    "H": "hoped|claimed|thought|believed|said|assumed",
    "F": "forgot|learned|remembered|knew",
    "M": "supposedly|probably|maybe|hopefully",
    "Y": "certainly|definitely|clearly|obviously|suddenly|without a doubt|of course",
}
# Premise > hypothesis; "the N3" is a mistake in one of HANS's templates.
PATTERNS = {
    "le_relative_clause": (
        "N1 R N2 V1 V2 N3 > N2 V1 N1",
        "N1 R V1 N2 V2 N3 > N1 V1 N2",
        "N1 V1 N2 R V2 N3 > N2 V2 N3",
        "N1 V1 N2 R N3 V2 > N3 V2 N2",
    ),
    "le_around_prepositional_phrase": ("N1 P N2 V N3 > N1 V N3",),
    "le_around_relative_clause": ("N1 Q V N2 > N1 V N2",),
    "le_conjunction": ("N1 and N2 V N3 > N1 V N3", "N1 V N2 and N3 > N1 V N3"),
    "le_passive": ("N1 B V by N2 > N2 V N1",),
    "ln_subject/object_swap": ("N1 V N2 > N2 V N1",),
    "ln_preposition": (
        "N1 P N2 V N3 > (N2 V N1|N3 V N1|N3 V N2)",
        "N1 V N2 P N3 > (N2 V N1|N2 V N3|N3 V N1)",
    ),
    "ln_relative_clause": (
        "N1 R N2 V1 V2 N3 > (N2 V2 N1|N3 V2 N1|N3 V2 N2)",
        "N1 R V1 N2 V2 N3 > (N2 V2 N1|N3 V2 N1|N3 V2 N2)",
        "N1 V1 N2 R V2 N3 > (N2 V1 N1|N2 V1 the N3|N3 V1 N1)",
        "N1 V1 N2 R N3 V2 > (N2 V1 N1|N2 V1 N3|N3 V1 N1)",
    ),
    "ln_passive": ("N1 B V by N2 > N1 V N2",),
    "ln_conjunction": (
        "N1 and N2 V N3 > (N1 V N2|N2 V N1)",
        "N1 V N2 and N3 > (N2 V N3|N3 V N2)",
    ),
    "se_conjunction": ("N1 and N2 W > N2 W", "N1 V N2 and N3 > N1 V N2"),
    "se_adjective": ("A X W > X W",),
    "se_understood_object": ("N1 O J > N1 O",),
    "se_relative_clause_on_obj": ("N1 V N2 Q > N1 V N2",),
    "se_PP_on_obj": ("N1 V N2 P N3 > N1 V N2",),
    "sn_NP/S": ("N1 S N2 W > N1 S N2",),
    "sn_PP_on_subject": ("N1 P N2 W > N2 W",),
    "sn_relative_clause_on_subject": ("N1 R V N2 W > N2 W",),
    "sn_past_participle": ("N1 K L W > N1 K L", "N1 V N2 K L > N2 K L"),
    "sn_NP/Z": ("T N1 Z N2 W > N1 Z N2",),
    "ce_embedded_under_since": ("C N1 W1 , N2 W2 > N1 W1",),
    "ce_after_since_clause": ("(C|D) N1 W1 , N2 W2 > N2 W2",),
    "ce_embedded_under_verb": ("N1 F that N2 W > N2 W",),
    "ce_conjunction": ("N1 W1 , and N2 W2 > (N1 W1|N2 W2)",),
    "ce_adverb": ("Y N W > N W",),
    "cn_embedded_under_if": ("(U|D) N1 W1 , N2 W2 > N1 W1",),
    "cn_after_if_clause": ("U N1 W1 , N2 W2 > N2 W2",),
    "cn_embedded_under_verb": ("N1 H that N2 W > N2 W",),
    "cn_disjunction": ("N1 W1 , or N2 W2 > (N1 W1|N2 W2)",),
    "cn_adverb": ("M N W > N W",),
}


def recovered(columns: Mapping[str, Sequence]) -> list[str]:
    """Return the subcase of each pair of HANS, or an empty string if it is not certain.

    It is not certain if none or several match, or only one with another heuristic or label. Columns
    are premise, hypothesis, heuristic and label (0 is entailment).
    """
    rows = zip(*(columns[c] for c in ("premise", "hypothesis", "heuristic", "label")), strict=True)
    of = []
    for premise, hypothesis, heuristic, label in rows:
        one = fitting(premise, hypothesis)
        agrees = len(one) == 1 and one[0][:2] == kind(heuristic, label)
        of.append(one[0] if agrees else "")
    return of


def kind(heuristic: str, label: int) -> str:
    """Return the two-letter prefix of HANS's subcases for a heuristic and a label."""
    letters = {name: letter for letter, name in HEURISTICS.items()}
    return letters.get(heuristic, "") + "en"[label]


def fitting(premise: str, hypothesis: str) -> list[str]:
    """Return every subcase with a template that matches the words of a pair."""
    pair = " > ".join(sentence.lower().rstrip(" .") for sentence in (premise, hypothesis))
    return [
        name for name, patterns in _compiled().items() if any(p.fullmatch(pair) for p in patterns)
    ]


@cache
def _compiled() -> dict[str, list[re.Pattern[str]]]:
    return {name: [_expression(p) for p in patterns] for name, patterns in PATTERNS.items()}


def _expression(pattern: str) -> re.Pattern[str]:
    """Return a pattern as a regular expression, in which repeated slots match the same words."""
    seen: set[str] = set()

    def slot(found: re.Match[str]) -> str:
        name = found[0]
        if name in seen:
            return f"(?P={name})"
        seen.add(name)
        return f"(?P<{name}>{SLOTS[name[0]]})"

    return re.compile(re.sub(r"[A-Z]\d?", slot, pattern))
