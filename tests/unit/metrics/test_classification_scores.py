"""Do label and number scores equal scikit-learn's and SciPy's, and do they hold on degenerate input?"""

from __future__ import annotations

import random
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as reference

from reasoner.errors import ConfigError, DataError, LabelError
from reasoner.metrics import classification_scores, multilabel_scores, regression_scores

LABELS = ["entailment", "neutral", "contradiction", "other"]
pytestmark = pytest.mark.filterwarnings("error")


def assert_rows(table: dict, labels: list, columns: tuple) -> None:
    assert list(table) == labels
    for label, *expected in zip(labels, *columns, strict=True):
        row = table[label]
        assert [row["precision"], row["recall"], row["f1"], row["support"]] == pytest.approx(expected, abs=1e-12)


def test_labels_equal_scikit_learn() -> None:
    source = random.Random(1)
    for size in [1, 2, 3, 5, 40, 300] * 8:
        used = LABELS[: source.randint(1, 4)]
        gold = source.choices(used, k=size)
        predicted = [label if source.random() < 0.5 else source.choice(used) for label in gold]
        scores = classification_scores(gold, predicted, labels=LABELS)
        average = {"zero_division": 0}
        assert scores["accuracy"] == pytest.approx(reference.accuracy_score(gold, predicted), abs=1e-12)
        assert scores["macro_f1"] == pytest.approx(
            reference.f1_score(gold, predicted, average="macro", **average), abs=1e-12
        )
        assert scores["weighted_f1"] == pytest.approx(
            reference.f1_score(gold, predicted, average="weighted", **average), abs=1e-12
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert scores["matthews"] == pytest.approx(reference.matthews_corrcoef(gold, predicted), abs=1e-12)
            columns = reference.precision_recall_fscore_support(gold, predicted, labels=LABELS, **average)
        assert_rows(scores["by_label"], LABELS, columns)


def test_labels_are_sorted_when_not_given() -> None:
    assert list(classification_scores([10, 2], [2, 9])["by_label"]) == [2, 9, 10]


def test_a_label_that_occurs_nowhere_does_not_lower_the_average() -> None:
    scores = classification_scores(["neutral", "other"], ["neutral", "other"], labels=LABELS)
    assert scores["macro_f1"] == scores["weighted_f1"] == scores["matthews"] == 1.0
    assert scores["by_label"]["entailment"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}


@settings(max_examples=60)
@given(st.lists(st.tuples(*[st.sampled_from(LABELS)] * 2), min_size=1), st.randoms(use_true_random=False))
def test_label_invariants(rows: list, source: random.Random) -> None:
    gold, predicted = [list(column) for column in zip(*rows, strict=True)]
    perfect = classification_scores(gold, gold)
    assert perfect["accuracy"] == perfect["macro_f1"] == 1.0 and perfect["weighted_f1"] == pytest.approx(1.0)
    assert perfect["matthews"] == (pytest.approx(1.0) if len(set(gold)) > 1 else 0.0)
    shuffled = [list(column) for column in zip(*source.sample(rows, len(rows)), strict=True)]
    assert classification_scores(gold, predicted) == classification_scores(*shuffled)


@pytest.mark.parametrize("labels", [LABELS, LABELS[:1]])
def test_label_sets_equal_scikit_learn(labels: list[str]) -> None:
    source = random.Random(2)
    for size in [1, 2, 3, 10, 100] * 8:
        gold, predicted = (
            [set(source.sample(labels, source.randint(0, len(labels)))) for _ in range(size)] for _ in "gp"
        )
        scores = multilabel_scores(gold, predicted, labels=labels)
        known, guess = (np.array([[label in row for label in labels] for row in rows]) for rows in (gold, predicted))
        occurring = np.flatnonzero((known | guess).any(axis=0))
        columns = zip(
            *(
                [column[0] for column in reference.precision_recall_fscore_support(k, g, labels=[1], zero_division=0)]
                for k, g in zip(known.T.astype(int), guess.T.astype(int), strict=True)
            ),
            strict=True,
        )
        assert_rows(scores["by_label"], labels, tuple(columns))
        assert scores["accuracy"] == pytest.approx(np.mean([k == g for k, g in zip(gold, predicted, strict=True)]))
        if len(occurring) > 1:
            for average in ("micro", "macro", "weighted"):
                expected = reference.f1_score(known, guess, labels=occurring, average=average, zero_division=0)
                assert scores[f"{average}_f1"] == pytest.approx(expected, abs=1e-12)


label_sets = st.lists(st.tuples(*[st.sets(st.sampled_from(LABELS))] * 2), min_size=1)


@settings(max_examples=60)
@given(label_sets, st.randoms(use_true_random=False))
def test_label_set_invariants(rows: list, source: random.Random) -> None:
    gold, predicted = [list(column) for column in zip(*rows, strict=True)]
    perfect = multilabel_scores(gold, gold, labels=LABELS)
    assert perfect["accuracy"] == 1.0
    assert perfect["micro_f1"] == perfect["macro_f1"] == (1.0 if any(gold) else 0.0)
    shuffled = [list(column) for column in zip(*source.sample(rows, len(rows)), strict=True)]
    assert multilabel_scores(gold, predicted, labels=LABELS) == multilabel_scores(*shuffled, labels=LABELS)


def test_numbers_equal_scipy_and_scikit_learn() -> None:
    source = np.random.default_rng(3)
    for size in (3, 10, 200):
        gold = source.normal(size=size).round(1)
        predicted = (gold + source.normal(size=size)).round(1)
        scores = regression_scores(gold.tolist(), predicted.tolist())
        assert scores["pearson"] == pytest.approx(np.corrcoef(gold, predicted)[0, 1], abs=1e-12)
        ranks = [stats.rankdata(values) for values in (gold, predicted)]
        assert scores["spearman"] == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=1e-12)
        assert scores["mse"] == pytest.approx(np.mean((gold - predicted) ** 2))
        assert scores["rmse"] == pytest.approx(np.sqrt(np.mean((gold - predicted) ** 2)))
        assert scores["mae"] == pytest.approx(np.mean(np.abs(gold - predicted)))


@pytest.mark.parametrize(
    ("gold", "predicted"),
    [
        ([1.0], [2.0]),
        ([1, 1, 1], [1, 2, 3]),
        ([1, 2, 3], [5, 5, 5]),
        ([0.0, 5e-324], [0.0, 1.0]),
        ([1e16, 1e16], [1, 2]),
    ],
)
def test_a_constant_has_correlation_zero_without_a_warning(gold: list[float], predicted: list[float]) -> None:
    scores = regression_scores(gold, predicted)
    assert all(np.isfinite(value) for value in scores.values())
    if len(set(gold)) == 1 or len(set(predicted)) == 1:
        assert scores["pearson"] == scores["spearman"] == 0.0


def test_a_correlation_that_overflows_is_zero_and_not_nan() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the squared error overflows too, and says so
        assert regression_scores([1e308, 1e308, -1e307], [1, 2, 3])["pearson"] == 0.0


@settings(max_examples=60)
@given(st.lists(st.integers(-1000, 1000), min_size=2), st.randoms(use_true_random=False))
def test_number_invariants(gold: list[int], source: random.Random) -> None:
    perfect = regression_scores(gold, gold)
    assert perfect["mse"] == perfect["rmse"] == perfect["mae"] == 0.0
    expected = 1.0 if len(set(gold)) > 1 else 0.0
    assert perfect["pearson"] == pytest.approx(expected) and perfect["spearman"] == pytest.approx(expected)
    rows = [(value, source.randint(-5, 5)) for value in gold]
    shuffled = source.sample(rows, len(rows))
    before, after = (regression_scores(*map(list, zip(*order, strict=True))) for order in (rows, shuffled))
    assert before == pytest.approx(after, abs=1e-9)


def test_bad_input_is_named() -> None:
    with pytest.raises(LabelError) as caught:
        classification_scores(["neutral", "nutral"], ["neutrol", "other"], labels=LABELS)
    assert [str(problem) for problem in caught.value.problems] == [
        "row 2: the gold label 'nutral' is not in labels. Did you mean 'neutral'?",
        "row 1: the predicted label 'neutrol' is not in labels. Did you mean 'neutral'?",
    ]
    with pytest.raises(ConfigError, match=r"each once"):
        multilabel_scores([{"a"}], [{"a"}], labels=["a", "a"])
    with pytest.raises(DataError, match=r"row 1: gold is 'ab'. Give a set of labels, such as {'ab'}."):
        multilabel_scores(["ab"], [{"a"}], labels=["a", "b"])
    with pytest.raises(DataError, match=r"row 2: the predicted number is nan. Only finite numbers can be scored."):
        regression_scores([1.0, 2.0], [1.0, float("nan")])
    for function in (classification_scores, regression_scores):
        with pytest.raises(DataError, match=r"gold has 1 .*, predicted has 2"):
            function([1], [1, 2])
        with pytest.raises(DataError, match=r"there are no"):
            function([], [])
