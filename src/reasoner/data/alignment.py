"""Words and characters to sub-words and back, by character offsets alone."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from math import inf
from typing import NamedTuple


class Interval(NamedTuple):
    """Characters `start` to `end`, the end excluded."""

    start: int
    end: int


_CHARACTER_IS_WORD = (
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x3400, 0x4DBF),  # CJK extension A
    (0x4E00, 0x9FFF),  # CJK unified ideographs
    (0xF900, 0xFAFF),  # CJK compatibility ideographs
    (0x20000, 0x3FFFF),  # CJK extensions B and later
)
"""Scripts written without spaces, where every character is taken as a word."""
_ASCII_WORD = re.compile(r"\w+|[^\w\s]")


def split_words(text: str) -> list[Interval]:
    """Split raw text into words as hand-labelled corpora do: runs of letters and digits, and single other marks.

    Combining marks, skin tones and invisible format characters (accents, joiners, variation selectors) stay with the
    character before them, and the two letters of a flag stay together, so an emoji sequence or a decomposed accent is
    not torn apart. Every character that is not white space belongs to exactly one word.
    """
    if text.isascii():
        return [Interval(*word.span()) for word in _ASCII_WORD.finditer(text)]
    return _split_any(text)


def _split_any(text: str) -> list[Interval]:
    """Return the words of any text, character by character; the same as `_ASCII_WORD` where that can be used."""
    words: list[Interval] = []
    open_run = False  # whether a letter or digit may join the last word
    for position, character in enumerate(text):
        category = unicodedata.category(character)
        adjacent = bool(words) and words[-1].end == position
        if character.isspace():
            continue
        attached = category[0] == "M" or category == "Cf" or "\U0001f3fb" <= character <= "\U0001f3ff"
        if adjacent:
            half_a_flag = position - words[-1].start == 1 and _is_flag_letter(text[position - 1])
            attached |= text[position - 1] == "\u200d" or (half_a_flag and _is_flag_letter(character))
        alone = any(low <= ord(character) <= high for low, high in _CHARACTER_IS_WORD)
        letter = (character.isalnum() or character == "_") and not alone
        if adjacent and (attached or (letter and open_run)):
            words[-1] = Interval(words[-1].start, position + 1)
        else:
            words.append(Interval(position, position + 1))
            open_run = letter
    return words


def join_words(words: Sequence[str]) -> tuple[str, list[Interval]]:
    """Return the words joined by single spaces, and where each of them stands in that text."""
    intervals, position = [], 0
    for word in words:
        intervals.append(Interval(position, position + len(word)))
        position += len(word) + 1
    return " ".join(words), intervals


def words_of_tokens(token_offsets: Sequence[tuple[int, int]], words: Sequence[Interval], text: str) -> list[int]:
    """Return for each sub-word the index of its word, or -1 (special tokens, sub-words that cover no word).

    A sub-word belongs to the word that holds its first character which is not white space: tokenizers that count the
    space before a word to its first sub-word are read rightly.

    Args:
        token_offsets: (tokens,) character offsets; an empty interval is no text.
        words: in order and without overlap.
        text: the text that the offsets count in.
    """
    indexes = []
    for start, end in token_offsets:
        while start < end and text[start].isspace():
            start += 1
        word = bisect_right(words, (start, inf)) - 1  # the last that starts there or before
        # Empty words share their start with what follows them: only one that holds the character counts.
        indexes.append(word if start < end and word >= 0 and start < words[word].end else -1)
    return indexes


def ends_of_words(
    token_offsets: Sequence[Sequence[tuple[int, int]]],
    word_of_token: Sequence[Sequence[int]],
    words: Sequence[Interval],
) -> list[int]:
    """Return for each word the next one that is no mere continuation of it: mostly the next word.

    A word continues the one before it when it has no sub-word of its own and begins inside an earlier word's, as `.`,
    `S` and `.` do where the tokenizer makes one sub-word of the raw text `U.S.`.

    Args:
        token_offsets: for each window (tokens,) character offsets.
        word_of_token: for each window (tokens,) what `words_of_tokens` gave.
        words: in order and without overlap.
    """
    own: set[int] = set()
    continuing: set[int] = set()
    for offsets, word_of in zip(token_offsets, word_of_token, strict=True):
        for (_, end), word in zip(offsets, word_of, strict=True):
            own.add(word)
            following = word + 1
            while word >= 0 and following < len(words) and words[following].start < end:
                continuing.add(following)
                following += 1
    continuing -= own
    ends = list(range(1, len(words) + 1))
    for word in reversed(range(len(words) - 1)):
        if word + 1 in continuing:
            ends[word] = ends[word + 1]
    return ends


def words_of_characters(start: int, end: int, words: Sequence[Interval]) -> tuple[int, int] | None:
    """Return the first word and the word after the last that `start` to `end` touches; None if it touches none."""
    touched = [index for index, word in enumerate(words) if max(start, word.start) < min(end, word.end)]
    return (touched[0], touched[-1] + 1) if touched else None


def _is_flag_letter(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"
