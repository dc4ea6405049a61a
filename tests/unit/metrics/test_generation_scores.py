"""Are generated texts scored as the docstring says?"""

from __future__ import annotations

import math

import pytest

from reasoner.errors import DataError
from reasoner.metrics.generation import generation_scores, perplexity, same_text, word_f1


@pytest.mark.parametrize(
    ("gold", "predicted", "same"),
    [
        ("a b", " a  b\n", True),
        ("a b", "a B", False),
        ("a b", "a b.", False),
        ("a b", "ab", False),
        ("42", "42", True),
        ("x", "", False),
    ],
)
def test_white_space_alone_does_not_count(gold, predicted, same):
    assert same_text(gold, predicted) is same


@pytest.mark.parametrize(
    ("gold", "predicted", "f1"), [("a b c", "c a", 0.8), ("a a", "a", 2 / 3), ("a", "b", 0.0), ("a", "", 0.0)]
)
def test_f1_of_words_with_how_often_they_occur(gold, predicted, f1):
    assert word_f1(gold, predicted) == pytest.approx(f1)


def test_scores_are_means_over_texts():
    scores = generation_scores(["a b", "c", "d e f", "g"], ["a b ", "x", "d", "g"])
    assert scores == {"exact_match": 0.5, "f1": pytest.approx((1 + 0 + 0.5 + 1) / 4)}


@pytest.mark.parametrize(("gold", "predicted"), [([], []), (["a"], []), (["a"], ["a", "b"])])
def test_what_cannot_be_scored_is_refused(gold, predicted):
    with pytest.raises(DataError):
        generation_scores(gold, predicted)


def test_perplexity():
    assert perplexity(math.log(50)) == pytest.approx(50)
    assert perplexity(1e6) == perplexity(700) < math.inf
