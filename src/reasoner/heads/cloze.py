"""Which word fills the gap, for a masked language model?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from reasoner.data.features import Batch
from reasoner.errors import ConfigError
from reasoner.heads.base import Outputs, Runs, TaskHead, distinct
from reasoner.losses import IGNORED, LossSum, grouped_cross_entropy
from reasoner.prefixes import log_probabilities

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

CORRECTIONS = ("sum", "token")


class ClozeHead(TaskHead):
    """The architecture's own output layer over the vocabulary; a label's score is how probable it is at the masks.

    After Schick & Schütze, 2021 (https://arxiv.org/abs/2001.07676), with as many masks as the label has tokens, all
    filled in one pass, each as if it were alone. `infer` runs labels of as many tokens at once. Outputs: `logits`
    (features, length, vocabulary). Target: `labels` (features,), 1 for the right label, else 0. Token target: `words`
    (features, length), the masked tokens, -100 elsewhere. Records: the score.

    Args:
        config: the model's.
        num_outputs: not used: the vocabulary is the model's.
        correction: "sum": the log-probability of all tokens; "token": their mean.

    Raises:
        ConfigError: if there is no such correction.
    """

    auto_class = "AutoModelForMaskedLM"
    pretrained = True
    scores_choices = True

    def __init__(self, config: PreTrainedConfig, *, num_outputs: int = 1, correction: str = "token") -> None:
        super().__init__(config, num_outputs=num_outputs)
        if correction not in CORRECTIONS:
            raise ConfigError(f"correction is {correction!r}. For cloze give one of {', '.join(CORRECTIONS)}.")
        self.correction = correction

    def loss(self, outputs: Outputs, batch: Batch) -> LossSum:
        """Return the cross-entropy of each row over its labels, summed, and the number of rows."""
        return grouped_cross_entropy(self._scores(outputs["logits"], batch), batch.targets["labels"], batch.group)

    def scaled(self, outputs: Outputs, temperature: float) -> Outputs:
        """Return the outputs as they are: it is the scores of labels that the temperature divides."""
        return outputs

    def predict(self, outputs: Outputs, batch: Batch) -> list[Any]:
        """Return the score of each feature as a float."""
        scores: list[Any] = self._scores(outputs["logits"], batch).float().cpu().tolist()
        return scores

    def infer(self, model: Runs, batch: Batch) -> list[Any]:
        """Return the score of each feature, over the temperature; sequences equal with their masks are run once."""
        inputs, place = distinct(batch.inputs)
        scores = self._scores(model.run(inputs).logits, batch, place).float() / self.temperature
        return list(scores.cpu().tolist())

    def _scores(self, logits: Tensor, batch: Batch, place: Tensor | None = None) -> Tensor:
        """Return the score of each feature, (features,), by logits that stand at `place`, (features,)."""
        words = batch.targets["words"]
        rows = range(len(words)) if place is None else place.tolist()
        scores = []
        for row, own in zip(rows, words, strict=True):
            held = own != IGNORED  # (length,)
            found = log_probabilities(logits[row][held], own[held])
            scores.append(found.sum() if self.correction == "sum" else found.mean())
        return torch.stack(scores)
