"""Linear chains: how probable is a sequence of labels, and which one is the best, when neighbours have a say?

A sequence's score is the sum of its emissions (label by label) and transitions (from each label to the next). What is
worked out here over all sequences at once is what Collobert et al., 2011 (https://arxiv.org/abs/1103.0398, section
3.3.2) call the sentence-level log-likelihood, and Lample et al., 2016 (https://arxiv.org/abs/1603.01360) the CRF layer.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

ILLEGAL = -1e4
"""The transition of a step that is never to be taken: so low that it has no probability, and no infinity, whose
gradient would be no number."""


class Chain(NamedTuple):
    """The words of each row, side by side."""

    emissions: Tensor
    """(batch, words, labels) scores."""
    held: Tensor
    """(batch, words), False after a row's last word."""
    fresh: Tensor
    """(batch, words), True where no transition leads to the word: what stands before it is not known."""


def gather_words(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return where each row's words stand, in order, and which of these places are words.

    Args:
        mask: (batch, length), True at a word.

    Returns:
        Indexes (batch, words) into the length, and `held` (batch, words); words: of the row that has the most.
    """
    counts = mask.sum(1)  # (batch,)
    words = int(counts.max()) if len(counts) else 0
    index = mask.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :words]  # (batch, words)
    return index, torch.arange(words, device=mask.device) < counts.unsqueeze(1)


def take(values: Tensor, index: Tensor) -> Tensor:
    """Return the values of some places of each row.

    Args:
        values: (batch, length) or (batch, length, width).
        index: (batch, words).
    """
    if values.dim() == 2:
        return values.gather(1, index)
    return values.gather(1, index.unsqueeze(-1).expand(-1, -1, values.shape[-1]))


def chain_of(emissions: Tensor, words: Tensor) -> tuple[Chain, Tensor]:
    """Return the words of each row as a chain, and their places (batch, words).

    Args:
        emissions: (batch, length, labels).
        words: (batch, length), 1 at a word, 2 at one of which it is not known what stands before it, else 0 or less.
    """
    places, held = gather_words(words > 0)
    return Chain(take(emissions, places), held, take(words, places) == 2), places


def put_back(values: Tensor, chain: Chain, places: Tensor, into: Tensor) -> Tensor:
    """Return `into` (batch, length) with the values of the chain (batch, words) at their places."""
    return into.scatter(1, places, torch.where(chain.held, values.to(into.dtype), into.gather(1, places)))


def log_partition(chain: Chain, transitions: Tensor) -> Tensor:
    """Return the log of the sum over all label sequences of exp(score), (batch,); 0 for a row without a word.

    Args:
        chain: the words.
        transitions: (labels + 1, labels): from the label in the row to that in the column; the last row: from the
            beginning of the text.
    """
    if not chain.emissions.shape[1]:
        return chain.emissions.sum((1, 2))
    last = _forward(chain, transitions)[-1]  # (batch, labels)
    return last.logsumexp(-1).masked_fill(~chain.held[:, 0], 0.0)


def path_score(chain: Chain, transitions: Tensor, labels: Tensor) -> Tensor:
    """Return the score of one label sequence a row, (batch,).

    Args:
        chain: the words.
        transitions: see `log_partition`.
        labels: (batch, words); what stands after a row's last word does not matter.
    """
    labels = labels.masked_fill(~chain.held, 0)
    emitted = chain.emissions.gather(-1, labels.unsqueeze(-1)).squeeze(-1)  # (batch, words)
    start = torch.full_like(labels[:, :1], transitions.shape[1])
    steps = transitions[torch.cat([start, labels[:, :-1]], dim=1), labels].masked_fill(chain.fresh, 0.0)
    return ((emitted + steps) * chain.held).sum(1)


def marginals(chain: Chain, transitions: Tensor) -> Tensor:
    """Return the probability of each label at each word, over all sequences, (batch, words, labels)."""
    if not chain.emissions.shape[1]:
        return chain.emissions
    before = torch.stack(_forward(chain, transitions), dim=1)  # (batch, words, labels)
    after = [torch.zeros_like(chain.emissions[:, 0])]
    for word in range(chain.emissions.shape[1] - 1, 0, -1):
        onward = after[-1] + chain.emissions[:, word]  # (batch, labels)
        summed = (_steps(chain, transitions, word) + onward.unsqueeze(1)).logsumexp(-1)
        after.append(torch.where(chain.held[:, word, None], summed, after[-1]))
    return (before + torch.stack(after[::-1], dim=1)).softmax(-1)


@torch.no_grad()
def best_path(chain: Chain, transitions: Tensor) -> Tensor:
    """Return the label sequence with the highest score, (batch, words): Viterbi's algorithm.

    A step at or below `ILLEGAL` is never taken, whatever the emissions.
    """
    transitions = transitions.masked_fill(transitions <= ILLEGAL, float("-inf"))
    if not chain.emissions.shape[1]:
        return chain.held.long()
    score = _first(chain, transitions)  # (batch, labels)
    back = []
    for word in range(1, chain.emissions.shape[1]):
        best, origin = (score.unsqueeze(-1) + _steps(chain, transitions, word)).max(1)  # (batch, labels)
        held = chain.held[:, word, None]
        score = torch.where(held, best + chain.emissions[:, word], score)
        back.append(torch.where(held, origin, torch.arange(score.shape[1], device=score.device)))
    path = [score.argmax(-1)]  # (batch,)
    for origin in reversed(back):
        path.append(origin.gather(1, path[-1].unsqueeze(1)).squeeze(1))
    return torch.stack(path[::-1], dim=1)


def _forward(chain: Chain, transitions: Tensor) -> list[Tensor]:
    """Return for each word the log of the sum over all sequences that end there in each label, (batch, labels)."""
    sums = [_first(chain, transitions)]
    for word in range(1, chain.emissions.shape[1]):
        summed = (sums[-1].unsqueeze(-1) + _steps(chain, transitions, word)).logsumexp(1)  # (batch, labels)
        sums.append(torch.where(chain.held[:, word, None], summed + chain.emissions[:, word], sums[-1]))
    return sums


def _first(chain: Chain, transitions: Tensor) -> Tensor:
    return chain.emissions[:, 0] + transitions[-1].masked_fill(chain.fresh[:, :1], 0.0)  # (batch, labels)


def _steps(chain: Chain, transitions: Tensor, word: int) -> Tensor:
    return transitions[:-1].masked_fill(chain.fresh[:, word, None, None], 0.0)  # (batch, labels, labels)
