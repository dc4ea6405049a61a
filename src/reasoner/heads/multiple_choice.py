"""A score for every choice, a softmax over the choices of one question."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from reasoner.data.features import Batch
from reasoner.heads.base import Outputs, TaskHead
from reasoner.losses import LossSum, grouped_cross_entropy, grouped_divergence, grouped_kullback_leibler


class MultipleChoiceHead(TaskHead):
    """The architecture's own choice scorer, for any number of choices, differing by question.

    Each choice is a feature of its own; `batch.group` says which question it belongs to. Outputs: `logits`
    (choices of all questions, 1). Targets: `labels` (choices,), 1 for the right choice, else 0. Records: the logit.
    """

    auto_class = "AutoModelForMultipleChoice"
    outputs_at = "features"

    def model_inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return inputs of (choices, 1, length): transformers' class wants a dimension for choices."""
        return {name: tensor.unsqueeze(1) for name, tensor in batch.inputs.items()}

    def loss(self, outputs: Outputs, batch: Batch) -> LossSum:
        """Return the cross-entropy of each question over its own choices, summed, and the number of questions."""
        return self.negative_log_likelihood(outputs, batch)

    def negative_log_likelihood(self, outputs: Outputs, batch: Batch) -> LossSum:
        """Return the cross-entropy of each question over its own choices."""
        return grouped_cross_entropy(outputs["logits"].squeeze(-1), batch.targets["labels"], batch.group)

    def divergence(self, outputs: Outputs, other: Outputs, batch: Batch) -> Tensor:
        """Return that of the choices of each question."""
        return grouped_divergence(outputs["logits"].squeeze(-1), other["logits"].squeeze(-1), batch.group)

    def distillation(self, outputs: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Return the divergence over the choices of each question."""
        return grouped_kullback_leibler(outputs["logits"].squeeze(-1), teacher["logits"].squeeze(-1), batch.group)

    def debiased(self, outputs: Outputs, bias: Tensor) -> Outputs:
        """Return the logits of the choices with the shortcut's added."""
        return {"logits": outputs["logits"].float() + bias}

    def predict(self, outputs: Outputs, batch: Batch) -> list[Any]:
        """Return the logit of each choice as a float."""
        scores: list[Any] = outputs["logits"].squeeze(-1).float().cpu().tolist()
        return scores
