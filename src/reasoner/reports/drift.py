"""What does the drift report show: what has changed since a model was taught, and is it worth teaching again?"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from reasoner.reports.layout import Table, report_text, table_lines

WIDTH = 80
COLUMNS = ("", "", "95% interval", "p", "")


@dataclass(frozen=True, kw_only=True)
class Change:
    """One thing that may have changed."""

    name: str
    what: str
    """How `value` is to be read."""
    value: float
    lower: float
    """Lower end of the 95% interval."""
    upper: float
    p_value: float
    """Of its test, made fit for several tests (Holm)."""
    sure: bool
    """Whether the p-value is below the report's limit."""


@dataclass(frozen=True, kw_only=True, repr=False)
class DriftReport:
    """What `drift` found. Printing it, or showing it in a notebook, shows what has changed, and the verdict."""

    task: str
    metric: str
    """The task's primary metric, a fraction."""
    old_rows: int
    new_rows: int
    alpha: float
    """How often something is called changed where nothing has."""
    changes: tuple[Change, ...]
    """Of inputs and predictions."""
    score: Change | None
    """Of the primary metric; None: the new rows have no gold, or the task has no counts."""
    scores: tuple[float, float] | None
    """Of old and new rows; None: the new rows have no gold."""
    unknown_labels: dict[str, int]
    """Labels of the new rows that the model cannot say, or what was said of them, with the number of rows."""
    confidence_change: float | None
    """Mean confidence of the new rows less that of the old: about what a share of right answers changes by, where the
    model is calibrated (difference of confidences: Guillory et al., 2021, https://arxiv.org/abs/2107.03315)."""

    @property
    def drifted(self) -> bool:
        """Whether inputs or predictions have surely changed."""
        return any(change.sure for change in self.changes)

    @property
    def worth_teaching(self) -> bool | None:
        """Whether teaching again is worth it: new labels, or a sure fall of the score; None: gold is needed to say."""
        if self.unknown_labels:
            return True
        if self.score is not None:
            return self.score.sure and self.score.value < 0
        return None if self.drifted else False

    def __getitem__(self, name: str) -> Change:
        """Return the change of that name: "inputs", "confidence", "predictions"."""
        return {change.name: change for change in self.changes}[name]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {**asdict(self), "drifted": self.drifted, "worth_teaching": self.worth_teaching}

    def __repr__(self) -> str:
        table = self._table()
        said = [textwrap.wrap(line, WIDTH) for line in self._said()]
        return report_text(table.title, table_lines(table, WIDTH) if table.rows else [], *said)

    def _repr_html_(self) -> str:
        from reasoner.reports.notebook import table_html

        said = "".join(f"<p>{escape(line)}</p>" for line in self._said())
        return f"<div>{table_html(self._table())}{said}</div>"

    def _table(self) -> Table:
        title = f"Drift: {self.task}, {self.new_rows:,} new rows against {self.old_rows:,} old ones"
        shown = [*self.changes, *([] if self.score is None else [self.score])]
        rows = [
            (
                f"{change.name}: {change.what}",
                f"{change.value:+.3f}" if change.lower < 0 or change.value < 0 else f"{change.value:.3f}",
                f"{change.lower:.3f} {change.upper:.3f}",
                f"{change.p_value:.2g}",
                "sure" if change.sure else "",
            )
            for change in shown
        ]
        return Table(title, COLUMNS, rows)

    def _said(self) -> Iterator[str]:
        yield self._verdict()
        if self.scores is not None:
            yield f"{self.metric}: {self.scores[0]:.4f} on the old rows, {self.scores[1]:.4f} on the new ones."
        elif self.confidence_change is not None:
            yield (f"There is no gold. The model is {self.confidence_change:+.3f} surer on average: where it is "
                   "calibrated, the share of right answers changes by about as much.")  # fmt: skip
        if self.unknown_labels:
            named = ", ".join(f"{name} ({rows:,} rows)" for name, rows in self.unknown_labels.items())
            yield f"The model cannot say: {named}. These rows are in no figure above."
        if self.changes:
            yield (f"Where nothing has changed, some of the first {len(self.changes)} lines is called sure in at most "
                   f"{self.alpha:.0%} of cases.")  # fmt: skip

    def _verdict(self) -> str:
        changed = "Inputs or predictions have changed" if self.drifted else "No change of inputs or predictions is sure"
        changed = changed if self.changes else "Too few other rows are left to look for a change"
        if self.unknown_labels:
            return f"Teach it again: there are labels that it cannot say. {changed}."
        if self.worth_teaching:
            return f"Teach it again: the score has surely fallen. {changed}."
        if self.worth_teaching is None:
            return f"{changed}. Label some of the new rows and score them: that says whether to teach it again."
        if self.score is not None:
            return f"Teaching it again is not worth it yet: no fall of the score is sure. {changed}."
        return f"Nothing speaks for teaching it again. {changed}."
