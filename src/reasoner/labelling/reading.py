"""Is what a person labelled what was to be labelled: no row missing, no text changed, no label unknown?"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, NamedTuple

from reasoner.data.examples import NO_GOLD, RowDroppedError, RowError
from reasoner.data.rows import Row
from reasoner.data.sources import read_rows
from reasoner.errors import DataError, Problem, raise_if_any
from reasoner.labelling.chosen import EMPTY, Chosen, ToLabel, read_chosen
from reasoner.labelling.rows import named, parted, schema_of, text_key
from reasoner.notices import collect, say
from reasoner.tasks.base import Task

NEAR = 0.6
"""How alike two texts must be for one to be taken for the other with changes."""


class _Read(NamedTuple):
    """A row of the file."""

    row: Row
    gold: Any
    """None: it was not given."""


def read_labels(
    path: str | Path, *, chosen: ToLabel | None = None, partial: bool = False, columns: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Return the rows of a file that `ToLabel.write` wrote and a person filled in, ready to be trained on.

    Each is the row as it was given to `to_label`, with its label. A row may stand anywhere in the file, and what else
    the file says of it plays no part.

    Args:
        path: the file, in any format that `read_rows` reads.
        chosen: what was written; None: it is read from the file beside.
        partial: leave out rows that are missing or have no label, and say how many.
        columns: as in `fine_tune`.

    Raises:
        DataError: with every row that is missing, has no label or a wrong one, another text, or was never chosen.
        CheckpointError: if nothing says what was chosen.

    Example:
        >>> more = reasoner.read_labels("to_label.jsonl")  # doctest: +SKIP
        >>> reasoner.fine_tune(None, {"train": [*rows, *more]}, task="nli")  # doctest: +SKIP
    """
    with collect():
        chosen = read_chosen(Path(path)) if chosen is None else chosen
        task = chosen.task
        wanted = {_key(task, one.columns): one for one in chosen}
        problems: list[Problem] = []
        found = _found(task, read_rows(path, columns=columns), wanted, problems)
        labelled: list[dict[str, Any]] = []
        examples, left_out = [], 0
        for key, one in wanted.items():
            read = found.get(key)
            if read is None and key in found:  # told already
                continue
            if read is None or read.gold is None:
                left_out += 1
                problems += [] if partial else _missing(one, read, problems)
                continue
            columns_of_row = {**one.columns, one.gold: read.gold}
            try:
                examples.append(schema_of(task).from_columns(columns_of_row, where=read.row.where))
            except (RowError, RowDroppedError) as error:
                remedy = error.remedy if isinstance(error, RowError) else "Give it a label."
                problems.append(Problem(read.row.where, str(error), remedy, True))
                continue
            labelled.append(columns_of_row)
        raise_if_any([*problems, *task.problems(examples)])
        if partial and left_out:
            say(f"{left_out} of {len(wanted)} rows are missing or have no label yet, and were left out.")
        return labelled


def _found(
    task: Task[Any, Any], rows: list[Row], wanted: Mapping[Hashable, Chosen], problems: list[Problem]
) -> dict[Hashable, _Read | None]:
    """Return the rows of the file that were chosen, None where the text was changed; problems are added."""
    found: dict[Hashable, _Read | None] = {}
    others: list[tuple[Hashable, Row]] = []
    for row in rows:
        key = _key(task, row.columns)
        if key not in wanted:
            others.append((key, row))
        elif (first := found.get(key)) is not None:
            problems.append(Problem(row.where, f"stands at {first.row.where} already", "Keep one of them."))
        else:
            found[key] = _Read(row, _gold(row, task, problems))
    absent = [key for key in wanted if key not in found]
    for key, row in others:
        near = max(absent, key=lambda other: _likeness(key, other), default=None)
        if near is not None and _likeness(key, near) >= NEAR:
            absent.remove(near)
            found[near] = None
            what = f"its text is not that of {wanted[near].where} any more"
            problems.append(Problem(row.where, what, "Put the text back as it was: the label would be of another."))
        else:
            problems.append(Problem(row.where, "is none of the rows that were chosen", "Take it out."))
    return found


def _missing(one: Chosen, read: _Read | None, problems: list[Problem]) -> list[Problem]:
    """Return that a row is not there or has no label, unless it was told already."""
    if read is None:
        what = "is not in the file any more"
        return [Problem(one.where, what, "Put it back, or leave such rows out with partial=True.")]
    if any(problem.where == read.row.where for problem in problems):
        return []
    return [Problem(read.row.where, "has no label", "Give it one, or leave such rows out with partial=True.")]


def _gold(row: Row, task: Task[Any, Any], problems: list[Problem]) -> Any:
    """Return the label of a row; None if it has none; some tags without others are a problem."""
    _, gold = parted(row.columns, schema_of(task))
    value = next(iter(gold.values()), None)
    if isinstance(value, list) and EMPTY in value:
        empty = value.count(EMPTY)
        if empty < len(value):
            what = f"{empty} of {len(value)} words have no tag"
            problems.append(Problem(row.where, what, "Give each word one; O where it names nothing.", True))
        return None
    return None if not isinstance(value, (list, tuple, dict)) and value in (*NO_GOLD, EMPTY) else value


def _key(task: Task[Any, Any], columns: Mapping[str, Any]) -> Hashable:
    schema = schema_of(task)
    kept, _ = parted(columns, schema)
    try:
        return text_key(task.example_from_input(named(kept, schema)))
    except DataError:
        return ("unreadable", repr(sorted(kept.items(), key=str)))


def _likeness(one: Any, other: Any) -> float:
    """Return how alike two rows are by their texts, from 0 to 1."""
    first, second = (
        " ".join(str(part[1]) for part in key if isinstance(part, tuple) and len(part) == 2) for key in (one, other)
    )
    return float(SequenceMatcher(None, first, second, autojunk=False).ratio())
