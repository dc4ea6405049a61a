"""A text in which pieces were replaced: what does it say now, and where does what stood in it stand?"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import NamedTuple, Self

from reasoner.data.alignment import Interval, split_words


class Replacement(NamedTuple):
    """Characters `start` to `end` (excluded) of a text become `text`; with `start == end` it is put in there."""

    start: int
    end: int
    text: str


class Mention(NamedTuple):
    """What is gold in a text: an entity or an answer, from character `start` to `end` (excluded)."""

    start: int
    end: int
    type: str = ""
    """Of an entity."""


@dataclass(frozen=True)
class Edited:
    """A text before and after replacements, and the way between both."""

    before: str
    text: str
    """After them."""
    replacements: tuple[Replacement, ...]
    """In their order, none over another."""

    @classmethod
    def of(cls, text: str, replacements: Iterable[Replacement]) -> Self:
        """Carry out replacements.

        Raises:
            ValueError: if one lies over another, or outside the text.
        """
        ordered = tuple(sorted(replacements, key=lambda piece: (piece.start, piece.end)))
        pieces, done = [], 0
        for start, end, new in ordered:
            if not done <= start <= end <= len(text):
                raise ValueError(f"replacement {start}:{end} lies over another, or outside a text of {len(text)}")
            pieces += [text[done:start], new]
            done = end
        return cls(text, "".join([*pieces, text[done:]]), ordered)

    @property
    def inverse(self) -> Edited:
        """The way back."""
        back, shift = [], 0
        for start, end, new in self.replacements:
            back.append(Replacement(start + shift, start + shift + len(new), self.before[start:end]))
            shift += len(new) - (end - start)
        return Edited(self.text, self.before, tuple(back))

    def moved(self, start: int, end: int) -> tuple[int, int]:
        """Return where a span stands now.

        What is put in at its edge is not in it. Of a span that begins or ends inside a piece that was replaced, the
        whole of the new piece is part.
        """
        if start == end:
            place = self._moved(start, left=True)
            return place, place
        new_start, new_end = self._moved(start, left=True), self._moved(end, left=False)
        return new_start, max(new_start, new_end)

    def _moved(self, place: int, *, left: bool) -> int:
        """Return where an edge of a span is now; `left`: it is its first one, so that what is put in stands before."""
        starts, ends, shifts = self._edges
        if left:  # passed are pieces that end at or before it, those that are put in at it too
            passed = bisect_right(ends, place)
            if passed < len(starts) and starts[passed] < place:  # inside a piece: the whole of it
                place = starts[passed]
        else:  # passed are pieces that begin before it
            passed = bisect_left(starts, place)
            if passed and ends[passed - 1] > place:
                place = ends[passed - 1]
        return place + shifts[passed]

    @cached_property
    def _edges(self) -> tuple[list[int], list[int], list[int]]:
        """Where the pieces begin and end, and by how much what stands after the first n of them has moved."""
        gains = (len(new) - (end - start) for start, end, new in self.replacements)
        starts, ends = [piece.start for piece in self.replacements], [piece.end for piece in self.replacements]
        return starts, ends, list(accumulate(gains, initial=0))


def words_after(edited: Edited, words: Sequence[Interval]) -> list[Interval]:
    """Return the words of the text as it is now.

    A word that was only moved or changed stays one; where a new piece has several words, or took the place of several,
    it is split at its spaces; what stands in no old word is split as raw text is.

    Args:
        edited: the text.
        words: where each word stood.
    """
    moved = sorted({edited.moved(*word) for word in words})
    whole = {
        span for word in words if edited.before[slice(*word)] == edited.text[slice(*(span := edited.moved(*word)))]
    }
    edges = sorted({0, len(edited.text), *(edge for span in moved for edge in span)})
    found = []
    for start, end in pairwise(edges):
        piece = edited.text[start:end]
        if (start, end) in whole:
            found.append(Interval(start, end))
            continue
        known = any(first <= start and end <= last for first, last in moved)
        inside = [Interval(*match.span()) for match in re.finditer(r"\S+", piece)] if known else split_words(piece)
        found += [Interval(start + first, start + last) for first, last in inside]
    return found


def counterparts(edited: Edited | None, before: Sequence[Interval], after: Sequence[Interval]) -> dict[int, int]:
    """Return which word now stands in the place of each word, by number; where none does, a word is left out.

    Of words that one new piece stands for, the first has its first word, and so on as far as it has any.

    Args:
        edited: the text; None: it is as it was.
        before: where each word stood.
        after: where each word stands now, see `words_after`.
    """
    starts, free = [word.start for word in after], 0
    found: dict[int, int] = {}
    for number, word in enumerate(before):
        start, end = edited.moved(*word) if edited else word
        place = max(free, bisect_left(starts, start))
        if place < len(after) and after[place].end <= end:
            found[number], free = place, place + 1
    return found


def entities_after(
    edited: Edited, words: Sequence[Interval], entities: Iterable[tuple[int, int, str]]
) -> tuple[list[Interval], list[tuple[int, int, str]]]:
    """Return the words of the text as it is now, and its entities, counted in them; one that is gone is left out.

    Args:
        edited: the text.
        words: where each word stood.
        entities: first word, word after the last, type.
    """
    now, found = words_after(edited, words), []
    for start, end, type in mentions_of(entities, words):
        first, last = edited.moved(start, end)
        inside = [number for number, word in enumerate(now) if first <= word.start and word.end <= last]
        found += [(inside[0], inside[-1] + 1, type)] if inside else []
    return now, found


def mentions_of(entities: Iterable[tuple[int, int, str]], words: Sequence[Interval]) -> list[Mention]:
    """Return entities that are counted in words, counted in characters, in order.

    Args:
        entities: first word, word after the last, type.
        words: where each word stands.
    """
    return sorted(Mention(words[start].start, words[end - 1].end, type) for start, end, type in entities)
