"""Do intervals hold the true value as often as they say, and do tests of a difference agree with counts by hand?"""

from __future__ import annotations

import itertools
import time
from statistics import mean, median

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from reasoner.errors import ConfigError, DataError
from reasoner.metrics import (
    bootstrap_interval,
    changed_rows,
    mcnemar,
    mean_and_deviation,
    paired_bootstrap,
    share_interval,
)
from reasoner.metrics.counting import (
    accuracy_from_sums,
    f1_from_sums,
    label_counts,
    macro_f1_from_sums,
    mean_counts,
    mean_from_sums,
)


def random_entities(source: np.random.Generator, sentences: int) -> np.ndarray:
    """Hits, predicted and gold of sentences that are not equally hard: entities of one sentence fail together."""
    gold = source.poisson(1.5, sentences)
    hits = source.binomial(gold, source.beta(4, 1, sentences))
    return np.column_stack([hits, hits + source.poisson(0.25, sentences), gold]).astype(float)


TRUE_F1 = 2 * 1.5 * 0.8 / (1.5 * 0.8 + 0.25 + 1.5)  # of the expected hits, predicted and gold


def random_labels(source: np.random.Generator, rows: int) -> np.ndarray:
    gold = source.choice(3, rows, p=[0.6, 0.3, 0.1])
    predicted = np.where(source.random(rows) < 0.8, gold, source.choice(3, rows))
    return label_counts(gold.tolist(), predicted.tolist(), labels=[0, 1, 2])


def true_macro_f1() -> float:
    shares = np.array([0.6, 0.3, 0.1])
    hits, predicted = shares * (0.8 + 0.2 / 3), shares * 0.8 + 0.2 / 3
    return float(np.mean(2 * hits / (predicted + shares)))


# --- the interval ---------------------------------------------------------------------------------------------------


SIMULATIONS = {
    "entity F1": (random_entities, f1_from_sums, TRUE_F1),
    "macro F1": (random_labels, macro_f1_from_sums, true_macro_f1()),
    "accuracy": (lambda source, rows: mean_counts(source.random(rows) < 0.9), mean_from_sums, 0.9),
}


@pytest.mark.parametrize(
    ("name", "confidence", "low", "high"),
    [
        ("entity F1", 0.95, 0.93, 0.97),
        ("macro F1", 0.95, 0.93, 0.97),
        ("accuracy", 0.95, 0.93, 0.97),
        ("entity F1", 0.8, 0.77, 0.83),  # not of accuracy: of 100 rows it has too few values to stop at 80%
    ],
)
def test_intervals_cover_the_true_value(name, confidence, low, high):
    # A thousand draws: a perfect interval covers fewer than 93 or more than 97 of a hundred one time in four.
    draw, statistic, true = SIMULATIONS[name]
    source, draws = np.random.default_rng(0), 1000
    found = [
        bootstrap_interval(statistic, draw(source, 100), confidence=confidence, resamples=300, seed=seed)
        for seed in range(draws)
    ]
    assert low <= sum(interval.lower <= true <= interval.upper for interval in found) / draws <= high


@pytest.mark.parametrize(
    "rows",
    [
        random_entities(np.random.default_rng(0), 40),
        random_entities(np.random.default_rng(1), 40),
        np.array([[0.0, 1, 1]] * 5 + [[1.0, 1.3, 1]] * 40 + [[1.0, 1, 7.7]] * 3),  # skewed, and few distinct rows
    ],
)
def test_the_interval_equals_scipys(rows):
    reference = stats.bootstrap(
        tuple(rows.T),
        lambda hits, predicted, gold, axis: 2 * hits.sum(axis) / (predicted.sum(axis) + gold.sum(axis)),
        paired=True,
        vectorized=True,
        n_resamples=20_000,
        method="BCa",
        rng=np.random.default_rng(0),
    ).confidence_interval
    ours = bootstrap_interval(f1_from_sums, rows, resamples=20_000)
    assert ours.value == pytest.approx(float(f1_from_sums(rows.sum(0))))
    assert (ours.lower, ours.upper) == pytest.approx((reference.low, reference.high), abs=0.005)


def test_both_paths_give_one_interval():
    values = np.random.default_rng(0).exponential(size=60)
    sums = bootstrap_interval(mean_from_sums, mean_counts(values), resamples=20_000)
    rows = bootstrap_interval(mean, values.tolist(), on="rows", resamples=2000)
    assert sums.value == pytest.approx(rows.value)
    assert (sums.lower, sums.upper) == pytest.approx((rows.lower, rows.upper), abs=0.03)


def test_a_statistic_of_rows_may_be_anything():
    found = bootstrap_interval(median, list(range(101)), on="rows", resamples=300)
    assert found.value == 50
    assert 30 < found.lower < 50 < found.upper < 70


def test_more_confidence_gives_a_wider_interval_and_more_rows_a_narrower_one():
    def width(rows: int, confidence: float) -> float:
        interval = bootstrap_interval(
            f1_from_sums, random_entities(np.random.default_rng(1), rows), confidence=confidence
        )
        return interval.upper - interval.lower

    assert width(200, 0.8) < width(200, 0.95) < width(200, 0.99)
    assert width(3200, 0.95) == pytest.approx(width(200, 0.95) / 4, rel=0.25)


def test_the_seed_alone_makes_the_difference():
    rows = random_entities(np.random.default_rng(1), 100)
    assert bootstrap_interval(f1_from_sums, rows) == bootstrap_interval(f1_from_sums, rows)
    assert bootstrap_interval(f1_from_sums, rows) != bootstrap_interval(f1_from_sums, rows, seed=1)
    assert bootstrap_interval(f1_from_sums, rows) == bootstrap_interval(f1_from_sums, rows[::-1])  # whatever the order


def test_drawing_in_parts_changes_nothing(monkeypatch):
    rows = random_entities(np.random.default_rng(1), 100)
    whole = bootstrap_interval(f1_from_sums, rows)
    monkeypatch.setattr("reasoner.metrics.intervals._DRAWN_AT_ONCE", 1000)
    assert bootstrap_interval(f1_from_sums, rows) == whole


def test_where_all_rows_are_right_the_interval_has_no_width():
    found = bootstrap_interval(mean_from_sums, mean_counts([1, 1, 1]))
    assert found == (1.0, 1.0, 1.0, 0.95)


@pytest.mark.parametrize("confidence", [0.95, 0.9999, 1 - 1e-11])
def test_one_outlier_does_not_turn_the_interval_round(confidence):
    found = bootstrap_interval(mean_from_sums, mean_counts([0] * 30 + [1000]), confidence=confidence)
    assert 0 <= found.lower <= found.value <= found.upper <= 1000


def test_a_thousand_resamples_are_quick():
    source = np.random.default_rng(0)
    started = time.perf_counter()
    bootstrap_interval(f1_from_sums, random_entities(source, 1300))
    bootstrap_interval(mean_from_sums, mean_counts(source.random(1300)))  # no two rows alike
    assert time.perf_counter() - started < 2


# --- one run against another ----------------------------------------------------------------------------------------


def exact_p_value(before: list[float], after: list[float]) -> float:
    """Over all resamples, each as likely: how often a centred difference is as large as the observed one."""
    gains = [b - a for a, b in zip(before, after, strict=True)]
    observed = mean(gains)
    resamples = list(itertools.product(gains, repeat=len(gains)))
    return sum(abs(mean(draw) - observed) >= abs(observed) - 1e-9 for draw in resamples) / len(resamples)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([0, 0, 1, 0, 1], [1, 1, 1, 0, 0]),
        ([0, 0, 0, 0, 1], [1, 0, 1, 1, 1]),
        ([0.2, 0.5, 0.1, 1], [0.4, 0.9, 0.1, 0.7]),
    ],
)
def test_the_p_value_is_that_of_all_resamples(before, after):
    found = paired_bootstrap(mean_from_sums, mean_counts(before), mean_counts(after), resamples=40_000)
    assert found.p_value == pytest.approx(exact_p_value(before, after), abs=0.01)
    assert found.difference == pytest.approx(mean(after) - mean(before))


def test_the_p_value_agrees_with_mcnemar_on_many_rows():
    source = np.random.default_rng(5)
    before = source.random(2000) < 0.8
    after = np.where(source.random(2000) < 0.1, source.random(2000) < 0.87, before)
    found = paired_bootstrap(mean_from_sums, mean_counts(before), mean_counts(after), resamples=5000)
    assert found.p_value == pytest.approx(mcnemar(before, after).p_value, abs=0.02)
    assert 0.01 < found.p_value < 0.9  # so that the line above can fail


@pytest.mark.parametrize("statistic", [f1_from_sums, macro_f1_from_sums])
def test_under_no_difference_five_of_a_hundred_are_significant(statistic):
    draw = random_entities if statistic is f1_from_sums else random_labels
    source, runs = np.random.default_rng(0), 300
    p_values = [
        paired_bootstrap(statistic, draw(source, 150), draw(source, 150), resamples=200, seed=seed).p_value
        for seed in range(runs)
    ]
    assert 0.02 <= np.mean(np.array(p_values) <= 0.05) <= 0.08
    assert 0.4 <= np.mean(np.array(p_values) <= 0.5) <= 0.6


def test_a_true_difference_is_found_and_has_its_sign():
    source = np.random.default_rng(2)
    worse = random_labels(source, 500)
    better = worse.copy()
    better[:60] = label_counts([0] * 60, [0] * 60, labels=[0, 1, 2])
    up = paired_bootstrap(accuracy_from_sums, worse, better)
    down = paired_bootstrap(accuracy_from_sums, better, worse)
    assert up.difference == -down.difference > 0
    assert up.lower > 0 > down.upper
    assert up.p_value == pytest.approx(down.p_value, abs=0.01)
    assert max(up.p_value, down.p_value) < 0.05


def test_the_interval_of_a_difference_equals_scipys():
    source = np.random.default_rng(3)
    before, after = random_entities(source, 60), random_entities(source, 60)

    def difference(*columns: np.ndarray, axis: int) -> np.ndarray:
        hits, predicted, gold, hits_after, predicted_after, gold_after = (column.sum(axis) for column in columns)
        return 2 * hits_after / (predicted_after + gold_after) - 2 * hits / (predicted + gold)

    reference = stats.bootstrap(
        (*before.T, *after.T), difference, paired=True, vectorized=True, n_resamples=20_000, method="BCa",
        rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    ours = paired_bootstrap(f1_from_sums, before, after, resamples=20_000)
    assert (ours.lower, ours.upper) == pytest.approx((reference.low, reference.high), abs=0.005)


def test_equal_runs_do_not_differ():
    rows = random_entities(np.random.default_rng(2), 300)
    assert paired_bootstrap(f1_from_sums, rows, rows) == (0.0, 0.0, 0.0, 0.95, 1.0)


def test_pairing_takes_out_what_is_hard_for_both():
    source = np.random.default_rng(2)
    hardness = source.random(300)
    before, after = mean_counts(hardness), mean_counts(hardness + source.normal(0.01, 0.01, 300))
    paired = paired_bootstrap(mean_from_sums, before, after)
    shuffled = paired_bootstrap(mean_from_sums, before, source.permutation(after))
    assert paired.p_value < 0.01 < 0.2 < shuffled.p_value
    assert paired.upper - paired.lower < (shuffled.upper - shuffled.lower) / 5


def test_both_paths_give_one_comparison():
    source = np.random.default_rng(4)
    before, after = source.random(50), source.random(50) + 0.05
    sums = paired_bootstrap(mean_from_sums, mean_counts(before), mean_counts(after), resamples=5000)
    rows = paired_bootstrap(mean, before.tolist(), after.tolist(), on="rows", resamples=2000)
    assert sums == pytest.approx(rows, abs=0.03)
    assert sums.difference == pytest.approx(rows.difference)


@pytest.mark.parametrize(("fixed", "broken"), [(0, 0), (1, 0), (5, 5), (10, 3), (3, 10), (60, 40), (0, 12)])
def test_mcnemar_equals_the_binomial_test(fixed, broken):
    before = [False] * fixed + [True] * broken + [True] * 30 + [False] * 7
    after = [True] * fixed + [False] * broken + [True] * 30 + [False] * 7
    found = mcnemar(before, after)
    assert found.statistic == min(fixed, broken)
    expected = stats.binomtest(fixed, fixed + broken).pvalue if fixed + broken else 1.0
    assert found.p_value == pytest.approx(expected)


def test_mcnemar_by_hand():
    # 5 rows fixed and 1 broken: 6 throws with at most one head, (1 + 6) / 64, to both sides.
    assert mcnemar([0, 0, 0, 0, 0, 1, 1], [1, 1, 1, 1, 1, 0, 1]).p_value == pytest.approx(14 / 64)


def test_changed_rows():
    assert changed_rows([True, False, True, False], [True, True, False, False]) == ([1], [2])


@settings(max_examples=50)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_fixed_less_broken_is_the_difference(pairs):
    before, after = [a for a, _ in pairs], [b for _, b in pairs]
    fixed, broken = changed_rows(before, after)
    assert len(fixed) - len(broken) == sum(after) - sum(before)
    assert all(after[row] and not before[row] for row in fixed)
    assert all(before[row] and not after[row] for row in broken)
    assert mcnemar(before, after) == mcnemar(after, before)


def test_mean_and_deviation_over_seeds():
    values = [0.8, 0.82, 0.87]
    found = mean_and_deviation(values)
    assert found.mean == pytest.approx(0.83)
    assert found.deviation == pytest.approx(0.0360555)  # sqrt((0.0009 + 0.0001 + 0.0016) / 2)
    reference = stats.t.interval(0.95, 2, loc=found.mean, scale=stats.sem(values))
    assert (found.lower, found.upper) == pytest.approx(reference)
    assert (found.upper - found.mean) / found.deviation == pytest.approx(2.48, abs=0.01)


# --- what is refused ------------------------------------------------------------------------------------------------

ROWS = mean_counts([0, 1, 1])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: bootstrap_interval(mean_from_sums, ROWS[:1]), DataError, "at least 2 rows"),
        (lambda: bootstrap_interval(mean_from_sums, [[np.nan, 1], [1, 1]]), DataError, "finite counts"),
        (lambda: bootstrap_interval(mean_from_sums, [1, 0, 1]), DataError, r"shape is \(3,\)"),
        (lambda: bootstrap_interval(mean, [1], on="rows"), DataError, "needs at least 2"),
        (lambda: bootstrap_interval(mean, [1, 2], on="row"), ConfigError, "Did you mean 'rows'"),
        (lambda: bootstrap_interval(mean_from_sums, ROWS, confidence=95), ConfigError, "between 0 and 1"),
        (lambda: bootstrap_interval(mean_from_sums, ROWS, resamples=99), ConfigError, "at least 100"),
        (lambda: bootstrap_interval(np.mean, ROWS), ConfigError, "set on='rows'"),
        (lambda: bootstrap_interval(lambda s: np.log(s[:, 0] - 2), ROWS), DataError, "not a finite number on"),
        (lambda: paired_bootstrap(mean_from_sums, ROWS, ROWS[:2]), DataError, "first has 3 rows, second has 2"),
        (lambda: paired_bootstrap(mean_from_sums, ROWS, ROWS[:, :1]), DataError, "second has 1"),
        (lambda: mcnemar([True], [True, False]), DataError, "first_right has 1 rows"),
        (lambda: mcnemar([], []), DataError, "at least one"),
        (lambda: mcnemar([0.5, 1], [1, 1]), DataError, "row 1: 0.5 is neither right nor wrong"),
        (lambda: changed_rows([True, None], [True, True]), DataError, "one True or False a row"),
        (lambda: mean_and_deviation([0.5]), DataError, "at least 2"),
        (lambda: mean_and_deviation([0.5, np.inf]), DataError, "finite"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_cannot_be_computed_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


@given(st.integers(1, 300), st.data(), st.sampled_from([0.5, 0.9, 0.95]))
def test_the_interval_of_a_share_equals_scipys(rows, data, confidence):
    hits = data.draw(st.integers(0, rows))
    expected = stats.binomtest(hits, rows).proportion_ci(confidence, method="wilson")
    found = share_interval(hits, rows, confidence=confidence)
    assert (found.lower, found.upper) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert found.value == hits / rows


@pytest.mark.parametrize(("hits", "rows"), [(0, 0), (3, 2), (-1, 4)])
def test_what_is_no_share_has_no_interval(hits, rows):
    with pytest.raises(DataError, match="is no share"):
        share_interval(hits, rows)
