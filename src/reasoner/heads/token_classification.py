"""A label for every token, each on its own: cross-entropy over tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from reasoner.chains import ILLEGAL, best_path, chain_of, put_back
from reasoner.data.features import Batch
from reasoner.errors import ConfigError
from reasoner.heads.base import GoldProbabilities, Outputs, TaskHead, gold_probabilities
from reasoner.losses import IGNORED, LossSum, cross_entropy, divergence, kullback_leibler

if TYPE_CHECKING:
    from numpy import ndarray
    from transformers import PreTrainedConfig


class TokenRecord(NamedTuple):
    """The best label of each token and its probability."""

    labels: ndarray[Any, Any]  # (length,) int16
    probabilities: ndarray[Any, Any]  # (length,) float32


class TokenClassificationHead(TaskHead):
    """The architecture's own token classifier.

    Outputs: `logits` (batch, length, labels). Targets: `labels` (batch, length), `-100` ignored; for `constrained` also
    `words` (batch, length), 1 at the first token of a word, 2 where what stands before that word is not known.

    Args:
        config: of the model.
        num_outputs: number of labels.
        class_weights: a weight for each label.
        label_smoothing: see `losses.cross_entropy`.
        focal_gamma: see there.
        constrained: predict the most probable label sequence without an illegal step; else each token's best label.
        legal_steps: which label (column) may follow which (row); the last row: which a text may begin with.

    Raises:
        ConfigError: if `constrained` has no `legal_steps`.
    """

    auto_class = "AutoModelForTokenClassification"
    outputs_at = "tokens"
    class_weights: Tensor | None
    transitions: Tensor | None

    def __init__(
        self,
        config: PreTrainedConfig,
        *,
        num_outputs: int,
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        focal_gamma: float = 0.0,
        constrained: bool = False,
        legal_steps: Sequence[Sequence[bool]] | None = None,
    ) -> None:
        super().__init__(config, num_outputs=num_outputs)
        if constrained and legal_steps is None:
            raise ConfigError("constrained: this task does not say which label may follow which. Leave it out.")
        self.label_smoothing, self.focal_gamma = label_smoothing, focal_gamma
        weights = None if class_weights is None else torch.tensor(class_weights)
        self.register_buffer("class_weights", weights, persistent=False)
        legal = torch.tensor(legal_steps) if constrained else None  # (labels + 1, labels)
        transitions = None if legal is None else torch.zeros(legal.shape).masked_fill(~legal, ILLEGAL)
        self.register_buffer("transitions", transitions, persistent=False)

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

    def distillation(self, outputs: Outputs, teacher: Outputs, batch: Batch) -> torch.Tensor:
        """Return the divergence over the labelled tokens."""
        labelled = batch.targets["labels"] != IGNORED
        return (kullback_leibler(outputs["logits"], teacher["logits"]) * labelled).sum()

    def gold_probabilities(self, outputs: Outputs, batch: Batch) -> GoldProbabilities:
        """Return those of each labelled token."""
        return gold_probabilities(outputs["logits"], batch.targets["labels"])

    def predict(self, outputs: Outputs, batch: Batch) -> list[Any]:
        """Return a `TokenRecord` a feature."""
        logits = outputs["logits"].float()
        probabilities = logits.softmax(-1)  # (batch, length, labels)
        best, labels = probabilities.max(-1)  # (batch, length)
        if self.transitions is not None:
            labels = _constrained(logits.log_softmax(-1), batch.targets["words"], self.transitions.float())
            best = probabilities.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
        return token_records(labels, best)


def token_records(labels: Tensor, probabilities: Tensor) -> list[Any]:
    """Return a `TokenRecord` a feature, of tensors (batch, length)."""
    rows = labels.to(torch.int16).cpu().numpy(), probabilities.float().cpu().numpy()
    return [TokenRecord(*pair) for pair in zip(*rows, strict=True)]


def _constrained(log_probabilities: Tensor, words: Tensor, transitions: Tensor) -> Tensor:
    """Return the labels of the most probable legal sequence of each row's words, (batch, length); 0 elsewhere."""
    chain, places = chain_of(log_probabilities, words)
    return put_back(best_path(chain, transitions), chain, places, torch.zeros_like(words))
