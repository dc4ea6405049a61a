"""How are rows without gold read, and how is gold that a model or a person gave written into them?"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from reasoner.data.examples import Example
from reasoner.data.sentences import NERExample
from reasoner.data.sources import read_rows
from reasoner.data.tag_schemes import read_spans, to_iob2
from reasoner.errors import ConfigError, DataError, Problem, raise_if_any
from reasoner.notices import say
from reasoner.tasks.base import Task

ENTITIES = "entities"
"""The column that holds the gold of a row of raw text, instead of a tag a word."""


class Unlabelled(NamedTuple):
    """A row as it was given, and as the task reads it, without gold."""

    columns: Mapping[str, Any]
    """Its columns but for those of the gold."""
    example: Any
    gold: Mapping[str, Any]
    """Its gold, if the row has any."""


def read_unlabelled(task: Task[Any, Any], rows: Any, *, columns: Mapping[str, Any] | None) -> list[Unlabelled]:
    """Return rows without gold, each text once; gold that is there is set aside.

    Args:
        task: of the model.
        rows: one source, as `fine_tune` takes it, whose rows need no gold.
        columns: as in `fine_tune`.

    Raises:
        ConfigError: if the task's gold is no column that a person could fill in.
        DataError: with all rows that cannot be used, or if there is none.
    """
    schema = schema_of(task)
    found: dict[Hashable, Unlabelled] = {}
    problems, read = [], read_rows(rows, name="unlabelled", columns=columns)
    for row in read:
        try:
            example = replace(task.example_from_input(named(row.columns, schema)), where=row.where)
        except DataError as error:
            problems.append(Problem(row.where, str(error).rstrip("."), "Correct it, or leave the row out."))
            continue
        kept, gold = parted(row.columns, schema)
        found.setdefault(text_key(example), Unlabelled(kept, example, gold))
    raise_if_any(problems)
    if not found:
        raise DataError([Problem("unlabelled", "holds no rows", "Give at least one.")])
    if len(found) < len(read):
        say(f"{len(read) - len(found)} unlabelled rows hold the texts of an earlier one and were left out.")
    return list(found.values())


def without_known(rows: Sequence[Unlabelled], known: Iterable[Example] | None) -> list[Unlabelled]:
    """Return the rows whose texts are not those of a row that has gold already; how many are left out is said.

    Args:
        rows: without gold.
        known: the rows that the model was trained on; None: nobody knows them.

    Raises:
        DataError: if none is left.
    """
    if known is None:
        say("Which rows the model was trained on is not known (it was loaded, or trained on a stream), so that "
            "they are not looked for among the unlabelled rows. Name them with training=...")  # fmt: skip
        return list(rows)
    keys = {text_key(example) for example in known}
    left = [row for row in rows if text_key(row.example) not in keys]
    if len(left) < len(rows):
        say(f"{len(rows) - len(left)} unlabelled rows are in the training data already and were left out.")
    if not left:
        raise DataError([Problem("unlabelled", "holds no row that is not in training already", "Give others.")])
    return left


def schema_of(task: Task[Any, Any]) -> type[Example]:
    """Return the task's schema.

    Raises:
        ConfigError: if its gold is no column that a person could fill in.
    """
    schema: type[Example] = task.schema(task.settings())
    if not schema.gold_columns():
        raise ConfigError(f"Rows of {type(task).__name__} have no column for a label that could be left empty: "
                          "classification, nli, relation, ner, qa and multiple_choice have one.")  # fmt: skip
    return schema


def text_key(example: Example) -> Hashable:
    """Return what rows of the same input have in common."""
    return (*sorted(example.texts.items()), example.marked)


def named(columns: Mapping[str, Any], schema: type[Example]) -> dict[str, Any]:
    """Return the columns, those that stand under another name in the field also under ours."""
    found = dict(columns)
    for name, others in schema.aliases.items():
        there = next((other for other in others if other in columns), None)
        if name not in found and there is not None:
            found[name] = columns[there]
    return found


def parted(columns: Mapping[str, Any], schema: type[Example]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the columns without gold, and the gold under our names; what is empty is none."""
    kept, gold = dict(columns), {}
    for name in _gold_names(schema):
        there = next((other for other in (name, *schema.aliases.get(name, ())) if other in kept), None)
        if there is not None and (value := kept.pop(there)) is not None:
            gold[name] = value
    return kept, gold


def gold_name(columns: Mapping[str, Any], schema: type[Example]) -> str:
    """Return which column of a row holds its gold: of raw text its entities, else the field's own."""
    (name,) = schema.gold_columns()
    words = ("tokens", *schema.aliases.get("tokens", ()))
    return ENTITIES if issubclass(schema, NERExample) and not any(word in columns for word in words) else name


def gold_of(example: Any, name: str, task: Task[Any, Any]) -> Any:
    """Return the gold of an example as a file has it.

    Args:
        example: with gold.
        name: see `gold_name`.
        task: of it.
    """
    if name == ENTITIES:
        tags = to_iob2(list(example.ner_tags), getattr(task, "scheme", None) or "IOB2")
        places = example.offsets
        return [{"start": places[span.start].start, "end": places[span.end - 1].end, "label": span.type}
                for span in read_spans(tags)]  # fmt: skip
    value = getattr(example, name)
    if name == "answers":
        return {"text": [answer.text for answer in value], "answer_start": [answer.start for answer in value]}
    return list(value) if isinstance(value, tuple) else value


def _gold_names(schema: type[Example]) -> tuple[str, ...]:
    return (*schema.gold_columns(), *((ENTITIES,) if issubclass(schema, NERExample) else ()))
