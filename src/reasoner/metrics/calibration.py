"""Do confidences mean what they say, and what should be left unanswered?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, exp, inf, log
from typing import Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reasoner.errors import ConfigError, DataError, LabelError
from reasoner.metrics.chunking import Span, spans
from reasoner.metrics.counting import Floats, as_right

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.01, 100.0
IGNORED = -100
_ROUNDING = 1e-3
"""How far half precision may take a probability from where it should be."""


class ReliabilityBin(TypedDict):
    """The rows whose confidence is above `lower` and up to `upper`."""

    lower: float
    upper: float
    count: int
    confidence: float
    """Their mean confidence."""
    accuracy: float
    """The share of them that is right."""


class CalibrationError(TypedDict):
    """How far confidence is from accuracy."""

    ece: float
    """The expected calibration error: the mean over the rows of their bin's gap."""
    mce: float
    """The maximum calibration error: the widest gap of a bin."""
    bins: list[ReliabilityBin]
    """The bins that hold a row, for a reliability plot."""


class RiskPoint(TypedDict):
    """What happens when only rows with at least this confidence are answered."""

    threshold: float
    coverage: float
    """The share of the rows that are answered."""
    risk: float
    """The share of the answered rows that are wrong."""


class RiskCoverage(TypedDict):
    """The curve of risk over coverage, and the area below it."""

    points: list[RiskPoint]
    area: float


def calibration_error(
    confidences: ArrayLike, right: ArrayLike, *, bins: int = 15, equal_mass: bool = False
) -> CalibrationError:
    """Return the expected and the maximum calibration error, and the bins they come from.

    Guo et al., 2017 (https://arxiv.org/abs/1706.04599), equations 3 and 5, with bins that hold their upper edge.

    Args:
        confidences: the probability of the predicted label, one a row.
        right: whether the prediction is right, one a row.
        bins: how many.
        equal_mass: False: bins of one width; True: bins of about as many rows (Nixon et al., 2019,
            https://arxiv.org/abs/1904.01685); rows of equal confidence are never parted, so there may be fewer bins.

    Raises:
        DataError: if the lengths differ or are 0, a confidence is not in 0-1, or `right` is not all True and False.
        ConfigError: if `bins` is below 1.
    """
    confidence, hit = _confidences_and_right(confidences, right)
    if bins < 1:
        raise ConfigError(f"bins is {bins}. Give at least 1.")
    if equal_mass:
        last_rows = np.ceil(np.arange(1, bins + 1) * len(confidence) / bins).astype(int) - 1
        edges = np.unique(np.sort(confidence)[np.maximum(last_rows, 0)])
    else:
        edges = np.arange(1, bins + 1) / bins
    bin_of_row = np.searchsorted(edges, confidence, side="left")
    rows: list[ReliabilityBin] = []
    for number in np.unique(bin_of_row):
        inside = bin_of_row == number
        rows.append(
            {
                "lower": float(edges[number - 1]) if number else 0.0,
                "upper": float(edges[number]),
                "count": int(inside.sum()),
                "confidence": float(confidence[inside].mean()),
                "accuracy": float(hit[inside].mean()),
            }
        )
    gaps = [abs(row["accuracy"] - row["confidence"]) for row in rows]
    ece = sum(gap * row["count"] for gap, row in zip(gaps, rows, strict=True)) / len(confidence)
    return {"ece": ece, "mce": max(gaps), "bins": rows}


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Return the temperature T for which softmax(logits / T) gives the labels the highest likelihood.

    Guo et al., 2017, section 4.2 (https://arxiv.org/abs/1706.04599). T is positive: it changes confidences and never
    which label is the most likely. It lies between 0.01 and 100; 100 or close to it means that the logits say nothing.

    When every row is right no temperature is the best, each lower one being likelier up to full certainty. Then 1.0 is
    returned: such rows cannot say how sure to be.

    Args:
        logits: `(rows, labels)`; `-inf` for a label that a row does not have.
        labels: the right label's index, one a row; rows with `-100` are left out.

    Raises:
        DataError: if the shapes do not fit, nothing is left, or a logit is NaN or inf.
        LabelError: if a label is not an index, or its logit is `-inf`.
    """
    from scipy.optimize import minimize_scalar

    scores, gold = _table_and_labels(logits, labels, "logits")
    kept = gold != IGNORED
    if not kept.any():
        raise DataError("every label is -100, so there is nothing to fit a temperature to. Give labelled rows.")
    scores, gold = scores[kept], gold[kept]
    top = scores.max(axis=1, keepdims=True)
    if not np.isfinite(top).all() or np.isnan(scores).any():
        raise DataError("the logits hold NaN or inf. Give finite ones, and -inf for a label that a row does not have.")
    behind = scores - top  # (rows, labels), 0 for the most likely label
    gold_behind = behind[np.arange(len(gold)), gold]  # (rows,)
    if np.isinf(gold_behind).any():
        raise LabelError("the logit of a right label is -inf. Give a finite one.")
    if (gold_behind == 0).all():
        return 1.0

    def negative_log_likelihood(log_temperature: float) -> float:
        sharpness = np.exp(-log_temperature)
        return float((np.log(np.exp(behind * sharpness).sum(axis=1)) - gold_behind * sharpness).mean())

    # Convex in 1/T, so with one minimum in log T too.
    limits = (np.log(LOWEST_TEMPERATURE), np.log(HIGHEST_TEMPERATURE))
    found = minimize_scalar(negative_log_likelihood, bounds=limits, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def threshold_at(threshold: float, temperature: float) -> float:
    """Return the threshold that parts the same rows when all logits are divided by a temperature.

    Far below 1 a temperature makes probabilities that are 0 or 1 to the last digit, which no threshold parts.

    Args:
        threshold: on a sigmoid of logits, in 0-1.
        temperature: above 0.
    """
    if not 0 < threshold < 1:  # parts nothing
        return threshold
    return 1 / (1 + exp(min(log((1 - threshold) / threshold) / temperature, 700)))  # beyond it exp overflows


def judged_entities(
    predictions: Sequence[Sequence[Mapping[str, Any]]], gold: Sequence[Sequence[str | None]]
) -> list[tuple[float, bool]]:
    """Return the score of each predicted entity, and whether there is a gold one of its type and extent.

    Args:
        predictions: the entities of each sentence, with `entity_group`, `score`, `start_word` and `end_word`.
        gold: the tags of each sentence in IOB2; None for a word that is not scored. An entity on such is not judged.
    """
    judged = []
    for entities, tags in zip(predictions, gold, strict=True):
        true = set(spans([tag or "O" for tag in tags]))
        for entity in entities:
            start, end = entity["start_word"], entity["end_word"]
            if None not in tags[start:end]:
                judged.append((float(entity["score"]), Span(entity["entity_group"], start, end) in true))
    return judged


def brier_score(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Return the mean squared distance between probabilities and truth, halved: 0 is best, 1 is worst.

    Brier, 1950. Halved it is between 0 and 1 for any number of labels, and for two labels it is the usual mean of
    (p - y)^2; scikit-learn's `brier_score_loss(..., scale_by_half=True)`.

    Args:
        probabilities: `(rows, labels)`; each row adds up to 1.
        labels: the right label's index, one a row.

    Raises:
        DataError: if the shapes do not fit, there are no rows, or a row is no distribution.
        LabelError: if a label is not an index.
    """
    table, gold = _table_and_labels(probabilities, labels, "probabilities")
    _check_distributions(table)
    if (gold == IGNORED).any():
        raise LabelError("a label is -100. Leave such rows out.")
    truth = np.eye(table.shape[1])[gold]
    return float(((table - truth) ** 2).sum(axis=1).mean() / 2)


def risk_coverage(confidences: ArrayLike, right: ArrayLike) -> RiskCoverage:
    """Return how the share of wrong answers falls when the least confident rows are left unanswered.

    Geifman and El-Yaniv, 2017 (https://arxiv.org/abs/1705.08500). The area is the mean risk of answering the most
    confident row, the two most confident, and so on to all. Rows of equal confidence are answered together; for the
    area, as if in random order.

    Args:
        confidences: one a row.
        right: whether the prediction is right, one a row.

    Returns:
        `points`, one for each different confidence, the highest first, and `area`.

    Raises:
        DataError: if the lengths differ or are 0, a confidence is not in 0-1, or `right` is not all True and False.
    """
    confidence, hit = _confidences_and_right(confidences, right)
    levels, level_of_row, sizes = np.unique(-confidence, return_inverse=True, return_counts=True)
    wrong = np.bincount(level_of_row, weights=~hit)  # (levels,), the highest confidence first
    answered, wrong_so_far = np.cumsum(sizes), np.cumsum(wrong)
    points: list[RiskPoint] = [
        {"threshold": float(-level), "coverage": float(number / len(hit)), "risk": float(errors / number)}
        for level, number, errors in zip(levels, answered, wrong_so_far, strict=True)
    ]
    expected_wrong = np.cumsum(np.repeat(wrong / sizes, sizes))  # (rows,)
    return {"points": points, "area": float((expected_wrong / np.arange(1, len(hit) + 1)).mean())}


def conformal_threshold(scores: ArrayLike, *, coverage: float) -> float:
    """Return the threshold with which `conformal_sets` hold the right label for `coverage` of new rows.

    Split conformal prediction with its quantile for finite samples, the ceil((n + 1) coverage)-th smallest of n scores:
    Angelopoulos and Bates, 2021 (https://arxiv.org/abs/2107.07511). The promise holds for any model, on average over
    draws of both these rows and the new ones from one source.

    Args:
        scores: for each calibration row 1 - the probability of its right label; rows that training has not seen, and
            that the temperature was not fitted on.
        coverage: between 0 and 1.

    Returns:
        The threshold; `inf`, so that every label is in every set, when there are too few rows for such a coverage.

    Raises:
        DataError: if there are no scores, or one is NaN.
        ConfigError: if `coverage` is not between 0 and 1.
    """
    _check_coverage(coverage)
    given = np.asarray(scores, np.float64)
    if given.ndim != 1 or not given.size or np.isnan(given).any():
        raise DataError(f"scores must be one number a row, at least one, none NaN; their shape is {given.shape}.")
    rank = max(1, ceil((len(given) + 1) * coverage - 1e-9))  # 100 * 0.07 is a little above 7, and the rank is 7
    return float(np.sort(given)[rank - 1]) if rank <= len(given) else inf


def conformal_sets(probabilities: ArrayLike, threshold: float) -> list[list[int]]:
    """Return for each row the labels that cannot be ruled out, the most likely first.

    A set may be empty: then no label is as likely as right labels are.

    Args:
        probabilities: `(rows, labels)`, of the same kind as those behind the threshold.
        threshold: what `conformal_threshold` returned.

    Raises:
        DataError: if the shape does not fit, or a row is no distribution.
    """
    table = np.asarray(probabilities, np.float64)
    _check_distributions(table)
    order = np.argsort(-table, axis=1, kind="stable")
    return [
        [int(label) for label in labels if 1 - row[label] <= threshold]
        for row, labels in zip(table, order, strict=True)
    ]


# --- checks ---------------------------------------------------------------------------------------------------------


def _confidences_and_right(confidences: ArrayLike, right: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    confidence, hit = np.asarray(confidences, np.float64), as_right(right, name="right")
    if confidence.shape != hit.shape:
        raise DataError(f"confidences has the shape {confidence.shape}, right has {hit.shape}. Give one of each a row.")
    wrong = np.flatnonzero(~((confidence >= -_ROUNDING) & (confidence <= 1 + _ROUNDING)))  # NaN too
    if wrong.size:
        raise DataError(f"confidences, row {wrong[0] + 1}: {confidence[wrong[0]]} is not in 0-1. Give probabilities.")
    return confidence.clip(0, 1), hit


def _table_and_labels(table: ArrayLike, labels: ArrayLike, name: str) -> tuple[Floats, NDArray[np.int64]]:
    values, gold = np.asarray(table, np.float64), np.asarray(labels)
    if values.ndim != 2 or gold.shape != values.shape[:1] or not gold.size:
        raise DataError(
            f"{name} has the shape {values.shape}, labels has {gold.shape}. Give (rows, labels) and (rows,)."
        )
    outside = np.flatnonzero(~(np.isin(gold, np.arange(values.shape[1])) | (gold == IGNORED)))
    if outside.size:
        row = outside[0]
        raise LabelError(
            f"row {row + 1}: {gold[row]} is no index of a label. Give 0 to {values.shape[1] - 1}, or -100."
        )
    return values, gold.astype(np.int64)


def _check_distributions(table: Floats) -> None:
    if table.ndim != 2:
        raise DataError(f"probabilities have the shape {table.shape}. Give (rows, labels).")
    proper = ((table >= -_ROUNDING) & (table <= 1 + _ROUNDING)).all(axis=1) & (
        np.abs(table.sum(axis=1) - 1) <= _ROUNDING
    )
    if not proper.all():
        row = np.flatnonzero(~proper)[0]
        raise DataError(f"probabilities, row {row + 1}: {table[row].tolist()} does not add up to 1. Give a softmax.")


def _check_coverage(coverage: float) -> None:
    if not 0 < coverage < 1:
        raise ConfigError(f"coverage is {coverage!r}. Give a number between 0 and 1, such as 0.9.")
