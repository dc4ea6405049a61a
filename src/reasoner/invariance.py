"""How often does a model change its mind when a row changes and what is right does not?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reasoner.comparison import counted_together
from reasoner.edits.catalog import Edit, chosen
from reasoner.edits.rows import EditedRow, edited_rows, said_after, said_in_words
from reasoner.errors import ReasonerError
from reasoner.evaluation import Evaluation
from reasoner.metrics import paired_bootstrap, share_interval
from reasoner.notices import collect, say
from reasoner.reports.robustness import EditOutcome, FlippedRow, RobustnessCard
from reasoner.result import Result, load_result
from reasoner.scored_rows import scored_rows
from reasoner.tasks.base import Task

SHOWN = 3
"""Flipped rows that are shown of each edit."""


def robustness(
    model: Result | str | Path,
    data: Any,
    *,
    edits: Sequence[str | Edit] | None = None,
    split: str | None = None,
    seed: int = 0,
    columns: Mapping[str, Any] | None = None,
) -> RobustnessCard:
    """Change rows in small ways that leave what is right as it is, and say how often the model changes its mind.

    The way of CheckList's invariance tests (Ribeiro et al., 2020, https://aclanthology.org/2020.acl-main.442). Labels,
    entities and answers are moved along with the text, so that the edited rows have gold as well.

    Args:
        model: what `fine_tune` or `load` gave, or the folder of a model.
        data: rows with gold, as `Result.evaluate` takes them.
        edits: names out of `edits.catalog.EDITS`, or `Edit`s of your own; None: all of them.
        split: which of several splits; None: test, else validation, else train.
        seed: of what is drawn at random.
        columns: as in `fine_tune`.

    Raises:
        ConfigError: if an edit or the split is unknown, or predictions of the task cannot be compared.
        DataError: if a row cannot be used.

    Examples:
        >>> card = reasoner.robustness("output/model", "test.jsonl", edits=["typing errors"])  # doctest: +SKIP
    """
    wanted = chosen(edits)
    with collect():
        result = model if isinstance(model, Result) else load_result(model)
        task = result.predictor.task
        name, examples = scored_rows(task, data, split=split, columns=columns)
        before = result.predictor.evaluate_examples(examples, name=name)
        outcomes = []
        for edit in wanted:
            rows = edited_rows(task, examples, edit, seed=seed)
            if rows:
                after = result.predictor.evaluate_examples([row.example for row in rows], name=f"{name}, {edit.name}")
                outcomes.append(_outcome(task, edit, examples, before, rows, after))
            else:
                say(f"robustness: '{edit.name}' changes no row of {name}, and is left out.")
    return RobustnessCard(
        task=result.run.task,
        metric=task.primary_metric,
        split=name,
        rows=len(examples),
        score=float(before.metrics[task.primary_metric]),
        seed=seed,
        outcomes=tuple(outcomes),
    )


def _outcome(
    task: Task[Any, Any],
    edit: Edit,
    examples: Sequence[Any],
    before: Evaluation,
    rows: Sequence[EditedRow],
    after: Evaluation,
) -> EditOutcome:
    """Return how the edited rows went, beside the same rows as they were."""
    originals = [examples[row.number] for row in rows]
    first = [before.predictions[row.number] for row in rows]
    said = [
        (said_after(task.said(was), row.texts), task.said(now) or frozenset())
        for row, was, now in zip(rows, first, after.predictions, strict=True)
    ]
    flipped = [place for place, (was, now) in enumerate(said) if was != now]
    share = share_interval(len(flipped), len(rows))
    score = float(task.score(first, originals)[task.primary_metric])
    edited_score = float(after.metrics[task.primary_metric])
    return EditOutcome(
        name=edit.name,
        what=edit.what,
        rows=len(rows),
        flips=len(flipped),
        lower=share.lower,
        upper=share.upper,
        before=score,
        after=edited_score,
        **_drop(task, (first, originals), (after.predictions, [row.example for row in rows])),
        said_before=sum(len(was) for was, _ in said),
        said_after=sum(len(now) for _, now in said),
        said_both=sum(len(was & now) for was, now in said),
        examples=tuple(_shown(task, rows[place], originals[place], first[place], after.predictions[place])
                       for place in flipped[:SHOWN]),
    )  # fmt: skip


def _drop(
    task: Task[Any, Any], before: tuple[Sequence[Any], Sequence[Any]], after: tuple[Sequence[Any], Sequence[Any]]
) -> dict[str, float]:
    """Return the interval of the difference in score, by paired bootstrap over rows; empty: the task has no counts."""
    both = counted_together(task, [before, after])
    if both is None:
        return {}
    first, second = both
    try:
        found = paired_bootstrap(first.statistic, first.counts, second.counts)
    except ReasonerError:
        return {}
    return {"difference_lower": found.lower, "difference_upper": found.upper}


def _shown(task: Task[Any, Any], row: EditedRow, original: Any, was: Any, now: Any) -> FlippedRow:
    """Return a row whose prediction flipped, for people."""
    return FlippedRow(
        where=original.where,
        before={name: text.before for name, text in row.texts.items()},
        after={name: text.text for name, text in row.texts.items()},
        said_before=said_in_words(task.said(was), original.texts),
        said_after=said_in_words(task.said(now), row.example.texts),
    )
