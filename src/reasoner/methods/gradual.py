"""All weights learn in the end, the lower the later (gradual unfreezing)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reasoner.methods.base import Method, check_learns, is_whole, require, set_trainable
from reasoner.methods.freeze import Freeze, layers_of
from reasoner.methods.full import Full


@dataclass(frozen=True)
class GradualUnfreezing(Method):
    """Train the head alone in the first epoch, then one more layer from above with each epoch, the embeddings last.

    Howard and Ruder (2018), "Universal Language Model Fine-tuning for Text Classification", section 3.3,
    https://arxiv.org/abs/1801.06146. With fewer epochs than layers the lowest ones never learn.
    """

    layers_per_epoch: int = 1
    """How many layers more learn with each epoch."""

    def __post_init__(self) -> None:
        require(
            is_whole(self.layers_per_epoch, 1),
            f"GradualUnfreezing(layers_per_epoch={self.layers_per_epoch!r}): give an integer of at least 1.",
        )

    def apply(self, model: Any) -> None:
        """Mark all weights as trainable: each may be one day.

        Raises:
            ConfigError: if in the first epoch none would be.
        """
        self.begin_epoch(model, 0)  # refuses an architecture without layers, before any training
        check_learns(model, self)
        set_trainable(model, True)

    def begin_epoch(self, model: Any, epoch: int) -> None:
        """Freeze what is not to learn yet."""
        number = len(layers_of(model.backbone))
        open_layers = epoch * self.layers_per_epoch
        if open_layers > number:
            set_trainable(model, True)
        else:
            Freeze(layers=number - open_layers).apply(model)

    def learning_rate(self, width: int) -> float:
        """Return the rule of `Full`."""
        return Full().learning_rate(width)
