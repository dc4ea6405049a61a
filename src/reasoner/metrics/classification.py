"""How good are predicted labels, sets of labels and numbers?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from math import isfinite, sqrt
from typing import Any, TypedDict

from reasoner.errors import ConfigError, DataError, Problem, raise_if_any, suggestion
from reasoner.metrics.checks import check_same_length
from reasoner.metrics.counts import (
    LabelScores,
    macro_average,
    scores_by_name,
    scores_from_counts,
    weighted_average,
)


class ClassificationScores(TypedDict):
    """Scores of one label a row."""

    accuracy: float
    macro_f1: float
    """The plain mean of the F1 of the labels that are gold or predicted."""
    weighted_f1: float
    """The mean of the labels' F1, weighted by their support."""
    matthews: float
    """Matthews' correlation, -1 to 1; 0 when gold or predicted has one label only."""
    by_label: dict[Any, LabelScores]


class MultilabelScores(TypedDict):
    """Scores of a set of labels a row."""

    micro_f1: float
    macro_f1: float
    """The plain mean of the F1 of the labels that are gold or predicted."""
    weighted_f1: float
    """The mean of the labels' F1, weighted by their support."""
    accuracy: float
    """The share of rows whose whole set is right."""
    by_label: dict[Any, LabelScores]


class RegressionScores(TypedDict):
    """Scores of one number a row."""

    pearson: float
    spearman: float
    mse: float
    rmse: float
    mae: float


def classification_scores(
    gold: Sequence[Hashable], predicted: Sequence[Hashable], *, labels: Sequence[Hashable] | None = None
) -> ClassificationScores:
    """Score one label a row.

    A label of `labels` that occurs nowhere has a row of zeros in `by_label` and no part in the averages (as in
    scikit-learn when it is given no labels): perfect predictions score 1 on a split that lacks a label.

    Args:
        gold: one label a row, names or numbers.
        predicted: the same number of labels.
        labels: all labels, in the order of the table; None: those that occur, sorted.

    Raises:
        DataError: if the lengths differ or are 0.
        LabelError: if a label is not in `labels`.
        ConfigError: if `labels` is empty or holds a label twice.
    """
    check_same_length(gold, predicted, unit="labels")
    index = _index(_sorted({*gold, *predicted}) if labels is None else labels)
    _check_labels([(label,) for label in gold], [(label,) for label in predicted], index)
    hits = [label for label, guess in zip(gold, predicted, strict=True) if label == guess]
    table, occurring = _table(hits, predicted, gold, index)
    return {
        "accuracy": len(hits) / len(gold),
        "macro_f1": macro_average(occurring)["f1"],
        "weighted_f1": weighted_average(occurring)["f1"],
        "matthews": _matthews(gold, predicted, hits),
        "by_label": table,
    }


def multilabel_scores(
    gold: Sequence[Collection[Hashable]], predicted: Sequence[Collection[Hashable]], *, labels: Sequence[Hashable]
) -> MultilabelScores:
    """Score a set of labels a row.

    As in `classification_scores`, a label that occurs nowhere has no part in the averages. Where no label is gold and
    none is predicted, every F1 is 0 and the accuracy is 1.

    Args:
        gold: a set of labels a row, possibly empty.
        predicted: the same number of sets.
        labels: all labels, in the order of the table.

    Raises:
        DataError: if the lengths differ or are 0, or a string stands where a set is expected.
        LabelError: if a label is not in `labels`.
        ConfigError: if `labels` is empty or holds a label twice.
    """
    check_same_length(gold, predicted, unit="label sets")
    index = _index(labels)
    _check_labels(gold, predicted, index)
    pairs = [(set(found), set(guessed)) for found, guessed in zip(gold, predicted, strict=True)]
    hits = [label for found, guessed in pairs for label in found & guessed]
    all_predicted = [label for _, guessed in pairs for label in guessed]
    all_gold = [label for found, _ in pairs for label in found]
    table, occurring = _table(hits, all_predicted, all_gold, index)
    return {
        "micro_f1": scores_from_counts(len(hits), len(all_predicted), len(all_gold))["f1"],
        "macro_f1": macro_average(occurring)["f1"],
        "weighted_f1": weighted_average(occurring)["f1"],
        "accuracy": sum(found == guessed for found, guessed in pairs) / len(pairs),
        "by_label": table,
    }


def regression_scores(gold: Sequence[float], predicted: Sequence[float]) -> RegressionScores:
    """Score one number a row, with SciPy and scikit-learn.

    A correlation with a constant is undefined; it is 0 here, without a warning: a model that always predicts the
    same number says nothing about the order of the rows. It is 0 too where the numbers are too large or too close
    for SciPy to compute it.

    Args:
        gold: one number a row.
        predicted: the same number of numbers.

    Raises:
        DataError: if the lengths differ or are 0, or a number is not finite.
    """
    from scipy.stats import pearsonr, spearmanr
    from sklearn.metrics import mean_absolute_error, mean_squared_error

    check_same_length(gold, predicted, unit="numbers")
    raise_if_any(
        Problem(f"row {row}", f"the {side} number is {value!r}", "Only finite numbers can be scored.")
        for side, values in (("gold", gold), ("predicted", predicted))
        for row, value in enumerate(values, start=1)
        if not isfinite(value)
    )
    mse = float(mean_squared_error(gold, predicted))
    return {
        "pearson": _correlation(pearsonr, gold, predicted),
        "spearman": _correlation(spearmanr, gold, predicted),
        "mse": mse,
        "rmse": sqrt(mse),
        "mae": float(mean_absolute_error(gold, predicted)),
    }


def _correlation(function: Callable[..., Any], gold: Sequence[float], predicted: Sequence[float]) -> float:
    import warnings

    if len(set(gold)) == 1 or len(set(predicted)) == 1:
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SciPy warns of nearly constant numbers, NumPy of very large ones
        value = float(function(gold, predicted).statistic)
    return value if isfinite(value) else 0.0


def _matthews(gold: Sequence[Hashable], predicted: Sequence[Hashable], hits: Sequence[Hashable]) -> float:
    import numpy as np

    from reasoner.metrics.counting import matthews_from_sums

    labels = list({*gold, *predicted})
    counts = [Counter(each) for each in (hits, predicted, gold)]
    return float(matthews_from_sums(np.array([float(count[label]) for count in counts for label in labels])))


def _sorted(labels: Iterable[Hashable]) -> list[Hashable]:
    """Sort numbers by value, then names by alphabet."""

    def numbers_first(label: Any) -> tuple[bool, Any]:
        return isinstance(label, str), label

    return sorted(labels, key=numbers_first)


def _index(labels: Sequence[Hashable]) -> dict[Hashable, int]:
    if not len(labels) or len(set(labels)) < len(labels):
        raise ConfigError(f"labels must hold at least one label, and each once; it is {list(labels)}.")
    return {label: number for number, label in enumerate(labels)}


def _check_labels(
    gold: Sequence[Collection[Hashable]], predicted: Sequence[Collection[Hashable]], known: Collection[Hashable]
) -> None:
    problems = []
    for side, rows in (("gold", gold), ("predicted", predicted)):
        for row, found in enumerate(rows, start=1):
            if isinstance(found, str):
                raise DataError(f"row {row}: {side} is {found!r}. Give a set of labels, such as {{{found!r}}}.")
            unknown = [label for label in found if label not in known]
            problems += [
                Problem(f"row {row}", f"the {side} label {label!r} is not in labels", suggestion(label, known), True)
                for label in unknown
            ]
    raise_if_any(problems)


def _table(
    hits: Iterable[Hashable], predicted: Iterable[Hashable], gold: Iterable[Hashable], labels: Iterable[Hashable]
) -> tuple[dict[Hashable, LabelScores], list[LabelScores]]:
    """Return the rows by label, and the rows of the labels that are gold or predicted."""
    predicted_counts, gold_counts = Counter(predicted), Counter(gold)
    table = scores_by_name(Counter(hits), predicted_counts, gold_counts, labels)
    return table, [row for label, row in table.items() if predicted_counts[label] or gold_counts[label]]
