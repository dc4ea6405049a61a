"""Is a planted power law found again?"""

from __future__ import annotations

import numpy as np
import pytest

from reasoner.errors import DataError
from reasoner.metrics.scaling import fit_power_law

SIZES = [25, 50, 100, 200, 400, 800]


@pytest.mark.parametrize(("limit", "distance", "exponent"), [(0.9, 0.05, 0.5), (1.0, 0.2, 0.15), (0.7, 0.01, 1.2)])
def test_a_planted_law_is_found_and_goes_on(limit, distance, exponent):
    scores = [limit - distance * (rows / 800) ** -exponent for rows in SIZES]
    law = fit_power_law(SIZES, scores, highest=1.0)
    assert law.at(1600) == pytest.approx(limit - distance * 2**-exponent, abs=1e-3)
    assert (law.limit, law.exponent) == (pytest.approx(limit, abs=0.02), pytest.approx(exponent, rel=0.15))


def test_a_loss_is_fitted_with_its_sign_turned():
    losses = [0.3 + 2.0 * rows**-0.4 for rows in SIZES]
    law = fit_power_law(SIZES, [-loss for loss in losses], highest=0.0)
    assert -law.at(3200) == pytest.approx(0.3 + 2.0 * 3200**-0.4, abs=5e-3)


def test_bounds_hold_and_no_better_law_is_near():
    noise = np.random.default_rng(0).normal(0, 0.01, len(SIZES))
    scores = [0.95 - 0.1 * (rows / 800) ** -0.6 + off for rows, off in zip(SIZES, noise, strict=True)]
    law = fit_power_law(SIZES, scores, highest=1.0)
    assert law.limit <= 1 and law.distance >= 0

    def squares(limit, distance, exponent):
        return sum((limit - distance * (x / 800) ** -exponent - y) ** 2 for x, y in zip(SIZES, scores, strict=True))

    found = squares(law.limit, law.distance, law.exponent)
    grid = [
        squares(limit, distance, exponent)
        for limit in np.linspace(0.8, 1.0, 41)
        for distance in np.linspace(0, 0.3, 61)
        for exponent in np.linspace(0.01, 3, 60)
    ]
    assert found <= min(grid) + 1e-9


@pytest.mark.parametrize(("rows", "scores"), [([1, 2, 3], [1, 2, 3]), ([1, 2, 3, 4], [1, 2, 3, float("nan")])])
def test_what_cannot_be_fitted_is_refused(rows, scores):
    with pytest.raises(DataError, match="at least 4"):
        fit_power_law(rows, scores)
