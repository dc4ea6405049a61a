"""Answers that are chosen from a fixed list of texts: how are they read, given to a bi-encoder, and named?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
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


def best_first(logits: Any, number: int) -> list[tuple[int, float]]:
    """Return the best candidates, and their shares of a softmax over all; logits are (candidates,)."""
    exponentials = np.exp((logits - logits.max()).astype(np.float64))
    scores = exponentials / exponentials.sum()
    return [(place, float(scores[place])) for place in np.argsort(-scores, kind="stable")[:number].tolist()]
