"""At which place does the right entity stand among all candidates, and how good are these places together?"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from reasoner.errors import DataError

HITS = (1, 3, 10)
"""The k of Hits@k."""


def filtered_rank(scores: ArrayLike, gold: int, others: Collection[int] = ()) -> float:
    """Return the place of the right candidate, 1 for the best, with other right ones left out.

    Filtered as in Bordes et al., 2013 (https://papers.nips.cc/paper/5071). Among candidates of equal score the place is
    the mean of those that they share: so a model that scores all alike gets the middle, not the first place (Sun et
    al., 2020, https://arxiv.org/abs/1911.03903). A score that is not a number loses against every other.

    Args:
        scores: (candidates,), greater is better.
        gold: the index of the right candidate.
        others: indexes of candidates that are right too and do not compete.

    Raises:
        DataError: if an index is none of a candidate.
    """
    values = np.asarray(scores)
    if not all(0 <= index < len(values) for index in (gold, *others)):
        raise DataError(f"gold or others is out of range: there are {len(values)} candidates, counted from 0.")
    competes = np.ones(len(values), bool)
    competes[[gold, *others]] = False
    rest = values[competes]
    equal = int((rest == values[gold]).sum())
    better = len(rest) - int((rest <= values[gold]).sum())
    return 1 + better + equal / 2


def ranking_scores(ranks: Sequence[float]) -> dict[str, Any]:
    """Return `mrr` (the mean of 1 / rank), `hits_at_1`, `hits_at_3`, `hits_at_10` and `mean_rank`.

    Hits@k is the share of ranks of at most k; a place shared across the border counts as its mean.

    Raises:
        DataError: if there are no ranks, or one is below 1.
    """
    if not ranks or not all(rank >= 1 for rank in ranks):
        raise DataError("ranks must be numbers from 1 up, and at least one of them.")
    hits = {f"hits_at_{k}": sum(rank <= k for rank in ranks) / len(ranks) for k in HITS}
    return {
        "mrr": math.fsum(1 / rank for rank in ranks) / len(ranks),
        **hits,
        "mean_rank": math.fsum(ranks) / len(ranks),
    }
