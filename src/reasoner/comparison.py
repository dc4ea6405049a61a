"""How sure is a model's score, and is one model truly better than another: intervals, tests, rows that changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np

from reasoner.errors import ConfigError, ReasonerError
from reasoner.evaluation import Evaluation
from reasoner.metrics import bootstrap_interval, changed_rows, mcnemar, paired_bootstrap
from reasoner.metrics.counting import RowCounts
from reasoner.notices import say
from reasoner.reports.run import Run
from reasoner.reports.uncertainty import comparison_text
from reasoner.tasks.base import Task

KEPT_PLACES = 50
ROUNDING = 1e-6
"""By how much a score may differ from the same score worked out of counts."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Comparison:
    """Two models, or one before and after training, on the same rows. Printing it says it in sentences."""

    metric: str
    """The task's primary metric."""
    rows: int
    """How many were compared."""
    before: float
    after: float
    difference: float
    """After less before."""
    lower: float | None = None
    """Lower end of the difference's interval, by paired bootstrap; None where the task has no `primary_counts`."""
    upper: float | None = None
    confidence: float | None = None
    """Of the interval."""
    p_value: float | None = None
    """Of the difference, by paired bootstrap."""
    mcnemar_p_value: float | None = None
    """Of `fixed_count` against `broken_count`, exact; None where rows are not right or wrong. A row is right when all
    of it is: the label, every entity of the sentence, the answer word for word."""
    fixed_count: int | None = None
    """Rows that are wrong before and right after."""
    broken_count: int | None = None
    """Rows that are right before and wrong after."""
    fixed: list[str] = field(default_factory=list)
    """Where the first 50 of the fixed rows stand."""
    broken: list[str] = field(default_factory=list)
    """Where the first 50 of the broken rows stand."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)

    def __repr__(self) -> str:
        return comparison_text(self.to_dict())


def score_interval(
    task: Task[Any, Any], evaluation: Evaluation, examples: Sequence[Any], *, name: str
) -> dict[str, float] | None:
    """Return the bootstrap interval of the primary metric: `lower`, `upper` and `confidence`.

    Args:
        task: has `primary_counts`; without them there is no interval, and None is returned.
        evaluation: of the examples.
        examples: that were scored.
        name: what messages call the split.
    """
    counts = task.primary_counts(evaluation.predictions, examples)
    if counts is None or not _agree(task, counts, evaluation):
        return None
    try:
        found = bootstrap_interval(counts.statistic, counts.counts)
    except ReasonerError as error:
        say(f"{name}: {task.primary_metric} has no interval: {error}")
        return None
    if found.lower == found.upper:
        say(
            f"{name}: the interval of {task.primary_metric} has no width, since every resample of these rows gives "
            f"{found.value:.4f}. Other rows may give another score."
        )
    return {"lower": found.lower, "upper": found.upper, "confidence": found.confidence}


def compare(task: Task[Any, Any], before: Evaluation, after: Evaluation, examples: Sequence[Any]) -> Comparison:
    """Compare two evaluations of the same examples; what a task has no counts for is None, as is what cannot be drawn.

    Args:
        task: of both.
        before: the first evaluation.
        after: the second.
        examples: that both were made on.
    """
    metric = task.primary_metric
    scores = float(before.metrics[metric]), float(after.metrics[metric])
    return Comparison(
        metric=metric,
        rows=len(examples),
        before=scores[0],
        after=scores[1],
        difference=scores[1] - scores[0],
        **_paired(task, before, after, examples),
        **_changed(task, before, after, examples),
    )


def check_same_task(one: Task[Any, Any], other: Task[Any, Any]) -> None:
    """Refuse tasks whose scores cannot be compared.

    Raises:
        ConfigError: if their classes, primary metrics or labels differ; the order of labels does not matter.
    """
    kinds = [f"{type(task).__name__} by {task.primary_metric}" for task in (one, other)]
    if kinds[0] != kinds[1]:
        raise ConfigError(f"The models are for different tasks: {kinds[0]}, and {kinds[1]}. Compare two for the same.")
    labels = [set(getattr(task, "labels", ())) for task in (one, other)]
    if labels[0] != labels[1]:
        alone = ", ".join(map(str, sorted(labels[0] ^ labels[1])))
        raise ConfigError(f"The models have different labels: only one of them has {alone}. Compare two for the same.")


def check_same_gold(one: Task[Any, Any], other: Task[Any, Any], examples: Sequence[Any]) -> None:
    """Refuse tasks that read other gold in the same row, such as numbers that mean other labels.

    Raises:
        ConfigError: with the first such row.
    """
    for example in examples:
        if (ours := one.gold_names(example)) != (theirs := other.gold_names(example)):
            raise ConfigError(f"{example.where}: the models read different gold, {ours!r:.60} and {theirs!r:.60}.")


def counted_together(
    task: Task[Any, Any], versions: Sequence[tuple[Sequence[Any], Sequence[Any]]]
) -> list[RowCounts] | None:
    """Return the counts of each version of the same rows; None: the task has no `primary_counts`.

    They are counted in one go: macro F1 has columns for the labels that occur, and all versions must have the same.

    Args:
        task: of the rows.
        versions: predictions and examples of each; of different rows there may be more in one than in another.
    """
    predictions = [prediction for of, _ in versions for prediction in of]
    counted = task.primary_counts(predictions, [example for _, of in versions for example in of])
    if counted is None:
        return None
    ends = np.cumsum([len(of) for of, _ in versions])[:-1]
    return [RowCounts(counted.statistic, part) for part in np.split(counted.counts, ends)]


def write_scores(
    run: Run, name: str, task: Task[Any, Any], evaluation: Evaluation, examples: Sequence[Any], **slices: Any
) -> None:
    """Write scores, further tables of them and the interval into the record, under a name.

    Args:
        run: the record.
        name: such as "test" or "before".
        task: of the examples.
        evaluation: of them.
        examples: that were scored.
        slices: further tables, as JSON values.
    """
    run.metrics[name] = {**evaluation.metrics, **slices}
    interval = score_interval(task, evaluation, examples, name=name)
    if interval is not None:
        run.intervals[name] = interval


def _paired(task: Task[Any, Any], before: Evaluation, after: Evaluation, examples: Sequence[Any]) -> dict[str, Any]:
    both = counted_together(task, [(before.predictions, examples), (after.predictions, examples)])
    if both is None or not all(map(partial(_agree, task), both, (before, after))):
        return {}
    first, second = both
    try:
        found = paired_bootstrap(first.statistic, first.counts, second.counts)
    except ReasonerError as error:
        say(f"The difference in {task.primary_metric} has no interval: {error}")
        return {}
    return {name: getattr(found, name) for name in ("lower", "upper", "confidence", "p_value")}


def _changed(task: Task[Any, Any], before: Evaluation, after: Evaluation, examples: Sequence[Any]) -> dict[str, Any]:
    right = [task.rows_right(evaluation.predictions, examples) for evaluation in (before, after)]
    if right[0] is None or right[1] is None:
        return {}
    fixed, broken = changed_rows(right[0], right[1])
    return {
        "mcnemar_p_value": mcnemar(right[0], right[1]).p_value,
        "fixed_count": len(fixed),
        "broken_count": len(broken),
        "fixed": [examples[row].where for row in fixed[:KEPT_PLACES]],
        "broken": [examples[row].where for row in broken[:KEPT_PLACES]],
    }


def _agree(task: Task[Any, Any], counts: RowCounts, evaluation: Evaluation) -> bool:
    """Return whether the counts give the score that was reported; say it if not.

    A task that inherits `primary_counts` and scores in its own way would otherwise get its parent's interval.
    """
    reported = float(evaluation.metrics[task.primary_metric])
    counted = float(counts.statistic(counts.counts.sum(axis=0)))
    if abs(counted - reported) <= ROUNDING:
        return True
    say(
        f"{task.primary_metric} has no interval: primary_counts of {type(task).__name__} gives another score than its "
        "score(). Override primary_counts to fit."
    )
    return False
