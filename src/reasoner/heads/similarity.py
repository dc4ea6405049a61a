"""Which label is nearest to the text, for a sentence encoder: the cosine of their vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from reasoner.data.features import Batch
from reasoner.errors import ConfigError
from reasoner.heads.base import Outputs, Runs, TaskHead, distinct
from reasoner.losses import LossSum, at_least_float32, grouped_cross_entropy

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

POOLINGS = ("mean", "first")


class SimilarityHead(TaskHead):
    """A text's vector is the mean of its hidden states, of length 1; a label's score is the cosine over a temperature.

    The first feature of a group is the text, the others are its labels. `infer` runs equal sequences once. Outputs:
    `vectors` (features, width). Target: `labels` (features,), 1 for the right label, else 0. Records: the score; None
    for the text itself.

    Args:
        config: the model's.
        num_outputs: not used.
        similarity_temperature: what cosines are divided by before the softmax; 0.05 is usual in training encoders. It
            changes the probabilities, and not which is the greatest.
        pooling: "mean" of the hidden states, or that of the "first" token, for encoders that were trained so.

    Raises:
        ConfigError: if there is no such pooling, or the temperature is not above 0.
    """

    scores_choices = True
    elsewhere = "The folder's network gives hidden states: the vectors of a text and of what each label says of it."

    def __init__(
        self,
        config: PreTrainedConfig,
        *,
        num_outputs: int = 1,
        similarity_temperature: float = 0.05,
        pooling: str = "mean",
    ) -> None:
        super().__init__(config, num_outputs=num_outputs)
        if not similarity_temperature > 0:
            raise ConfigError(f"similarity_temperature is {similarity_temperature!r}. Give a number above 0.")
        self.similarity_temperature, self.pooling = similarity_temperature, check_pooling(pooling)

    def forward(self, hidden: Tensor, batch: Batch) -> Outputs:
        """Return the vector of each feature."""
        return {"vectors": sentence_vectors(hidden, batch.inputs["attention_mask"], pooling=self.pooling)}

    def loss(self, outputs: Outputs, batch: Batch) -> LossSum:
        """Return the cross-entropy of each row over its labels, summed, and the number of rows."""
        held = ~_is_text(batch.group)
        scores = self._scores(outputs["vectors"], batch.group)[held]
        return grouped_cross_entropy(scores, batch.targets["labels"][held], batch.group[held])

    def predict(self, outputs: Outputs, batch: Batch) -> list[Any]:
        """Return the score of each label as a float, and None for the text."""
        scores = self._scores(outputs["vectors"], batch.group).cpu().tolist()
        return [None if text else score for score, text in zip(scores, _is_text(batch.group).tolist(), strict=True)]

    def infer(self, model: Runs, batch: Batch) -> list[Any]:
        """Return the score of each label, over the temperature; sequences that are equal, as labels', are run once."""
        inputs, place = distinct(batch.inputs)
        hidden = model.run(inputs).last_hidden_state
        vectors = sentence_vectors(hidden, inputs["attention_mask"], pooling=self.pooling)
        scores = self.predict({"vectors": vectors[place]}, batch)
        return [None if score is None else score / self.temperature for score in scores]

    def _scores(self, vectors: Tensor, group: Tensor) -> Tensor:
        """Return the cosine with the text of the same row over the temperature, (features,)."""
        texts = vectors[_is_text(group)][group]  # (features, width)
        return (vectors * texts).sum(-1) / self.similarity_temperature


def _is_text(group: Tensor) -> Tensor:
    """Return which features are the first of their group, (features,)."""
    before = torch.nn.functional.pad(group[:-1], (1, 0), value=-1)
    return group != before


def check_pooling(pooling: str) -> str:
    """Return it.

    Raises:
        ConfigError: if there is no such pooling.
    """
    if pooling not in POOLINGS:
        raise ConfigError(f"pooling is {pooling!r}. Give one of {', '.join(POOLINGS)}.")
    return pooling


def sentence_vectors(hidden: Tensor, mask: Tensor, *, pooling: str, normalized: bool = True) -> Tensor:
    """Return a vector for each text, (rows, width).

    Args:
        hidden: (rows, length, width), the hidden states.
        mask: (rows, length), 1 where a token stands.
        pooling: "mean": of the hidden states; "first": that of the first token.
        normalized: scale each to length 1.
    """
    if pooling == "first":
        pooled = hidden[torch.arange(len(hidden), device=hidden.device), mask.argmax(1)]
    else:
        weights = mask.unsqueeze(-1).to(hidden.dtype)  # (rows, length, 1)
        pooled = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)
    vectors = at_least_float32(pooled)
    return torch.nn.functional.normalize(vectors, dim=-1) if normalized else vectors
