"""A score for every span of words and every label: entities may nest and overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from reasoner.chains import gather_words, take
from reasoner.data.features import Batch
from reasoner.heads.base import Outputs, TaskHead
from reasoner.losses import LossSum, at_least_float32, binary_divergence, several_of_many

if TYPE_CHECKING:
    from numpy import ndarray
    from transformers import PreTrainedConfig

FIRST_SCORE = -5.0
"""What a span scores before training: hardly any is an entity, and the first steps need not learn that."""


class SpansRecord(NamedTuple):
    """The spans of one window that are more probable than not."""

    starts: ndarray[Any, Any]  # (spans,) the first word, counted in the words of the window
    ends: ndarray[Any, Any]  # (spans,) the last word
    labels: ndarray[Any, Any]  # (spans,)
    probabilities: ndarray[Any, Any]  # (spans,) float32


class SpanHead(TaskHead):
    """Efficient GlobalPointer (Su et al., 2022, https://arxiv.org/abs/2208.03054).

    A span scores the product of a query of its first word and a key of its last one, turned by their places (rotary
    embedding, Su et al., 2021, https://arxiv.org/abs/2104.09864), so that the length of a span counts; and for each
    label, a score of the first word and one of the last. Two small layers do for any number of labels, where the
    biaffine head (Yu et al., 2020, https://arxiv.org/abs/2005.07150) has a matrix for each. The loss weighs what is an
    entity against the highest of the many spans that are none, so that no share of negatives must be chosen.

    Memory grows with labels x words squared of the longest window in a batch.

    Outputs: `logits` (batch, labels, words, words), by first and last word. Targets: `words` (batch, length), 2 at the
    first token of a word where a span may begin, 1 at that of another word; and the gold as lists of spans, one a
    place, each (batch, length): `span_starts` and `span_ends` (first and last word, counted in the words of the window)
    and `span_labels`, `-100` after the last span.

    Args:
        config: of the model.
        num_outputs: number of labels.
        size: of queries and keys, an even number.
    """

    def __init__(self, config: PreTrainedConfig, *, num_outputs: int, size: int = 64) -> None:
        super().__init__(config, num_outputs=num_outputs)
        self.size = size
        self.query, self.key = nn.Linear(self.width, size), nn.Linear(self.width, size)
        self.first, self.last = nn.Linear(self.width, num_outputs), nn.Linear(self.width, num_outputs)
        nn.init.constant_(self.first.bias, FIRST_SCORE / 2)
        nn.init.constant_(self.last.bias, FIRST_SCORE / 2)

    def forward(self, hidden: Tensor, batch: Batch) -> Outputs:
        """Return the score of each span of words; a word is read at its first token."""
        places, _ = gather_words(batch.targets["words"] > 0)
        words = take(hidden, places)  # (batch, words, width)
        queries, keys = _turned(self.query(words)), _turned(self.key(words))  # (batch, words, size)
        pairs = queries @ keys.transpose(1, 2) / self.size**0.5  # (batch, words, words)
        first, last = self.first(words).transpose(1, 2), self.last(words).transpose(1, 2)  # (batch, labels, words)
        return {"logits": pairs.unsqueeze(1) + first.unsqueeze(-1) + last.unsqueeze(-2)}

    def loss(self, outputs: Outputs, batch: Batch) -> LossSum:
        """Return `losses.several_of_many` over the spans of each window, for each label."""
        possible = _possible(batch, outputs["logits"])
        return several_of_many(
            outputs["logits"].flatten(2), _gold(batch, outputs["logits"]).flatten(2), possible.flatten(2)
        )

    def divergence(self, outputs: Outputs, other: Outputs, batch: Batch) -> Tensor:
        """Return that of all spans of each window, each of which is an entity or not."""
        possible = _possible(batch, outputs["logits"])
        return (binary_divergence(outputs["logits"], other["logits"]) * possible).sum()

    def negative_log_likelihood(self, outputs: Outputs, batch: Batch) -> LossSum:
        """Return the binary cross-entropy of the spans that are predicted: those that score above 0.

        Whatever the temperature they are the same ones, and it is of them that `predict` says how sure it is.
        """
        logits = at_least_float32(outputs["logits"])
        predicted = _possible(batch, logits) & (logits > 0)
        losses = nn.functional.binary_cross_entropy_with_logits(
            logits[predicted], _gold(batch, logits)[predicted].to(logits.dtype), reduction="sum"
        )
        return LossSum(losses, predicted.sum().to(logits.dtype))

    def predict(self, outputs: Outputs, batch: Batch) -> list[Any]:
        """Return a `SpansRecord` a feature: every span that scores above 0."""
        logits = at_least_float32(outputs["logits"].detach())
        found = (_possible(batch, logits) & (logits > 0)).nonzero()  # (spans, 4), in order of rows
        probabilities = logits[tuple(found.T)].sigmoid().float().cpu()
        found = found.cpu()
        sizes = torch.bincount(found[:, 0], minlength=len(logits)).tolist()
        rows = zip(torch.split(found, sizes), torch.split(probabilities, sizes), strict=True)
        return [
            SpansRecord(spans[:, 2].numpy(), spans[:, 3].numpy(), spans[:, 1].numpy(), sure.numpy())
            for spans, sure in rows
        ]


def _turned(vectors: Tensor) -> Tensor:
    """Return vectors (batch, words, size) turned by their word's place, so that products see the distance of words."""
    half = vectors.shape[-1] // 2
    speeds = 10_000.0 ** (-torch.arange(half, device=vectors.device, dtype=vectors.dtype) / half)
    angles = torch.arange(vectors.shape[1], device=vectors.device, dtype=vectors.dtype).unsqueeze(1) * speeds
    one, other = vectors[..., :half], vectors[..., half:]
    return torch.cat([one * angles.cos() - other * angles.sin(), other * angles.cos() + one * angles.sin()], dim=-1)


def _possible(batch: Batch, logits: Tensor) -> Tensor:
    """Return which spans there are, (batch, labels, words, words): within a row's words, none that ends too soon."""
    words = batch.targets["words"]
    places, held = gather_words(words > 0)
    begins = held & (take(words, places) == 2)  # (batch, words)
    spans = (begins.unsqueeze(2) & held.unsqueeze(1)).triu()  # (batch, words, words)
    return spans.unsqueeze(1).expand_as(logits)


def _gold(batch: Batch, logits: Tensor) -> Tensor:
    """Return which spans are entities, (batch, labels, words, words)."""
    gold = torch.zeros(logits.shape, dtype=torch.bool, device=logits.device)
    labels = batch.targets["span_labels"]
    row, place = (labels >= 0).nonzero(as_tuple=True)  # (spans,)
    starts, ends = batch.targets["span_starts"][row, place], batch.targets["span_ends"][row, place]
    gold[row, labels[row, place], starts, ends] = True
    return gold
