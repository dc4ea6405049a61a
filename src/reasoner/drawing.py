"""Which of many rows are drawn, so that all labels are there as often?"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from reasoner.errors import ConfigError
from reasoner.tasks.base import Task


def drawn_rows(task: Task[Any, Any], rows: Sequence[Any], number: int, *, seed: int) -> list[Any]:
    """Return so many rows in their old order; where each has one label, as many of all labels (but for one).

    Raises:
        ConfigError: if there are not as many, or a label has too few.
    """
    if type(number) is not int or not 1 <= number <= len(rows):
        raise ConfigError(f"train_rows is {number!r:.40}, and there are {len(rows)} training rows. Give 1 to "
                          f"{len(rows)}.")  # fmt: skip
    random = Random(f"drawn {seed}")
    single = bool(getattr(task, "labels", ())) and all(len(task.gold_names(row)) == 1 for row in rows)
    places = {id(row): place for place, row in enumerate(rows)}
    chosen = balanced_rows(task, rows, number, random) if single else random.sample(list(rows), number)
    return sorted(chosen, key=lambda row: places[id(row)])


def balanced_rows(task: Task[Any, Any], rows: Sequence[Any], number: int, random: Random) -> list[Any]:
    """Return so many rows in a random order, as many of each of the task's labels (but for one).

    Raises:
        ConfigError: if a label has too few rows.
    """
    labels = random.sample(list(getattr(task, "labels", ())), len(getattr(task, "labels", ())))
    of_label: dict[str, list[Any]] = {label: [] for label in labels}
    for row in random.sample(list(rows), len(rows)):
        of_label[task.gold_names(row)[0]].append(row)
    wanted = {label: number // len(labels) + (place < number % len(labels)) for place, label in enumerate(labels)}
    for label, least in wanted.items():
        if len(of_label[label]) < least:
            raise ConfigError(f"Of {number} rows that are balanced {least} are to have the label '{label}', and "
                              f"{len(of_label[label])} training rows have it. Ask for fewer, or for random ones "
                              "where that is an option.")  # fmt: skip
    chosen = [row for label, least in wanted.items() for row in of_label[label][:least]]
    return random.sample(chosen, len(chosen))
