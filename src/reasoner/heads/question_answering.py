"""The first and last token of the answer: cross-entropy over positions, and the best spans."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from reasoner.data.features import Batch
from reasoner.heads.base import Outputs, TaskHead
from reasoner.losses import IGNORED, LossSum, cross_entropy, divergence, kullback_leibler

if TYPE_CHECKING:
    from numpy import ndarray
    from transformers import PreTrainedConfig


LOWEST = -1e4
"""A logit that no softmax sees, in half precision too, and that is finite."""


class SpanRecord(NamedTuple):
    """The best spans of one window, best first, and the score of "no answer here"."""

    starts: ndarray[Any, Any]  # (spans,) token indexes
    ends: ndarray[Any, Any]  # (spans,) token indexes, inclusive
    scores: ndarray[Any, Any]  # (spans,) start logit + end logit
    null_score: float


class QuestionAnsweringHead(TaskHead):
    """The architecture's own span classifier (Devlin et al., 2019, sections 4.2 and 4.3).

    Outputs: `start_logits` and `end_logits`, each (batch, length). Targets: `start_positions` and `end_positions`,
    each (batch,), 0 (the first token) where the window holds no answer; `context_mask` (batch, length), 1 where
    an answer may stand.

    Args:
        config: of the model.
        num_outputs: always 2.
        max_answer_tokens: no longer span is considered.
        n_best: spans kept a window.
    """

    auto_class = "AutoModelForQuestionAnswering"

    def __init__(
        self, config: PreTrainedConfig, *, num_outputs: int = 2, max_answer_tokens: int = 30, n_best: int = 20
    ) -> None:
        super().__init__(config, num_outputs=num_outputs)
        self.max_answer_tokens, self.n_best = max_answer_tokens, n_best

    def loss(self, outputs: Outputs, batch: Batch) -> LossSum:
        """Return the mean of the start's and the end's cross-entropy, summed over windows, and their number.

        Padding is no position that could be chosen, so that the loss of a window does not depend on its batch.
        """
        both = self.negative_log_likelihood(outputs, batch)
        return LossSum(both.total / 2, both.count / 2)

    def negative_log_likelihood(self, outputs: Outputs, batch: Batch) -> LossSum:
        """Return the cross-entropy of starts and ends, each over the window's own tokens."""
        padding = batch.targets["context_mask"] == IGNORED  # (batch, length): no position to choose
        start = cross_entropy(_without(outputs["start_logits"], padding), batch.targets["start_positions"])
        end = cross_entropy(_without(outputs["end_logits"], padding), batch.targets["end_positions"])
        return LossSum(start.total + end.total, start.count + end.count)

    def divergence(self, outputs: Outputs, other: Outputs, batch: Batch) -> Tensor:
        """Return the mean of the start's and the end's, each over the window's own tokens."""
        return _over_positions(divergence, outputs, other, batch)

    def distillation(self, outputs: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Return the mean of the start's and the end's, each over the window's own tokens."""
        return _over_positions(kullback_leibler, outputs, teacher, batch)

    def predict(self, outputs: Outputs, batch: Batch) -> list[Any]:
        """Return a `SpanRecord` a window: all spans in the context up to the longest allowed compete."""
        start_logits, end_logits = outputs["start_logits"].float(), outputs["end_logits"].float()  # (batch, length)
        null_scores = (start_logits[:, 0] + end_logits[:, 0]).cpu().tolist()
        allowed = batch.targets["context_mask"] == 1  # (batch, length)
        spans = _span_scores(
            start_logits, end_logits, allowed, self.max_answer_tokens
        )  # (batch, length, answer length)
        longest = spans.shape[-1]
        best, index = spans.flatten(1).topk(min(self.n_best, spans[0].numel()))  # (batch, n_best)
        first = index // longest
        records = []
        for row, null_score in enumerate(null_scores):
            real = best[row] > float("-inf")
            begin, length = first[row][real], index[row][real] % longest
            starts, ends, scores = (tensor.cpu().numpy() for tensor in (begin, begin + length, best[row][real]))
            records.append(SpanRecord(starts, ends, scores, null_score))
        return records


def _over_positions(
    compare: Callable[[Tensor, Tensor], Tensor], outputs: Outputs, other: Outputs, batch: Batch
) -> Tensor:
    padding = batch.targets["context_mask"] == IGNORED  # (batch, length): equal logits differ by nothing
    start, end = (
        compare(*(_without(given[name], padding, LOWEST) for given in (outputs, other))).sum()
        for name in ("start_logits", "end_logits")
    )
    return (start + end) / 2


def _without(logits: Tensor, mask: Tensor, value: float = float("-inf")) -> Tensor:
    return logits.masked_fill(mask, value)


def _span_scores(starts: Tensor, ends: Tensor, allowed: Tensor, longest: int) -> Tensor:
    """Return the score of each span by its start and its length less one; -inf where it leaves the context.

    Args:
        starts: (batch, length) logits.
        ends: (batch, length) logits.
        allowed: (batch, length), where an answer may stand.
        longest: tokens of the longest span.
    """
    longest = min(longest, starts.shape[1])
    ends = torch.nn.functional.pad(_without(ends, ~allowed), (0, longest - 1), value=float("-inf"))
    return _without(starts, ~allowed).unsqueeze(-1) + ends.unfold(1, longest, 1)  # (batch, length, longest)
