"""What did a model forget, and what did it learn for later, while it was taught batch after batch?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from reasoner.errors import DataError


class Transfer(NamedTuple):
    """Figures of a teaching in several batches. What is not known is None: of one batch nothing can be forgotten."""

    average: float
    """The mean of the last model's scores on all batches."""
    forgetting: float | None
    """How far the last model is below the best that any earlier one had on each batch but the last, on average."""
    backward: float | None
    """How far the last model is above what each batch but the last scored when it was taught, on average."""
    forward: float | None
    """How far each batch but the first was above an untrained model before it was taught, on average."""


def transfer_scores(
    matrix: Sequence[Sequence[float | None]],
    untrained: Sequence[float | None] = (),
    *,
    greater_is_better: bool = True,
) -> Transfer:
    """Return average, forgetting, and backward and forward transfer.

    Forgetting is that of Chaudhry et al. (2018, https://arxiv.org/abs/1801.10112, section 3.2, equations 3 and 4);
    the other three are those of Lopez-Paz and Ranzato (2017, https://arxiv.org/abs/1706.08840, equations 2 to 4).

    Args:
        matrix: line i, column j: the score on the test of batch j after batch i was taught; None: the model had no
            output for its labels yet. On and below the diagonal all must be known.
        untrained: the score on each batch of a model that was taught nothing; None: not known.
        greater_is_better: whether a greater score is a better one; else all differences are turned.

    Raises:
        DataError: if the matrix is not square, or lacks a score that must be known.
    """
    size = len(matrix)
    if not size or any(len(line) != size for line in matrix):
        raise DataError(f"matrix has {size} lines of {sorted({len(line) for line in matrix})} scores. Give a square.")
    sign = 1.0 if greater_is_better else -1.0
    known = [[_known(matrix, line, column) for column in range(line + 1)] for line in range(size)]
    last, earlier = known[-1], range(size - 1)
    best = [max(sign * score for line in matrix[:-1] if (score := line[column]) is not None) for column in earlier]
    gains = [
        sign * (score - first)
        for column in range(1, min(size, len(untrained)))
        if (score := matrix[column - 1][column]) is not None and (first := untrained[column]) is not None
    ]
    return Transfer(
        average=sum(last) / size,
        forgetting=_mean([best[column] - sign * last[column] for column in earlier]),
        backward=_mean([sign * (last[column] - known[column][column]) for column in earlier]),
        forward=_mean(gains),
    )


def _known(matrix: Sequence[Sequence[float | None]], line: int, column: int) -> float:
    score = matrix[line][column]
    if score is None:
        raise DataError(f"matrix, line {line + 1}: the score of batch {column + 1} is missing, which was taught then.")
    return score


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
