"""Is a model right in all rows of a set that differ a little, and in what is right?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from reasoner.data.examples import examples_from_rows
from reasoner.data.rows import Row
from reasoner.data.sources import ONE_SOURCE, read_splits
from reasoner.edits.changing import ContrastEdit, contrasts_of
from reasoner.edits.rows import said_in_words
from reasoner.errors import ConfigError, DataError, Problem, raise_if_any
from reasoner.inference import Predictor
from reasoner.notices import collect, say
from reasoner.reports.contrast import ContrastOutcome, ContrastReport, Member
from reasoner.reports.shares import Share
from reasoner.result import Result, load_result
from reasoner.scored_rows import chosen_split, scored_rows
from reasoner.tasks.base import Task

SHOWN = 3
"""Broken sets that are shown of each kind."""
OWN = "sets of the data"


def contrast(
    model: Result | str | Path,
    data: Any,
    *,
    sets: str | None = None,
    edits: Sequence[str | ContrastEdit] | None = None,
    split: str | None = None,
    seed: int = 0,
    columns: Mapping[str, Any] | None = None,
) -> ContrastReport:
    """Ask of rows that differ a little, and in what is right, in how many sets of them a model is right in all.

    That is contrast consistency (Gardner et al., 2020, https://arxiv.org/abs/2004.02709). The sets are the data's own,
    or pairs of a row and what a change makes of it that has a certain gold.

    Args:
        model: what `fine_tune` or `load` gave, or the folder of a model.
        data: rows with gold, as `Result.evaluate` takes them.
        sets: the column that says which set a row is of; None: pairs are made of the rows by `edits`.
        edits: names out of `edits.changing.CONTRASTS`, or `ContrastEdit`s of your own; None: all of the task's.
        split: which of several splits; None: test, else validation, else train.
        seed: of what is drawn at random.
        columns: as in `fine_tune`.

    Raises:
        ConfigError: if a name is unknown, sets and edits are both given, there is no edit for the task, or its rows are
            not right or wrong as a whole.
        DataError: if a row cannot be used, or no set has two rows.

    Example:
        >>> report = reasoner.contrast("output/nli", "contrast_sets.jsonl", sets="set")  # doctest: +SKIP
        >>> report.outcomes[0].whole.rate  # doctest: +SKIP
    """
    if sets is not None and edits is not None:
        raise ConfigError("contrast: sets= says that the data has sets of its own, so that edits= has nothing to do. "
                          "Leave one of them out.")  # fmt: skip
    with collect():
        result = model if isinstance(model, Result) else load_result(model)
        predictor = result.predictor
        if sets is not None:
            name, groups = _sets(predictor.task, data, sets, split, columns)
            outcomes = [_outcome(predictor, OWN, f"by the column '{sets}'", list(groups.values()), paired=False)]
            rows = sum(map(len, groups.values()))
        else:
            chosen = contrasts_of(predictor.task, edits)
            name, examples = scored_rows(predictor.task, data, split=split, columns=columns)
            rows, outcomes = len(examples), []
            for edit in chosen:
                if pairs := _pairs(predictor.task, examples, edit, seed):
                    outcomes.append(_outcome(predictor, edit.name, edit.what, pairs, paired=True))
                else:
                    say(f"contrast: '{edit.name}' applies to no row of {name}, and is left out.")
    return ContrastReport(task=result.run.task, split=name, rows=rows, outcomes=tuple(outcomes))


def _sets(
    task: Task[Any, Any], data: Any, column: str, split: str | None, columns: Mapping[str, Any] | None
) -> tuple[str, dict[str, list[Any]]]:
    """Return the name of the split, and its examples by set; sets of one row are left out, and said."""
    name, rows = chosen_split(read_splits(data, columns=columns, alone=ONE_SOURCE), split)
    missing = [row for row in rows if row.columns.get(column) in (None, "")]
    if missing:
        more = f" (nor have {len(missing) - 1} further rows)" if len(missing) > 1 else ""
        raise DataError([Problem(missing[0].where, f"it has no '{column}'{more}", "Say which set each row is of.")])
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        grouped.setdefault(str(row.columns[column]), []).append(row)
    found = examples_from_rows(grouped, task.schema(task.settings()))
    raise_if_any(problem for examples in found.values() for problem in task.problems(examples))
    sets = {name: examples for name, examples in found.items() if len(examples) > 1}
    if not sets:
        raise DataError(f"No set of the column '{column}' has two rows. Rows of one set must have the same '{column}'.")
    if alone := len(found) - len(sets):
        say(f"contrast: {alone} sets have one row alone, and are left out.")
    return name, sets


def _pairs(task: Task[Any, Any], examples: Sequence[Any], edit: ContrastEdit, seed: int) -> list[list[Any]]:
    """Return the rows that a change applies to, each with what it makes of it. What is drawn depends on the row."""
    made = ((row, edit.make(task, row, Random(f"{seed} {edit.name} {number}"))) for number, row in enumerate(examples))
    return [[row, changed] for row, changed in made if changed is not None]


def _outcome(
    predictor: Predictor, name: str, what: str, sets: Sequence[Sequence[Any]], *, paired: bool
) -> ContrastOutcome:
    task = predictor.task
    examples = [example for group in sets for example in group]
    predictions = predictor.evaluate_examples(examples, name=name).predictions
    right = task.rows_right(predictions, examples)
    if right is None:
        raise ConfigError(f"contrast: rows of {type(task).__name__} are not right or wrong as a whole.")
    members = [_member(task, *row) for row in zip(examples, predictions, right, strict=True)]
    ends, groups = 0, []
    for group in sets:
        groups.append(tuple(members[ends : ends + len(group)]))
        ends += len(group)
    whole = [all(member.right for member in group) for group in groups]
    mixed = [group for group in groups if len({member.right for member in group}) > 1]
    return ContrastOutcome(
        name=name,
        what=what,
        whole=Share.of(whole),
        rows=Share.of(list(right)),
        before=Share.of([group[0].right for group in groups]) if paired else None,
        after=Share.of([group[1].right for group in groups]) if paired else None,
        broken=tuple(mixed[:SHOWN]),
    )


def _member(task: Task[Any, Any], example: Any, prediction: Any, right: bool) -> Member:
    answers = getattr(example, "answers", None)  # of a question: its gold has no name, but words
    gold = task.gold_names(example) if answers is None else tuple(dict.fromkeys(text for text, _ in answers))
    return Member(
        where=example.where,
        texts=example.texts,
        gold=gold,
        said=said_in_words(task.said(prediction), example.texts),
        right=right,
    )
