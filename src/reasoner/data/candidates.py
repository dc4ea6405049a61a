"""Answers that are chosen from a fixed list of texts: how are they read, given to a bi-encoder, and named?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from reasoner.data.features import Feature
from reasoner.data.texts import read_texts
from reasoner.data.windows import Window, tokenize
from reasoner.errors import ConfigError
from reasoner.notices import say

_NUMBER = re.compile(r"\d+ ")


def read_candidates(source: str | Path | Sequence[str]) -> list[str]:
    """Return the texts of a list, or of a file with one a line; a number before every line is no part of it.

    Raises:
        DataError: see `read_texts`.
    """
    texts = read_texts(source if isinstance(source, (str, Path)) else list(source))
    numbered = all(_NUMBER.match(text) for text in texts)
    return list(dict.fromkeys(_NUMBER.sub("", text, count=1) for text in texts)) if numbered else texts


def tokens_of_candidates(
    texts: Sequence[str], tokenizer: Any, *, limit: int, what: str, setting: str
) -> tuple[tuple[int, ...], ...]:
    """Return the tokens of each candidate, special ones included; what is cut is said.

    Args:
        texts: the candidates.
        tokenizer: a fast tokenizer.
        limit: tokens of a candidate, at most.
        what: what messages call them.
        setting: the name of the limit.
    """
    limit = min(limit, tokenizer.model_max_length)
    windows, cut = tokenize(tokenizer, list(texts), max_length=limit)
    if cut:
        say(f"{cut} {what} have texts of more than {limit} tokens, which were cut ({setting}).")
    return tuple(tuple(window.inputs["input_ids"]) for window in windows)


def check_length(tokens: Sequence[Sequence[int]], max_length: int, *, what: str, setting: str) -> None:
    """Refuse candidates that are longer than what else the model reads.

    Raises:
        ConfigError: if one is.
    """
    longest = max(map(len, tokens), default=0)
    if longest > max_length:
        raise ConfigError(f"max_length={max_length} is less than the {longest} tokens of {what}. Set "
                          f"{setting}={max_length}).")  # fmt: skip


def with_answers(window: Window, query: int, answers: Sequence[int], tokens: Sequence[Sequence[int]]) -> list[Feature]:
    """Return the feature of a query and, after it, that of the candidate that answers it, then those of wrong ones.

    Args:
        window: the query.
        query: its number.
        answers: numbers of candidates, the right one first.
        tokens: those of each candidate.
    """
    features = [Feature(window.inputs, {"query": query, "answer": answers[0]})]
    for answer in answers:
        inputs = {name: [int(name == "attention_mask")] * len(tokens[answer]) for name in window.inputs}
        targets = {"query": query, "answer": answer}
        features.append(Feature(inputs | {"input_ids": list(tokens[answer])}, targets))
    return features


class LookAlikes:
    """Which candidates share the most tokens with one of them, and are most easily taken for it?

    Args:
        tokens: those of each candidate.
        least: so many are the look-alikes of one, and all that share no less (Jaccard index).
    """

    def __init__(self, tokens: Sequence[Sequence[int]], least: int = 20) -> None:
        self._sets, self._least = [sorted(set(row)) for row in tokens], least
        self._sizes = np.array([len(row) for row in self._sets])
        having: dict[int, list[int]] = {}
        for candidate, row in enumerate(self._sets):
            for token in row:
                having.setdefault(token, []).append(candidate)
        self._having = {token: np.array(candidates) for token, candidates in having.items()}
        self._known: dict[int, list[int]] = {}

    def of(self, candidate: int) -> list[int]:
        """Return the look-alikes of a candidate, by their numbers."""
        if candidate not in self._known:
            having = [self._having[token] for token in self._sets[candidate]]
            shared = np.bincount(np.concatenate([np.array([], int), *having]), minlength=len(self._sets))
            shares = shared / np.maximum(1, self._sizes + self._sizes[candidate] - shared)  # (candidates,)
            shares[candidate] = -1
            place = len(shares) - min(self._least, len(shares) - 1)
            limit = np.partition(shares, place)[place] if len(shares) > 1 else np.inf
            self._known[candidate] = np.flatnonzero(shares >= limit).tolist()
        return self._known[candidate]

    def drawn(self, candidate: int, number: int, random: Random) -> list[int]:
        """Return different other candidates, every second of them a look-alike; fewer where there are no more."""
        alike = self.of(candidate)
        found = random.sample(alike, min(len(alike), -(-number // 2)))
        any_other = random.sample(range(len(self._sets)), min(len(self._sets), number + 1))
        return [*found, *(other for other in any_other if other != candidate and other not in found)][:number]


def best_first(logits: Any, number: int) -> list[tuple[int, float]]:
    """Return the best candidates, and their shares of a softmax over all; logits are (candidates,)."""
    exponentials = np.exp((logits - logits.max()).astype(np.float64))
    scores = exponentials / exponentials.sum()
    return [(place, float(scores[place])) for place in np.argsort(-scores, kind="stable")[:number].tolist()]
