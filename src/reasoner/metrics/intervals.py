"""How sure is a score, and is one run truly better than another?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reasoner.errors import ConfigError, DataError, suggestion
from reasoner.metrics.counting import Floats, as_right

_DRAWN_AT_ONCE = 4_000_000
"""How many counts of draws are held in memory at a time: 32 MB."""


class ConfidenceInterval(NamedTuple):
    """A score with the interval that holds its true value with the given confidence."""

    value: float
    lower: float
    upper: float
    confidence: float


class PairedDifference(NamedTuple):
    """How much the second run scores above the first, on the same rows."""

    difference: float
    lower: float
    upper: float
    confidence: float
    p_value: float


class McNemar(NamedTuple):
    """McNemar's exact test."""

    statistic: int
    """The smaller of the two numbers of rows on which the runs disagree."""
    p_value: float


class ChangedRows(NamedTuple):
    """The rows, counted from 0, on which two runs disagree."""

    fixed: list[int]
    """Wrong in the first, right in the second."""
    broken: list[int]
    """Right in the first, wrong in the second."""


class MeanAndDeviation(NamedTuple):
    """A score over several seeds."""

    mean: float
    deviation: float
    """The sample deviation, with n - 1 below."""
    lower: float
    upper: float
    confidence: float


class _Replicates(NamedTuple):
    value: float
    """The statistic of all rows."""
    draws: Floats
    """The statistic of each resample, (resamples,)."""
    left_out: Floats
    """The statistic without one row, (distinct rows,)."""
    weights: Floats
    """How many rows there are of each distinct one, (distinct rows,)."""


def bootstrap_interval(
    statistic: Callable[[Any], Any],
    rows: Any,
    *,
    on: str = "sums",
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> ConfidenceInterval:
    """Return a score and its bootstrap interval: how much it would move had other rows been drawn.

    The interval is the bias-corrected and accelerated one (BCa): Efron and Tibshirani, An Introduction to the
    Bootstrap, 1993, chapter 14; DiCiccio and Efron, Bootstrap Confidence Intervals, 1996. It keeps its promise on small
    and skewed samples better than plain percentiles do.

    The bootstrap knows the drawn rows alone: where every row is right each resample is too, and the interval has no
    width. That is no proof of a perfect model.

    Args:
        statistic: for `on="sums"`: sums of lines of `rows`, `(..., counts)`, to scores, `(...)`; `counting` has them
            for all our scores. For `on="rows"`: a list of rows to a number.
        rows: for `on="sums"`: an array of counts, `(rows, counts)`. For `on="rows"`: a sequence of anything.
        on: `"sums"`, all resamples at once, or `"rows"`, which calls `statistic` once for every resample and every row.
        confidence: between 0 and 1.
        resamples: how many times as many rows are drawn with replacement; at least 100.
        seed: the same seed gives the same interval.

    Raises:
        DataError: if there are fewer than 2 rows, a count is not finite, or the statistic is not finite on a resample.
        ConfigError: if a setting cannot be used, or the statistic does not return one score for each line of sums.
    """
    _check_settings(on, confidence, resamples)
    replicates = (_from_sums if on == "sums" else _from_rows)(statistic, rows, resamples, seed)
    return ConfidenceInterval(replicates.value, *_accelerated(replicates, confidence), confidence)


def paired_bootstrap(
    statistic: Callable[[Any], Any],
    first: Any,
    second: Any,
    *,
    on: str = "sums",
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> PairedDifference:
    """Return how much the second run scores above the first, its interval, and a p-value.

    Each resample draws the same rows for both runs (Koehn, 2004, https://aclanthology.org/W04-3250), so that rows which
    are hard for both cancel. The p-value is that of Berg-Kirkpatrick, Burkett and Klein (2012,
    https://aclanthology.org/D12-1091): the resampled differences are moved to have the mean that no difference would
    give, and it is asked how often they are as large as the observed one; here to either side, and with the observed
    one counted among them (Davison and Hinkley, 1997), so that it is never 0. The interval is that of
    `bootstrap_interval`; close to significance the two may disagree.

    Args:
        statistic: as in `bootstrap_interval`.
        first: the rows of the first run ("before"), as in `bootstrap_interval`.
        second: the rows of the second run ("after"), on the same examples in the same order.
        on: as in `bootstrap_interval`, and so are the rest.
        confidence: between 0 and 1.
        resamples: at least 100.
        seed: the same seed gives the same figures.

    Raises:
        DataError: as in `bootstrap_interval`, or if the runs have different numbers of rows or counts.
        ConfigError: as in `bootstrap_interval`.
    """
    _check_settings(on, confidence, resamples)
    if len(first) != len(second):
        raise DataError(f"first has {len(first)} rows, second has {len(second)}. Give both for the same examples.")
    if on == "sums":
        before, after = _counts_array(first), _counts_array(second)
        width = before.shape[1]
        if width != after.shape[1]:
            raise DataError(f"first has {width} counts a row, second has {after.shape[1]}. Count both in one way.")
        replicates = _from_sums(
            lambda sums: np.asarray(statistic(sums[..., width:])) - np.asarray(statistic(sums[..., :width])),
            np.hstack([before, after]),
            resamples,
            seed,
        )
    else:
        replicates = _from_rows(
            lambda pairs: statistic([after for _, after in pairs]) - statistic([before for before, _ in pairs]),
            list(zip(first, second, strict=True)),
            resamples,
            seed,
        )
    difference = replicates.value
    as_large = np.abs(replicates.draws - difference) >= abs(difference) - _rounding(replicates.draws)
    p_value = float((1 + as_large.sum()) / (1 + resamples))
    return PairedDifference(difference, *_accelerated(replicates, confidence), confidence, p_value)


def mcnemar(first_right: ArrayLike, second_right: ArrayLike) -> McNemar:
    """Test whether two runs are right equally often, from the rows on which one alone is right.

    The exact test of McNemar (1947), two-sided: under no difference each such row is a fair coin's throw. It is exact
    for any number of rows; without such rows the p-value is 1.

    Args:
        first_right: whether the first run is right, one a row.
        second_right: the same for the second run, on the same rows.

    Raises:
        DataError: if the lengths differ or are 0, or a value is neither True nor False.
    """
    from scipy.special import bdtr  # scipy.stats takes a second to import

    fixed, broken = (len(rows) for rows in changed_rows(first_right, second_right))
    smaller = min(fixed, broken)
    return McNemar(smaller, float(min(1.0, 2 * bdtr(smaller, fixed + broken, 0.5))))


def share_interval(hits: int, rows: int, *, confidence: float = 0.95) -> ConfidenceInterval:
    """Return the interval of a share, by the score method of Wilson (1927): it has a width at 0 and at 1 too.

    Args:
        hits: how many of the rows.
        rows: at least 1.
        confidence: such as 0.95.

    Raises:
        ConfigError: if the confidence is not between 0 and 1.
        DataError: if there are no rows, or more hits than rows.
    """
    from scipy.special import ndtri

    _check_confidence(confidence)
    if not 0 <= hits <= rows or rows < 1:
        raise DataError(f"{hits} of {rows} is no share. Give rows, and as many hits at most.")
    share, squared = hits / rows, float(ndtri((1 + confidence) / 2)) ** 2 / rows
    middle = (share + squared / 2) / (1 + squared)
    reach = (squared * share * (1 - share) + squared**2 / 4) ** 0.5 / (1 + squared)
    return ConfidenceInterval(share, max(0.0, middle - reach), min(1.0, middle + reach), confidence)


def changed_rows(first_right: ArrayLike, second_right: ArrayLike) -> ChangedRows:
    """Return the rows that the second run fixed, and those that it broke, counted from 0.

    Raises:
        DataError: if the lengths differ or are 0, or a value is neither True nor False.
    """
    before, after = as_right(first_right, name="first_right"), as_right(second_right, name="second_right")
    if len(before) != len(after):
        raise DataError(
            f"first_right has {len(before)} rows, second_right has {len(after)}. Give both for the same rows."
        )
    return ChangedRows(np.flatnonzero(~before & after).tolist(), np.flatnonzero(before & ~after).tolist())


def mean_and_deviation(values: ArrayLike, *, confidence: float = 0.95) -> MeanAndDeviation:
    """Return mean and sample deviation of a score over seeds, and Student's interval for the mean.

    With three seeds the interval is wide, 2.5 deviations to each side: three runs say little. It may leave 0-1.

    Raises:
        DataError: if there are fewer than 2 values, or one is not finite.
        ConfigError: if `confidence` is not between 0 and 1.
    """
    from scipy.special import stdtrit

    _check_confidence(confidence)
    given = np.asarray(values, np.float64)
    if given.ndim != 1 or len(given) < 2 or not np.isfinite(given).all():
        raise DataError(f"values are {given.tolist()}. Give at least 2 finite numbers: one alone has no deviation.")
    mean, deviation = float(given.mean()), float(given.std(ddof=1))
    half = float(stdtrit(len(given) - 1, (1 + confidence) / 2)) * deviation / len(given) ** 0.5
    return MeanAndDeviation(mean, deviation, mean - half, mean + half, confidence)


# --- resampling -----------------------------------------------------------------------------------------------------


def _from_sums(statistic: Callable[[Any], Any], rows: ArrayLike, resamples: int, seed: int) -> _Replicates:
    """Draw how often each distinct row occurs in each resample, and so its sums, in a product of two matrices."""
    counts = _counts_array(rows)
    distinct, weights = np.unique(counts, axis=0, return_counts=True)  # (distinct, counts), (distinct,)
    source, total = np.random.default_rng(seed), counts.sum(0)
    at_once = max(1, _DRAWN_AT_ONCE // len(distinct))
    sums = [
        source.multinomial(len(counts), weights / len(counts), size=min(at_once, resamples - start)) @ distinct
        for start in range(0, resamples, at_once)
    ]
    value = _scores(statistic, total[None])[0]
    draws, left_out = _scores(statistic, np.concatenate(sums)), _scores(statistic, total - distinct)
    return _checked(_Replicates(float(value), draws, left_out, weights.astype(np.float64)))


def _from_rows(statistic: Callable[[Any], Any], rows: Sequence[Any], resamples: int, seed: int) -> _Replicates:
    """Call the statistic on each resample, and without each row."""
    items = list(rows)
    if len(items) < 2:
        raise DataError(f"there are {len(items)} rows. An interval needs at least 2.")
    source = np.random.default_rng(seed)
    picks = (source.integers(len(items), size=len(items)) for _ in range(resamples))
    draws = np.array([float(statistic([items[i] for i in pick])) for pick in picks])
    left_out = np.array([float(statistic(items[:row] + items[row + 1 :])) for row in range(len(items))])
    return _checked(_Replicates(float(statistic(items)), draws, left_out, np.ones(len(items))))


def _counts_array(rows: ArrayLike) -> Floats:
    counts = np.asarray(rows, np.float64)
    if counts.ndim != 2 or len(counts) < 2 or not np.isfinite(counts).all():
        raise DataError(f"rows must be finite counts, (rows, counts), at least 2 rows; their shape is {counts.shape}.")
    return counts


def _scores(statistic: Callable[[Any], Any], sums: Floats) -> Floats:
    scores = np.asarray(statistic(sums), np.float64)
    if scores.shape != sums.shape[:1]:
        raise ConfigError(
            f"the statistic made scores of shape {scores.shape} of sums of shape {sums.shape}. "
            "Give a function of (..., counts) that returns (...), or set on='rows'."
        )
    return scores


def _checked(replicates: _Replicates) -> _Replicates:
    undefined = sum(int((~np.isfinite(part)).sum()) for part in replicates[:3])
    if undefined:
        raise DataError(
            f"the statistic is not a finite number on {undefined} of the resamples. Define it for all rows."
        )
    return replicates


def _accelerated(replicates: _Replicates, confidence: float) -> tuple[float, float]:
    """Return the BCa limits: percentiles of the draws, moved for their bias and for how their spread changes."""
    from scipy.special import ndtr, ndtri

    value, draws, left_out, weights = replicates
    if np.ptp(draws) == 0:
        return value, value
    # Half of the draws that equal the value count as below it; kept off 0 and 1, where the bias would be infinite.
    near = _rounding(draws)
    below = ((draws < value - near).mean() + (draws <= value + near).mean()) / 2
    bias = ndtri(np.clip(below, 0.5 / len(draws), 1 - 0.5 / len(draws)))
    pull = np.average(left_out, weights=weights) - left_out
    spread = np.sum(weights * pull**2)
    acceleration = np.sum(weights * pull**3) / (6 * spread**1.5) if spread > 0 else 0.0
    moved: NDArray[np.float64] = bias + ndtri(np.array([(1 - confidence) / 2, (1 + confidence) / 2]))
    levels = ndtr(bias + moved / np.maximum(1 - acceleration * moved, 1e-12))  # beyond 0: the outermost draw
    lower, upper = np.quantile(draws, levels)
    return float(lower), float(upper)


def _rounding(draws: Floats) -> float:
    """Return by how much scores that are equal may differ: the order of adding alone changes their last digits."""
    return 1e-9 * float(np.ptp(draws))


def _check_settings(on: str, confidence: float, resamples: int) -> None:
    if on not in ("sums", "rows"):
        raise ConfigError(f"on={on!r} is not known. {suggestion(on, ('sums', 'rows'))}")
    _check_confidence(confidence)
    if resamples < 100:
        raise ConfigError(f"resamples is {resamples}. Draw at least 100, better 1000.")


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence is {confidence!r}. Give a number between 0 and 1, such as 0.95.")
