"""How does a score grow with the number of rows: a power law, and what it says of more rows?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from reasoner.errors import DataError
from reasoner.metrics.counting import Floats

LEAST_SIZES = 4
"""A law with three numbers goes through any three points."""
FLATTEST, STEEPEST = 0.01, 3.0
"""Of the exponent."""
_STARTS = (0.1, 0.3, 1.0)


class PowerLaw(NamedTuple):
    """score = limit - distance * (rows / largest) ** -exponent."""

    limit: float
    """What no number of rows exceeds."""
    distance: float
    """How far the score is from it at the largest number of rows that was measured; at least 0."""
    exponent: float
    largest: float

    def at(self, rows: float) -> float:
        """Return the score with so many rows."""
        return float(self.limit - self.distance * (rows / self.largest) ** -self.exponent)


def fit_power_law(rows: Sequence[float], scores: Sequence[float], *, highest: float = np.inf) -> PowerLaw:
    """Fit how a score grows with rows, by least squares (Hestness et al., 2017, https://arxiv.org/abs/1712.00409).

    Args:
        rows: numbers of rows, at least `LEAST_SIZES` different ones.
        scores: one each, greater is better.
        highest: what the score cannot exceed.

    Raises:
        DataError: if there are too few sizes, or a score is not finite.
    """
    from scipy.optimize import least_squares

    x, y = np.asarray(rows, np.float64), np.asarray(scores, np.float64)
    if len(set(x.tolist())) < LEAST_SIZES or x.shape != y.shape or not np.isfinite(y).all() or (x <= 0).any():
        raise DataError(f"A curve needs finite scores for at least {LEAST_SIZES} different numbers of rows.")
    shares, spread = x / x.max(), max(float(np.ptp(y)), 1e-6)

    def residuals(values: Floats) -> Floats:
        limit, distance, exponent = values
        found: Floats = (limit - distance * shares**-exponent - y) / spread
        return found

    lowest, highest = float(y.min()) - spread, max(highest, float(y.max()) + 1e-9)
    bounds = ([lowest, 0.0, FLATTEST], [highest, np.inf, STEEPEST])
    fits = []
    for start in _STARTS:
        limit = min(float(y.max()) + 0.1 * spread, (float(y.max()) + highest) / 2)
        fits.append(least_squares(residuals, (limit, 0.1 * spread, start), bounds=bounds))
    best = min(fits, key=lambda fit: float(fit.cost))
    limit, distance, exponent = best.x.tolist()
    return PowerLaw(limit, distance, exponent, float(x.max()))
