"""How do counts of hits become precision, recall and F1?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable
from typing import TypedDict, TypeVar

Name = TypeVar("Name", bound=Hashable)


class Averages(TypedDict):
    """Precision, recall and F1 as fractions 0-1."""

    precision: float
    recall: float
    f1: float


class LabelScores(Averages):
    """One row of a table: the scores of a label, and how often it occurs in the gold data."""

    support: int


def scores_from_counts(hits: int, predicted: int, gold: int) -> LabelScores:
    """Return precision, recall and F1 from counts; what would be divided by zero is 0, as in scikit-learn and seqeval.

    Args:
        hits: how many of the predictions are right.
        predicted: how many predictions there are.
        gold: how many there should have been.
    """
    return {
        "precision": hits / predicted if predicted else 0.0,
        "recall": hits / gold if gold else 0.0,
        "f1": 2 * hits / (predicted + gold) if predicted + gold else 0.0,
        "support": gold,
    }


def scores_by_name(
    hits: Counter[Name], predicted: Counter[Name], gold: Counter[Name], names: Iterable[Name]
) -> dict[Name, LabelScores]:
    """Return a row for each name, in the order of `names`."""
    return {name: scores_from_counts(hits[name], predicted[name], gold[name]) for name in names}


def macro_average(rows: Collection[LabelScores]) -> Averages:
    """Return the plain mean over the rows; 0 when there is none."""
    return _mean((row, 1) for row in rows)


def weighted_average(rows: Collection[LabelScores]) -> Averages:
    """Return the mean over the rows, each weighted by its support; 0 when nothing is gold."""
    return _mean((row, row["support"]) for row in rows)


def _mean(weighted_rows: Iterable[tuple[LabelScores, int]]) -> Averages:
    pairs = list(weighted_rows)
    total = sum(weight for _, weight in pairs) or 1
    return {
        "precision": sum(row["precision"] * weight for row, weight in pairs) / total,
        "recall": sum(row["recall"] * weight for row, weight in pairs) / total,
        "f1": sum(row["f1"] * weight for row, weight in pairs) / total,
    }
