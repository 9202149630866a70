"""A vocabulary has the corpus's own pieces, in an order that nothing but them decides."""

from __future__ import annotations

from pathlib import Path

import pytest

from basins.data import vocabulary, wordpiece, words
from basins.errors import UserError

SENTENCES = ["The dog, the cats.", "A DOG's café", "the cats"]
PIECES = ["[unused1]", "##s", "the", "dog", "cat", "play", "##ing", "zebra", ",", "[MASK]"]


def pieces(tokenizer) -> list[str]:
    return tokenizer.convert_ids_to_tokens(range(len(tokenizer)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """BERT's manner of vocabulary file: special tokens stand anywhere."""
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", *PIECES, "[UNK]", "[CLS]", "[SEP]"]))
    return tmp_path


def test_words_are_those_of_the_corpus(tmp_path: Path):
    found = words.tokenizer(SENTENCES, tmp_path)
    own = ["'", ",", ".", "a", "cafe", "cats", "dog", "s", "the"]
    assert pieces(found) == [*vocabulary.SPECIAL, *own]
    assert found("The dog", "A bird")["input_ids"] == [2, 13, 11, 3, 8, 1, 3]
    assert found("The dog", "A bird")["token_type_ids"] == [0, 0, 0, 0, 1, 1, 1]


def test_the_order_of_sentences_does_not_matter(tmp_path: Path):
    forth, back = (words.tokenizer(rows, tmp_path) for rows in (SENTENCES, SENTENCES[::-1]))
    assert pieces(forth) == pieces(back)


def test_rare_words_are_unknown(tmp_path: Path):
    found = words.tokenizer(SENTENCES, tmp_path, minimum=2)
    assert pieces(found) == [*vocabulary.SPECIAL, "cats", "dog", "the"]
    with pytest.raises(UserError, match="nothing occurs 4 times; lower `minimum`"):
        words.tokenizer(SENTENCES, tmp_path, minimum=4)


def test_pieces_are_those_that_the_corpus_needs_in_the_files_order(file: Path):
    rows = ["dogs play", "the cats playing", "dogs"]
    found = wordpiece.tokenizer(rows, file, file="vocab.txt")
    assert pieces(found) == [*vocabulary.SPECIAL, "##s", "the", "dog", "cat", "play", "##ing"]
    assert found.tokenize("zebra dogs") == ["[UNK]", "dog", "##s"]
    rare = wordpiece.tokenizer(rows, file, file="vocab.txt", minimum=2)
    assert pieces(rare) == [*vocabulary.SPECIAL, "##s", "dog", "play"]


def test_a_missing_or_wrong_file_is_refused_in_one_line(file: Path):
    with pytest.raises(UserError, match="no readable vocabulary") as caught:
        wordpiece.tokenizer(SENTENCES, file)
    assert "\n" not in str(caught.value)
    (file / "vocab.txt").write_text("the\n[PAD]\n")
    with pytest.raises(UserError, match=r"no BERT vocabulary, it lacks \[UNK\], \[CLS\]"):
        wordpiece.tokenizer(SENTENCES, file, file="vocab.txt")


def test_it_comes_back_from_disk(tmp_path: Path):
    from transformers import AutoTokenizer

    made = words.tokenizer(SENTENCES, tmp_path)
    made.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded("the dog.", "a CAFÉ") == made("the dog.", "a CAFÉ")
