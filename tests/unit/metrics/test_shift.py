"""Do the tests of a shift see one, and seldom see one where there is none?"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from reasoner.errors import DataError
from reasoner.metrics.counting import f1_from_sums
from reasoner.metrics.shift import classifier_test, holm, name_test, number_test, score_change

TRIES = 400


def most(rate: float) -> float:
    """How many of the tries may be called changed where a test keeps its rate: three deviations above it."""
    return TRIES * rate + 3 * (TRIES * rate * (1 - rate)) ** 0.5


def test_without_a_shift_each_test_keeps_its_rate_of_false_alarms_and_so_do_all_together():
    random = np.random.default_rng(0)
    alarms, together = np.zeros(3), 0
    for number in range(TRIES):
        vectors = random.normal(size=(90, 6))
        numbers = random.beta(5, 1, size=90)
        names = random.choice(["a", "b", "c", "d"], p=[0.6, 0.25, 0.13, 0.02], size=90).tolist()
        found = [
            classifier_test(vectors[:50], vectors[50:], seed=number),
            number_test(numbers[:50], numbers[50:]),
            name_test(names[:50], names[50:]),
        ]
        p_values = [test.p_value for test in found]
        alarms += np.array(p_values) < 0.05
        together += min(holm(p_values)) < 0.05
    assert (alarms <= most(0.05)).all() and together <= most(0.05)
    assert (alarms > 0).all()  # they are not deaf


def test_a_shift_is_seen_and_the_interval_holds_its_size():
    random = np.random.default_rng(1)
    old, new = random.normal(size=(300, 6)), random.normal(size=(300, 6)) + np.array([1.0, 0, 0, 0, 0, 0])
    vectors = classifier_test(old, new)
    best = stats.norm.cdf(0.5)  # what no classifier can beat: the means are one deviation apart
    assert vectors.p_value < 1e-6 and vectors.lower < best < vectors.upper + 0.03
    numbers = number_test(old[:, 0].tolist(), new[:, 0].tolist())
    assert numbers.p_value < 1e-6 and numbers.lower < 1.0 < numbers.upper
    expected = stats.ttest_ind(new[:, 0], old[:, 0], equal_var=False).confidence_interval()
    assert (numbers.lower, numbers.upper) == pytest.approx((expected.low, expected.high))
    names = name_test(["a"] * 60 + ["b"] * 40, ["a"] * 30 + ["b"] * 70)
    assert names.value == pytest.approx(0.3) and names.lower < 0.3 < names.upper
    assert names.p_value == pytest.approx(stats.chi2_contingency([[60, 40], [30, 70]], correction=False).pvalue)
    wider = number_test(old[:, 0].tolist(), (3 * old[:, 1]).tolist())
    assert wider.p_value < 1e-6 and abs(wider.value) < 0.5


def test_rare_names_are_counted_together_and_one_name_says_nothing():
    one = name_test(["a"] * 40 + list("bcdefg"), ["a"] * 40 + list("hijklm"))
    assert one.value == pytest.approx(0.0, abs=1e-12) and one.p_value == pytest.approx(1.0)
    assert name_test(["a"] * 30, ["a"] * 30) is None


def test_the_change_of_a_score_covers_the_truth():
    """F1 of hits among 10 entities a row; the true scores are 0.9 and 0.7."""
    random, covered, alarms = np.random.default_rng(2), 0, 0
    for number in range(200):
        sides = [np.stack([random.binomial(10, share, 80), np.full(80, 10), np.full(80, 10)], 1).astype(float)
                 for share in (0.9, 0.7, 0.9)]  # fmt: skip
        found = score_change(f1_from_sums, sides[0], sides[1], seed=number)
        covered += found.lower <= -0.2 <= found.upper
        alarms += score_change(f1_from_sums, sides[0], sides[2], seed=number).p_value < 0.05
    assert 180 <= covered <= 198 and alarms <= 20


def test_holm_is_that_of_statsmodels_examples():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0]) and holm([]) == []


def test_too_few_rows_are_refused():
    few, enough = np.zeros((19, 2)), np.zeros((30, 2))
    calls = (
        lambda: classifier_test(few, enough),
        lambda: number_test([0.1] * 30, [0.1] * 19),
        lambda: name_test(["a"] * 19, ["a"] * 30),
        lambda: score_change(f1_from_sums, few, enough),
    )
    for call in calls:
        with pytest.raises(DataError, match="fewer than 20 on a side"):
            call()
    with pytest.raises(DataError, match="finite numbers"):
        classifier_test(np.full((30, 2), np.nan), enough)
