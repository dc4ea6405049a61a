"""One label, several labels or a number for a text or a pair: cross-entropy, binary cross-entropy, squared error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from reasoner.data.features import Batch
from reasoner.errors import ConfigError, suggestion
from reasoner.heads.base import GoldProbabilities, Outputs, TaskHead, gold_probabilities
from reasoner.losses import (
    LossSum,
    binary_cross_entropy,
    binary_divergence,
    cross_entropy,
    divergence,
    kullback_leibler,
    squared_error,
)

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

PROBLEM_TYPES = ("single_label_classification", "multi_label_classification", "regression")
"""The names that transformers writes into `config.json`."""


class SequenceClassificationHead(TaskHead):
    """The architecture's own text classifier.

    Outputs: `logits` (batch, outputs). Targets: `labels`: (batch,) class indices; or (batch, labels) of 0 and 1; or
    (batch,) numbers. Records: probabilities (labels,), or the number (1,).

    Args:
        config: of the model.
        num_outputs: number of labels; 1 for a number.
        problem_type: one of `PROBLEM_TYPES`.
        class_weights: a weight for each label.
        label_smoothing: see `losses.cross_entropy`; of several labels each is drawn towards 1/2.
        focal_gamma: see there.
    """

    auto_class: ClassVar[str | None] = "AutoModelForSequenceClassification"
    outputs_at = "features"
    class_weights: torch.Tensor | None

    def __init__(
        self,
        config: PreTrainedConfig,
        *,
        num_outputs: int,
        problem_type: str = "single_label_classification",
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        focal_gamma: float = 0.0,
    ) -> None:
        super().__init__(config, num_outputs=num_outputs)
        if problem_type not in PROBLEM_TYPES:
            raise ConfigError(f"problem_type '{problem_type}' is unknown. {suggestion(problem_type, PROBLEM_TYPES)}")
        self.problem_type, self.label_smoothing, self.focal_gamma = problem_type, label_smoothing, focal_gamma
        weights = None if class_weights is None else torch.tensor(class_weights)
        self.register_buffer("class_weights", weights, persistent=False)

    def loss(self, outputs: Outputs, batch: Batch) -> LossSum:
        """Return the loss of the problem type, summed over the batch's texts."""
        logits, labels = outputs["logits"], batch.targets["labels"]
        if self.problem_type == "regression":
            return squared_error(logits.squeeze(-1), labels)
        loss = cross_entropy if self.problem_type == "single_label_classification" else binary_cross_entropy
        settings = {"label_smoothing": self.label_smoothing, "focal_gamma": self.focal_gamma}
        return loss(logits, labels, weights=self.class_weights, **settings)

    def negative_log_likelihood(self, outputs: Outputs, batch: Batch) -> LossSum | None:
        """Return the cross-entropy of one label or of several, without weights and smoothing; a number has none."""
        if self.problem_type == "regression":
            return None
        loss = cross_entropy if self.problem_type == "single_label_classification" else binary_cross_entropy
        return loss(outputs["logits"], batch.targets["labels"])

    def divergence(self, outputs: Outputs, other: Outputs, batch: Batch) -> torch.Tensor:
        """Return that of one label or of several; a number has none."""
        if self.problem_type == "regression":
            return super().divergence(outputs, other, batch)
        compare = divergence if self.problem_type == "single_label_classification" else binary_divergence
        return compare(outputs["logits"], other["logits"]).sum()

    def distillation(self, outputs: Outputs, teacher: Outputs, batch: Batch) -> torch.Tensor:
        """Return the divergence of one label, or of the yes and no of several; of a number the squared error."""
        ours, theirs = outputs["logits"], teacher["logits"]  # (batch, outputs)
        if self.problem_type == "regression":
            return squared_error(ours.squeeze(-1), theirs.squeeze(-1)).total
        if self.problem_type == "multi_label_classification":  # the softmax of x and 0 is the sigmoid of x
            ours, theirs = (torch.stack([logits, torch.zeros_like(logits)], dim=-1) for logits in (ours, theirs))
        return kullback_leibler(ours, theirs).sum()

    def debiased(self, outputs: Outputs, bias: torch.Tensor) -> Outputs:
        """Return the logits of one label with the shortcut's added; several labels, or a number, have none."""
        if self.problem_type != "single_label_classification":
            return super().debiased(outputs, bias)
        return {"logits": outputs["logits"].float() + bias}

    def gold_probabilities(self, outputs: Outputs, batch: Batch) -> GoldProbabilities | None:
        """Return those of each text's one label; where several may hold there is no other label, but yes or no."""
        if self.problem_type != "single_label_classification":
            return None
        return gold_probabilities(outputs["logits"], batch.targets["labels"])

    def predict(self, outputs: Outputs, batch: Batch) -> list[Any]:
        """Return the probabilities (labels,) of each text, or its number (1,)."""
        logits = outputs["logits"].float()  # (batch, outputs)
        if self.problem_type == "single_label_classification":
            logits = logits.softmax(-1)
        elif self.problem_type == "multi_label_classification":
            logits = logits.sigmoid()
        return list(logits.cpu().numpy())
