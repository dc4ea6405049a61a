"""How do the words of two texts overlap: what may a model go by that does not read them?"""

from __future__ import annotations

import re
from collections.abc import Sequence

NEGATIONS = frozenset(
    ("no", "not", "n't", "never", "nobody", "nothing", "none", "neither", "nor", "cannot", "without", "hardly")
)
"""Words that annotators of inference data like for contradictions (Gururangan et al., 2018)."""


def overlap(first: str, second: str) -> list[float]:
    """Return numbers that say how far the second text is made of words of the first, and whether it denies something.

    These are, in order: the share of the second text's words that stand in the first; whether all do; whether they do
    in this order; whether they do side by side (the heuristics of McCoy et al., 2019, https://aclanthology.org/P19-1334:
    lexical overlap, subsequence); whether the second text has a negation that the first has not; and whether all other
    words do and it has one. Case and marks do not count.

    Args:
        first: the premise.
        second: the hypothesis.
    """
    known, words = _words(first), _words(second)
    denied = bool(NEGATIONS.intersection(words) - NEGATIONS.intersection(known))
    held = [word in known for word in words]
    without = [word for word in words if word not in NEGATIONS]
    return [
        sum(held) / max(1, len(words)),
        float(all(held)),
        float(_in_order(words, known)),
        float(_side_by_side(words, known)),
        float(denied),
        float(denied and set(without) <= set(known)),
    ]


def _words(text: str) -> list[str]:
    return re.findall(r"n't\b|\w+(?=n't\b)|\w+(?:'\w+)?", text.casefold().replace("\u2019", "'"))


def _in_order(words: Sequence[str], among: Sequence[str]) -> bool:
    remaining = iter(among)
    return all(word in remaining for word in words)


def _side_by_side(words: Sequence[str], among: Sequence[str]) -> bool:
    wide = len(words)
    return any(list(among[start : start + wide]) == list(words) for start in range(len(among) - wide + 1))
