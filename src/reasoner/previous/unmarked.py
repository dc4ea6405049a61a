"""Which labels does the old model know that nobody marked in the new rows, and what does it find of them there?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from reasoner.errors import ConfigError
from reasoner.inference import Predictor
from reasoner.notices import say, tell
from reasoner.tasks.base import Task

Examples = Mapping[str, Sequence[Any]]


def unmarked_names(task: Task[Any, Any], rows: Sequence[Any], names: Sequence[str]) -> list[str]:
    """Return the names that none of the rows has, though it may hold what they name."""
    marked = {name for row in rows for name in task.gold_names(row)}
    return [name for name in names if name not in marked]


def say_unmarked(old: Task[Any, Any], task: Task[Any, Any], rows: Sequence[Any]) -> None:
    """Say which of the new names none of the old rows has that are shown again.

    Args:
        old: the old model's task.
        task: the new one's.
        rows: old ones.
    """
    new = [name for name in task.open_names() if name not in old.open_names()]
    if names := unmarked_names(task, rows, new):
        say(f"None of the {len(rows):,} old rows that are shown again has {', '.join(names)}, which the new rows bring."
            " If they hold any, it is learned that these are none.")  # fmt: skip


def completed(old: Predictor, task: Task[Any, Any], examples: Examples, *, asked: bool) -> Examples:
    """Return the new examples, with what the old model finds of names that no training row has, if it is asked.

    So it is that names of old types in new rows are not learned to be none (Monaikul et al., 2021, "Continual learning
    for named entity recognition", who let the old model's probabilities be learned there; here it is what it finds).
    Training rows get it as gold. Words of validation rows are not scored there: nobody knows what is right. Test rows
    stay as they are.

    Args:
        old: the old model.
        task: the new one's, with old and new labels.
        examples: the new ones, by split.
        asked: False: only say which names none of them has.

    Raises:
        ConfigError: if the task's rows are marked in whole, whatever they name.
    """
    if asked and not old.task.open_names():
        raise ConfigError(f"complete_labels: a row of {type(task).__name__} has all of its labels, or none can be "
                          "added. Leave it out.")  # fmt: skip
    names = unmarked_names(task, examples["train"], old.task.open_names())
    if not names:
        return examples
    known, number = ", ".join(names), len(examples["train"])
    if not asked:
        say(f"None of the {number:,} new training rows has {known}, which the old model knows. If they hold any, it is "
            "learned that these are none. complete_labels=True lets the old model mark them.")  # fmt: skip
        return examples
    tell(f"The old model looks for {known} in the new rows.")
    made, found = {}, {}
    for split in ("train", "validation"):
        made[split], found[split] = _completed(old, task, examples[split], set(names), scored=split == "train")
    say(f"complete_labels: of {known}, which none of the {number:,} new training rows has, the old model finds "
        f"{found['train']:,} there, which are learned as if they had been marked, and {found['validation']:,} in "
        f"{len(made['validation']):,} validation rows, where their words are not scored.")  # fmt: skip
    return {**examples, **made}


def _completed(
    old: Predictor, task: Task[Any, Any], examples: Sequence[Any], names: set[str], *, scored: bool
) -> tuple[list[Any], int]:
    """Return the examples of a split, and how many things were found in them."""
    asked = [replace(example, **dict.fromkeys(example.gold_columns())) for example in examples]  # their gold is not old
    said = zip(examples, old.predict_examples(asked), strict=True)
    found = [task.completed(example, prediction, names, scored=scored) for example, prediction in said]
    return [example for example, _ in found], sum(number for _, number in found)
