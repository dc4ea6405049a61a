"""Are forgetting and transfer those of the papers, on a matrix that was worked out by hand?"""

from __future__ import annotations

import pytest

from reasoner.errors import DataError
from reasoner.metrics.transfer import transfer_scores

MATRIX = [
    [0.9, 0.3, 0.2],
    [0.5, 0.8, 0.4],
    [0.6, 0.7, 0.9],
]


def test_by_hand():
    found = transfer_scores(MATRIX, [0.1, 0.2, 0.1])
    assert found.average == pytest.approx((0.6 + 0.7 + 0.9) / 3)
    assert found.forgetting == pytest.approx(((0.9 - 0.6) + (0.8 - 0.7)) / 2)
    assert found.backward == pytest.approx(((0.6 - 0.9) + (0.7 - 0.8)) / 2)
    assert found.forward == pytest.approx(((0.3 - 0.2) + (0.4 - 0.1)) / 2)


def test_the_best_score_may_be_an_earlier_or_a_later_one_than_that_of_its_own_batch():
    matrix = [[0.5, 0.9, 0.0], [0.8, 0.7, 0.0], [0.6, 0.6, 0.9]]
    found = transfer_scores(matrix)
    assert found.forgetting == pytest.approx(((0.8 - 0.6) + (0.9 - 0.6)) / 2)
    assert found.backward == pytest.approx(((0.6 - 0.5) + (0.6 - 0.7)) / 2)


def test_where_less_is_better_all_turns():
    turned = transfer_scores(
        [[-score for score in line] for line in MATRIX], [-0.1, -0.2, -0.1], greater_is_better=False
    )
    plain = transfer_scores(MATRIX, [0.1, 0.2, 0.1])
    assert turned[1:] == pytest.approx(plain[1:]) and turned.average == pytest.approx(-plain.average)


def test_what_is_not_known_is_left_out():
    matrix = [[0.9, None, 0.2], [0.5, 0.8, None], [0.6, 0.7, 0.9]]
    assert transfer_scores(matrix, [None, None, None]).forward is None
    assert transfer_scores(matrix, [0.1, 0.2, 0.1]).forward is None
    alone = transfer_scores([[0.4]])
    assert alone == (0.4, None, None, None)


@pytest.mark.parametrize("matrix", [[], [[0.1, 0.2]], [[None]], [[0.1, None], [None, 0.2]]])
def test_a_matrix_that_is_none_is_refused(matrix):
    with pytest.raises(DataError, match="matrix"):
        transfer_scores(matrix)
