"""The highest layers and the head learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reasoner.errors import ConfigError
from reasoner.methods.base import Method
from reasoner.methods.freeze import Freeze, layers_of
from reasoner.methods.full import Full


@dataclass(frozen=True)
class TopK(Method):
    """Train the `k` layers next to the head, the head, and the pooler that feeds it: `Freeze`, counted from above."""

    k: int = 2
    """How many layers learn."""

    def apply(self, model: Any) -> None:
        """Freeze the embeddings and all layers below.

        Raises:
            ConfigError: if the model has fewer layers.
        """
        number = len(layers_of(model.backbone))
        if not 0 <= self.k <= number:
            raise ConfigError(f"TopK(k={self.k}): the model has {number} layers. Give 0 to {number}.")
        Freeze(layers=number - self.k).apply(model)

    def learning_rate(self, width: int) -> float:
        """Return the rule of `Full`."""
        return Full().learning_rate(width)
