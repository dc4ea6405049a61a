"""Sentences of one document -> each with tokens of its neighbours beside it, which are read and never labelled."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, NamedTuple

from reasoner.data.features import Feature
from reasoner.data.sentences import Neighbour, NERExample, NERInDocument
from reasoner.data.windows import Window, whole_texts
from reasoner.data.word_shapes import token_shapes
from reasoner.errors import Problem
from reasoner.losses import IGNORED
from reasoner.notices import Mean, adding_to, count, say

ALONE = "document_context: sentences that name no document are read alone, without context."
UNLABELLED = {"words": 0, "labels": IGNORED}
"""The targets of a context token: it is no word's first, and has no label."""


class _Token(NamedTuple):
    """A token of the context."""

    input_ids: int
    token_type_ids: int
    """The shape of its word; see `word_shapes`."""


def elsewhere(most: int) -> str:
    """Return what the model card says of the context."""
    return (
        f"Each sentence was read with up to {most} tokens of its document on either side, between the special tokens. "
        "Plain transformers reads what it is given: without this context its results differ."
    )


def undocumented(examples: Iterable[NERExample]) -> list[Problem]:
    """Return the rows that name no document."""
    remedy = "Read the data with the task that has document_context, or leave it out."
    return [
        Problem(row.where, "names no document, and document_context is set", remedy, code="no_document")
        for row in examples
        if not isinstance(row, NERInDocument)
    ]


def in_documents(examples: Iterable[NERExample], most: int, *, whole: bool) -> Iterable[NERExample]:
    """Return the examples with their neighbours, in the same order; one without a document stands alone.

    Args:
        examples: sentences.
        most: how many words on either side are enough: neighbours are taken until they have as many.
        whole: all are here, and those with the same `document` belong together wherever they stand; else they are
            read as they come, perhaps without end, and a document ends where another begins.
    """
    if not whole:
        return _as_they_come(examples, most)
    rows = list(examples)
    places: dict[Hashable, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        places[_document(row)].append(place)
    if not all(isinstance(row, NERInDocument) for row in rows):
        say(ALONE)
    for members in places.values():
        for place, row in zip(members, _with_neighbours([rows[place] for place in members], most), strict=True):
            rows[place] = row
    return rows


def with_context(
    features: Sequence[list[Feature]],
    windows: Sequence[Sequence[Window]],
    examples: Sequence[NERExample],
    tokenizer: Any,
    *,
    most: int,
    max_length: int,
    shapes: bool,
) -> list[list[Feature]]:
    """Return the features with context tokens around the sentence's own, inside the special tokens.

    The sentence goes first: the context gets the room that is left, in equal parts, and what one side does not need the
    other takes. A sentence that is longer than the model, and so has several windows, gets none. (Devlin et al., 2019,
    https://arxiv.org/abs/1810.04805; Schweter and Akbik, 2020, https://arxiv.org/abs/2011.06993.)

    Args:
        features: of each sentence, without context.
        windows: that they were made of.
        examples: the sentences, with their neighbours.
        tokenizer: that of the windows. Each neighbour is tokenized by itself.
        most: tokens on either side.
        max_length: tokens a feature, special tokens included.
        shapes: whether `token_type_ids` are the shapes of words.
    """
    tokens = _tokens([near for row in examples for side in _sides(row) for near in side], tokenizer)
    if not tokens:
        return list(features)
    read, added = [], 0
    for group, (window, *further), row in zip(features, windows, examples, strict=True):
        left, right = ([token for near in side for token in tokens[near]] for side in _sides(row))
        if not further and 0 in window.sequence and (left or right):
            before, after = _shares(max_length - len(group[0]), min(most, len(left)), min(most, len(right)))
            group = [_around(group[0], window, left[len(left) - before :], right[:after], shapes=shapes)]
            added += before + after
        read.append(group)
    count("{n} tokens of its document are read beside a sentence on average.", Mean(added, len(read)))
    return read


def _around(
    feature: Feature, window: Window, left: Sequence[_Token], right: Sequence[_Token], *, shapes: bool
) -> Feature:
    """Return the feature with context tokens before its first and after its last token of text."""
    first = window.sequence.index(0)
    end = len(window.sequence) - window.sequence[::-1].index(0)
    told = {"input_ids", "token_type_ids"} if shapes else {"input_ids"}  # of the rest, what the text's tokens have

    def spliced(values: list[int], before: Iterable[int], after: Iterable[int]) -> list[int]:
        return [*values[:first], *before, *values[first:end], *after, *values[end:]]

    inputs = {
        name: spliced(values, *([getattr(token, name) if name in told else values[first] for token in side]
                                for side in (left, right)))
        for name, values in feature.inputs.items()
    }  # fmt: skip
    targets = {
        name: spliced(values, *([UNLABELLED.get(name, IGNORED)] * len(side) for side in (left, right)))
        for name, values in feature.token_targets.items()
    }
    info = [place._replace(token=place.token + len(left)) for place in feature.info]
    return replace(feature, inputs=inputs, token_targets=targets, info=info)


def _shares(room: int, left: int, right: int) -> tuple[int, int]:
    """Return how many of the tokens that are there on the left and on the right get into the room."""
    before = min(left, max(room // 2, room - right))
    return before, min(right, room - before)


def _tokens(sentences: Iterable[Neighbour], tokenizer: Any) -> dict[Neighbour, list[_Token]]:
    """Return the tokens of each sentence, without special ones."""
    different = list(dict.fromkeys(sentences))
    with adding_to(Counter()):  # what is replaced in them is counted where they are read themselves
        windows = whole_texts(tokenizer, [sentence.text for sentence in different])
    return {
        near: [*map(_Token, window.inputs["input_ids"], token_shapes(window.offsets, near.offsets, near.text))]
        for near, window in zip(different, windows, strict=True)
    }


def _sides(row: NERExample) -> tuple[tuple[Neighbour, ...], tuple[Neighbour, ...]]:
    return (row.before, row.after) if isinstance(row, NERInDocument) else ((), ())


def _document(row: NERExample) -> Hashable:
    return row.document if isinstance(row, NERInDocument) else object()  # which is equal to no other


def _as_they_come(examples: Iterable[NERExample], most: int) -> Iterator[NERExample]:
    said = False
    for _, members in groupby(examples, key=_document):
        rows = list(members)
        if not said and not isinstance(rows[0], NERInDocument):
            say(ALONE)
            said = True
        yield from _with_neighbours(rows, most)


def _with_neighbours(rows: Sequence[NERExample], most: int) -> Iterator[NERExample]:
    """Give the sentences of one document, each with those before and after it."""
    sentences = [Neighbour(row.text, row.offsets) for row in rows]
    for place, row in enumerate(rows):
        if isinstance(row, NERInDocument):
            before = _nearest(sentences, range(place - 1, -1, -1), most)
            after = _nearest(sentences, range(place + 1, len(rows)), most)
            row = replace(row, before=tuple(reversed(before)), after=tuple(after))
        yield row


def _nearest(sentences: Sequence[Neighbour], places: Iterable[int], most: int) -> list[Neighbour]:
    """Return the sentences at these places, until they have `most` words."""
    chosen, words = [], 0
    for place in places:
        if words >= most:
            break
        chosen.append(sentences[place])
        words += len(sentences[place].offsets)
    return chosen
