"""Which evaluation was the best, and is it time to stop?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class EarlyStopping:
    """Keeps the best score; wants to stop after `patience` evaluations in a row without improvement.

    A score that beats the best by any amount is the new best, and its weights are kept; it resets the patience only if
    it beats by more than `min_delta` the score that reset it last. (So many small steps up add up.)
    """

    metric: str
    """The name of the score."""
    greater_is_better: bool
    patience: int | None = None
    """None: never stop."""
    min_delta: float = 0.0
    limits: Mapping[str, float] = field(default_factory=dict)
    """Other scores, and what they may be at most. Once one is more, that evaluation does not count, and it is over."""
    broken: str = ""
    """Which limit was passed; empty: none."""
    best: float | None = None
    """The best score so far."""
    reference: float | None = None
    """The score that reset the patience last."""
    waited: int = 0
    """Evaluations since then."""

    def update(self, score: float) -> bool:
        """Take a new score and return whether it is the best so far. NaN never is."""
        better = self._gain(score, self.best) > 0
        if better:
            self.best = score
        if self._gain(score, self.reference) > self.min_delta:
            self.reference, self.waited = score, 0
        else:
            self.waited += 1
        return better

    def within_limits(self, scores: Mapping[str, Any]) -> bool:
        """Return whether no score is above its limit; else remember which."""
        over = [
            f"{name} is {scores[name]:.4f}, above {most:g}" for name, most in self.limits.items() if scores[name] > most
        ]
        self.broken = self.broken or ", ".join(over)
        return not over

    def no_worse(self, score: float) -> bool:
        """Return whether a score is at least as good as the best so far. NaN never is."""
        return self._gain(score, self.best) >= 0

    @property
    def should_stop(self) -> bool:
        """Whether patience has run out, or a limit was passed."""
        return bool(self.broken) or (self.patience is not None and self.waited >= self.patience)

    def _gain(self, score: float, other: float | None) -> float:
        if math.isnan(score):
            return -math.inf
        if other is None:
            return math.inf
        return score - other if self.greater_is_better else other - score
