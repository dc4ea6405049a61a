"""A label for every word, all of a sentence at once: a conditional random field above the token classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from reasoner.chains import ILLEGAL, Chain, best_path, chain_of, log_partition, marginals, path_score, put_back
from reasoner.data.features import Batch
from reasoner.heads.base import GoldProbabilities, Outputs, TaskHead
from reasoner.heads.token_classification import token_records
from reasoner.losses import IGNORED, LossSum, at_least_float32

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

RATE = 100.0
"""Transitions are this many times their weights. An optimiser such as Adam moves a weight by about the learning rate,
which suits pretrained weights; transitions, which begin at 0 and matter from about 1 on, would stay where they are."""


class CRFHead(TaskHead):
    """The architecture's own token classifier, and a learned score for each step from a label to the next.

    Steps that are not legal are never taken, and have no part in the partition function (Lample et al., 2016,
    https://arxiv.org/abs/1603.01360; Collobert et al., 2011, https://arxiv.org/abs/1103.0398). The words of a window
    are one sequence; its first word has no step before it when the text began in an earlier window.

    Outputs: `logits` (batch, length, labels). Targets: `words` and `labels`, as in `TokenClassificationHead`. A gold
    step that is not legal (before the gold of a word that the tokenizer does not show) parts the sequence in two.

    Args:
        config: of the model.
        num_outputs: number of labels.
        legal_steps: which label (column) may follow which (row); the last row: which a text may begin with.
    """

    auto_class = "AutoModelForTokenClassification"
    outputs_at = "tokens"
    elsewhere = (
        "The scores of steps from label to label are in `head.safetensors`, which plain transformers does not read: it "
        "takes the best label of each token, and its results differ."
    )
    legal: Tensor

    def __init__(self, config: PreTrainedConfig, *, num_outputs: int, legal_steps: Sequence[Sequence[bool]]) -> None:
        super().__init__(config, num_outputs=num_outputs)
        self.weight = nn.Parameter(torch.zeros(num_outputs + 1, num_outputs))
        """The transitions over `RATE`, see `chains.log_partition`."""
        self.register_buffer("legal", torch.tensor(legal_steps), persistent=False)

    @property
    def transitions(self) -> Tensor:
        """The scores of steps, (labels + 1, labels)."""
        return (RATE * self.weight).masked_fill(~self.legal, ILLEGAL)

    def take_over(self, name: str, old: Tensor, into: Tensor) -> None:
        """Put the old labels first; the last row of the transitions is that of the beginning."""
        if name != "weight" or old.ndim != 2 or old.shape[0] != old.shape[1] + 1:  # one of the classifier below
            super().take_over(name, old, into)
            return
        labels = old.shape[1]
        into[:labels, :labels] = old[:-1]
        into[-1, :labels] = old[-1]

    def loss(self, outputs: Outputs, batch: Batch) -> LossSum:
        """Return minus the log-probability of the gold sequences, summed, and the number of their words."""
        chain, labels, _ = self._gold(outputs, batch)
        transitions = self.transitions.to(chain.emissions.dtype)
        total = (log_partition(chain, transitions) - path_score(chain, transitions, labels)).sum()
        return LossSum(total, chain.held.sum().to(total.dtype))

    def divergence(self, outputs: Outputs, other: Outputs, batch: Batch) -> Tensor:
        """Return that of the two distributions over whole sequences; transitions and what normalises cancel."""
        one, two = (self._gold(each, batch)[0] for each in (outputs, other))
        transitions = self.transitions.to(one.emissions.dtype)
        moved = marginals(one, transitions) - marginals(two, transitions)  # (batch, words, labels)
        return ((moved * (one.emissions - two.emissions)).sum(-1) * one.held).sum() / 2

    @torch.no_grad()
    def gold_probabilities(self, outputs: Outputs, batch: Batch) -> GoldProbabilities:
        """Return those of each labelled word, over all sequences."""
        chain, labels, places = self._gold(outputs, batch)
        probabilities = marginals(chain, self.transitions.to(chain.emissions.dtype))  # (batch, words, labels)
        index = labels.unsqueeze(-1)
        own = probabilities.gather(-1, index).squeeze(-1)
        other, number = probabilities.scatter(-1, index, -1.0).max(-1)
        nothing = torch.zeros(batch.targets["labels"].shape, device=own.device, dtype=own.dtype)
        own, other = (put_back(values, chain, places, nothing) for values in (own, other))
        return GoldProbabilities(batch.targets["labels"], own, put_back(number, chain, places, nothing.long()), other)

    @torch.no_grad()
    def predict(self, outputs: Outputs, batch: Batch) -> list[Any]:
        """Return a `TokenRecord` a feature: the best sequence, and each label's probability over all sequences."""
        chain, places = chain_of(at_least_float32(outputs["logits"]), batch.targets["words"])
        transitions = self.transitions.to(chain.emissions.dtype)
        path = best_path(chain, transitions)  # (batch, words)
        sure = marginals(chain, transitions).gather(-1, path.unsqueeze(-1)).squeeze(-1)
        nothing = torch.zeros(outputs["logits"].shape[:2], device=path.device, dtype=sure.dtype)
        labels = put_back(path, chain, places, nothing.long())
        return token_records(labels, put_back(sure, chain, places, nothing))

    def _gold(self, outputs: Outputs, batch: Batch) -> tuple[Chain, Tensor, Tensor]:
        """Return the labelled words, their labels (0 after a row's last word) and their places, (batch, words)."""
        labels, words = batch.targets["labels"], batch.targets["words"]
        words = words.masked_fill(labels == IGNORED, 0)
        chain, places = chain_of(at_least_float32(outputs["logits"]), words)
        gold = labels.gather(1, places).masked_fill(~chain.held, 0)
        start = torch.full_like(gold[:, :1], self.num_outputs)
        legal = self.legal[torch.cat([start, gold[:, :-1]], dim=1), gold]
        return chain._replace(fresh=chain.fresh | (chain.held & ~legal)), gold, places
