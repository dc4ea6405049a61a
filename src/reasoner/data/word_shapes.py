"""How is a word written: in small letters, with a capital, in capitals, mixed, or without letters?

A tokenizer for an uncased model makes `May` and `may` the same. The shape of its word is given to the model beside each
token, in the place of `token_type_ids`, which a task on single texts does not need otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from reasoner.data.alignment import Interval, words_of_tokens
from reasoner.notices import say

LOWER, SECOND_TEXT, CAPITAL, CAPITALS, MIXED, DIGITS, OTHER = range(7)
"""The token type of each shape; special tokens have that of `LOWER`, as in a model without shapes. `SECOND_TEXT` is
what pretraining used the type for, and stays unused."""
NUMBER = 7
CASING_TELLS = 0.75
"""From which measure on (`casing_tells`) the model is told, where that is left to the data. Of WNUT-17, where it gave
nothing, the measure is 0.66."""
ELSEWHERE = (
    "The model is told how each word is written by `token_type_ids`: 2 for each token of a word with a capital, 3 for "
    "capitals, 4 for mixed, 5 for digits, 6 for other marks, 0 for small letters and special tokens. Plain "
    "transformers gives 0 to all, and so reads every word as one in small letters."
)
_PROBES = ("May", "PARIS", "iPhone")


def shape_of(word: str) -> int:
    """Return the shape of a word, by its letters; one without letters is of digits, or other."""
    letters = [character for character in word if character.isalpha()]
    if not letters:
        return DIGITS if any(character.isdigit() for character in word) else OTHER
    large = [character.isupper() or character.istitle() for character in letters]
    if not any(large):
        return LOWER
    if large[0] and not any(large[1:]):
        return CAPITAL
    return CAPITALS if all(large) else MIXED


def token_shapes(token_offsets: Sequence[tuple[int, int]], words: Sequence[Interval], text: str) -> list[int]:
    """Return the shape of each token's word, (tokens,).

    Args:
        token_offsets: (tokens,) character offsets.
        words: where each word stands in the text.
        text: what both count in.
    """
    shapes: dict[int, int] = {-1: LOWER}
    found = words_of_tokens(token_offsets, words, text)
    for index in set(found) - {-1}:
        start, end = words[index]
        shapes[index] = shape_of(text[start:end])
    return [shapes[index] for index in found]


def is_uncased(tokenizer: Any) -> bool:
    """Return whether a tokenizer gives the same tokens for words in large and in small letters."""
    return all(
        tokenizer(word, add_special_tokens=False)["input_ids"]
        == tokenizer(word.lower(), add_special_tokens=False)["input_ids"]
        for word in _PROBES
    )


def worth_telling(casing: float, config: Any, tokenizer: Any) -> bool:
    """Decide whether the model is told, and say it if it is: where nothing else tells, and it can.

    Args:
        casing: what `casing_tells` found.
        config: of the model, which must have token types.
        tokenizer: must be uncased.
    """
    worth = bool(getattr(config, "type_vocab_size", 0)) and casing >= CASING_TELLS and is_uncased(tokenizer)
    if worth:
        say(f"case_features: the tokenizer is uncased, and large letters are {100 * casing:.0f} points more frequent "
            "in words of entities than in others: the model is told how each word is written.")  # fmt: skip
    return worth


def casing_tells(sentences: Iterable[tuple[Sequence[str], Sequence[bool]]]) -> float:
    """Return by how much large letters are more frequent in words of entities than in others, from -1 to 1.

    The first word of a sentence says nothing and is left out. 0: casing does not tell, or there is nothing to compare.

    Args:
        sentences: for each sentence its words, and which of them belong to an entity.
    """
    large, number = [0, 0], [0, 0]  # in other words, in words of entities
    for words, named in sentences:
        for word, entity in list(zip(words, named, strict=True))[1:]:
            number[entity] += 1
            large[entity] += shape_of(word) in (CAPITAL, CAPITALS, MIXED)
    return large[1] / number[1] - large[0] / number[0] if all(number) else 0.0
