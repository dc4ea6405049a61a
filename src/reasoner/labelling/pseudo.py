"""Which unlabelled rows may a model label itself, so that its labels are right as often as one wants?"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple, overload

from reasoner.data.examples import RowDroppedError, RowError, examples_from_rows
from reasoner.data.sources import read_splits
from reasoner.errors import ConfigError, raise_if_any
from reasoner.inference import Predictor
from reasoner.labelling.active import known_examples
from reasoner.labelling.doubt import Judged, judged
from reasoner.labelling.rows import Unlabelled, gold_name, gold_of, read_unlabelled, schema_of, without_known
from reasoner.metrics import share_interval
from reasoner.notices import collect, say
from reasoner.reports.layout import Table, table_lines
from reasoner.result import Result, load_result
from reasoner.tasks.base import Task
from reasoner.training.ranks import refuse_several

WIDTH = 80
LEAST_ROWS = 10
"""Validation rows above a threshold, for it to be one."""


class Share(NamedTuple):
    """How many of some rows are right, with the 95% interval of the share (Wilson)."""

    right: int
    rows: int
    lower: float
    upper: float

    @classmethod
    def of(cls, right: int, rows: int) -> Share:
        """Make it of both numbers."""
        found = share_interval(right, rows)
        return cls(right, rows, found.lower, found.upper)

    def __str__(self) -> str:
        return f"{self.right / self.rows:.1%} of {self.rows:,} rows (95% interval {self.lower:.1%} to {self.upper:.1%})"


class Taken(NamedTuple):
    """A row that a model labelled."""

    example: Any
    """With the label."""
    columns: dict[str, Any]
    """The row as it was given, with the label."""
    prediction: Any
    probability: float
    right: bool | None
    """By the gold that the row has; None: it has none."""
    gold: Any
    """The example with that gold; None: it has none."""


@dataclass(frozen=True, kw_only=True)
class LabelCount:
    """How often a label was given."""

    label: str
    training: int
    """Rows with it that people labelled; 0 where they are not known."""
    sure: int
    """Unlabelled rows that get it by the threshold."""
    taken: int
    """Those of them that are kept; others would be more than its share."""
    right: Share | None
    """Of those taken, by their gold; None: there is none."""


class PseudoLabels(Sequence[dict[str, Any]]):
    """Rows with labels that a model gave, ready to be trained on. Printing it says how many, and how right they are.

    Args:
        taken: the rows.
        wanted: the share of right labels that was asked for.
        threshold: what a row's probability must reach; None: no threshold gives that share.
        validation: how right validation rows are that reach it; None likewise.
        counts: by label.
        pool: how many unlabelled rows there were.
    """

    def __init__(
        self,
        taken: Sequence[Taken],
        *,
        wanted: float,
        threshold: float | None,
        validation: Share | None,
        counts: Sequence[LabelCount],
        pool: int,
    ) -> None:
        self.taken, self.wanted, self.threshold, self.validation = tuple(taken), wanted, threshold, validation
        self.counts, self.pool = tuple(counts), pool

    @property
    def right(self) -> Share | None:
        """How many of the labels are right by the gold of the rows; None: they have none."""
        known = [one.right for one in self.taken if one.right is not None]
        return Share.of(sum(known), len(known)) if known else None

    def __len__(self) -> int:
        return len(self.taken)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        """Return a row, or some."""
        chosen = self.taken[index]
        return chosen.columns if isinstance(chosen, Taken) else [one.columns for one in chosen]

    def to_dict(self) -> dict[str, Any]:
        """Return what was found as JSON values, without the rows."""
        counts = [{**vars(one), "right": one.right and one.right._asdict()} for one in self.counts]
        shares = {"validation": self.validation, "right": self.right}
        return {"wanted": self.wanted, "threshold": self.threshold, "pool": self.pool, "taken": len(self),
                **{name: share and share._asdict() for name, share in shares.items()}, "counts": counts}  # fmt: skip

    def __repr__(self) -> str:
        lines = [line for text in self.sentences() for line in textwrap.wrap(text, WIDTH)]
        return "\n".join([*lines, *(["", *table_lines(self._table(), WIDTH)] if self.counts else [])])

    def _repr_html_(self) -> str:
        from reasoner.reports.notebook import table_html

        sentences = "".join(f"<p>{text}</p>" for text in self.sentences())
        return f"<div>{sentences}{table_html(self._table()) if self.counts else ''}</div>"

    def sentences(self) -> list[str]:
        """Return what was found in sentences."""
        if self.threshold is None:
            return [f"No row is labelled: no threshold makes {self.wanted:.0%} of {LEAST_ROWS} validation rows or more "
                    "right."]  # fmt: skip
        found = [f"{len(self):,} of {self.pool:,} unlabelled rows are labelled: those with a probability of at least "
                 f"{self.threshold:.4f}. On validation that is right for {self.validation}; {self.wanted:.0%} was "
                 "wanted."]  # fmt: skip
        if self.validation and self.validation.lower < self.wanted:
            found.append("The interval reaches below what was wanted: with more validation rows one would know better.")
        if self.right is not None:
            found.append(f"By the gold that the rows have, {self.right} are right.")
        return found

    def _table(self) -> Table:
        known = any(one.right for one in self.counts)
        columns = ("", "by people", "sure", "taken", *(("right",) if known else ()))
        rows = [
            (one.label, f"{one.training:,}", f"{one.sure:,}", f"{one.taken:,}",
             *((f"{one.right.right / one.right.rows:.1%}" if one.right else "-",) if known else ()))
            for one in self.counts
        ]  # fmt: skip
        return Table("Rows by label", columns, rows)


def pseudo_labels(
    model: Result | str | Path,
    rows: Any,
    validation: Any,
    *,
    precision: float = 0.95,
    balanced: bool = True,
    training: Any = None,
    columns: Mapping[str, Any] | None = None,
) -> PseudoLabels:
    """Label those rows of which the model is sure enough to be right (Lee, 2013; Xie et al., 2020).

    How sure it must be is read off the validation rows: the lowest (calibrated) probability from which on at least
    `precision` of them are right, a row being right when all of it is. The promise is one for rows from where
    validation came from; how many of the labels are right is measured where the rows have gold.

    Args:
        model: what `fine_tune` or `load` gave, or the folder of a model.
        rows: without gold, as in `to_label`; gold that is there judges the labels and is not learned from.
        validation: rows with gold that the model was not trained on, as `Result.evaluate` takes them.
        precision: the share of right labels that is wanted, above 0 and up to 1.
        balanced: take of no label more than its share among the training rows, the surest first (in NER: of sentences
            with entities and without).
        training: the rows that the model was trained on; None: those that `fine_tune` gave it, if it still knows them.
        columns: as in `fine_tune`, for `rows`.

    Raises:
        ConfigError: if `precision` is no share, or the task's confidences mean nothing.
        DataError: if a row cannot be used.
    """
    check_precision(precision)
    refuse_several("pseudo_labels")
    with collect():
        result = model if isinstance(model, Result) else load_result(model)
        task = result.predictor.task
        splits = examples_from_rows(read_splits(validation, alone="validation"), task.schema(task.settings()))
        known = known_examples(result, training)
        held = splits.get("validation") or next(iter(splits.values()))
        raise_if_any(task.problems(held))
        pool = without_known(read_unlabelled(task, rows, columns=columns), known)
        return labelled_by(result.predictor, pool, held, precision=precision, balanced=balanced, known=known)


def labelled_by(
    predictor: Predictor,
    pool: Sequence[Unlabelled],
    validation: Sequence[Any],
    *,
    precision: float,
    balanced: bool,
    known: Sequence[Any] | None,
) -> PseudoLabels:
    """Do what `pseudo_labels` does once all was read."""
    task = predictor.task
    threshold, share = _threshold(predictor, validation, precision)
    empty: dict[str, Any] = {"wanted": precision, "threshold": threshold, "validation": share, "pool": len(pool)}
    if threshold is None:
        return PseudoLabels([], counts=(), **empty)
    said = judged(predictor, [row.example for row in pool])
    pairs = zip(pool, said, strict=True)
    sure = [_taken(task, row, one) for row, one in pairs if (one.probability or 0) >= threshold]
    sure.sort(key=lambda one: -one.probability)
    given = Counter(kind_of(task, example) for example in known or ())
    if balanced and not given:
        say("balanced: the training rows are not known, so that labels are taken as they come.")
    taken = _balanced(task, sure, given) if balanced and given else sure
    return PseudoLabels(taken, counts=tuple(_counts(task, given, sure, taken)), **empty)


def check_precision(precision: float) -> None:
    """Refuse what is no share of rows.

    Raises:
        ConfigError: if it is not above 0 and up to 1.
    """
    if not (isinstance(precision, Real) and 0 < precision <= 1):
        raise ConfigError(f"precision is {precision!r}. Give the share of labels to be right, such as 0.95.")


def kind_of(task: Task[Any, Any], example: Any) -> str:
    """Return which label an example has; of one with a tag a word whether it names anything."""
    if schema_of(task).gold_columns() == ("ner_tags",):
        return "with entities" if task.gold_names(example) else "without entities"
    return ", ".join(task.gold_names(example)) or "nothing"


def _threshold(predictor: Predictor, validation: Sequence[Any], precision: float) -> tuple[float | None, Share | None]:
    """Return the lowest probability from which on validation rows are right often enough, and how often they are."""
    said = judged(predictor, validation)
    right = predictor.task.rows_right([one.prediction for one in said], validation)
    sure = [one.probability for one in said]
    if right is None or None in sure:
        raise ConfigError(f"The confidences of {type(predictor.task).__name__} do not say here how likely a row is to "
                          "be right, so that nothing can be labelled by them.")  # fmt: skip
    rows = sorted(zip(sure, right, strict=True), key=lambda row: -row[0])  # type: ignore[operator]
    best: tuple[float | None, Share | None] = None, None
    hits = 0
    for place, (probability, hit) in enumerate(rows, start=1):
        hits += hit
        last = place == len(rows) or rows[place][0] != probability  # of those that are equally sure
        if last and place >= LEAST_ROWS and hits >= precision * place:
            best = probability, Share.of(hits, place)
    return best


def _taken(task: Task[Any, Any], row: Unlabelled, said: Judged) -> Taken:
    labelled = task.labelled(row.example, said.prediction)
    name = gold_name(row.columns, schema_of(task))
    columns = {**row.columns, name: gold_of(labelled, name, task)}
    gold = _gold(task, row)
    hits = None if gold is None else task.rows_right([said.prediction], [gold])
    right = hits[0] if hits else None
    return Taken(labelled, columns, said.prediction, said.probability or 0.0, right, gold)


def _gold(task: Task[Any, Any], row: Unlabelled) -> Any:
    """Return the example with the gold that its row has; None if it has none that can be read."""
    if not row.gold:
        return None
    try:
        gold = schema_of(task).from_columns({**row.columns, **row.gold}, where=row.example.where)
    except (RowError, RowDroppedError):
        return None
    return None if task.problems([gold]) else gold


def _balanced(task: Task[Any, Any], sure: Sequence[Taken], given: Counter[str]) -> list[Taken]:
    """Return of each label the surest rows, no more than its share in training of all that are sure."""
    most = {label: round(len(sure) * number / given.total()) for label, number in given.items()}
    had: Counter[str] = Counter()
    taken = []
    for one in sure:
        label = kind_of(task, one.example)
        had[label] += 1
        if had[label] <= most.get(label, 0):
            taken.append(one)
    return taken


def _counts(
    task: Task[Any, Any], given: Counter[str], sure: Iterable[Taken], taken: Sequence[Taken]
) -> Iterable[LabelCount]:
    by_label = Counter(kind_of(task, one.example) for one in sure)
    for label in sorted({*given, *by_label}):
        own = [one for one in taken if kind_of(task, one.example) == label]
        known = [one.right for one in own if one.right is not None]
        yield LabelCount(
            label=label,
            training=given[label],
            sure=by_label[label],
            taken=len(own),
            right=Share.of(sum(known), len(known)) if known else None,
        )
