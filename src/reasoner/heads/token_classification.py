"""A label for every token: cross-entropy over tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from reasoner.data.features import Batch
from reasoner.heads.base import GoldProbabilities, Outputs, TaskHead, gold_probabilities
from reasoner.losses import IGNORED, LossSum, cross_entropy, divergence

if TYPE_CHECKING:
    from numpy import ndarray
    from transformers import PreTrainedConfig


class TokenRecord(NamedTuple):
    """The best label of each token and its probability."""

    labels: ndarray[Any, Any]  # (length,) int16
    probabilities: ndarray[Any, Any]  # (length,) float32


class TokenClassificationHead(TaskHead):
    """The architecture's own token classifier.

    Outputs: `logits` (batch, length, labels). Targets: `labels` (batch, length), `-100` ignored.

    Args:
        config: of the model.
        num_outputs: number of labels.
        class_weights: a weight for each label.
        label_smoothing: see `losses.cross_entropy`.
        focal_gamma: see there.
    """

    auto_class = "AutoModelForTokenClassification"
    class_weights: torch.Tensor | None

    def __init__(
        self,
        config: PreTrainedConfig,
        *,
        num_outputs: int,
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        focal_gamma: float = 0.0,
    ) -> None:
        super().__init__(config, num_outputs=num_outputs)
        self.label_smoothing, self.focal_gamma = label_smoothing, focal_gamma
        weights = None if class_weights is None else torch.tensor(class_weights)
        self.register_buffer("class_weights", weights, persistent=False)

    def loss(self, outputs: Outputs, batch: Batch) -> LossSum:
        """Return the cross-entropy summed over labelled tokens, and their number."""
        return cross_entropy(
            outputs["logits"],
            batch.targets["labels"],
            weights=self.class_weights,
            label_smoothing=self.label_smoothing,
            focal_gamma=self.focal_gamma,
        )

    def negative_log_likelihood(self, outputs: Outputs, batch: Batch) -> LossSum:
        """Return the cross-entropy without weights and smoothing."""
        return cross_entropy(outputs["logits"], batch.targets["labels"])

    def divergence(self, outputs: Outputs, other: Outputs, batch: Batch) -> torch.Tensor:
        """Return that of the labelled tokens."""
        labelled = batch.targets["labels"] != IGNORED
        return (divergence(outputs["logits"], other["logits"]) * labelled).sum()

    def gold_probabilities(self, outputs: Outputs, batch: Batch) -> GoldProbabilities:
        """Return those of each labelled token."""
        return gold_probabilities(outputs["logits"], batch.targets["labels"])

    def predict(self, outputs: Outputs, batch: Batch) -> list[Any]:
        """Return a `TokenRecord` a feature."""
        probabilities, labels = outputs["logits"].float().softmax(-1).max(-1)  # (batch, length)
        label_rows, rows = labels.to(torch.int16).cpu().numpy(), probabilities.cpu().numpy()
        return [TokenRecord(*pair) for pair in zip(label_rows, rows, strict=True)]
