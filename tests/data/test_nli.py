"""Inference: labels that follow from how pairs are made, and thirty subcases that are HANS's."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from basins.data import nli, text
from basins.data.grammar import CLAUSAL, OPTIONAL, WORDS

SMALL = {"train": 3000, "test": 1000, "diagnostic": 20, "counterexamples": 400}
# HANS's own names (McCoy, Pavlick and Linzen 2019), by heuristic and whether it is right.
PUBLISHED = {
    "le": "relative_clause around_prepositional_phrase around_relative_clause conjunction passive",
    "ln": "subject/object_swap preposition relative_clause passive conjunction",
    "se": "conjunction adjective understood_object relative_clause_on_obj PP_on_obj",
    "sn": "NP/S PP_on_subject relative_clause_on_subject past_participle NP/Z",
    "ce": "embedded_under_since after_since_clause embedded_under_verb conjunction adverb",
    "cn": "embedded_under_if after_if_clause embedded_under_verb disjunction adverb",
}


def load(seed: int = 0, **options):
    return nli.load(source="synthetic", root=Path(), seed=seed, **SMALL, **options)


@pytest.fixture(scope="module")
def data():
    found = load()
    text.check(found, "nli")
    return found


def rows(columns) -> list[tuple[list[str], list[str], int]]:
    sides = ([s.lower().split() for s in columns[name]] for name in ("premise", "hypothesis"))
    return list(zip(*sides, columns["label"], strict=True))


def within(inner: list[str], outer: list[str]) -> bool:
    """Return whether one sentence is a contiguous part of another."""
    return f" {' '.join(inner)} " in f" {' '.join(outer)} "


def test_splits_have_the_rows_asked_for(data) -> None:
    sizes = {split: len(columns["label"]) for split, columns in data.splits.items()}
    expected = {"train": 3000, "test": 1000, "counterexamples": 400}
    assert sizes == expected | {"hans": 600, "lexical_overlap": 100}
    assert set(data.classes.values()) == {("entailment", "non-entailment")}
    assert sum(data.splits["train"]["label"]) == 1500


def test_no_pair_is_in_two_splits_or_has_two_labels(data) -> None:
    pairs = Counter(
        (premise, hypothesis)
        for split in ("train", "test", "counterexamples", "hans")
        for premise, hypothesis in zip(*list(data.splits[split].values())[:2], strict=True)
    )
    assert set(pairs.values()) == {1}


def test_training_pairs_reward_lexical_overlap(data) -> None:
    for premise, hypothesis, label in rows(data.splits["train"]):
        new = set(hypothesis) - set(premise) - {"was", "were", "by"}
        assert len(new) == label, (premise, hypothesis)
    assert (
        0.15 < share(data.splits["train"], "never", label=1) < 0.22
    )  # a fifth, less those negated already
    lengths = [len(a) + len(b) + 3 for a, b, _ in rows(data.splits["train"])]
    assert 15 < sum(lengths) / len(lengths) < 18 and max(lengths) <= 48


def share(columns, word: str, label: int) -> float:
    """Return the share of a label's hypotheses that have a word which the premise has not."""
    found = [word in b and word not in a for a, b, k in rows(columns) if k == label]
    return sum(found) / len(found)


def test_counterexamples_are_swaps_and_promotions(data) -> None:
    """By the two nouns that a bare hypothesis begins and ends with, in the same voice."""
    nouns = set(WORDS["N"]) | {f"{noun}s" for noun in WORDS["N"]}
    swapped = promoted = 0
    for premise, hypothesis, label in rows(data.splits["counterexamples"]):
        assert label == 1 and not set(hypothesis) - set(premise) - {"was", "were", "by"}
        first, last = premise, [word for word in hypothesis if word in nouns]
        places = [first.index(noun) for noun in last]
        if len(hypothesis) == 5 and "was" not in premise and "were" not in premise:
            swapped += places[0] > places[1]
            promoted += places[0] < places[1]
            if places[0] < places[1]:
                assert premise[places[0] - 2] in WORDS["P"]
    assert swapped > 40 and promoted > 15


@pytest.mark.parametrize("swaps", [0.0, 1.0])
def test_the_kinds_of_counterexample_are_a_knob(swaps: float) -> None:
    pool = rows(load(swaps=swaps).splits["counterexamples"])
    verbs = {*WORDS["V"]}
    intransitive = sum(not verbs & set(hypothesis) for _, hypothesis, _ in pool)
    assert (intransitive > 0) == (swaps == 0)


def test_the_test_split_has_counterexamples_as_it_says(data) -> None:
    def against(columns) -> float:
        """Return the share of rows that are not entailed although all words are the premise's."""
        found = [k and not set(b) - set(a) - {"was", "were", "by"} for a, b, k in rows(columns)]
        return sum(found) / len(found)

    assert against(data.splits["test"]) == 0.03
    assert against(data.splits["train"]) == 0
    assert against(load(test_counterexamples=0.2).splits["test"]) == 0.2


def test_more_training_rows_change_no_test(data) -> None:
    other = nli.load(source="synthetic", root=Path(), seed=0, **SMALL | {"train": 50})
    for split in ("test", "hans", "lexical_overlap", "counterexamples"):
        assert other.splits[split] == data.splits[split]
    assert load(seed=1).splits["test"] != data.splits["test"]
    assert load() == data


def test_the_subcases_are_those_of_hans(data) -> None:
    expected = {f"{kind}_{name}" for kind, names in PUBLISHED.items() for name in names.split()}
    assert set(nli.SUBCASES) == expected and len(expected) == 30
    hans = data.splits["hans"]
    assert Counter(hans["subcase"]) == dict.fromkeys(expected, 20)
    about = set(zip(hans["subcase"], hans["heuristic"], hans["label"], strict=True))
    names = {"l": "lexical_overlap", "s": "subsequence", "c": "constituent"}
    assert about == {(name, names[name[0]], int(name[1] == "n")) for name in expected}
    known = {t.name: t.subcase for several in nli.templates().values() for t in several}
    assert all(known[t] == s for t, s in zip(hans["template"], hans["subcase"], strict=True))


def test_every_template_is_drawn_and_at_least_two_a_heuristic_and_label() -> None:
    options = SMALL | {"diagnostic": 80, "train": 10}
    drawn = nli.load(source="synthetic", root=Path(), seed=0, **options)
    templates = [t for several in nli.templates().values() for t in several]
    assert set(drawn.splits["hans"]["template"]) == {t.name for t in templates}
    counted = Counter((t.heuristic, t.label) for t in templates)
    assert min(counted.values()) >= 5


def test_each_heuristic_is_what_its_name_says(data) -> None:
    """Overlap: the premise's words in another order; a part of it; and a whole clause of it."""
    hans = data.splits["hans"]
    promoted = {t.name for t in nli.templates()["ln_preposition"] if t.pairs[0][1] == "N2 V N3"}
    assert len(promoted) == 1
    verbs = {*WORDS["V"], *WORDS["I"]}
    about = zip(rows(hans), hans["heuristic"], hans["template"], strict=True)
    for (premise, hypothesis, _), heuristic, template in about:
        assert set(hypothesis) <= set(premise), (premise, hypothesis)
        in_order = heuristic != "lexical_overlap" or template in promoted
        assert within(hypothesis, premise) == in_order, (premise, hypothesis)
        if heuristic == "constituent":
            assert len(verbs & set(hypothesis)) == 1
            rest = " ".join(premise).replace(" ".join(hypothesis), "", 1).split()
            assert hypothesis[0] == "the" and (not rest or rest[0] != "the" or len(rest) > 2)


def test_no_lemma_occurs_twice_in_a_premise_of_hans(data) -> None:
    singular = {f"{noun}s": noun for noun in WORDS["N"]}
    lemmas = {*WORDS["N"], *WORDS["V"], *WORDS["I"]}
    for premise, _, _ in rows(data.splits["hans"]):
        found = [word for word in (singular.get(w, w) for w in premise) if word in lemmas]
        assert len(found) == len(set(found)), premise


# A premise and a hypothesis of each subcase that is not entailed, or needs a special verb.
EXAMPLES = {
    "sn_NP/S": lambda p: any(a in CLAUSAL and b == "the" for a, b in zip(p, p[1:], strict=False)),
    "sn_NP/Z": lambda p: p[0] in WORDS["T"] and bool(set(p) & {*OPTIONAL}) and "," not in p,
    "sn_past_participle": lambda p: p[2] in OPTIONAL and p[3] == "in",
    "se_understood_object": lambda p: p[2] in OPTIONAL,
    "se_adjective": lambda p: p[0] in WORDS["A"] and p[1].endswith("s"),
    "ce_embedded_under_verb": lambda p: p[2] in WORDS["F"] and p[3] == "that",
    "cn_embedded_under_verb": lambda p: p[2] in WORDS["H"] and p[3] == "that",
    "cn_embedded_under_if": lambda p: p[0] in WORDS["U"] and "," in p,
    "ce_after_since_clause": lambda p: p[0] in WORDS["C"] and "," in p,
    "cn_disjunction": lambda p: "or" in p,
    "cn_adverb": lambda p: p[0] in WORDS["M"],
    "ce_adverb": lambda p: p[0] in WORDS["Y"],
    "ln_passive": lambda p: "by" in p,
}


@pytest.mark.parametrize("subcase", EXAMPLES)
def test_subcases_use_the_words_that_make_them(data, subcase: str) -> None:
    hans = data.splits["hans"]
    premises = [p for (p, _, _), s in zip(rows(hans), hans["subcase"], strict=True) if s == subcase]
    assert len(premises) == 20 and all(map(EXAMPLES[subcase], premises))


def test_lexical_overlap_is_that_slice_of_hans(data) -> None:
    hans, overlap = data.splits["hans"], data.splits["lexical_overlap"]
    wrong = [s.startswith("ln_") for s in hans["subcase"]]
    for name, values in overlap.items():
        assert values == [v for v, kept in zip(hans[name], wrong, strict=True) if kept]
    assert set(Counter(overlap["subcase"]).values()) == {20}
