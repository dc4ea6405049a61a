"""Rows as an edit leaves them, their gold moved along: to doubt a model with, and to train one on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from reasoner.data.edited import Edited
from reasoner.data.examples import Example
from reasoner.data.features import EncodedRow, Feature
from reasoner.data.streams import StreamedRows
from reasoner.edits.catalog import Edit, Editable, chosen
from reasoner.errors import ConfigError
from reasoner.notices import adding_to, say
from reasoner.tasks.base import Said, Task

if TYPE_CHECKING:
    from reasoner.inference import Predictor
    from reasoner.training.config import TrainingConfig


class EditedRow(NamedTuple):
    """A row after an edit."""

    number: int
    """Of the row, from 0."""
    example: Any
    texts: Mapping[str, Edited]
    """Those that were changed."""


def edited_rows(task: Task[Any, Any], examples: Sequence[Example], edit: Edit, *, seed: int) -> list[EditedRow]:
    """Return the rows that an edit changes, as it leaves them. What is drawn depends on seed, edit and row alone.

    Args:
        task: of the rows.
        examples: with gold.
        edit: what is done.
        seed: of what is drawn.
    """
    others = entity_names(task, examples)
    rows = []
    for number, example in enumerate(examples):
        made = edited_row(task, example, edit, others, Random(f"{seed} {edit.name} {number}"))
        rows += [] if made is None else [EditedRow(number, *made)]
    return rows


def said_after(said: frozenset[Said] | None, texts: Mapping[str, Edited]) -> frozenset[Said]:
    """Return what was said of a row, at the places where it stands after an edit.

    Args:
        said: what `Task.said` gave.
        texts: those that were edited, by name.
    """
    found = []
    for item in said or ():
        if item.field in texts:
            start, end = texts[item.field].moved(item.start, item.end)
            item = item._replace(start=start, end=end)
        found.append(item)
    return frozenset(found)


def said_in_words(said: frozenset[Said] | None, texts: Mapping[str, str]) -> list[str]:
    """Return what was said of a row, for people, in the order of the text: a label; "Oslo (place)".

    Args:
        said: what `Task.said` gave.
        texts: of the row, by name.
    """
    return [
        f"{texts[item.field][item.start : item.end]} ({item.name})" if item.field else item.name
        for item in sorted(said or (), key=lambda item: (item.field, item.start, item.name))
    ]


def augmented(
    predictor: Predictor, examples: Mapping[str, Sequence[Any]], config: TrainingConfig
) -> Mapping[str, Sequence[Any]]:
    """Return the splits, the training rows followed by edited copies of them, as `augmentation` says.

    For each copy one of the edits is drawn that changes what the model reads of the row: capitals change nothing for a
    tokenizer that knows none. Where none does, there is no copy, and this is said.

    Raises:
        ConfigError: if an edit is unknown, the training rows are a stream, or none has a text that can be edited.
    """
    if not config.augmentation:
        return examples
    rows, task = examples["train"], predictor.task
    if isinstance(rows, StreamedRows):
        raise ConfigError("augmentation takes rows of memory, and train is a stream. Edit the rows of the stream.")
    refuse_rows("augmentation", task, rows)
    edits, others, copies = chosen(config.augmentation_edits), entity_names(task, rows), []
    for copy in range(config.augmentation):
        for number, example in enumerate(rows):
            random = Random(f"{config.seed} {copy} {number}")
            read = EncodedRow(example, features_of(predictor, example))
            made = next(read_otherwise(predictor, read, edits, others, random), None)
            copies += [] if made is None else [made.example]
    say(f"augmentation: {len(copies)} edited copies of the {len(rows)} training rows are learned as well.")
    return {**examples, "train": [*rows, *copies]}


class ReadOtherwise(NamedTuple):
    """A row after an edit that changes what the model reads."""

    example: Any
    texts: Mapping[str, Edited]
    """Those that were changed."""
    features: Sequence[Feature]


def read_otherwise(
    predictor: Predictor, row: EncodedRow, edits: Sequence[Edit], others: Mapping[str, Sequence[str]], random: Random
) -> Iterator[ReadOtherwise]:
    """Yield what edits make of a row, in an order drawn at random, where the model reads it otherwise.

    Args:
        predictor: encodes.
        row: with gold.
        edits: what may be done.
        others: see `entity_names`.
        random: draws.
    """
    before = [feature.inputs for feature in row.features]
    for edit in random.sample(edits, len(edits)):
        if (made := edited_row(predictor.task, row.example, edit, others, random)) is None:
            continue
        features = features_of(predictor, made[0])
        if [feature.inputs for feature in features] != before:
            yield ReadOtherwise(*made, features)


def features_of(predictor: Predictor, example: Any) -> Sequence[Feature]:
    """Encode one row; what is cut of it is counted elsewhere."""
    limits = {"max_length": predictor.max_length, "stride": predictor.stride}
    with adding_to(Counter()):
        (features,) = predictor.task.encode([example], predictor.tokenizer, **limits)
    return features


def refuse_rows(option: str, task: Task[Any, Any], examples: Sequence[Any]) -> None:
    """Refuse rows of which none has a text that can be edited.

    Raises:
        ConfigError: which names the option.
    """
    if not any(example.open_texts for example in examples):
        raise ConfigError(f"{option}: rows of {type(task).__name__} have no texts that can be edited. Leave it out.")


def edited_row(
    task: Task[Any, Any], example: Any, edit: Edit, others: Mapping[str, Sequence[str]], random: Random
) -> tuple[Any, Mapping[str, Edited]] | None:
    """Return the row after an edit, and its edited texts by name; None: nothing is changed.

    Args:
        task: of the row.
        example: with gold.
        edit: what is done.
        others: see `entity_names`.
        random: draws.
    """
    texts, named = example.open_texts, example.named_texts
    if not texts:
        return None
    beside = {name: text for name, text in named.items() if name not in texts}
    made = edit.make(Editable(texts, task.mentions(example), others, beside), random)
    edited = {name: Edited.of(named[name], pieces) for name, pieces in made.items()}
    edited = {name: text for name, text in edited.items() if text.text != text.before}
    changed = task.with_texts(example, edited) if edited else example
    return None if changed == example else (changed, edited)


def entity_names(task: Task[Any, Any], examples: Sequence[Any]) -> dict[str, Sequence[str]]:
    """Return by type what entities are called in the rows, each once."""
    found: dict[str, dict[str, None]] = {}
    for example in examples:
        for name, mentions in task.mentions(example).items():
            for start, end, type in mentions:
                found.setdefault(type, {})[example.texts[name][start:end]] = None
    return {type: tuple(surfaces) for type, surfaces in found.items()}
