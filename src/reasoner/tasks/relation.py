"""Relation extraction: which relation, if any, does a text state between two of its entities?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from reasoner.data.edited import Edited, Mention
from reasoner.data.examples import Example, RowError, column, label_column, text_column
from reasoner.errors import DataError
from reasoner.tasks.base import PartialInput
from reasoner.tasks.classification import Classification

HEAD_MARK, TAIL_MARK = "@", "#"
"""Stand before and after the head, and the tail."""
Span = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class RelationExample(Example):
    """A text, two spans in it, and the relation that holds from the first to the second."""

    aliases = {
        "text": ("sentence",),
        "tokens": ("words", "token"),
        "head": ("subject", "subj"),
        "tail": ("object", "obj"),
        "label": ("relation",),
    }
    inputs = {"text": "text", "head": "span", "tail": "span"}
    kept_together = "pairs of one text"

    text: str
    """In files also `tokens`; the words are joined by spaces."""
    head: Span
    """Where the head stands: first character, and the one after its last. Beside `tokens` it is counted in words."""
    tail: Span
    label: str | int | float | None = None
    """The relation's name; None at prediction."""

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any], *, where: str) -> Self:
        """Make an example of a row; see `Example.from_columns`."""
        return cls(**_parts(columns), label=label_column(columns, cls), where=where)

    @property
    def first(self) -> str:
        """The text as the model reads it, with a mark before and after head and tail."""
        pieces, done = [], 0
        for (start, end), mark in sorted([(self.head, HEAD_MARK), (self.tail, TAIL_MARK)]):
            pieces += [self.text[done:start], f"{mark} {self.text[start:end]} {mark}"]
            done = end
        return "".join([*pieces, self.text[done:]])

    @property
    def second(self) -> None:
        """There is no second text."""
        return

    @property
    def marked(self) -> tuple[tuple[int, int], ...]:
        """Head and tail: another pair of a text is another row."""
        return (self.head, self.tail)

    @property
    def group(self) -> str:
        """A text may have several pairs: they must not stand on both sides of a split."""
        return self.text.casefold()

    @property
    def stratum(self) -> str | int | float | None:
        """Splits keep labels in proportion."""
        return self.label


@dataclass(frozen=True, kw_only=True)
class Relation(Classification):
    """Classification of a marked pair (entity markers: Baldini Soares et al., 2019, https://arxiv.org/abs/1906.03158).

    The marks are punctuation that every vocabulary has (Zhou & Chen, 2022, https://arxiv.org/abs/2102.01373), so that
    the model needs no new tokens, and plain transformers loads the folder.
    """

    Example: ClassVar[type[Example]] = RelationExample
    kind: str | None = "single"

    def example_from_input(self, value: Any) -> RelationExample:
        """Accept `{"text", "head", "tail"}` with spans in characters, or `{"tokens", "head", "tail"}` in words."""
        if not isinstance(value, Mapping):
            form = "{'text': ..., 'head': [start, end], 'tail': [start, end]}"
            raise DataError(f"relation predicts for {form}, not for {value!r:.60}.")
        try:
            return RelationExample(**_parts(value))
        except RowError as error:
            raise DataError(f"{error.what}. {error.remedy}") from None

    def mentions(self, example: RelationExample) -> dict[str, list[Mention]]:
        """Return head and tail."""
        return {"text": [Mention(*example.head), Mention(*example.tail)]}

    def with_texts(self, example: RelationExample, edited: Mapping[str, Edited]) -> RelationExample:
        """Return the example with an edited text, head and tail where they stand now."""
        text = edited["text"]
        return replace(example, text=text.text, head=text.moved(*example.head), tail=text.moved(*example.tail))

    def partial_inputs(self) -> dict[str, PartialInput]:
        """Return the two names alone: what they are often tells which relation, whatever the text says."""
        return {"names only": PartialInput("sentence", _names_only)}

    def elsewhere(self) -> str:
        """Return how the pair is marked."""
        return f"The model reads a text with `{HEAD_MARK} head {HEAD_MARK}` and `{TAIL_MARK} tail {TAIL_MARK}` in it."


def _names_only(example: RelationExample) -> RelationExample:
    head, tail = (example.text[start:end] for start, end in (example.head, example.tail))
    return replace(example, text=f"{head} {tail}", head=(0, len(head)), tail=(len(head) + 1, len(head) + 1 + len(tail)))


def _parts(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return text, head and tail of a row or an input, the spans in characters.

    Raises:
        RowError: if a span has another form, lies outside of the text, holds nothing, or overlaps the other.
    """
    tokens = column(columns, "tokens", RelationExample, None) if "text" not in columns else None
    if tokens is None:
        text = text_column(columns, "text", RelationExample)
        places = [(place, place + 1) for place in range(len(text))]
    else:
        if not isinstance(tokens, (list, tuple)) or not all(isinstance(word, str) and word for word in tokens):
            raise RowError("tokens is not a list of words", "Give each word as a string, none of them empty.")
        text, starts = " ".join(tokens), [sum(len(word) + 1 for word in tokens[:n]) for n in range(len(tokens))]
        places = [(start, start + len(word)) for start, word in zip(starts, tokens, strict=True)]
    unit = "characters" if tokens is None else "words"
    head, tail = (_span(columns, name, places, unit) for name in ("head", "tail"))
    if head[0] < tail[1] and tail[0] < head[1]:
        raise RowError("head and tail overlap", "Give two spans that share nothing.")
    return {"text": text, "head": head, "tail": tail}


def _span(columns: Mapping[str, Any], name: str, places: list[Span], unit: str) -> Span:
    """Return a span in characters; `places` says where each character or word stands."""
    value = column(columns, name, RelationExample)
    if isinstance(value, Mapping):
        value = (value.get("start"), value.get("end"))
    whole = isinstance(value, (list, tuple)) and len(value) == 2 and all(type(number) is int for number in value)
    if not whole or not 0 <= value[0] < value[1] <= len(places):
        what = f"{name} is {value!r:.40}, no span of the {len(places)} {unit}"
        raise RowError(what, "Give [start, end], counted from 0, the end excluded.")
    return places[value[0]][0], places[value[1] - 1][1]
