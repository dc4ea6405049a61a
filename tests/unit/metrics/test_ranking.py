"""Are filtered ranks those of a plain walk over all candidates, with ties in the middle and NaN at the end?"""

from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest

from reasoner.errors import DataError
from reasoner.metrics import filtered_rank, greater_is_better, ranking_scores


def by_walking(scores: list[float], gold: int, others: set[int]) -> float:
    """The mean of the first and the last place that the gold may take in an order of the candidates."""
    competing = [score for place, score in enumerate(scores) if place != gold and place not in others]
    ordered = sorted([*competing, scores[gold]], reverse=True)
    first = ordered.index(scores[gold]) + 1
    return first + (ordered.count(scores[gold]) - 1) / 2


def test_fifty_ranks_are_those_of_a_plain_walk():
    random, ranks, expected = Random(0), [], []
    for _ in range(50):
        scores = [random.randrange(8) / 8 for _ in range(30)]
        gold, *others = random.sample(range(30), random.randrange(1, 9))
        ranks.append(filtered_rank(np.array(scores, np.float32), gold, others))
        expected.append(by_walking(scores, gold, set(others)))
    assert ranks == expected and len(set(ranks)) > 10
    scores = ranking_scores(ranks)
    assert scores["mrr"] == pytest.approx(np.mean(1 / np.array(expected)))
    assert scores["hits_at_3"] == np.mean(np.array(expected) <= 3) and scores["mean_rank"] == np.mean(expected)


def test_a_model_that_scores_all_alike_gets_the_middle():
    assert filtered_rank([0.0] * 9, 0) == 5.0
    assert filtered_rank([0.0] * 9, 0, {1, 2}) == 4.0


@pytest.mark.parametrize(("scores", "rank"), [([math.nan, 1.0, 0.0], 3), ([1.0, math.nan, 0.0], 2)])
def test_what_is_no_number_loses(scores, rank):
    assert filtered_rank(scores, 0) == rank


def test_what_cannot_be_ranked_is_refused():
    with pytest.raises(DataError, match="there are 2 candidates"):
        filtered_rank([0.0, 1.0], 2)
    with pytest.raises(DataError, match="there are 2 candidates"):
        filtered_rank([0.0, 1.0], 0, {-1})
    for ranks in ([], [0.5], [math.nan]):
        with pytest.raises(DataError, match="from 1 up"):
            ranking_scores(ranks)


def test_every_score_has_its_direction():
    better = {name: greater_is_better(name) for name in ranking_scores([1.0])}
    assert better == {"mrr": True, "hits_at_1": True, "hits_at_3": True, "hits_at_10": True, "mean_rank": False}
