"""Is calibration measured as by hand, is a known temperature found, do conformal sets cover what they promise?"""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax
from sklearn.metrics import brier_score_loss, log_loss

from reasoner.errors import ConfigError, DataError, LabelError
from reasoner.metrics import (
    brier_score,
    calibration_error,
    conformal_sets,
    conformal_threshold,
    fit_temperature,
    risk_coverage,
)


def draw_labels(source: np.random.Generator, probabilities: np.ndarray) -> np.ndarray:
    """A label for each row, by its probabilities: these are then calibrated by construction."""
    return (source.random((len(probabilities), 1)) > probabilities.cumsum(axis=1)[:, :-1]).sum(axis=1)


def simulate(seed: int, rows: int = 5000, labels: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax is the true chance of each label, and labels drawn by it."""
    source = np.random.default_rng(seed)
    logits = source.normal(scale=2, size=(rows, labels))
    return logits, draw_labels(source, softmax(logits, axis=1))


# --- calibration error ----------------------------------------------------------------------------------------------


def test_calibration_error_by_hand():
    confidences = [0.95, 0.85, 0.9, 0.55, 0.6, 0.3]
    right = [True, True, False, True, False, False]
    found = calibration_error(confidences, right, bins=5)
    # Up to 0.4: one row, gap 0.3. Up to 0.6: two rows (0.6 is the edge and inside), gap 0.575 - 0.5. Up to 1: three
    # rows, confidence 0.9, accuracy 2/3.
    assert [row["count"] for row in found["bins"]] == [1, 2, 3]
    assert [row["upper"] for row in found["bins"]] == pytest.approx([0.4, 0.6, 1.0])
    assert [row["lower"] for row in found["bins"]] == pytest.approx([0.2, 0.4, 0.8])
    assert [row["confidence"] for row in found["bins"]] == pytest.approx([0.3, 0.575, 0.9])
    assert [row["accuracy"] for row in found["bins"]] == pytest.approx([0, 1 / 2, 2 / 3])
    assert found["ece"] == pytest.approx((0.3 + 2 * 0.075 + 3 * (0.9 - 2 / 3)) / 6)
    assert found["mce"] == pytest.approx(0.3)


def test_bins_of_equal_mass_by_hand():
    confidences, right = [0.9, 0.5, 0.8, 0.7, 0.6, 0.99], [1, 1, 0, 1, 0, 1]
    found = calibration_error(confidences, right, bins=3, equal_mass=True)
    assert [row["count"] for row in found["bins"]] == [2, 2, 2]
    assert [row["upper"] for row in found["bins"]] == [0.6, 0.8, 0.99]
    assert found["ece"] == pytest.approx((0.05 + 0.25 + 0.055) / 3)


@pytest.mark.parametrize("equal_mass", [False, True])
def test_calibrated_confidences_have_nearly_no_error_and_proud_ones_have_it(equal_mass):
    logits, labels = simulate(0, rows=20_000)
    for sharpness, low, high in ((1, 0, 0.015), (3, 0.1, 0.3)):
        table = softmax(sharpness * logits, axis=1)
        right = table.argmax(axis=1) == labels
        assert low <= calibration_error(table.max(axis=1), right, equal_mass=equal_mass)["ece"] <= high


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.0]) | st.floats(0, 1), st.booleans()), min_size=1),
    st.integers(1, 20),
    st.booleans(),
)
def test_every_row_is_in_one_bin_and_their_order_is_no_matter(rows, bins, equal_mass):
    confidences, right = [c for c, _ in rows], [hit for _, hit in rows]
    found = calibration_error(confidences, right, bins=bins, equal_mass=equal_mass)
    assert sum(row["count"] for row in found["bins"]) == len(rows)
    assert len(found["bins"]) <= bins
    assert 0 <= found["ece"] <= found["mce"] + 1e-12 <= 1 + 1e-9
    for row in found["bins"]:
        assert row["lower"] - 1e-12 <= row["confidence"] <= row["upper"] + 1e-12
    again = calibration_error(confidences[::-1], right[::-1], bins=bins, equal_mass=equal_mass)
    assert again["ece"] == pytest.approx(found["ece"])


# --- temperature ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.25, 0.7, 1.0, 2.5, 8.0])
def test_a_known_temperature_is_found_again(temperature):
    logits, labels = simulate(1, rows=20_000)
    assert fit_temperature(temperature * logits, labels) == pytest.approx(temperature, rel=0.05)


def test_no_temperature_beside_it_is_likelier():
    logits, labels = simulate(2, rows=300)
    logits *= 3
    best = fit_temperature(logits, labels)

    def loss(temperature: float) -> float:
        return log_loss(labels, softmax(logits / temperature, axis=1))

    assert all(loss(best) < loss(best * factor) for factor in (0.3, 0.9, 0.99, 1.01, 1.1, 3))


def test_temperature_lowers_the_calibration_error_and_changes_no_prediction():
    logits, labels = simulate(3)
    logits = (4 * logits).astype(np.float32)
    temperature = fit_temperature(logits[:2500], labels[:2500])
    before, after = softmax(logits[2500:], axis=1), softmax(logits[2500:] / temperature, axis=1)
    right = before.argmax(axis=1) == labels[2500:]
    assert (before.argmax(axis=1) == after.argmax(axis=1)).all()
    assert calibration_error(after.max(axis=1), right)["ece"] < calibration_error(before.max(axis=1), right)["ece"] / 5


@settings(max_examples=80)
@given(
    arrays(np.float64, (6, 3), elements=st.floats(-50, 50, width=32)),
    st.lists(st.integers(0, 2), min_size=6, max_size=6),
)
def test_a_temperature_is_positive_whatever_the_logits(logits, labels):
    temperature = fit_temperature(logits, labels)
    assert 0.0099 <= temperature <= 100.01
    assert ((logits / temperature).argmax(axis=1) == logits.argmax(axis=1)).all()


def test_where_every_row_is_right_nothing_is_changed():
    assert fit_temperature([[2.0, 1.0], [-1.0, 3.0]], [0, 1]) == 1.0


def test_logits_that_say_the_opposite_are_flattened():
    logits, labels = simulate(4, rows=500)
    assert fit_temperature(-logits, labels) == pytest.approx(100, rel=0.01)


def test_ignored_rows_and_absent_labels_change_nothing():
    logits, labels = simulate(5, rows=400)
    expected = fit_temperature(logits, labels)
    with_ignored = fit_temperature(np.vstack([logits, 9 * logits]), [*labels, *[-100] * 400])
    with_absent = fit_temperature(np.column_stack([logits, np.full(400, -inf)]), labels)
    large = fit_temperature(logits + 1e4, labels)  # softmax does not change, and nothing overflows
    assert [with_ignored, with_absent, large] == pytest.approx([expected] * 3, rel=1e-4)


# --- Brier score ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [2, 5])
def test_the_brier_score_equals_scikit_learns(labels):
    logits, gold = simulate(6, rows=200, labels=labels)
    table = softmax(logits, axis=1)
    expected = brier_score_loss(gold, table, labels=range(labels), scale_by_half=True)
    assert brier_score(table, gold) == pytest.approx(expected)
    if labels == 2:
        assert brier_score(table, gold) == pytest.approx(np.mean((table[:, 1] - gold) ** 2))


def test_the_brier_score_is_between_0_and_1():
    assert brier_score([[1, 0, 0], [0, 0, 1]], [0, 2]) == 0
    assert brier_score([[1, 0, 0], [0, 0, 1]], [1, 0]) == 1


# --- risk and coverage ----------------------------------------------------------------------------------------------


def test_risk_over_coverage_by_hand():
    found = risk_coverage([0.9, 0.6, 0.8, 0.6], [True, True, False, False])
    assert found["points"] == [
        {"threshold": 0.9, "coverage": 0.25, "risk": 0.0},
        {"threshold": 0.8, "coverage": 0.5, "risk": 0.5},
        {"threshold": 0.6, "coverage": 1.0, "risk": 0.5},
    ]
    # The two rows of 0.6 hold one wrong: in either order, as if half a wrong one each.
    assert found["area"] == pytest.approx((0 + 1 / 2 + 1.5 / 3 + 2 / 4) / 4)


def test_the_area_is_the_mean_over_all_orders_of_equal_rows():
    source = np.random.default_rng(0)
    confidence, right = source.choice([0.3, 0.6, 0.9], 30), source.random(30) < 0.6
    areas = []
    for _ in range(3000):
        order = np.lexsort([source.random(30), -confidence])
        areas.append((np.cumsum(~right[order]) / np.arange(1, 31)).mean())
    assert risk_coverage(confidence, right)["area"] == pytest.approx(np.mean(areas), abs=0.003)


def test_answering_less_is_safer_when_confidence_means_something():
    logits, labels = simulate(7)
    table = softmax(logits, axis=1)
    right = table.argmax(axis=1) == labels
    found = risk_coverage(table.max(axis=1), right)
    risks = {round(point["coverage"], 3): point["risk"] for point in found["points"]}
    assert risks[0.2] < risks[0.5] < risks[1.0] == pytest.approx(1 - right.mean())
    useless = risk_coverage(np.random.default_rng(0).random(len(right)), right)
    assert found["area"] < 0.6 * useless["area"]
    assert useless["area"] == pytest.approx(1 - right.mean(), abs=0.02)


# --- conformal sets -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sharpness", [1, 4], ids=["calibrated", "overconfident"])
def test_conformal_sets_cover_the_share_that_was_asked_for(sharpness):
    for split in range(10):
        logits, labels = simulate(100 + split, rows=10_000)
        table = softmax(sharpness * logits, axis=1)
        scores = 1 - table[np.arange(5000), labels[:5000]]
        sets = conformal_sets(table[5000:], conformal_threshold(scores, coverage=0.9))
        covered = np.mean([label in found for found, label in zip(sets, labels[5000:], strict=True)])
        assert 0.88 <= covered <= 0.92
        assert np.mean([len(found) for found in sets]) < 3.5  # and not by naming every label


def test_a_few_calibration_rows_are_enough_for_the_promise():
    # With 20 rows the 19th smallest covers 19/21 on average; the plain 90% quantile would cover 18/21, too little.
    source = np.random.default_rng(0)
    covered = [np.mean(source.random(50) <= conformal_threshold(source.random(20), coverage=0.9)) for _ in range(4000)]
    assert np.mean(covered) == pytest.approx(19 / 21, abs=0.004)


@pytest.mark.parametrize(
    ("rows", "coverage", "expected"),
    [(9, 0.9, 9), (8, 0.9, inf), (99, 0.9, 90), (100, 0.9, 91), (99, 0.07, 7), (10, 1e-12, 1), (1, 0.5, 1)],
)
def test_the_rank_of_the_threshold(rows, coverage, expected):
    assert conformal_threshold(np.arange(rows, 0, -1), coverage=coverage) == expected


def test_conformal_sets_by_hand():
    table = [[0.5, 0.2, 0.3], [0.1, 0.9, 0.0], [0.34, 0.33, 0.33]]
    assert conformal_sets(table, 0.7) == [[0, 2], [1], [0, 1, 2]]
    assert conformal_sets(table, 0.5) == [[0], [1], []]
    assert conformal_sets(table, inf) == [[0, 2, 1], [1, 0, 2], [0, 1, 2]]


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: calibration_error([0.5, 0.6], [True]), DataError, r"shape \(2,\), right has \(1,\)"),
        (lambda: calibration_error([1.7], [True]), DataError, "row 1: 1.7 is not in 0-1"),
        (lambda: calibration_error([np.nan], [True]), DataError, "row 1: nan is not in 0-1"),
        (lambda: calibration_error([0.5], [0.5]), DataError, "neither right nor wrong"),
        (lambda: calibration_error([], []), DataError, "at least one"),
        (lambda: calibration_error([0.5], [True], bins=0), ConfigError, "at least 1"),
        (lambda: fit_temperature([[1.0, 2.0]], [[0]]), DataError, r"Give \(rows, labels\)"),
        (lambda: fit_temperature([[1.0, 2.0]], [2]), LabelError, "row 1: 2 is no index"),
        (lambda: fit_temperature([[1.0, 2.0]], [0.5]), LabelError, "0.5 is no index"),
        (lambda: fit_temperature([[1.0, 2.0]], [-100]), DataError, "every label is -100"),
        (lambda: fit_temperature([[1.0, np.nan]], [0]), DataError, "NaN or inf"),
        (lambda: fit_temperature([[1.0, inf]], [0]), DataError, "NaN or inf"),
        (lambda: fit_temperature([[1.0, -inf]], [1]), LabelError, "right label is -inf"),
        (lambda: brier_score([[0.5, 0.6]], [0]), DataError, "row 1: .* does not add up to 1"),
        (lambda: brier_score([[1.0, 0.0]], [-100]), LabelError, "-100"),
        (lambda: brier_score([[np.nan, 1.0]], [0]), DataError, "add up"),
        (lambda: conformal_sets([0.5, 0.5], 0.5), DataError, "shape"),
        (lambda: conformal_sets([[2.0, -1.0]], 0.5), DataError, "add up"),
        (lambda: conformal_threshold([0.5], coverage=90), ConfigError, "between 0 and 1"),
        (lambda: conformal_threshold([], coverage=0.9), DataError, "at least one"),
        (lambda: conformal_threshold([np.nan], coverage=0.9), DataError, "none NaN"),
    ],
)
def test_what_cannot_be_computed_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
