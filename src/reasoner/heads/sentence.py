"""Labels of a whole text by its sentence vector: what SetFit learns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from reasoner.data.features import Batch
from reasoner.heads.base import Outputs
from reasoner.heads.sequence_classification import SequenceClassificationHead
from reasoner.heads.similarity import check_pooling, sentence_vectors

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


class SentenceHead(SequenceClassificationHead):
    """A linear layer on the vector of a text: the mean of its hidden states, or the first of them.

    Outputs, targets and records are those of `SequenceClassificationHead`.

    Args:
        config: see there.
        num_outputs: see there.
        problem_type: see there.
        class_weights: see there.
        label_smoothing: see there.
        focal_gamma: see there.
        pooling: "mean" or "first".
        normalized: whether vectors have length 1.

    Raises:
        ConfigError: if there is no such pooling.
    """

    auto_class = None
    elsewhere = "The folder's network gives hidden states; `head.safetensors` is a linear layer on a text's vector."

    def __init__(
        self,
        config: PreTrainedConfig,
        *,
        num_outputs: int,
        problem_type: str = "single_label_classification",
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        focal_gamma: float = 0.0,
        pooling: str = "mean",
        normalized: bool = True,
    ) -> None:
        super().__init__(
            config,
            num_outputs=num_outputs,
            problem_type=problem_type,
            class_weights=class_weights,
            label_smoothing=label_smoothing,
            focal_gamma=focal_gamma,
        )
        self.pooling, self.normalized = check_pooling(pooling), normalized
        self.classifier = nn.Linear(self.width, num_outputs)

    def forward(self, hidden: Tensor, batch: Batch) -> Outputs:
        """Return `logits` (features, outputs)."""
        mask = batch.inputs["attention_mask"]
        vectors = sentence_vectors(hidden, mask, pooling=self.pooling, normalized=self.normalized)
        return {"logits": self.classifier(vectors.to(self.classifier.weight.dtype))}
