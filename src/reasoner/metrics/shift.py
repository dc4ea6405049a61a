"""Do two samples of rows come from one source: by their vectors, by numbers, by names; and do their scores differ?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from reasoner.errors import DataError
from reasoner.metrics.counting import Floats
from reasoner.metrics.intervals import share_interval

LEAST_ROWS = 20
"""Of fewer rows on a side little can be said."""
LEAST_EXPECTED = 5.0
"""A name that is expected less often on a side is counted with other rare ones: the chi-squared law needs some."""
RARE = "rare ones"


class ShiftTest(NamedTuple):
    """A difference between an old and a new sample."""

    value: float
    """How large it is."""
    lower: float
    """Lower end of its 95% interval."""
    upper: float
    p_value: float
    """How often one so large comes up where there is none."""


def classifier_test(old: ArrayLike, new: ArrayLike, *, seed: int = 0) -> ShiftTest:
    """Return how well a classifier tells new rows from old ones, as the share of rows that it never saw: 0.5 is chance.

    The classifier two-sample test (Lopez-Paz & Oquab, 2017, https://arxiv.org/abs/1610.06545): a logistic regression is
    trained on half of the rows, as many old as new ones, and tested on the other half; the test is the binomial one,
    the interval Wilson's. Rows must be independent of each other: a text that comes twice is told by memory.

    Args:
        old: a vector a row, (rows, width).
        new: likewise.
        seed: of which rows are trained on.

    Raises:
        DataError: if there are fewer than 20 rows on a side, or a number is not finite.
    """
    from scipy.special import bdtrc
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    sides = [np.asarray(side, np.float64) for side in (old, new)]
    if any(side.ndim != 2 or not np.isfinite(side).all() for side in sides):
        raise DataError("Each row needs a vector of finite numbers, (rows, width).")
    rows = _enough(*map(len, sides))
    random, half = np.random.default_rng(seed), rows // 2
    drawn = [side[random.permutation(len(side))[:rows]] for side in sides]
    train, test = (np.concatenate([side[part] for side in drawn]) for part in (slice(half), slice(half, rows)))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    model.fit(train, np.repeat([0, 1], half))
    right = model.predict(test) == np.repeat([0, 1], rows - half)
    hits = int(right.sum())
    share = share_interval(hits, len(right))
    p_value = 1.0 if hits == 0 else float(bdtrc(hits - 1, len(right), 0.5))
    return ShiftTest(share.value, share.lower, share.upper, p_value)


def number_test(old: Sequence[float], new: Sequence[float]) -> ShiftTest:
    """Return how far the mean of new numbers is above that of old ones, with the p-value of Kolmogorov and Smirnov.

    The test sees any change of the distribution, such as a wider one; the interval is Welch's for the means. Rabanser
    et al. (2019, https://arxiv.org/abs/1810.11953) find it the best on what a model predicts.

    Raises:
        DataError: if there are fewer than 20 on a side.
    """
    from scipy.special import stdtrit
    from scipy.stats import ks_2samp

    _enough(len(old), len(new))
    sides = [np.asarray(side, np.float64) for side in (old, new)]
    means, parts = [side.mean() for side in sides], [side.var(ddof=1) / len(side) for side in sides]
    spread = sum(parts)
    freedom = (
        spread**2 / sum(part**2 / (len(side) - 1) for part, side in zip(parts, sides, strict=True)) if spread else 1
    )
    reach = float(stdtrit(freedom, 0.975)) * spread**0.5
    value = float(means[1] - means[0])
    return ShiftTest(value, value - reach, value + reach, float(ks_2samp(*sides).pvalue))


def name_test(old: Sequence[Hashable], new: Sequence[Hashable]) -> ShiftTest | None:
    """Return how far the shares of names differ: half the sum of the differences, from 0 to 1, with a chi-squared test.

    The interval is of a bootstrap over rows. It lies above 0 by its nature: two samples never have quite equal shares.

    Args:
        old: one name a row.
        new: likewise.

    Returns:
        None where all rows have one name, or all but rare ones.

    Raises:
        DataError: if there are fewer than 20 on a side.
    """
    from scipy.stats import chi2_contingency

    _enough(len(old), len(new))
    names = Counter([*old, *new])
    share = min(len(old), len(new)) / (len(old) + len(new))
    common = [name for name, count in names.items() if count * share >= LEAST_EXPECTED]
    sides = [Counter(name if name in common else RARE for name in side) for side in (old, new)]
    shown = sorted({*sides[0], *sides[1]}, key=str)
    table = np.array([[side[name] for name in shown] for side in sides], np.float64)  # (2, names)
    if len(shown) > 2 and RARE in shown and table[:, shown.index(RARE)].sum() * share < LEAST_EXPECTED:
        table = np.delete(table, shown.index(RARE), axis=1)
    if table.shape[1] < 2:
        return None
    totals = table.sum(1).astype(int)
    shares = table / table.sum(1, keepdims=True)
    random = np.random.default_rng(0)
    draws = [random.multinomial(total, own, size=1000) / total for total, own in zip(totals, shares, strict=True)]
    lower, upper = np.quantile(np.abs(draws[0] - draws[1]).sum(1) / 2, [0.025, 0.975])
    value = float(np.abs(shares[0] - shares[1]).sum() / 2)
    return ShiftTest(value, float(lower), float(upper), float(chi2_contingency(table, correction=False).pvalue))


def score_change(statistic: Callable[[Any], Any], old: Floats, new: Floats, *, seed: int = 0) -> ShiftTest:
    """Return how far the score of new rows is above that of other, old rows; by a bootstrap of both sides.

    Args:
        statistic: sums of lines of counts to scores, as in `bootstrap_interval`.
        old: counts of the old rows, (rows, counts).
        new: of the new ones, with the same columns.
        seed: of the resamples.

    Raises:
        DataError: if there are fewer than 20 rows on a side.
    """
    _enough(len(old), len(new))
    random, draws, values = np.random.default_rng(seed), [], []
    for side in (old, new):
        distinct, weights = np.unique(side, axis=0, return_counts=True)
        drawn = random.multinomial(len(side), weights / len(side), size=1000)  # (resamples, distinct rows)
        draws.append(np.asarray(statistic(drawn @ distinct)))
        values.append(float(statistic(side.sum(0))))
    differences = draws[1] - draws[0]
    lower, upper = np.quantile(differences, [0.025, 0.975])
    tail = min((1 + (differences <= 0).sum()) / 1001, (1 + (differences >= 0).sum()) / 1001)
    return ShiftTest(values[1] - values[0], float(lower), float(upper), float(min(1.0, 2 * tail)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values of several tests made fit to be looked at together (Holm, 1979): each at most 1.

    With a limit of 0.05 on these, some of them is below it by chance in at most 5% of cases.
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, most = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        most = max(most, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = most
    return adjusted


def _enough(old: int, new: int) -> int:
    if min(old, new) < LEAST_ROWS:
        raise DataError(f"There are {old} old and {new} new rows; of fewer than {LEAST_ROWS} on a side little can be "
                        "said. Give more.")  # fmt: skip
    return min(old, new)
