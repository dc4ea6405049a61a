"""Does the text entail what a label says of it? The output of an NLI model, one sequence a label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reasoner.data.features import Batch
from reasoner.heads.base import Outputs, TaskHead
from reasoner.losses import LossSum, grouped_cross_entropy

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


class EntailmentHead(TaskHead):
    """The checkpoint's own text classifier, tuned for inference; a label's score is the logit of entailment.

    After Yin et al., 2019 (https://arxiv.org/abs/1909.00161): the text is the premise, and what a label says of it the
    hypothesis. The probabilities are a softmax over the labels of a row. Outputs: `logits` (features, the checkpoint's
    labels). Target: `labels` (features,), 1 for the right label, else 0. Records: the score.

    Args:
        config: the model's.
        num_outputs: not used: the outputs are the checkpoint's.
        entailing: which output says that the text entails the hypothesis.
    """

    auto_class = "AutoModelForSequenceClassification"
    pretrained = True

    def __init__(self, config: PreTrainedConfig, *, num_outputs: int = 1, entailing: int = 0) -> None:
        super().__init__(config, num_outputs=num_outputs)
        self.entailing = entailing

    def loss(self, outputs: Outputs, batch: Batch) -> LossSum:
        """Return the cross-entropy of each row over its labels, summed, and the number of rows."""
        scores = outputs["logits"][:, self.entailing]  # (features,)
        return grouped_cross_entropy(scores, batch.targets["labels"], batch.group)

    def negative_log_likelihood(self, outputs: Outputs, batch: Batch) -> LossSum:
        """Return the same."""
        return self.loss(outputs, batch)

    def predict(self, outputs: Outputs, batch: Batch) -> list[Any]:
        """Return the logit of entailment of each feature as a float."""
        scores: list[Any] = outputs["logits"][:, self.entailing].float().cpu().tolist()
        return scores
