"""Batches of text hold every row once, in the fewest tokens, and change no logit."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from basins.data import vocabulary
from basins.data.tokens import OVERHEAD, Tokens, encode, tokens, truncate
from basins.errors import UserError
from basins.nets import bert

CPU = torch.device("cpu")


def rows_of(lengths, seed=0, vocabulary=50):
    """Return token ids from 1 (0 pads), token types and labels of rows of the given lengths."""
    draw = np.random.default_rng(seed)
    ids = [draw.integers(1, vocabulary, n).tolist() for n in lengths]
    types = [[0] * (n // 2) + [1] * (n - n // 2) for n in lengths]
    return ids, types, draw.integers(0, 3, len(lengths)).tolist()


def place(lengths, limit=512, **options) -> Tokens:
    return tokens(*rows_of(lengths), pad=0, limit=limit, device=CPU, where="mine", **options)


def test_a_hand_computed_case():
    ids, types, labels = [[7, 8, 9], [4], [5, 6, 3]], [[0, 0, 1], [1], [0, 1, 1]], [2, 0, 1]
    options = {"pad": 0, "limit": 3, "device": CPU, "where": "mine"}

    placed = tokens(ids, types, labels, budget=96, **options)
    ((inputs, answers),) = placed.batches()  # a second batch would cost 3 tokens, padding costs 2
    assert inputs.ids.tolist() == [[4, 0, 0], [7, 8, 9], [5, 6, 3]]
    no = -float("inf")
    assert inputs.mask.tolist() == [[[[0, no, no]]], [[[0, 0, 0]]], [[[0, 0, 0]]]]
    assert inputs.types.tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 1]]
    assert answers.tolist() == [0, 2, 1] and placed.order.tolist() == [1, 0, 2]
    assert placed.padding == 9 / 7

    placed = tokens(ids, types, labels, budget=6, **options)
    (short, first), (long, others) = placed.batches()
    assert (short.ids.tolist(), short.mask, short.types.tolist()) == ([[4]], None, [[1]])
    assert (long.ids.tolist(), long.mask) == ([[7, 8, 9], [5, 6, 3]], None)
    assert long.types.tolist() == [[0, 0, 1], [0, 1, 1]]
    assert (first.tolist(), others.tolist()) == ([0], [2, 1])
    assert placed.order.tolist() == [1, 0, 2] and placed.padding == 1


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_logits_equal_those_of_padding_to_the_longest(attention):
    net = bert.build_text(50, 3, layers=2, width=32, heads=4, positions=64).eval()
    net.set_attn_implementation(attention)
    draw = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for weights in net.parameters():
            weights.normal_(0, 0.3, generator=draw)
        lengths = [*range(3, 61), 60, 60, 60, 60, 60, 1]
        ids, types, labels = rows_of(lengths)
        placed = place(lengths, budget=300)
        masked = [inputs.mask is not None for inputs, _ in placed.batches()]
        assert any(masked) and not all(masked)

        real = torch.arange(60) < torch.tensor(lengths)[:, None]
        padded = torch.zeros(2, len(ids), 60, dtype=torch.int64)
        for row, n in enumerate(lengths):
            padded[0, row, :n], padded[1, row, :n] = (
                torch.tensor(ids[row]),
                torch.tensor(types[row]),
            )
        expected = net(padded[0], real.long(), padded[1]).logits
        unmasked = net(padded[0], None, padded[1]).logits
        found = torch.cat([net(*inputs).logits for inputs, _ in placed.batches()])

    torch.testing.assert_close(found, expected[placed.order], atol=1e-4, rtol=0)
    assert (unmasked - expected).abs().max() > 0.1  # so this net can tell that a mask was left out
    answers = torch.cat([answers for _, answers in placed.batches()])
    assert answers.tolist() == [labels[row] for row in placed.order]


lengths_and_budget = st.tuples(
    st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(1, 200)
)


@given(lengths_and_budget)
def test_every_row_occurs_once_as_it_was(case):
    lengths, budget = case
    ids, types, labels = rows_of(lengths)
    placed = place(lengths, budget=budget)
    found, held = [], 0
    for inputs, answers in placed.batches():
        n, width = inputs.ids.shape
        assert n == 1 or n * width <= budget
        held += n * width
        mask = torch.ones(n, width, dtype=torch.bool)
        if inputs.mask is not None:
            mask = inputs.mask[:, 0, 0] == 0
            assert not mask.all()
        assert not inputs.ids[~mask].any() and not inputs.types[~mask].any()
        for row in range(n):
            here = inputs.ids[row, mask[row]].tolist(), inputs.types[row, mask[row]].tolist()
            found.append((*here, answers[row].item()))
    expected = list(zip(ids, types, labels, strict=True))
    assert found == [expected[row] for row in placed.order]
    assert sorted(placed.order.tolist()) == list(range(len(lengths)))
    assert placed.padding == held / sum(lengths)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=9), st.integers(12, 60))
def test_no_other_cuts_are_cheaper(lengths, budget):
    lengths = sorted(lengths)

    def cost(sizes):
        """Return the tokens held and the overhead, or nothing where a batch is over the budget."""
        held = [n * lengths[end - 1] for n, end in zip(sizes, np.cumsum(sizes), strict=True)]
        fits = all(tokens <= budget for tokens in held)
        return sum(held) + len(held) * OVERHEAD * budget if fits else np.inf

    n = len(lengths)
    every = (np.diff([0, *inner, n]) for k in range(n) for inner in combinations(range(1, n), k))
    chosen = [len(answers) for _, answers in place(lengths, budget=budget).batches()]
    assert cost(chosen) == pytest.approx(min(map(cost, every)))


@pytest.mark.parametrize(
    ("mean", "spread", "n"),
    [(3.55, 0.48, 2000), (3.36, 0.36, 2000), (2.36, 0.33, 527)],  # as MNLI's, QQP's and CoLA's
)
def test_realistic_lengths_are_padded_by_at_most_five_per_cent(mean, spread, n):
    drawn = np.random.default_rng(0).lognormal(mean, spread, n)
    lengths = np.clip(np.rint(drawn), 4, 512).astype(int).tolist()
    assert 1 < place(lengths).padding <= 1.05


def test_rows_of_one_length_need_neither_padding_nor_mask():
    placed = place([16] * 200, budget=160)
    assert placed.padding == 1 and placed.order.tolist() == list(range(200))
    assert [len(answers) for _, answers in placed.batches()] == [10] * 20
    assert all(inputs.mask is None for inputs, _ in placed.batches())


def test_one_row_longer_than_the_budget_is_a_batch():
    placed = place([30], budget=10)
    assert [tuple(inputs.ids.shape) for inputs, _ in placed.batches()] == [(1, 30)]


def test_lengths_that_all_differ_report_their_padding():
    placed = place(list(range(1, 129)), budget=512)
    widths = [inputs.ids.shape for inputs, _ in placed.batches()]
    assert placed.padding == sum(n * width for n, width in widths) / (128 * 129 / 2)
    assert 1 < placed.padding < 1.1
    assert all(a[1] < b[1] for a, b in pairwise(widths))


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([3, 9, 2, 12], "mine: 2 of 4 rows do not have 1 to 8 tokens .the longest has 12"),
        ([3, 0], "mine: 1 of 2 rows do not have 1 to 8 tokens"),
        ([], "mine: it has no rows"),
    ],
)
def test_rows_that_do_not_fit_are_refused(lengths, expected):
    with pytest.raises(UserError, match=expected) as caught:
        place(lengths, limit=8)
    assert "\n" not in str(caught.value)
    assert place([8, 1], limit=8).order.tolist() == [1, 0]


LETTERS = "abcdefghij"


def letters(rng, n, most=12) -> list[str]:
    return [" ".join(rng.choice(list(LETTERS), rng.integers(1, most + 1))) for _ in range(n)]


def test_sentences_and_pairs_are_encoded_as_bert_takes_them():
    tokenizer = vocabulary.build(LETTERS)  # five special tokens come first
    pairs = {"label": [0, 1], "question1": ["A b", "c"], "question2": ["d?", "e f"]}
    ids, types = encode(pairs, tokenizer)
    assert ids == [[2, 5, 6, 3, 8, 1, 3], [2, 7, 3, 9, 10, 3]]
    assert types == [[0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1]]
    assert encode({"sentence": ["a b"]}, tokenizer) == ([[2, 5, 6, 3]], [[0, 0, 0, 0]])


def test_long_rows_are_cut_by_hand():
    ids, types = [[2, 5, 6, 7, 8, 3, 9, 10, 3]], [[0, 0, 0, 0, 0, 0, 1, 1, 1]]
    assert truncate(ids, types, 9) == (ids, types, 0)
    assert truncate(ids, types, 8) == ([[2, 5, 6, 7, 3, 9, 10, 3]], [[0] * 5 + [1] * 3], 1)
    assert truncate(ids, types, 6) == ([[2, 5, 6, 3, 9, 3]], [[0] * 4 + [1] * 2], 1)
    assert truncate(ids, [[0] * 9], 4) == ([[2, 5, 6, 3]], [[0] * 4], 1)


@pytest.mark.parametrize("limit", [5, 7, 11, 21])
def test_long_rows_are_cut_as_transformers_cuts_them(limit):
    """With an even number left; of an odd one BERT's own code leaves the first sentence more."""
    rng, tokenizer = np.random.default_rng(0), vocabulary.build(LETTERS)
    for columns in (
        {"sentence1": letters(rng, 200), "sentence2": letters(rng, 200)},
        {"sentence": letters(rng, 200)},
    ):
        texts = list(columns.values())
        ids, types, count = truncate(*encode(columns, tokenizer), limit)
        cut = tokenizer(*texts, truncation="longest_first", max_length=limit)
        assert (ids, types) == (cut["input_ids"], cut["token_type_ids"])
        assert count == sum(len(row) > limit for row in encode(columns, tokenizer)[0])
        assert count > 0 or limit == 21
