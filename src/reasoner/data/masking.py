"""Which tokens of a text are masked, for a model to predict them: single ones, whole words, or spans of words?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from reasoner.data.alignment import split_words, words_of_tokens
from reasoner.data.features import Batch
from reasoner.data.windows import Window
from reasoner.errors import ConfigError, suggestion
from reasoner.losses import IGNORED

MASKED_SHARE = 0.15
"""Of the tokens: those to predict. 80% are masked, 10% replaced by any token, 10% left (Devlin et al., 2019)."""
MASKING = ("tokens", "words", "spans")
SPAN_WEIGHTS = tuple(0.2 * 0.8**more for more in range(10))
"""Of spans of 1 to 10 words: a geometric distribution that ends there, 3.8 words in the mean (Joshi et al., 2020)."""
WORDS = "words"
"""The token target that says which word of its text each token belongs to."""


def word_numbers(windows: Sequence[Window], text: str) -> list[list[int]]:
    """Return for each window (tokens,) the word that each token belongs to; `IGNORED` for special tokens.

    Words are those of `split_words`, found by character offsets: the same for WordPiece, byte-level BPE and
    SentencePiece. A token of white space alone goes with the word after it.

    Args:
        windows: those of one text.
        text: the text that their offsets count in.
    """
    words = split_words(text)
    numbers = []
    for window in windows:
        following, of_window = -1, []
        found = words_of_tokens(window.offsets, words, text)
        for word, sequence in zip(reversed(found), reversed(window.sequence), strict=True):
            following = word if word >= 0 else following
            of_window.append(IGNORED if sequence is None else following)
        numbers.append(of_window[::-1])
    return numbers


class Masker:
    """Makes a batch of texts one with tokens to predict, drawn anew each time: 80% of them are masked, 10% replaced.

    Each token is one of them with the probability `MASKED_SHARE`, whatever the masking:

    - "tokens": each by itself (Devlin et al., 2019, https://arxiv.org/abs/1810.04805).
    - "words": a word whole or not at all, each by itself (whole-word masking, as in the later models of Devlin et al.).
    - "spans": words in a row, as many as `SPAN_WEIGHTS` says (SpanBERT: Joshi et al., 2020,
      https://arxiv.org/abs/1907.10529). The words of a batch are gone through once, span after gap after span; the
      gaps are geometric too, and so long that the share is kept. A span is masked, replaced or left as a whole; at the
      end of a text it goes on in the next. SpanBERT's second loss, at the borders of spans, is not computed.

    Args:
        tokenizer: has a mask token.
        masking: one of `MASKING`. All but "tokens" need batches with the token target `WORDS`; see `word_numbers`.

    Raises:
        ConfigError: if the masking is unknown.
    """

    def __init__(self, tokenizer: Any, masking: str = "tokens") -> None:
        if masking not in MASKING:
            raise ConfigError(f"masking='{masking}' is unknown. {suggestion(masking, MASKING)}")
        self.masking = masking
        self._mask, self._vocabulary = tokenizer.mask_token_id, len(tokenizer)
        special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
        self._special = torch.tensor(sorted(special))

    def __call__(self, batch: Batch, generator: torch.Generator | None = None) -> Batch:
        """Return the batch with `labels` (features, length), ignored where nothing is predicted; one at least is."""
        ids = batch.inputs["input_ids"]  # (features, length)
        candidates = (batch.inputs["attention_mask"] == 1) & ~torch.isin(ids, self._special.to(ids.device))
        if self.masking == "spans":
            chosen, kind = _spans(_units(batch, candidates), candidates, generator)
        else:
            units = None if self.masking == "tokens" else _units(batch, candidates)
            chosen = _alone(units, candidates, generator)
            kind = torch.rand(ids.shape, generator=generator, device=ids.device)
        labels = ids.masked_fill(~(chosen & candidates), IGNORED)
        other = torch.randint(self._vocabulary, ids.shape, generator=generator, device=ids.device)
        shown = torch.where(kind < 0.8, torch.full_like(ids, self._mask), torch.where(kind < 0.9, other, ids))
        inputs = {**batch.inputs, "input_ids": torch.where(labels == IGNORED, ids, shown)}
        return replace(batch, inputs=inputs, targets={"labels": labels})


def _units(batch: Batch, candidates: Tensor) -> Tensor:
    """Return the word of each candidate, (candidates,), counted over the batch in the order of the texts."""
    words = batch.targets[WORDS]  # (features, length)
    rows = torch.arange(len(words), device=words.device).unsqueeze(1) * (words.max() + 2)
    units: Tensor = (rows + words + 1)[candidates].unique(return_inverse=True)[1]  # type: ignore[no-untyped-call]
    return units


def _alone(units: Tensor | None, candidates: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return which tokens are chosen, (features, length): each, or each of the units, by itself."""
    if units is None:
        drawn = torch.rand(candidates.shape, generator=generator, device=candidates.device)
        drawn = drawn.masked_fill(~candidates, 2.0)
    else:
        drawn = torch.full(candidates.shape, 2.0, device=candidates.device)
        drawn[candidates] = torch.rand(candidates.numel(), generator=generator, device=candidates.device)[units]
    return (drawn < MASKED_SHARE) | (drawn == drawn.min())


def _spans(units: Tensor, candidates: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Return which tokens are chosen, and a number in [0, 1) for each, the same in a span: both (features, length)."""
    number = int(units.max()) + 1 if len(units) else 0
    run = _runs(number, generator)  # (words,), odd numbers are gaps
    inside = run % 2 == 0
    if number and not inside.any():
        inside[torch.randint(number, (1,), generator=generator)] = True
    kinds = torch.rand(number + 2, generator=generator)
    chosen, kind = torch.zeros(candidates.shape, dtype=torch.bool), torch.zeros(candidates.shape)
    chosen[candidates], kind[candidates] = inside[units], kinds[run][units]
    return chosen, kind


def _runs(number: int, generator: torch.Generator | None) -> Tensor:
    """Return for each of `number` words the run that it is in, (words,): even ones are spans, odd ones gaps.

    An alternating renewal process in equilibrium: it begins inside a span with the probability of the share, with what
    is left of one (of which r words are left as often as spans have at least r), else in a gap. So each word is inside
    with this probability, the first as any other.
    """
    weights = torch.tensor(SPAN_WEIGHTS)
    weights = weights / weights.sum()
    mean = float((weights * torch.arange(1, len(weights) + 1)).sum())
    end_of_gap = MASKED_SHARE / ((1 - MASKED_SHARE) * mean)
    at_least = weights.flip(0).cumsum(0).flip(0)
    begins_inside = torch.rand(1, generator=generator) < MASKED_SHARE
    left = (torch.multinomial(at_least, 1, generator=generator) + 1) * begins_inside
    most = number // 2 + 1
    spans = torch.multinomial(weights, most, replacement=True, generator=generator) + 1
    gaps = torch.empty(most).geometric_(end_of_gap, generator=generator).long()
    lengths = torch.cat([left, torch.stack([gaps, spans], 1).flatten()])
    return torch.arange(len(lengths)).repeat_interleave(lengths.clamp(max=number))[:number]
