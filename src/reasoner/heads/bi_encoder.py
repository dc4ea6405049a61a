"""Queries and candidates as vectors of one space: near means that the candidate answers the query."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reasoner.data.features import Batch
from reasoner.heads.base import Outputs, Runs, TaskHead
from reasoner.losses import LossSum, at_least_float32, in_batch_cross_entropy

PROBED = 4
"""As many candidates are run for each batch, to see whether the vectors of all are still those of this model."""
TOGETHER = 256
"""Candidates a batch."""


class BiEncoderHead(TaskHead):
    """Mean of the hidden states, scaled to length 1; the product of two such vectors, times a factor, is a logit.

    After SimKGC (Wang et al., 2022, https://arxiv.org/abs/2203.02167), without its margin and its queue of earlier
    batches. Features with gold come in groups: a query, the candidate that answers it, and `wrong_answers` that do not.
    Outputs: `vectors` (features, width). Targets: `query` and `answer` (features,), numbers: of a candidate its own, of
    a query that of its answer. Records: the feature's vector times the factor, and the vectors of all candidates, one
    array for all records.

    Args:
        config: the model's.
        num_outputs: not used: a text has one vector.
        candidate_tokens: the token ids of each candidate's text.
        known_answers: query * candidates + answer of each pair that is known to be right in training, ascending; such
            an answer is never a wrong one in a batch.
        similarity_temperature: what products are divided by at first; its logarithm is learned.
        wrong_answers: how many; they are wrong for the other queries too, unless they are known to be right.
    """

    known_answers: Tensor
    elsewhere = "The folder's network gives hidden states; a text's vector is their mean over its tokens, of length 1."

    def __init__(
        self,
        config: Any,
        *,
        num_outputs: int = 1,
        candidate_tokens: Sequence[Sequence[int]] = (),
        known_answers: Sequence[int] = (),
        similarity_temperature: float = 0.05,
        wrong_answers: int = 0,
    ) -> None:
        super().__init__(config, num_outputs=num_outputs)
        self.wrong_answers = wrong_answers
        self.log_factor = nn.Parameter(torch.tensor(-math.log(similarity_temperature)))
        self.candidate_tokens, self.padding = candidate_tokens, getattr(config, "pad_token_id", None) or 0
        self.register_buffer("known_answers", torch.tensor(known_answers, dtype=torch.int64), persistent=False)
        self._probe: NDArray[Any] | None = None
        self._table: NDArray[Any] | None = None

    def forward(self, hidden: Tensor, batch: Batch) -> Outputs:
        """Return the vector of each feature."""
        mask = batch.inputs["attention_mask"].unsqueeze(-1).to(hidden.dtype)  # (features, length, 1)
        mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)
        return {"vectors": nn.functional.normalize(at_least_float32(mean), dim=-1)}  # (features, width)

    def loss(self, outputs: Outputs, batch: Batch) -> LossSum:
        """Return the cross-entropy of each query over the answers of its batch (InfoNCE), and the number of queries."""
        step, vectors, queries = 2 + self.wrong_answers, outputs["vectors"], batch.targets["query"]

        def ordered(values: Tensor) -> Tensor:
            """Return what belongs to the answers: the queries' own first, then their wrong ones."""
            return torch.cat([values[place::step] for place in range(1, step)])

        answers = ordered(batch.targets["answer"])
        logits = self.log_factor.exp() * vectors[0::step] @ ordered(vectors).T  # (queries, answers)
        return in_batch_cross_entropy(logits, answers, self._known(queries[0::step], answers))

    def predict(self, outputs: Outputs, batch: Batch) -> list[Any]:
        """Return each feature's vector, times the factor."""
        vectors = outputs["vectors"] * self.log_factor.exp()
        return list(vectors.detach().cpu().numpy())

    def infer(self, model: Runs, batch: Batch) -> list[Any]:
        """Return for each feature its vector, times the factor, and the vectors of all candidates."""
        candidates = self._all_candidates(model, batch)
        return [(vector, candidates) for vector in self.predict(model(batch), batch)]

    def _known(self, queries: Tensor, answers: Tensor) -> Tensor:
        """Return where an answer of the batch, the own ones first, is right for a query: (queries, answers)."""
        same = queries[:, None] == queries  # also where the pair is not of training, as in validation
        own = answers[: len(queries)]
        right = (same.double() @ (own[:, None] == answers).double()) > 0
        if len(self.known_answers):
            keys = queries[:, None] * len(self.candidate_tokens) + answers
            place = torch.searchsorted(self.known_answers, keys).clamp(max=len(self.known_answers) - 1)
            right |= self.known_answers[place] == keys
        return right

    @torch.no_grad()
    def _all_candidates(self, model: Runs, like: Batch) -> NDArray[Any]:
        """Return the vectors of all candidates, (candidates, width); made anew when the first have become others.

        A vector depends on its text alone, so that no more than a probe need be run where the weights are the same.
        """
        order = sorted(range(len(self.candidate_tokens)), key=lambda place: len(self.candidate_tokens[place]))
        probe = self._vectors(model, order[:PROBED], like)
        if self._probe is None or self._table is None or not np.array_equal(probe, self._probe):
            table = np.empty((len(order), probe.shape[1]), probe.dtype)
            for start in range(0, len(order), TOGETHER):
                places = order[start : start + TOGETHER]
                table[places] = self._vectors(model, places, like)
            self._probe, self._table = probe, table
        return self._table

    def _vectors(self, model: Runs, places: list[int], like: Batch) -> NDArray[Any]:
        rows = [torch.tensor(self.candidate_tokens[place]) for place in places]
        ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=self.padding)  # (candidates, length)
        lengths = torch.tensor([len(row) for row in rows])
        held = torch.arange(ids.shape[1]) < lengths[:, None]
        inputs = {"input_ids": ids, "attention_mask": held.long(), "token_type_ids": torch.zeros_like(ids)}
        batch = Batch(
            {name: value for name, value in inputs.items() if name in like.inputs},
            {},
            torch.arange(len(rows)),
            list(range(len(rows))),
            int(lengths.sum()),
        )
        found: NDArray[Any] = model(batch.to(like.group.device))["vectors"].cpu().numpy()
        return found
