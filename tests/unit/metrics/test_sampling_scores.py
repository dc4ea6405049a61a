"""Are pass@k and maj@k what counting all draws gives?"""

from __future__ import annotations

from itertools import combinations
from math import comb, inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoner.errors import DataError
from reasoner.metrics import maj_at_k, majority, pass_at_k, sampling_scores


@st.composite
def samples(draw):
    answers = draw(st.lists(st.sampled_from([None, "a", "b", "c", "d"]), min_size=1, max_size=8))
    right = draw(st.sets(st.sampled_from("abcd")))
    return answers, [answer in right for answer in answers], draw(st.integers(1, len(answers)))


@given(samples())
def test_majority_is_what_all_draws_give(sample):
    answers, correct, k = sample
    right = {answer for answer, good in zip(answers, correct, strict=True) if good}
    won = tied = 0.0
    for drawn in combinations(answers, k):
        vote = majority(drawn)
        won += sum(answer in right for answer in vote.tied) / max(len(vote.tied), 1)
        tied += len(vote.tied) > 1
    score = maj_at_k(answers, correct, k)
    assert score.correct == pytest.approx(won / comb(len(answers), k))
    assert score.tied == pytest.approx(tied / comb(len(answers), k))


@given(samples())
def test_pass_is_what_all_draws_give(sample):
    _, correct, k = sample
    draws = list(combinations(correct, k))
    assert pass_at_k(len(correct), sum(correct), k) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_a_tie_is_said():
    assert majority(["b", "a", None, "a", "b"]) == ("b", 2, ("b", "a"))
    assert majority([None]) == (None, 0, ())


def test_costs():
    scores = sampling_scores(
        [[0, 0, 1], [0, 1, 2]], [[1, 1, 0], [0, 0, 0]], ks=(1, 3), costs=[[10, 20, 30], [20, 20, 20]]
    )
    assert scores["pass@1"] == pytest.approx(1 / 3) and scores["maj@3"] == scores["pass@3"] == 0.5
    assert scores["tied@3"] == 0.5 and scores["tied@1"] == 0
    assert scores["cost_per_correct/pass@1"] == pytest.approx(60) and scores["cost_per_correct/maj@3"] == 120
    assert sampling_scores([[None]], [[False]], costs=[[1]])["cost_per_correct/pass@1"] == inf


@pytest.mark.parametrize("call", [
    lambda: pass_at_k(3, 4, 1), lambda: pass_at_k(3, 1, 4), lambda: pass_at_k(3, 1, 0), lambda: majority([]),
    lambda: maj_at_k(["a", "a"], [True, False], 1), lambda: maj_at_k(["a"], [True, False], 1),
    lambda: sampling_scores([], []), lambda: sampling_scores([["a"]], [[True]], costs=[[1, 2]]),
])  # fmt: skip
def test_what_cannot_be_is_refused(call):
    with pytest.raises(DataError):
        call()
