"""Which counts of each row, summed over rows, give a score?

A score such as F1 is a function of sums over rows. From an array of counts, one line a row, it is worked out for a
thousand resamples of the rows at once: `bootstrap_interval(f1_from_sums, entity_counts(gold, predicted))`.
Each `..._counts` function returns such an array; each `..._from_sums` function takes sums of its lines,
`(..., counts)`, and returns scores, `(...)`. What would be divided by zero is 0, as in `counts.scores_from_counts`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reasoner.errors import ConfigError, DataError, LabelError, suggestion
from reasoner.metrics.answers import answer_exact_match, answer_f1
from reasoner.metrics.checks import check_same_length
from reasoner.metrics.chunking import Span

Floats: TypeAlias = NDArray[np.float64]


class RowCounts(NamedTuple):
    """A score as a function of sums over rows: `statistic(counts.sum(axis=0))` is the score of all rows."""

    statistic: Callable[[Floats], Floats]
    """One of the `..._from_sums` functions."""
    counts: Floats
    """What one of the `..._counts` functions returned, (rows, counts)."""


def combined(parts: Sequence[RowCounts], combine: Callable[[list[Floats]], Floats]) -> RowCounts:
    """Return a score that is made of several scores of the same rows, such as their mean or a difference.

    Args:
        parts: each has a line for each row.
        combine: takes the scores of the parts, in their order, each `(...)`.
    """
    ends = np.cumsum([part.counts.shape[1] for part in parts])[:-1]

    def statistic(sums: Floats) -> Floats:
        own = np.split(sums, ends, axis=-1)
        return combine([part.statistic(of_part) for part, of_part in zip(parts, own, strict=True)])

    return RowCounts(statistic, np.hstack([part.counts for part in parts]))


def as_right(values: ArrayLike, *, name: str) -> NDArray[np.bool_]:
    """Return whether each row is right, as booleans, shape `(rows,)`.

    Raises:
        DataError: if there are no rows, or a value is not True, False, 0 or 1: a share such as 0.5 is not rounded.
    """
    given = np.asarray(values)
    if given.ndim != 1 or not given.size or given.dtype.kind not in "biuf":
        what = f"{name} is an array of {given.dtype}, shape {given.shape}"
        raise DataError(f"{what}. Give one True or False a row, at least one.")
    wrong = np.flatnonzero(~np.isin(given, (0, 1)))
    if wrong.size:
        raise DataError(
            f"{name}, row {wrong[0] + 1}: {given[wrong[0]]} is neither right nor wrong. Give True or False."
        )
    return given.astype(bool)


# --- entities and sets of labels ------------------------------------------------------------------------------------


def entity_counts(gold: Sequence[Collection[Span]], predicted: Sequence[Collection[Span]]) -> Floats:
    """Return hits, predicted and gold entities of each sentence, shape `(sentences, 3)`, for `f1_from_sums`.

    The sums give the scores of `span_scores`.

    Raises:
        DataError: if the numbers of sentences differ, or there are none.
    """
    check_same_length(gold, predicted, unit="sentences")
    return set_counts([{Span(*s) for s in found} for found in gold], [{Span(*s) for s in found} for found in predicted])


def set_counts(gold: Sequence[Collection[Hashable]], predicted: Sequence[Collection[Hashable]]) -> Floats:
    """Return hits, predicted and gold items of each row, shape `(rows, 3)`, for `f1_from_sums`.

    Raises:
        DataError: if the lengths differ or are 0, or a string stands where a set is expected.
    """
    check_same_length(gold, predicted, unit="sets")
    for side, rows in (("gold", gold), ("predicted", predicted)):
        for number, found in enumerate(rows, start=1):
            if isinstance(found, str):
                raise DataError(f"row {number}: {side} is {found!r}. Give a set, such as {{{found!r}}}.")
    pairs = [(set(found), set(guessed)) for found, guessed in zip(gold, predicted, strict=True)]
    return np.array([(len(found & guessed), len(guessed), len(found)) for found, guessed in pairs], dtype=np.float64)


def precision_from_sums(sums: Floats) -> Floats:
    """Return the share of predicted that is right, from hits, predicted and gold."""
    return _ratio(sums[..., 0], sums[..., 1])


def recall_from_sums(sums: Floats) -> Floats:
    """Return the share of gold that was found, from hits, predicted and gold."""
    return _ratio(sums[..., 0], sums[..., 2])


def f1_from_sums(sums: Floats) -> Floats:
    """Return F1 over all types or labels (micro), from hits, predicted and gold."""
    return _ratio(2 * sums[..., 0], sums[..., 1] + sums[..., 2])


# --- one label a row ------------------------------------------------------------------------------------------------


def label_counts(
    gold: Sequence[Hashable], predicted: Sequence[Hashable], *, labels: Sequence[Hashable] | None = None
) -> Floats:
    """Return the row's place in hits, predicted and gold by label, shape `(rows, 3 * labels)`.

    Of the confusion matrix the scores below need its diagonal and its margins alone, so that is what is kept.

    Raises:
        DataError: if the lengths differ or are 0.
        LabelError: if a label is not in `labels`.
        ConfigError: if `labels` holds a label twice.
    """
    check_same_length(gold, predicted, unit="labels")
    known = list(dict.fromkeys([*gold, *predicted])) if labels is None else list(labels)
    index = {label: number for number, label in enumerate(known)}
    if len(index) < len(known):
        raise ConfigError(f"labels must hold each label once; it is {known}.")
    unknown = next((label for label in (*gold, *predicted) if label not in index), None)
    if unknown is not None:
        raise LabelError(f"the label {unknown!r} is not in labels. {suggestion(unknown, known)}")
    gold_ids, predicted_ids = np.array([index[x] for x in gold]), np.array([index[x] for x in predicted])
    counts = np.zeros((len(gold_ids), 3, len(known)))  # (rows, hits | predicted | gold, labels)
    rows = np.arange(len(gold_ids))
    counts[rows, 0, gold_ids] = gold_ids == predicted_ids
    counts[rows, 1, predicted_ids] = 1
    counts[rows, 2, gold_ids] = 1
    return counts.reshape(len(gold_ids), -1)


def accuracy_from_sums(sums: Floats) -> Floats:
    """Return the share of rows whose label is right, from `label_counts`."""
    hits, _, gold = _by_label(sums)
    return _ratio(hits.sum(-1), gold.sum(-1))


def macro_f1_from_sums(sums: Floats) -> Floats:
    """Return the mean F1 of the labels that are gold or predicted, from `label_counts`."""
    hits, predicted, gold = _by_label(sums)
    return _ratio(_ratio(2 * hits, predicted + gold).sum(-1), (predicted + gold > 0).sum(-1))


def weighted_f1_from_sums(sums: Floats) -> Floats:
    """Return the mean F1 of the labels, weighted by how often each is gold, from `label_counts`."""
    hits, predicted, gold = _by_label(sums)
    return _ratio((_ratio(2 * hits, predicted + gold) * gold).sum(-1), gold.sum(-1))


def matthews_from_sums(sums: Floats) -> Floats:
    """Return Matthews' correlation for any number of labels (Gorodkin, 2004), from `label_counts`."""
    hits, predicted, gold = _by_label(sums)
    rows = gold.sum(-1)
    predicted_spread = rows**2 - (predicted**2).sum(-1)
    gold_spread = rows**2 - (gold**2).sum(-1)
    return _ratio(hits.sum(-1) * rows - (predicted * gold).sum(-1), np.sqrt(predicted_spread * gold_spread))


# --- means, answers, numbers ----------------------------------------------------------------------------------------


def mean_counts(values: ArrayLike) -> Floats:
    """Return each row's value and a 1, shape `(rows, 2)`, for `mean_from_sums`, which is any mean, accuracy too.

    Raises:
        DataError: if there are no rows or a value is not finite.
    """
    given = _finite(values, "values")
    return np.column_stack([given, np.ones_like(given)])


def mean_from_sums(sums: Floats) -> Floats:
    """Return the mean, from `mean_counts`."""
    return _ratio(sums[..., 0], sums[..., 1])


def answer_counts(gold: Sequence[Sequence[str]], predicted: Sequence[str]) -> Floats:
    """Return exact match, F1 and a 1 for each question, shape `(questions, 3)`; gold and rules as in `answer_scores`.

    Raises:
        DataError: if the lengths differ or are 0.
    """
    check_same_length(gold, predicted, unit="questions")
    pairs = zip(predicted, gold, strict=True)
    return np.array([(answer_exact_match(text, answers), answer_f1(text, answers), 1.0) for text, answers in pairs])


def exact_match_from_sums(sums: Floats) -> Floats:
    """Return the share of questions answered exactly, from `answer_counts`."""
    return _ratio(sums[..., 0], sums[..., 2])


def answer_f1_from_sums(sums: Floats) -> Floats:
    """Return the mean F1 over the questions, from `answer_counts`."""
    return _ratio(sums[..., 1], sums[..., 2])


def pearson_counts(gold: ArrayLike, predicted: ArrayLike) -> Floats:
    """Return the moments of each pair of numbers, shape `(rows, 6)`, for `pearson_from_sums`.

    Both sides are brought to mean 0 and deviation 1 first: it changes no correlation, and squares of large numbers
    would lose the digits that matter.

    Raises:
        DataError: if the lengths differ or are 0, or a number is not finite.
    """
    x, y = _finite(gold, "gold"), _finite(predicted, "predicted")
    check_same_length(x.tolist(), y.tolist(), unit="numbers")
    x, y = _ratio(x - x.mean(), x.std()), _ratio(y - y.mean(), y.std())
    return np.column_stack([x, y, x * x, y * y, x * y, np.ones_like(x)])


def pearson_from_sums(sums: Floats) -> Floats:
    """Return Pearson's correlation, 0 with a constant, from `pearson_counts`."""
    x, y, xx, yy, xy, rows = np.moveaxis(sums, -1, 0)
    x_spread, y_spread = rows * xx - x * x, rows * yy - y * y
    constant = np.minimum(x_spread, y_spread) <= 1e-9 * rows * np.maximum(xx, yy)  # rounding leaves a little
    return np.where(constant, 0.0, _ratio(rows * xy - x * y, np.sqrt(np.abs(x_spread * y_spread))))


def _by_label(sums: Floats) -> tuple[Floats, Floats, Floats]:
    hits, predicted, gold = np.split(sums, 3, axis=-1)
    return hits, predicted, gold


def _ratio(numerator: Any, denominator: Any) -> Floats:
    numerator, denominator = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    result: Floats = np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator != 0)
    return result


def _finite(values: ArrayLike, name: str) -> Floats:
    given = np.asarray(values, np.float64)
    if given.ndim != 1 or not given.size or not np.isfinite(given).all():
        raise DataError(f"{name} must be one finite number a row, at least one; its shape is {given.shape}.")
    return given
