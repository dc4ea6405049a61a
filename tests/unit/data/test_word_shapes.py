"""Is the shape of each token that of its word, and is it seen whether casing tells entities?"""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from reasoner.data.alignment import split_words
from reasoner.data.word_shapes import (
    CAPITAL,
    CAPITALS,
    DIGITS,
    LOWER,
    MIXED,
    OTHER,
    casing_tells,
    is_uncased,
    shape_of,
    token_shapes,
)


@pytest.mark.parametrize(
    ("words", "shape"),
    [
        ("may über l'eau covid-19 日本 ß x", LOWER),
        ("May Über A Covid-19 2Pac Ǆ", CAPITAL),
        ("UN U.S. COVID-19 ÄÖ", CAPITALS),
        ("iPhone McDonald JavaScript X-ray's-B", MIXED),
        ("1984 3.5", DIGITS),
        (". -- ’ 😀", OTHER),
    ],
)
def test_shapes(words, shape):
    assert {word: shape_of(word) for word in words.split()} == dict.fromkeys(words.split(), shape)


def test_each_token_has_the_shape_of_its_word(tiny_bert):
    text = "Maria Silva works at IBM, 1984"
    encoded = AutoTokenizer.from_pretrained(tiny_bert)(text, return_offsets_mapping=True)
    offsets = encoded["offset_mapping"]
    shapes = token_shapes(offsets, split_words(text), text)
    expected = dict(zip(("Maria", "Silva", "works", "at", "IBM", ",", "1984"),
                        (CAPITAL, CAPITAL, LOWER, LOWER, CAPITALS, OTHER, DIGITS), strict=True))  # fmt: skip
    assert len(shapes) == len(offsets) and shapes[0] == shapes[-1] == LOWER
    for (start, end), shape in list(zip(offsets, shapes, strict=True))[1:-1]:
        word = next(text[a:b] for a, b in split_words(text) if a <= start < b)
        assert shape == expected[word], text[start:end]


@pytest.mark.parametrize(("architecture", "uncased"), [("bert", True), ("roberta", False), ("deberta-v2", False)])
def test_a_tokenizer_that_hides_casing_is_known(tiny_models, architecture, uncased):
    assert is_uncased(AutoTokenizer.from_pretrained(tiny_models(architecture))) is uncased


def test_casing_tells_by_how_much_more_frequent_large_letters_are_in_entities():
    rows = [(["We", "saw", "Anna", "in", "oslo", "."], [False, False, True, False, True, False]),
            (["Anna", "Left", "."], [True, False, False])]  # fmt: skip
    assert casing_tells(rows) == pytest.approx(1 / 2 - 1 / 5)  # first words are left out
    assert casing_tells([]) == casing_tells([(["a", "B"], [False, False])]) == 0
