"""Do words, characters and sub-words find each other, whatever the script and the tokenizer?"""

from __future__ import annotations

import unicodedata

import pytest
import regex
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from reasoner.data.alignment import (
    Interval,
    ends_of_words,
    join_words,
    split_words,
    words_of_characters,
    words_of_tokens,
)

FAMILY = "\U0001f469\u200d\U0001f469\u200d\U0001f467"
WAVE, FLAG, KEYCAP = "\U0001f44b\U0001f3fd", "\U0001f1e9\U0001f1ea", "1\ufe0f\u20e3"
PIECES = ["a", "Zagreb", "7", "e\u0301", "é", FAMILY, WAVE, FLAG, KEYCAP, "日", "本", "が", "か\u3099", "ー", "한국"]
PIECES += [" ", "  ", "\t", "\u00a0", "\u3000", "\n", "-", "'", ".", "U.S.", "`", "^", "_"]
PIECES += ["\u200b", "\ufeff", "\u0301"]  # nothing to be seen
pieces = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
any_text = st.one_of(pieces, st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
word_lists = st.lists(st.one_of(st.sampled_from([*PIECES, ""]), any_text), max_size=8)


@pytest.fixture(scope="module", params=("bert", "roberta", "modernbert", "deberta-v2", "xlm-roberta"))
def tokenizer(request, tiny_models):
    return AutoTokenizer.from_pretrained(tiny_models(request.param))


@given(any_text)
def test_every_visible_character_is_in_exactly_one_word(text):
    words = split_words(text)
    positions = [position for word in words for position in range(word.start, word.end)]
    assert positions == [position for position, character in enumerate(text) if not character.isspace()]
    assert all(word.start < word.end for word in words)


@given(pieces)
@example(f"{FAMILY}{FAMILY}{FLAG}{FLAG}🇩")
def test_what_people_see_as_one_character_is_not_torn(text):
    inside = {
        position for cluster in regex.finditer(r"\X", text) for position in range(cluster.start() + 1, cluster.end())
    }
    borders = {border for word in split_words(text) for border in word}
    assert not {place for place in borders & inside if not text[place].isspace() and not text[place - 1].isspace()}


@given(st.text(st.characters(max_codepoint=127), max_size=20))
@example("".join(map(chr, range(128))))
def test_words_do_not_depend_on_a_word_of_another_script_in_the_text(text):
    assert split_words(text + " é") == [*split_words(text), (len(text) + 1, len(text) + 2)]


@given(any_text)
def test_a_word_is_a_run_of_letters_or_one_mark(text):
    for start, end in split_words(text):
        bases = [c for c in text[start:end] if unicodedata.category(c)[0] != "M" and unicodedata.category(c) != "Cf"]
        assert (
            len(bases) <= 1
            or all(c.isalnum() or c == "_" for c in bases)
            or "\u200d" in text[start:end]
            or any("🏻" <= c <= "🏿" or "🇦" <= c <= "🇿" for c in bases)
        )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Anna's U.S. visit, 2016.", ["Anna", "'", "s", "U", ".", "S", ".", "visit", ",", "2016", "."]),
        ("the `code` of x^2", ["the", "`", "code", "`", "of", "x", "^", "2"]),
        ("東京タワーへ行く", list("東京タワーへ行く")),
        ("iPhone5は", ["iPhone5", "は"]),
        (f"{FAMILY}{WAVE}{FLAG}{FLAG}x", [FAMILY, WAVE, FLAG, FLAG, "x"]),
        ("cafe\u0301 noir", ["cafe\u0301", "noir"]),
        ("می‌خواهم", ["می‌خواهم"]),
        ("", []),
        (" \t\u00a0", []),
    ],
)
def test_words_of_known_texts(text, words):
    assert [text[start:end] for start, end in split_words(text)] == words


@given(any_text, st.data())
def test_words_of_characters_is_the_way_back(text, data):
    words = split_words(text)
    if words:
        first = data.draw(st.integers(0, len(words) - 1))
        last = data.draw(st.integers(first, len(words) - 1))
        assert words_of_characters(words[first].start, words[last].end, words) == (first, last + 1)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    touched = [n for n, word in enumerate(words) if set(range(*word)) & set(range(start, end))]
    assert words_of_characters(start, end, words) == ((touched[0], touched[-1] + 1) if touched else None)


@given(word_lists)
def test_joined_words_stand_where_it_is_said(words):
    text, offsets = join_words(words)
    assert text == " ".join(words)
    assert [text[start:end] for start, end in offsets] == words


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [
        ([(0, 0), (0, 3), (3, 8), (8, 9), (0, 0)], [-1, 0, 1, 2, -1]),  # the space before a word is in its token
        ([(0, 0), (0, 3), (4, 4), (4, 6), (6, 8), (8, 9)], [-1, 0, -1, 1, 1, 2]),  # a space that is cut to nothing
        ([(0, 3), (3, 4), (4, 8), (8, 9)], [0, -1, 1, 2]),  # a space as a token of its own
        ([(0, 3), (4, 5), (4, 8), (8, 9)], [0, 1, 1, 2]),  # the mark of a word's beginning overlaps its first letter
        ([(0, 9)], [0]),
    ],
)
def test_the_word_of_a_token_is_that_of_its_first_visible_character(offsets, expected):
    text, words = "The town.", [Interval(0, 3), Interval(4, 8), Interval(8, 9)]
    assert words_of_tokens(offsets, words, text) == expected


def test_text_that_no_word_holds_is_of_none():
    words = [Interval(0, 3), Interval(4, 4), Interval(9, 13)]
    assert words_of_tokens([(0, 3), (3, 8), (4, 8), (8, 13), (13, 14)], words, "The town near.") == [0, -1, -1, 2, -1]


@settings(max_examples=30)
@given(words=word_lists)
def test_words_of_real_tokens(tokenizer, words):
    text, offsets = join_words(words)
    word_of_character = {position: n for n, word in enumerate(offsets) for position in range(*word)}
    tokens = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    for (start, end), word in zip(tokens, words_of_tokens(tokens, offsets, text), strict=True):
        visible = [position for position in range(start, end) if not text[position].isspace()]
        assert word == (word_of_character.get(visible[0], -1) if visible else -1)


@settings(max_examples=30)
@given(text=any_text)
def test_a_word_without_sub_word_that_lies_in_another_words_continues_it(tokenizer, text):
    words = split_words(text)
    tokens = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    word_of = words_of_tokens(tokens, words, text)
    ends = ends_of_words([tokens], [word_of], words)
    for number in range(len(words) - 1):
        following = words[number + 1]
        inside = any(
            start < following.start < end and 0 <= word <= number
            for (start, end), word in zip(tokens, word_of, strict=True)
        )
        continues = number + 1 not in word_of and inside
        assert ends[number] == (ends[number + 1] if continues else number + 1)


def test_the_letters_of_an_abbreviation_that_is_one_sub_word():
    text = "In the U.S. now"
    words = split_words(text)
    tokens = [(0, 2), (2, 6), (6, 11), (11, 15)]
    word_of = words_of_tokens(tokens, words, text)
    assert word_of == [0, 1, 2, 6]
    assert ends_of_words([tokens], [word_of], words) == [1, 2, 6, 6, 6, 6, 7]
