"""Does a model gain from rows that it labelled itself, and does it learn its own mistakes?"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoner.comparison import Comparison, compare
from reasoner.errors import ConfigError
from reasoner.evaluation import Evaluation
from reasoner.labelling.pseudo import PseudoLabels, check_precision, labelled_by
from reasoner.labelling.rows import read_unlabelled, without_known
from reasoner.methods.base import Method
from reasoner.metrics import greater_is_better
from reasoner.notices import collect, say, tell
from reasoner.preparation import as_method, names_of_sources, read_examples, task_class_and_settings
from reasoner.reports.layout import Table, cell, report_text, table_lines
from reasoner.result import Result
from reasoner.tasks.base import Task
from reasoner.training.config import TrainingConfig
from reasoner.training.ranks import refuse_several
from reasoner.tuning import train_on_examples

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WIDTH = 80


@dataclass(frozen=True, kw_only=True)
class Mistakes:
    """What became of wrong labels that the teacher gave and the student learned from."""

    wrong: int
    repeated: int
    """The student says the same of them: it has learned the mistake (confirmation bias)."""
    corrected: int
    """It says what is right, though it was told otherwise."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """A student that learned from the labels of a teacher beside those of people."""

    labels: PseudoLabels
    validation: float
    """The student's score."""
    comparison: Comparison
    """Of the model without such labels and the student, on the compared split."""
    mistakes: Mistakes | None
    """None: the rows have no gold, or no label is wrong."""


@dataclass(frozen=True, kw_only=True, repr=False)
class SelfTraining:
    """What `self_train` found. Printing it, or showing it in a notebook, shows what the labels gave."""

    task: str
    metric: str
    split: str
    """That scores are compared on: "test" if there is one, else "validation"."""
    rows: int
    """That people labelled."""
    before: float
    """The score on validation without labels by the model."""
    before_compared: float
    """The same on the compared split."""
    rounds: tuple[Round, ...]
    best: int
    """The round whose student is best on validation; 0: none is better than the model without."""
    ended: str
    """Why there are no more rounds; empty: no more were asked for."""
    result: Result = field(compare=False)
    """The model of that round."""

    def to_dict(self) -> dict[str, Any]:
        """Return all but the model as JSON values."""
        plain = {
            name: getattr(self, name)
            for name in ("task", "metric", "split", "rows", "before", "before_compared", "best", "ended")
        }
        rounds = [
            {"labels": one.labels.to_dict(), "validation": one.validation, "comparison": one.comparison.to_dict(),
             "mistakes": one.mistakes and asdict(one.mistakes)}
            for one in self.rounds
        ]  # fmt: skip
        return {**plain, "rounds": rounds}

    def __repr__(self) -> str:
        blocks = [table_lines(self._table(), WIDTH)]
        for number, one in enumerate(self.rounds, start=1):
            blocks.append([f"Round {number}", "-" * len(f"Round {number}"), *str(one.labels).splitlines()])
        blocks += [textwrap.wrap(text, WIDTH) for text in self._sentences()]
        return report_text(self._table().title, *([line.rstrip() for line in block] for block in blocks))

    def _repr_html_(self) -> str:
        from reasoner.reports.notebook import table_html

        labels = "".join(one.labels._repr_html_() for one in self.rounds)
        said = "".join(f"<p>{escape(text)}</p>" for text in self._sentences())
        return f"<div>{table_html(self._table())}{labels}{said}</div>"

    def _table(self) -> Table:
        rows = [("by people alone", f"{self.rows:,}", "0", cell(self.before), cell(self.before_compared), "")]
        for number, one in enumerate(self.rounds, start=1):
            ends = one.comparison
            interval = "" if ends.lower is None else f"{ends.lower:+.4f} to {ends.upper:+.4f}"
            rows.append((f"round {number}", f"{self.rows:,}", f"{len(one.labels):,}", cell(one.validation),
                         cell(ends.after), f"{ends.difference:+.4f} ({interval})"))  # fmt: skip
        columns = ("", "labels by people", "by the model", "validation", self.split, "difference (95% interval)")
        if self.split == "validation":
            rows = [(*row[:3], *row[4:]) for row in rows]  # type: ignore[misc]
            columns = (*columns[:3], *columns[4:])  # type: ignore[assignment]
        return Table(f"Self-training: {self.task}, {self.metric} on {self.split}", columns, rows)

    def _sentences(self) -> list[str]:
        said = [self.ended] if self.ended else []
        for number, one in enumerate(self.rounds, start=1):
            if one.mistakes:
                made = one.mistakes
                said.append(f"Round {number}: of {made.wrong:,} wrong labels that it was given the student repeats "
                            f"{made.repeated:,} and corrects {made.corrected:,}.")  # fmt: skip
        kept = f"the student of round {self.best}" if self.best else "the model trained on people's labels alone"
        return [*said, f"Best on validation, and kept: {kept}."]


def self_train(
    model: str | Path | PreTrainedModel | None,
    data: Any,
    unlabelled: Any,
    *,
    task: str | Task[Any, Any],
    method: str | Method = "full",
    precision: float = 0.95,
    balanced: bool = True,
    rounds: int = 1,
    columns: Mapping[str, Any] | None = None,
    tokenizer: Any = None,
    check: bool = True,
    config: TrainingConfig | None = None,
    **overrides: Any,
) -> SelfTraining:
    """Train on labelled rows, label others by the model where it is sure, train anew on both, and compare.

    The student begins where the teacher began, from `model`, with the same settings (Xie et al., 2020,
    https://arxiv.org/abs/1911.04252, whose noise is here the dropout, and `augmentation=1` if you ask for it). What is
    kept is what is best on validation, which may be the model without such labels.

    Args:
        model: as in `fine_tune`.
        data: as in `fine_tune`; validation says how sure is sure enough, and what is kept.
        unlabelled: one source of rows without gold; gold that is there is not learned from, but says how many labels
            are right, and whether the student learns the wrong ones.
        task: as in `fine_tune`; one whose rows are right or wrong, and whose confidences are probabilities.
        method: as in `fine_tune`.
        precision: see `pseudo_labels`.
        balanced: see `pseudo_labels`.
        rounds: how often the best model so far labels anew; it ends early when a student is no better.
        columns: as in `fine_tune`, for both sources.
        tokenizer: as in `fine_tune`.
        check: as in `fine_tune`.
        config: as in `fine_tune`; `evaluate_before` is off if none is given.
        overrides: fields of `TrainingConfig`.

    Raises:
        ConfigError: if a setting makes no sense, or the task cannot be used so.
        DataError: if the data cannot be used.

    Example:
        >>> found = reasoner.self_train(None, pack, "texts.jsonl", task="classification")  # doctest: +SKIP
        >>> found.result.save("output/model")  # doctest: +SKIP
    """
    check_precision(precision)
    if type(rounds) is not int or rounds < 1:
        raise ConfigError(f"rounds is {rounds!r}. Give a whole number of at least 1.")
    refuse_several("self_train")
    with collect():
        config = TrainingConfig.from_overrides(config or TrainingConfig(evaluate_before=False), overrides)
        task_class, settings = task_class_and_settings(task)
        examples = read_examples(data, task_class.schema(settings), config=config, columns=columns)
        read = read_unlabelled(task_class.from_examples(examples, **settings), unlabelled, columns=columns)
        pool = without_known(read, [example for part in examples.values() for example in part])

        def train(more: Sequence[Any]) -> Result:
            return train_on_examples(
                model, {**examples, "train": [*examples["train"], *more]}, task=task, method=as_method(method),
                config=config, tokenizer=tokenizer, sources=names_of_sources(data, list(examples)),
            )  # fmt: skip

        return _rounds(train, examples, pool, rounds, precision, balanced)


def _rounds(
    train: Any,
    examples: Mapping[str, Sequence[Any]],
    pool: Sequence[Any],
    rounds: int,
    precision: float,
    balanced: bool,
) -> SelfTraining:
    tell(f"The teacher learns from {len(examples['train']):,} rows.")
    first = best = train([])
    metric, split, done, kept, ended = first.run.primary_metric, first.run.compared_split, [], 0, ""
    sign = 1 if greater_is_better(metric) else -1
    settings: dict[str, Any] = {"precision": precision, "balanced": balanced, "known": examples["train"]}
    evaluated = first.predictor.evaluate_examples(examples[split], name=split)
    for number in range(1, rounds + 1):
        labels = labelled_by(best.predictor, pool, examples["validation"], **settings)
        if not labels:
            ended = f"Round {number} labels nothing. {labels.sentences()[0]}"
            break
        tell(f"Round {number}: the student learns from {len(labels):,} rows more.")
        student = train([one.example for one in labels.taken])
        done.append(_round(student, labels, evaluated, examples[split]))
        if sign * done[-1].validation <= sign * best.metrics["validation"][metric]:
            ended = f"Round {number}: the student is no better on validation, and is not kept."
            break
        best, kept = student, number
    if ended:
        say(ended)
    return SelfTraining(
        task=first.run.task,
        metric=metric,
        split=split,
        rows=len(examples["train"]),
        before=first.metrics["validation"][metric],
        before_compared=first.metrics[split][metric],
        rounds=tuple(done),
        best=kept,
        ended=ended,
        result=best,
    )


def _round(student: Result, labels: PseudoLabels, before: Evaluation, examples: Sequence[Any]) -> Round:
    """Return what a student that learned from the labels gave, beside the evaluation of the model without them."""
    split, task = student.run.compared_split, student.predictor.task
    after = student.predictor.evaluate_examples(examples, name=split)
    return Round(
        labels=labels,
        validation=student.metrics["validation"][student.run.primary_metric],
        comparison=compare(task, before, after, examples),
        mistakes=_mistakes(student, labels),
    )


def _mistakes(student: Result, labels: PseudoLabels) -> Mistakes | None:
    """Return what the student says of the rows whose labels were wrong."""
    wrong = [one for one in labels.taken if one.right is False]
    if not wrong:
        return None
    task = student.predictor.task
    said = student.predictor.evaluate_examples([one.gold for one in wrong], name="wrong labels").predictions
    return Mistakes(
        wrong=len(wrong),
        repeated=sum(task.said(now) == task.said(one.prediction) for now, one in zip(said, wrong, strict=True)),
        corrected=sum(task.rows_right(said, [one.gold for one in wrong]) or ()),
    )
