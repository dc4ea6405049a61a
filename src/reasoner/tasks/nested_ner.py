"""Named entities that may nest and overlap: which spans of words name something, and of which types?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Self

from reasoner.data.alignment import Interval, join_words, split_words
from reasoner.data.edited import Edited, Mention, entities_after, mentions_of
from reasoner.data.entities import entity_of_span, spans_of_entities
from reasoner.data.examples import Example, RowError, column, text_column
from reasoner.data.features import Feature
from reasoner.data.labels import label_config, learn_labels, ordered_as, unknown_labels
from reasoner.data.tag_schemes import Span as WordSpan
from reasoner.data.windows import Owned, Window, shown_words, texts_in_windows
from reasoner.errors import DataError, Problem
from reasoner.losses import IGNORED
from reasoner.metrics import entity_surfaces, seen_unseen, span_scores
from reasoner.metrics.chunking import Span
from reasoner.metrics.counting import RowCounts, f1_from_sums, set_counts
from reasoner.notices import count
from reasoner.tasks.base import Said, Splits, Task

Entities = list[dict[str, Any]]
"""A prediction: `{"entity_group", "word", "start", "end", "score", "start_word", "end_word"}` each."""


@dataclass(frozen=True, kw_only=True)
class NestedNERExample(Example):
    """A text, its words, and its entities counted in them."""

    aliases = {"text": ("sentence",), "entities": ("spans",)}
    inputs = {"text": "text", "tokens": "words"}

    text: str
    """What characters count in."""
    offsets: tuple[Interval, ...]
    """Where each word stands in `text`."""
    entities: tuple[tuple[int, int, str], ...] | None = None
    """(first word, word after the last, type) each, in any order, any of them over each other; None at prediction."""

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any], *, where: str) -> Self:
        """Make an example of `text` and `entities: [{start, end, label}]`, characters, the end excluded."""
        entities = column(columns, "entities", cls)
        if entities is None:
            raise RowError("entities is missing", "Give a list; an empty one where there are none.")
        example = cls.from_text(text_column(columns, "text", cls), where=where)
        spans = spans_of_entities(entities, example.text, example.offsets)
        kept = tuple(dict.fromkeys((span.start, span.end, span.type) for span in spans))
        if len(kept) < len(spans):
            count("{n} entities stood twice in their row and count once.", len(spans) - len(kept))
        return replace(example, entities=kept)

    @classmethod
    def from_text(cls, text: str, *, where: str = "") -> Self:
        """Make an example of raw text, split into words by `alignment.split_words`."""
        return cls(text=text, offsets=tuple(split_words(text)), where=where)

    @property
    def group(self) -> str:
        """Equal sentences must not stand on both sides of a split."""
        return self.text.casefold()

    @property
    def stratum(self) -> bool:
        """Splits keep the share of sentences with an entity."""
        return bool(self.entities)

    @property
    def words(self) -> list[str]:
        """The text's words."""
        return [self.text[start:end] for start, end in self.offsets]

    @property
    def spans(self) -> set[Span]:
        """The gold entities, as metrics have them."""
        return {Span(kind, start, end) for start, end, kind in self.entities or ()}


Rows = Sequence[NestedNERExample]


@dataclass(frozen=True, kw_only=True)
class NestedNER(Task[NestedNERExample, Entities]):
    """Every span of words is judged by itself, for each type: one entity may hold or cross another.

    In a text of several windows a span belongs to the window that owns its first word, and must end in it.
    """

    Example = NestedNERExample
    default_head = "span"

    labels: Sequence[str] = ()
    """Types, in the order of the model's outputs; empty: found in the data."""

    @property
    def primary_metric(self) -> str:
        """F1 over whole entities: type, first and last word must be right."""
        return "f1"

    @classmethod
    def from_examples(cls, splits: Splits[NestedNERExample], **settings: Any) -> Self:
        """Learn the types; see `Task.from_examples`."""
        task = cls(**settings)
        types = {split: _types(examples) for split, examples in splits.items()}
        return replace(task, labels=learn_labels(types, given=task.labels, least=1))

    def problems(self, examples: Rows) -> list[Problem]:
        """Return which types of further data are unknown."""
        return unknown_labels(_types(examples), self.labels)

    def example_from_input(self, value: Any) -> NestedNERExample:
        """Accept a string, or a list of words; or a dict with one of them as `text` or `tokens`."""
        if isinstance(value, Mapping):
            value = value.get("tokens", value.get("text"))
        if isinstance(value, str):
            return NestedNERExample.from_text(value)
        if isinstance(value, (list, tuple)) and all(isinstance(word, str) for word in value):
            text, offsets = join_words(value)
            return NestedNERExample(text=text, offsets=tuple(offsets))
        raise DataError(f"nested_ner predicts for a string or a list of words, not for {value!r:.60}.")

    def encode(self, examples: Rows, tokenizer: Any, *, max_length: int, stride: int) -> list[list[Feature]]:
        """Return a feature for each window of the text, with the words that it shows, and its entities."""
        texts = [example.text for example in examples]
        windows = texts_in_windows(tokenizer, texts, max_length=max_length, stride=stride)
        return [self._features(example, group) for example, group in zip(examples, windows, strict=True)]

    def decode(self, records: Sequence[Any], features: Sequence[Sequence[Feature]], examples: Rows) -> list[Entities]:
        """Return for each text its entities in order, the longer first; the score is a span's probability."""
        remaining = iter(records)
        predictions = []
        for example, group in zip(examples, features, strict=True):
            found: dict[WordSpan, float] = {}
            for feature in group:
                record = next(remaining)
                for start, end, label, sure in zip(*(values.tolist() for values in record), strict=True):
                    kind = self.labels[label]
                    found[WordSpan(feature.info[start].word, feature.info[end].end, kind)] = sure
            ordered = sorted(found.items(), key=lambda item: (item[0].start, -item[0].end, item[0].type))
            predictions.append([entity_of_span(span, sure, example.text, example.offsets) for span, sure in ordered])
        return predictions

    def score(self, predictions: Sequence[Entities], examples: Rows) -> dict[str, Any]:
        """Return precision, recall and F1 over whole entities (micro, macro, weighted and by type)."""
        return dict(span_scores([example.spans for example in examples], _predicted(predictions)))

    def slices(self, predictions: Sequence[Entities], examples: Rows, training: Rows) -> dict[str, Any]:
        """Return as `by_novelty` the scores of entities that training showed, and of those that it did not."""
        known = entity_surfaces([row.spans for row in training], [row.words for row in training])
        gold, words = [row.spans for row in examples], [row.words for row in examples]
        return {"by_novelty": seen_unseen(gold, _predicted(predictions), words, known)}

    def loss_count(self, example: NestedNERExample) -> float:
        """Return how many types each window is judged by."""
        return float(len(self.labels))

    def gold_lost(self, example: NestedNERExample, features: Sequence[Feature]) -> int:
        """Return how many gold entities no window holds: too long, or with an end that has no sub-word of its own."""
        placed = sum(len(_places(example, feature.info, feature.token_targets["words"])) for feature in features)
        return len(example.spans) - placed

    def gold_names(self, example: NestedNERExample) -> tuple[str, ...]:
        """Return the types of the sentence's entities, in order."""
        return tuple(span.type for span in sorted(example.spans, key=lambda span: (span.start, -span.end, span.type)))

    def mentions(self, example: NestedNERExample) -> dict[str, list[Mention]]:
        """Return the gold entities, counted in characters."""
        return {"text": mentions_of(example.entities or (), example.offsets)}

    def with_texts(self, example: NestedNERExample, edited: Mapping[str, Edited]) -> NestedNERExample:
        """Return the example with an edited text, split into words anew, and its entities where they stand now."""
        words, entities = entities_after(edited["text"], example.offsets, example.entities or ())
        gold = None if example.entities is None else tuple(entities)
        return replace(example, text=edited["text"].text, offsets=tuple(words), entities=gold)

    def said(self, prediction: Entities) -> frozenset[Said]:
        """Return the entities by type and place."""
        return frozenset(Said(item["entity_group"], "text", item["start"], item["end"]) for item in prediction)

    def primary_counts(self, predictions: Sequence[Entities], examples: Rows) -> RowCounts | None:
        """Return F1 as a function of hits, predicted and gold entities."""
        return RowCounts(f1_from_sums, set_counts([row.spans for row in examples], _predicted(predictions)))

    def rows_right(self, predictions: Sequence[Entities], examples: Rows) -> list[bool] | None:
        """Return whether a sentence has all its entities and no other."""
        return [row.spans == found for row, found in zip(examples, _predicted(predictions), strict=True)]

    def confidence(self, prediction: Entities) -> float | None:
        """Return the lowest score of the sentence's entities; None where there are none."""
        return min((entity["score"] for entity in prediction), default=None)

    def judged(self, predictions: Sequence[Any], examples: Rows) -> list[tuple[float, bool]]:
        """Return the score of each predicted entity, and whether it is gold."""
        return [
            (entity["score"], _span(entity) in row.spans)
            for entities, row in zip(predictions, examples, strict=True)
            for entity in entities
        ]

    def withheld(self, prediction: Entities, min_confidence: float) -> Entities:
        """Return the entities whose score is at least `min_confidence`."""
        return [entity for entity in prediction if entity["score"] >= min_confidence]

    def baselines(self, training: Rows, examples: Rows) -> dict[str, list[Any]]:
        """Return no entity at all, and every span whose words are an entity in training, as all its types there."""
        known: dict[tuple[str, ...], dict[str, None]] = {}
        for row in training:
            words = row.words
            for start, end, kind in row.entities or ():
                known.setdefault(tuple(words[start:end]), {})[kind] = None
        remembered = [
            [
                entity_of_span(WordSpan(start, end, kind), 1.0, row.text, row.offsets)
                for start, end in combinations(range(len(row.offsets) + 1), 2)
                for kind in known.get(tuple(row.words[start:end]), ())
            ]
            for row in examples
        ]
        return {"no entity": [[] for _ in examples], "entity memory": remembered}

    @property
    def num_outputs(self) -> int:
        """A score for each type."""
        return len(self.labels)

    def model_config(self) -> dict[str, Any]:
        """Return the types by number and the numbers by type."""
        return label_config(self.labels)

    def matched_to(self, config: Any) -> Self:
        """Return the task with its types in the model's order, when the model has the same types."""
        order = ordered_as(self.labels, list((config.id2label or {}).values()))
        return self if order is None else replace(self, labels=order)

    def _features(self, example: NestedNERExample, windows: list[Window]) -> list[Feature]:
        numbers = {label: index for index, label in enumerate(self.labels)}
        features = []
        for window, shown in zip(windows, shown_words(windows, example.offsets, example.text), strict=True):
            words = [0] * len(window.offsets)
            for place, own in shown:
                words[place.token] = 2 if own else 1
            info = [place for place, _ in shown]
            feature = Feature(window.inputs, token_targets={"words": words}, info=info)
            if example.entities is not None:
                found = [(start, end, numbers[kind]) for start, end, kind in _places(example, info, words)]
                feature.token_targets |= _as_lists(found, len(words))
            features.append(feature)
        return features


def _places(example: NestedNERExample, info: Sequence[Owned], words: Sequence[int]) -> list[tuple[int, int, str]]:
    """Return the gold entities that a window holds: first and last word, counted in those that it shows, and type."""
    first = {place.word: index for index, place in enumerate(info) if words[place.token] == 2}
    last = {place.end: index for index, place in enumerate(info)}
    return [
        (first[start], last[end], kind) for start, end, kind in example.entities or () if start in first and end in last
    ]


def _as_lists(spans: Sequence[tuple[int, int, int]], length: int) -> dict[str, list[int]]:
    """Return the spans as the head's targets: three lists with a place a token, what is left of them ignored."""
    if len(spans) > length:
        count("{n} entities were not learned: a window cannot hold more of them than tokens.", len(spans) - length)
    columns = zip(*spans[:length], strict=True) if spans else ((), (), ())
    names = ("span_starts", "span_ends", "span_labels")
    return {name: [*values, *[IGNORED] * (length - len(values))] for name, values in zip(names, columns, strict=True)}


def _types(examples: Rows) -> list[tuple[str, str]]:
    """Return every entity's type with its place."""
    return [(kind, example.where) for example in examples for _, _, kind in example.entities or ()]


def _span(entity: Mapping[str, Any]) -> Span:
    return Span(entity["entity_group"], entity["start_word"], entity["end_word"])


def _predicted(predictions: Sequence[Entities]) -> list[set[Span]]:
    return [{_span(entity) for entity in entities} for entities in predictions]
