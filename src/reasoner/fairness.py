"""Does a model judge otherwise when the same thing is told of somebody else: by gender, by nationality?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from reasoner.comparison import counted_together
from reasoner.data.edited import Edited
from reasoner.edits.groups import GROUPS, WordGroup
from reasoner.edits.rows import said_after
from reasoner.errors import ConfigError
from reasoner.inference import Predictor
from reasoner.metrics import bootstrap_interval, share_interval
from reasoner.metrics.counting import Floats, RowCounts, combined
from reasoner.notices import collect, say
from reasoner.reports.bias import BiasReport, Gap, GroupOutcome
from reasoner.result import Result, load_result
from reasoner.scored_rows import scored_rows
from reasoner.tasks.base import Said, Task
from reasoner.tasks.multiple_choice import MultipleChoice

LEAST_ROWS = 2
"""Of fewer rows no interval can be drawn."""


class _Version(NamedTuple):
    """The rows as they are told of one value, and what the model makes of them."""

    examples: list[Any]
    predictions: list[Any]
    said: list[frozenset[Said]]
    """At the places where it stands in the rows as they were."""


def bias(
    model: Result | str | Path,
    data: Any,
    *,
    groups: Sequence[WordGroup] = GROUPS,
    split: str | None = None,
    columns: Mapping[str, Any] | None = None,
) -> BiasReport:
    """Tell each row of somebody else, by other words for gender or nationality, and compare what the model says.

    Counterfactual evaluation as in Garg et al. (2019, https://arxiv.org/abs/1809.10610) and Huang et al. (2020,
    https://arxiv.org/abs/1911.03064). Each row with a word of a group is told once of every value of the group, so that
    all values have the same rows; the gold is moved along.

    Args:
        model: what `fine_tune` or `load` gave, or the folder of a model.
        data: rows with gold, as `Result.evaluate` takes them.
        groups: lists of words; None of them knows all words, and they are yours to replace.
        split: which of several splits; None: test, else validation, else train.
        columns: as in `fine_tune`.

    Raises:
        ConfigError: if the split is unknown, two groups have one name, or predictions of the task cannot be compared.
        DataError: if a row cannot be used.

    Examples:
        >>> print(reasoner.bias("output/model", "test.jsonl"))  # doctest: +SKIP
    """
    names = [group.name for group in groups]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"groups: give at least one, and each name once, not {', '.join(names) or 'none'}.")
    with collect():
        result = model if isinstance(model, Result) else load_result(model)
        predictor = result.predictor
        name, examples = scored_rows(predictor.task, data, split=split, columns=columns)
        outcomes = []
        for group in groups:
            telling = [row for row in examples if any(group.tells(text) for text in row.named_texts.values())]
            rows = [row for row in telling if any(_told(predictor.task, group, it, row)[1] for it in group.words)]
            if left := len(telling) - len(rows):
                say(f"bias: {left} rows of {name} with a word of '{group.name}' cannot be edited and are left out.")
            if len(rows) < LEAST_ROWS:
                found = f"1 row of {name} has" if rows else f"0 rows of {name} have"
                say(f"bias: {found} a word of '{group.name}', which is left out: {LEAST_ROWS} are needed.")
                continue
            outcomes.append(_outcome(predictor, group, rows, name))
    return BiasReport(
        task=result.run.task,
        metric=predictor.task.primary_metric,
        split=name,
        rows=len(examples),
        outcomes=tuple(outcomes),
    )


def _outcome(predictor: Predictor, group: WordGroup, rows: Sequence[Any], split: str) -> GroupOutcome:
    """Return what differs between the values of a group."""
    task = predictor.task
    versions = {value: _version(predictor, group, value, rows, split) for value in group.words}
    said = [version.said for version in versions.values()]
    differing = sum(len(set(of_row)) > 1 for of_row in zip(*said, strict=True))
    share = share_interval(differing, len(rows))
    return GroupOutcome(
        name=group.name,
        rows=len(rows),
        differing=differing,
        lower=share.lower,
        upper=share.upper,
        scores={
            value: float(task.score(version.predictions, version.examples)[task.primary_metric])
            for value, version in versions.items()
        },
        score_gaps=_score_gaps(task, versions),
        label_gaps=_label_gaps(task, versions),
    )


def _version(predictor: Predictor, group: WordGroup, value: str, rows: Sequence[Any], split: str) -> _Version:
    """Return the rows as told of a value."""
    task = predictor.task
    told = [_told(task, group, value, row) for row in rows]
    examples = [example for example, _ in told]
    predictions = predictor.evaluate_examples(examples, name=f"{split}, {group.name}: {value}").predictions
    said = [
        said_after(task.said(one), {name: text.inverse for name, text in edited.items()})
        for one, (_, edited) in zip(predictions, told, strict=True)
    ]
    return _Version(examples, predictions, said)


def _told(task: Task[Any, Any], group: WordGroup, value: str, row: Any) -> tuple[Any, dict[str, Edited]]:
    """Return a row as told of a value, and its edited texts; none, where it stays as it is."""
    made = {name: Edited.of(text, group.replacements(text, value)) for name, text in row.named_texts.items()}
    edited = {name: text for name, text in made.items() if text.replacements}
    example = task.with_texts(row, edited) if edited else row
    return example, {} if example == row else edited


# --- gaps ------------------------------------------------------------------------------------------------------------


def _score_gaps(task: Task[Any, Any], versions: Mapping[str, _Version]) -> tuple[Gap, ...]:
    """Return for each value its score less the mean of the others'; empty: the task has no counts."""
    counts = counted_together(task, [(version.predictions, version.examples) for version in versions.values()])
    return () if counts is None else _gaps(dict(zip(versions, counts, strict=True)), label=None)


def _label_gaps(task: Task[Any, Any], versions: Mapping[str, _Version]) -> tuple[Gap, ...]:
    """Return for each label and value how much more often it is said of it than of the others.

    None for choices: the first choice of a row has nothing in common with that of another.
    """
    if isinstance(task, MultipleChoice):
        return ()
    labels = sorted({item.name for version in versions.values() for of_row in version.said for item in of_row})
    gaps: list[Gap] = []
    for label in labels:
        counts = {
            value: np.array([[sum(item.name == label for item in of_row), 1.0] for of_row in version.said])
            for value, version in versions.items()
        }
        gaps += _gaps({value: RowCounts(_mean, part) for value, part in counts.items()}, label=label)
    return tuple(gaps)


def _mean(sums: Floats) -> Floats:
    shares: Floats = sums[..., 0] / sums[..., 1]
    return shares


def _gaps(counts: Mapping[str, RowCounts], *, label: str | None) -> tuple[Gap, ...]:
    """Return each value's statistic less the mean of the others', with its interval over rows; of two values one."""
    values = list(counts)
    gaps = []
    for place, value in enumerate(values[:1] if len(values) == 2 else values):

        def gap(scores: list[Floats], place: int = place) -> Floats:
            others = [score for number, score in enumerate(scores) if number != place]
            found: Floats = scores[place] - np.mean(others, axis=0)
            return found

        interval = bootstrap_interval(*combined(list(counts.values()), gap))
        against = values[1] if len(values) == 2 else "the others"
        gaps.append(Gap(value=value, against=against, label=label, difference=interval.value,
                        lower=interval.lower, upper=interval.upper))  # fmt: skip
    return tuple(gaps)
