"""What is a row of words with a tag each: a sentence by itself, or one of a document?"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

from reasoner.data.alignment import Interval, join_words, split_words
from reasoner.data.edited import Edited, counterparts, entities_after
from reasoner.data.entities import tags_of_entities
from reasoner.data.examples import Example, MissingColumnError, RowDroppedError, RowError, column, text_column
from reasoner.data.features import EncodedRow
from reasoner.data.gold_tags import check_words
from reasoner.data.tag_schemes import OUTSIDE, Span, malformed, read_spans, write_spans
from reasoner.losses import IGNORED


@dataclass(frozen=True, kw_only=True)
class NERExample(Example):
    """The words of a sentence, their tags, and where they stand in its text."""

    aliases = {
        "tokens": ("words",),
        "ner_tags": ("tags", "labels", "ner"),
        "text": ("sentence",),
        "entities": ("spans",),
        "document": ("document_id", "doc_id"),
    }

    inputs = {"text": "text", "tokens": "words"}

    tokens: tuple[str, ...]
    ner_tags: tuple[str | int, ...] | None = None
    """One a word: names in any scheme, or numbers; `-100` is not scored. None at prediction."""
    text: str
    """The text that offsets count in: the raw one, or the words joined by spaces."""
    offsets: tuple[Interval, ...]
    """Where each word stands in `text`."""

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any], *, where: str) -> Self:
        """Make an example of words and tags, or of `text` and `entities: [{start, end, label}]`."""
        entities = column(columns, "entities", cls, default=None)
        if "entities" in columns and entities is None and "tokens" not in columns:
            raise RowError("entities is missing", "Give a list; an empty one where there are none.")
        if entities is not None and column(columns, "tokens", cls, default=None) is None:
            example = cls.from_text(text_column(columns, "text", cls), where=where)
            return replace(example, ner_tags=tuple(tags_of_entities(entities, example.text, example.offsets)))
        words, tags = (column(columns, name, cls) for name in ("tokens", "ner_tags"))
        for name, value in (("tokens", words), ("ner_tags", tags)):
            if not isinstance(value, (list, tuple)):
                raise RowError(f"{name} is {type(value).__name__}, not a list", "Give one item per word.")
        if len(words) != len(tags):
            what = f"ner_tags has {len(tags)} items, tokens has {len(words)}"
            raise RowError(what, "Give one tag per token.", code="unequal_lengths")
        if not words:
            raise RowDroppedError("{n} rows hold no words and were left out.")
        check_words(words)
        if problem := malformed(["O" if isinstance(tag, int) else tag for tag in tags]):
            remedy = "Correct it, or give another tag column with columns."
            raise RowError(problem, remedy, about_labels=True, code="malformed_tag")
        return cls.from_words(words, tags, where=where)

    @classmethod
    def from_words(cls, words: Sequence[str], tags: Sequence[str | int] | None = None, *, where: str = "") -> Self:
        """Make an example of words; its text is the words joined by spaces."""
        text, offsets = join_words(words)
        gold = None if tags is None else tuple(tags)
        return cls(tokens=tuple(words), ner_tags=gold, text=text, offsets=tuple(offsets), where=where)

    @classmethod
    def from_text(cls, text: str, tags: Sequence[str] | None = None, *, where: str = "") -> Self:
        """Make an example of raw text, split into words by `alignment.split_words`."""
        offsets = tuple(split_words(text))
        words = tuple(text[start:end] for start, end in offsets)
        return cls(
            tokens=words, ner_tags=None if tags is None else tuple(tags), text=text, offsets=offsets, where=where
        )

    @property
    def texts(self) -> dict[str, str]:
        """The sentence."""
        return {"text": self.text}

    @property
    def group(self) -> Hashable:
        """Equal sentences must not stand on both sides of a split."""
        return self.text.casefold()

    @property
    def stratum(self) -> bool:
        """Splits keep the share of sentences with an entity."""
        return any(tag not in ("O", 0, IGNORED) for tag in self.ner_tags or ())


def edited_sentence(
    example: NERExample, edited: Edited, entities: Iterable[tuple[int, int, str]], scheme: str
) -> NERExample:
    """Return the sentence as it is after an edit, its entities where they stand now.

    Args:
        example: the sentence before.
        edited: its text.
        entities: its entities, counted in words.
        scheme: that its tags are to be written in.
    """
    words, moved = entities_after(edited, example.offsets, entities)
    tags = write_spans(moved, len(words), scheme)
    text = edited.text
    tokens = tuple(text[start:end] for start, end in words)
    return replace(example, tokens=tokens, ner_tags=tuple(tags), text=text, offsets=tuple(words))


def token_counterparts(row: EncodedRow, copy: EncodedRow, edited: Edited | None) -> list[list[int]]:
    """Return where in an edited copy each word's first token stands; see `Task.counterparts`.

    Args:
        row: the sentence, and features whose `info` tells (word, token, ...) of the words that are theirs.
        copy: the edited sentence, and as many features.
        edited: its text; None: it is as it was.
    """
    words = counterparts(edited, row.example.offsets, copy.example.offsets)
    found = []
    for feature, other in zip(row.features, copy.features, strict=True):
        tokens = {item[0]: item[1] for item in other.info}
        places = [IGNORED] * len(feature)
        for word, token, *_ in feature.info:
            places[token] = tokens.get(words.get(word, IGNORED), IGNORED)
        found.append(places)
    return found


def spans_of(entities: Iterable[Mapping[str, Any]]) -> list[Span]:
    """Return predicted entities as (first word, word behind the last, type)."""
    return [Span(entity["start_word"], entity["end_word"], entity["entity_group"]) for entity in entities]


def with_entities(example: NERExample, entities: Sequence[Mapping[str, Any]], scheme: str) -> NERExample:
    """Return the sentence with predicted entities as its gold; the other words name nothing.

    Args:
        example: the sentence.
        entities: as `predict` gives them, in order.
        scheme: that the tags are to be written in.
    """
    return replace(example, ner_tags=tuple(write_spans(spans_of(entities), len(example.tokens), scheme)))


def with_more(
    example: NERExample, gold: Sequence[str | None], entities: Sequence[Mapping[str, Any]], scheme: str, *, scored: bool
) -> tuple[NERExample, int]:
    """Return the sentence with predicted entities beside its own, as far as their words name nothing, and how many.

    Args:
        example: the sentence.
        gold: its tags in IOB2; None at a word that is not scored.
        entities: as `predict` gives them.
        scheme: that the tags are to be written in.
        scored: False: the words of these entities are not scored, in place of being their names.
    """
    more = [span for span in spans_of(entities) if set(gold[slice(*span[:2])]) == {OUTSIDE}]
    own = read_spans([tag or OUTSIDE for tag in gold])
    unscored = {word for word, tag in enumerate(gold) if tag is None}
    if not scored:
        unscored.update(word for start, end, _ in more for word in range(start, end))
    places = {word: place for place, word in enumerate(word for word in range(len(gold)) if word not in unscored)}
    spans = [
        (places[start], places[end - 1] + 1, kind) for start, end, kind in sorted([*own, *more] if scored else own)
    ]
    tags = write_spans(spans, len(places), scheme)  # as they are read: words that are not scored do not part entities
    made = tuple(tags[places[word]] if word in places else IGNORED for word in range(len(gold)))
    return (replace(example, ner_tags=made), len(more)) if more else (example, 0)


def entity_alone(example: NERExample, entity: Mapping[str, Any], scheme: str) -> NERExample:
    """Return the sentence with one predicted entity as its gold; the other words are not scored."""
    start, end, kind = entity["start_word"], entity["end_word"], entity["entity_group"]
    tags: list[str | int] = [IGNORED] * len(example.tokens)
    tags[start:end] = write_spans([(0, end - start, kind)], end - start, scheme)
    return replace(example, ner_tags=tuple(tags))


class Neighbour(NamedTuple):
    """A sentence as the context of another: its text, and where its words stand in it."""

    text: str
    offsets: tuple[Interval, ...]


@dataclass(frozen=True, kw_only=True)
class NERInDocument(NERExample):
    """A sentence of a document: rows of one split (or of one prediction) with the same `document`, in their order."""

    inputs = {**NERExample.inputs, "document": "text?"}
    kept_together = "rows of one document"

    document: str | int = ""
    before: tuple[Neighbour, ...] = ()
    """The sentences before it, the nearest last: see `documents.in_documents`, which fills in both."""
    after: tuple[Neighbour, ...] = ()

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any], *, where: str) -> Self:
        """Make an example as `NERExample` does; the row must name its document."""
        example = super().from_columns(columns, where=where)
        document = column(columns, "document", cls, default=cls)
        if document is cls:
            raise MissingColumnError(
                "column 'document' is missing, and document_context is set",
                "Say which sentences belong together: with -DOCSTART- lines in CoNLL columns, else with a column "
                "'document' (name yours with columns={'document': 'your column'}). Or leave document_context out.",
            )
        return replace(example, document=document_name(document))

    @property
    def group(self) -> Hashable:
        """A document must not stand on both sides of a split."""
        return ("document", self.document)


def document_name(value: Any) -> str | int:
    """Return what names a row's document; CoNLL columns name it once a word.

    Raises:
        RowError: if it is neither text nor a whole number.
    """
    if isinstance(value, list) and value and all(item == value[0] for item in value):
        value = value[0]
    if isinstance(value, float) and value.is_integer():  # of a table with gaps
        value = int(value)
    if not isinstance(value, (str, int)) or isinstance(value, bool) or value == "":
        remedy = "Name its document by a text or a whole number; a row that stands alone has a name of its own."
        raise RowError(f"document is {value!r:.40}", remedy, code="no_document")
    return value
