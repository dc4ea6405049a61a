"""All weights learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reasoner.methods.base import Method, set_trainable


@dataclass(frozen=True)
class Full(Method):
    """Train every weight of backbone and head."""

    def apply(self, model: Any) -> None:
        """Mark all weights as trainable."""
        set_trainable(model, True)

    def learning_rate(self, width: int) -> float:
        """Return 3e-5 for a width of 768, and more for narrower models in inverse proportion to the square.

        That is the range of Devlin et al. (2019), 2e-5 to 5e-5, for BERT-base; 1.7e-5 for the width of BERT-large
        (1024) and 1.2e-4 for a MiniLM (384); never above 1e-3.
        """
        return min(3e-5 * (768 / width) ** 2, 1e-3)
