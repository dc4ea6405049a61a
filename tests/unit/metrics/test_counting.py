"""Do the scores of summed counts equal the scores of the rows, whatever the rows?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoner.errors import ConfigError, DataError, LabelError
from reasoner.metrics import (
    answer_scores,
    classification_scores,
    entity_scores,
    multilabel_scores,
    regression_scores,
    span_scores,
    spans,
)
from reasoner.metrics import counting as c

labels = st.sampled_from("abcd")
label_pairs = st.lists(st.tuples(labels, labels), min_size=1, max_size=20)
span_sets = st.sets(st.tuples(st.sampled_from(["PER", "LOC"]), st.integers(0, 3), st.integers(4, 6)), max_size=4)
texts = st.sampled_from(["the red dog", "red dog", "A dog!", "", "cat and dog", "the"])
many = settings(max_examples=60)


@many
@given(st.lists(st.tuples(span_sets, span_sets), min_size=1, max_size=6))
def test_entities(pairs):
    gold, predicted = [list(g) for g, _ in pairs], [list(p) for _, p in pairs]
    sums, scores = c.entity_counts(gold, predicted).sum(0), span_scores(gold, predicted)
    assert c.f1_from_sums(sums) == pytest.approx(scores["f1"])
    assert c.precision_from_sums(sums) == pytest.approx(scores["precision"])
    assert c.recall_from_sums(sums) == pytest.approx(scores["recall"])


def test_entities_of_tags():
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-LOC"], ["O"]]
    predicted = [["B-PER", "I-PER", "O", "B-PER"], ["B-LOC", "B-LOC"], ["O"]]
    counts = c.entity_counts([spans(tags) for tags in gold], [spans(tags) for tags in predicted])
    assert counts.tolist() == [[1, 2, 2], [1, 2, 1], [0, 0, 0]]
    assert c.f1_from_sums(counts.sum(0)) == pytest.approx(entity_scores(gold, predicted)["f1"])


def test_an_entity_given_twice_counts_once():
    assert c.entity_counts([[("PER", 0, 1), ["PER", 0, 1]]], [[]]).tolist() == [[0, 0, 1]]


@many
@given(st.lists(st.tuples(st.sets(labels), st.sets(labels)), min_size=1, max_size=8))
def test_sets_of_labels(pairs):
    gold, predicted = [g for g, _ in pairs], [p for _, p in pairs]
    expected = multilabel_scores(gold, predicted, labels=list("abcd"))["micro_f1"]
    assert c.f1_from_sums(c.set_counts(gold, predicted).sum(0)) == pytest.approx(expected)


@many
@given(label_pairs, st.booleans())
def test_labels(pairs, named):
    gold, predicted = [g for g, _ in pairs], [p for _, p in pairs]
    counts = c.label_counts(gold, predicted, labels=list("dcbae") if named else None)
    sums, scores = counts.sum(0), classification_scores(gold, predicted)
    assert c.accuracy_from_sums(sums) == pytest.approx(scores["accuracy"])
    assert c.macro_f1_from_sums(sums) == pytest.approx(scores["macro_f1"])
    assert c.weighted_f1_from_sums(sums) == pytest.approx(scores["weighted_f1"])
    assert c.matthews_from_sums(sums) == pytest.approx(scores["matthews"], abs=1e-9)


@many
@given(st.lists(st.tuples(st.lists(texts, max_size=3), texts), min_size=1, max_size=8))
def test_answers(pairs):
    gold, predicted = [g for g, _ in pairs], [p for _, p in pairs]
    sums, scores = c.answer_counts(gold, predicted).sum(0), answer_scores(gold, predicted)
    assert c.exact_match_from_sums(sums) == pytest.approx(scores["exact_match"])
    assert c.answer_f1_from_sums(sums) == pytest.approx(scores["f1"])


@pytest.mark.parametrize("shift", [0, 1e8])  # squares of the second lose what matters, unless it is taken off first
def test_numbers(shift):
    source = np.random.default_rng(0)
    gold = source.normal(size=50) + shift
    predicted = 0.7 * gold + source.normal(size=50)
    expected = regression_scores(gold.tolist(), predicted.tolist())["pearson"]
    assert c.pearson_from_sums(c.pearson_counts(gold, predicted).sum(0)) == pytest.approx(expected, abs=1e-6)


def test_a_constant_has_no_correlation():
    source = np.random.default_rng(0)
    for rows in range(2, 60):  # resamples whose gold numbers are all equal
        counts = c.pearson_counts([0.1, *[source.random()] * rows], source.random(rows + 1))
        assert c.pearson_from_sums(counts[1:].sum(0)) == 0.0
    assert c.pearson_from_sums(c.pearson_counts([3, 3, 3], [1, 2, 3]).sum(0)) == 0.0


@pytest.mark.parametrize(
    ("statistic", "counts"),
    [
        (c.f1_from_sums, c.entity_counts([[("A", 0, 1)], []], [[("A", 0, 1)], [("A", 0, 2)]])),
        (c.macro_f1_from_sums, c.label_counts(list("abca"), list("abba"))),
        (c.weighted_f1_from_sums, c.label_counts(list("abca"), list("abba"))),
        (c.matthews_from_sums, c.label_counts(list("abca"), list("abba"))),
        (c.accuracy_from_sums, c.label_counts(list("abca"), list("abba"))),
        (c.mean_from_sums, c.mean_counts([1, 0, 0.5])),
        (c.answer_f1_from_sums, c.answer_counts([["red dog"], []], ["dog", ""])),
        (c.exact_match_from_sums, c.answer_counts([["red dog"], []], ["dog", ""])),
        (c.pearson_from_sums, c.pearson_counts([1, 2, 3, 5], [1, 3, 2, 4])),
    ],
)
def test_many_sums_at_once_score_as_one_by_one(statistic, counts):
    sums = np.random.default_rng(0).multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=40) @ counts
    assert statistic(sums) == pytest.approx([float(statistic(line)) for line in sums])
    assert np.isfinite(statistic(np.zeros_like(sums))).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: c.entity_counts([[]], []), DataError, "gold has 1 sentences"),
        (lambda: c.set_counts(["ab"], [{"a"}]), DataError, "row 1: gold is 'ab'. Give a set"),
        (lambda: c.label_counts(["a"], ["b"], labels=["a"]), LabelError, "'b' is not in labels"),
        (lambda: c.label_counts(["a"], ["a"], labels=["a", "a"]), ConfigError, "each label once"),
        (lambda: c.label_counts([], []), DataError, "no labels to score"),
        (lambda: c.mean_counts([]), DataError, "at least one"),
        (lambda: c.mean_counts([np.nan]), DataError, "finite"),
        (lambda: c.answer_counts([["a"]], []), DataError, "predicted has 0"),
        (lambda: c.pearson_counts([1.0], [1.0, 2.0]), DataError, "gold has 1 numbers"),
        (lambda: c.as_right(["1"], name="right"), DataError, "right is an array"),
    ],
)
def test_what_cannot_be_counted_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
