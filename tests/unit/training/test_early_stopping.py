"""Is the best score known, in either direction, and does training stop exactly when it should?"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoner.training.early_stopping import EarlyStopping

NAN = float("nan")


def run(scores, **settings):
    """Return which scores were the best so far, and after how many evaluations it stopped."""
    stopping = EarlyStopping("score", **{"greater_is_better": True, "patience": 2, **settings})
    best = []
    for number, score in enumerate(scores, 1):
        best.append(stopping.update(score))
        if stopping.should_stop:
            return best, number
    return best, None


@pytest.mark.parametrize(
    ("scores", "best", "stopped"),
    [
        ([0.1, 0.2, 0.3, 0.4], [True] * 4, None),
        ([0.5, 0.4, 0.3, 0.9], [True, False, False], 3),
        ([0.5, 0.4, 0.6, 0.5, 0.5], [True, False, True, False, False], 5),
        ([0.5, 0.5, 0.5], [True, False, False], 3),  # equal is no better
        ([0.0, 0.0, 0.0], [True, False, False], 3),
        ([NAN, NAN, 0.5], [False, False], 2),
        ([NAN, 0.1, NAN, 0.2], [False, True, False, True], None),
        ([0.1, NAN, NAN], [True, False, False], 3),
        ([-0.3, -0.2, -0.25, -0.1], [True, True, False, True], None),
    ],
)
def test_greater_is_better(scores, best, stopped):
    assert run(scores) == (best, stopped)


@pytest.mark.parametrize(
    ("scores", "best", "stopped"),
    [
        ([3.0, 2.0, 1.0], [True] * 3, None),
        ([1.0, 2.0, 1.5], [True, False, False], 3),
        ([NAN, math.inf, 3.0, -math.inf], [False, True, True, True], None),
    ],
)
def test_lower_is_better(scores, best, stopped):
    assert run(scores, greater_is_better=False) == (best, stopped)


def test_without_patience_it_never_stops():
    assert run([0.5] * 100, patience=None) == ([True] + [False] * 99, None)


def test_a_step_within_min_delta_is_the_best_but_does_not_reset_the_patience():
    assert run([0.50, 0.505, 0.509], min_delta=0.01) == ([True, True, True], 3)


def test_small_steps_add_up():
    scores = [0.500, 0.506, 0.512, 0.518, 0.524]  # never more than 0.006 at once, more than 0.01 in two
    assert run(scores, min_delta=0.01) == ([True] * 5, None)
    assert run([-score for score in scores], min_delta=0.01, greater_is_better=False) == ([True] * 5, None)


def test_min_delta_must_be_beaten():
    assert run([0.5, 0.75, 0.75, 0.75], min_delta=0.25)[1] == 3


@given(st.lists(st.floats(allow_nan=True), min_size=1, max_size=30), st.booleans(), st.integers(1, 4))
def test_the_best_is_the_first_extreme(scores, greater, patience):
    stopping = EarlyStopping("score", greater, patience)
    last_best = None
    for index, score in enumerate(scores):
        if stopping.update(score):
            last_best = index
    real = [score for score in scores if not math.isnan(score)]
    if not real:
        assert stopping.best is None and last_best is None
        return
    extreme = max(real) if greater else min(real)
    assert stopping.best == extreme and last_best == scores.index(extreme)
    assert stopping.waited == len(scores) - 1 - last_best
    assert stopping.should_stop == (stopping.waited >= patience)
