"""Entities as people read them, `{start, end, ...}` in characters of a text, to a tag for each word and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reasoner.data.alignment import Interval, words_of_characters
from reasoner.data.examples import RowError
from reasoner.data.tag_schemes import Span, is_tag, read_spans
from reasoner.notices import count


def tags_of_entities(entities: Any, text: str, offsets: Sequence[Interval]) -> list[str]:
    """Return the IOB2 tag of each word; an entity that begins or ends inside a word is widened, and counted.

    Args:
        entities: a list of `{"start", "end", "label"}`, characters of `text`, the end excluded.
        text: what the characters are counted in.
        offsets: where each word stands in it.

    Raises:
        RowError: if an entity has another form, holds no word, or overlaps another.
    """
    tags = ["O"] * len(offsets)
    for entity, (first, last, label) in zip(entities, spans_of_entities(entities, text, offsets), strict=True):
        if any(tag != "O" for tag in tags[first:last]):
            what = f"the entity {entity!r:.60} overlaps another"
            raise RowError(what, "Keep one of them: a tag per word cannot hold both; task='nested_ner' can.")
        tags[first:last] = [f"B-{label}", *[f"I-{label}"] * (last - first - 1)]
    return tags


def spans_of_entities(entities: Any, text: str, offsets: Sequence[Interval]) -> list[Span]:
    """Return the words of each entity, as given; one that begins or ends inside a word is widened, and counted.

    Args:
        entities: a list of `{"start", "end", "label"}`, characters of `text`, the end excluded.
        text: what the characters are counted in.
        offsets: where each word stands in it.

    Raises:
        RowError: if an entity has another form, or holds no word.
    """
    if not isinstance(entities, (list, tuple)):
        raise RowError(f"entities is {type(entities).__name__}, not a list", "Give a list, [] for none.")
    spans = []
    for entity in entities:
        start, end, label = _entity(entity)
        touched = words_of_characters(start, end, offsets) if 0 <= start < end <= len(text) else None
        if touched is None:
            what = f"the entity {entity!r:.60} holds no word of the text ({len(text)} characters)"
            raise RowError(what, "Correct its offsets: the end is excluded.")
        first, last = touched
        if text[start:end].strip() != text[offsets[first].start : offsets[last - 1].end]:
            count("{n} entities began or ended inside a word and were widened to whole words.")
        spans.append(Span(first, last, label))
    return spans


def entities_of_tags(
    tags: Sequence[str], probabilities: Sequence[float], text: str, offsets: Sequence[Interval]
) -> list[dict[str, Any]]:
    """Return the entities that the tags of a text's words mark, each with the mean probability of its words.

    Args:
        tags: one a word, as `read_spans` takes them.
        probabilities: one a word.
        text: what the characters are counted in.
        offsets: where each word stands in it.
    """
    return [
        entity_of_span(span, sum(probabilities[span.start : span.end]) / (span.end - span.start), text, offsets)
        for span in read_spans(tags)
    ]


def entity_of_span(span: Span, score: float, text: str, offsets: Sequence[Interval]) -> dict[str, Any]:
    """Return an entity of some words as `predict` gives it: with its text, and counted in characters and in words."""
    start, end = offsets[span.start].start, offsets[span.end - 1].end
    return {
        "entity_group": span.type,
        "word": text[start:end],
        "start": start,
        "end": end,
        "score": score,
        "start_word": span.start,
        "end_word": span.end,
    }


def _entity(entity: Any) -> tuple[int, int, str]:
    """Return start, end and type of an entity as files have it."""
    try:
        start, end, label = entity["start"], entity["end"], entity["label"]
    except (KeyError, TypeError):
        what = f"the entity {entity!r:.60} lacks one of start, end, label"
        raise RowError(what, "Give {'start': ..., 'end': ..., 'label': ...}.") from None
    if not isinstance(start, int) or not isinstance(end, int):
        raise RowError(f"the entity {entity!r:.60} has offsets that are no whole numbers", "Count characters from 0.")
    if not is_tag(f"B-{label}") or label is None:
        raise RowError(f"the entity {entity!r:.60} has no label", "Name its type, such as 'PER'.", about_labels=True)
    return start, end, str(label)
