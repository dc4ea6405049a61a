"""Which rows of what a user gave is a model to be doubted with, and can its predictions for them be compared?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from reasoner.data.examples import examples_from_rows
from reasoner.data.sources import ONE_SOURCE, read_splits
from reasoner.errors import ConfigError, raise_if_any
from reasoner.tasks.base import Task

T = TypeVar("T")


def scored_rows(
    task: Task[Any, Any], data: Any, *, split: str | None, columns: Mapping[str, Any] | None
) -> tuple[str, list[Any]]:
    """Return the name of the split and its examples, all of whose labels the task knows.

    Args:
        task: of the model.
        data: as `Result.evaluate` takes them.
        split: which of several; None: test, else validation, else train. One source alone is called "the data".
        columns: as in `fine_tune`.

    Raises:
        ConfigError: if there is no such split, or predictions of the task cannot be compared (`Task.said`).
        DataError: if a row cannot be used, or holds a label that the task does not know, or there is none.
    """
    _check_said(task)
    return rows_with_gold(task, data, split=split, columns=columns)


def rows_with_gold(
    task: Task[Any, Any], data: Any, *, split: str | None, columns: Mapping[str, Any] | None
) -> tuple[str, list[Any]]:
    """Do what `scored_rows` does, for any task."""
    name, examples = _read(task, data, split, columns)
    raise_if_any(task.problems(examples))
    return name, examples


def chosen_rows(
    task: Task[Any, Any], data: Any, *, split: str | None, columns: Mapping[str, Any] | None
) -> tuple[str, list[Any]]:
    """Do what `scored_rows` does, with labels that the task does not know too."""
    _check_said(task)
    return _read(task, data, split, columns)


def _check_said(task: Task[Any, Any]) -> None:
    if type(task).said is Task.said or getattr(task, "kind", None) == "number":
        raise ConfigError(f"Predictions of {type(task).__name__} cannot be told apart, equal or not: it has no `said`.")


def _read(
    task: Task[Any, Any], data: Any, split: str | None, columns: Mapping[str, Any] | None
) -> tuple[str, list[Any]]:
    splits = examples_from_rows(read_splits(data, columns=columns, alone=ONE_SOURCE), task.schema(task.settings()))
    return chosen_split(splits, split)


def chosen_split(splits: Mapping[str, list[T]], split: str | None) -> tuple[str, list[T]]:
    """Return the name of the split that was asked for and its rows.

    Args:
        splits: all of them.
        split: which; None: test, else validation, else train.

    Raises:
        ConfigError: if there is no such split, or no row.
    """
    if not splits:
        raise ConfigError("There are no rows. Give some, with gold.")
    name = split or next(name for name in ("test", "validation", *splits) if name in splits)
    if name not in splits:
        raise ConfigError(f"split is '{name}', and the data has {', '.join(splits)}. Give one of them.")
    return name, splits[name]
