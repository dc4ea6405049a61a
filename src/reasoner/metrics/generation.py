"""How near are generated texts to the ones that were asked for?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import exp
from typing import NamedTuple

from reasoner.metrics.checks import check_same_length

MOST_NATS = 700.0
"""A greater mean loss than this would overflow as a perplexity."""


def generation_scores(gold: Sequence[str | Sequence[str]], predicted: Sequence[str]) -> dict[str, float]:
    """Score generated texts, each against the one that was asked for; fractions 0-1.

    Args:
        gold: the texts that were asked for; where several would be right, all of them: the nearest counts.
        predicted: the texts that were generated.

    Returns:
        `exact_match`: the share of texts that are equal to the gold (see `same_text`). `f1`: of the words, with how
        often each occurs and whatever their order, the mean over texts.

    Raises:
        DataError: if the lengths differ or are 0.
    """
    check_same_length(gold, predicted, unit="texts")
    answers = [[texts] if isinstance(texts, str) else texts for texts in gold]
    pairs = list(zip(answers, predicted, strict=True))
    return {
        "exact_match": sum(any(same_text(one, text) for one in texts) for texts, text in pairs) / len(pairs),
        "f1": sum(max(word_f1(one, text) for one in texts) for texts, text in pairs) / len(pairs),
    }


def same_text(gold: str, predicted: str) -> bool:
    """Return whether texts are equal but for white space: at both ends it does not count, and inside any is one space.

    Case, punctuation and all else count.
    """
    return gold.split() == predicted.split()


def word_f1(gold: str, predicted: str) -> float:
    """Return the F1 of the words of both texts, which are what stands between white space; two empty texts score 1."""
    one, other = Counter(gold.split()), Counter(predicted.split())
    if not one or not other:
        return float(one == other)
    return 2 * (one & other).total() / (one.total() + other.total())


def perplexity(loss: float) -> float:
    """Return the perplexity of a mean negative log-likelihood in nats; of more than 700 nats that of 700."""
    return exp(min(loss, MOST_NATS))


class TextSize(NamedTuple):
    """How much text a loss is over."""

    tokens: float
    """Those that are predicted, as the model's tokenizer makes them."""
    words: float
    """What stands between white space."""
    bytes: float
    """In UTF-8."""


def text_size(texts: Sequence[str], tokens: float) -> TextSize:
    """Return the size of texts that a tokenizer made `tokens` of."""
    return TextSize(
        tokens, sum(len(text.split()) for text in texts), sum(len(text.encode("utf-8", "replace")) for text in texts)
    )


def perplexities(loss: float, size: TextSize, name: str = "perplexity") -> dict[str, float]:
    """Return the perplexity of a token, a word and a byte: the exponential of the nats that each takes in the mean.

    Tokenizers make more or fewer tokens of a text, so that of a token compares models of one tokenizer alone; the
    others compare any models that predict the same text.

    Args:
        loss: the mean negative log-likelihood of a token, in nats.
        size: of the text that it is over.
        name: of the first; the others are `<name>_per_word` and `<name>_per_byte`.
    """
    nats = loss * size.tokens
    parts = {"": size.tokens, "_per_word": size.words, "_per_byte": size.bytes}
    return {name + unit: perplexity(nats / number) for unit, number in parts.items() if number}
