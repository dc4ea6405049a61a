"""What does the breakdown by heuristic show: accuracy of both halves, and of each case, as text, HTML and JSON?"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from reasoner.reports.layout import Table, readable, report_text, table_lines
from reasoner.reports.shares import Share, cells_of

WIDTH = 80
COLUMNS = ("heuristic", "entailed", "95% interval", "not entailed", "95% interval")
CASES = ("case", "gold", "rows", "right", "95% interval")


@dataclass(frozen=True, kw_only=True)
class HeuristicOutcome:
    """How often a model was right on the rows of a heuristic."""

    name: str
    entailed: Share | None
    """On rows where the heuristic is right; None: there is none."""
    not_entailed: Share | None
    """On rows where it misleads."""
    entailed_cases: Mapping[str, Share]
    not_entailed_cases: Mapping[str, Share]


@dataclass(frozen=True, kw_only=True, repr=False)
class HeuristicsReport:
    """What `heuristics` found. Printing it, or showing it in a notebook, shows the tables."""

    split: str
    rows: int
    labels: tuple[str, ...]
    """Of the model."""
    entailing: str
    """That of the labels which says that the hypothesis follows; each other says that it does not."""
    entailed: Share | None
    """How often the model is right where the hypothesis follows, over all heuristics."""
    not_entailed: Share | None
    """How often it is right where it does not: the figure to look at."""
    said_entailed: Share
    """How often the model says that it follows, over all rows."""
    outcomes: tuple[HeuristicOutcome, ...]

    def __getitem__(self, name: str) -> HeuristicOutcome:
        """Return the outcome of the heuristic of that name."""
        return {outcome.name: outcome for outcome in self.outcomes}[name]

    @property
    def accuracy(self) -> float:
        """Over all rows."""
        shares = [share for share in (self.entailed, self.not_entailed) if share is not None]
        return sum(share.hits for share in shares) / self.rows

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {**asdict(self), "accuracy": self.accuracy}

    def __repr__(self) -> str:
        whole, cases = self._tables()
        remark = textwrap.wrap(self._remark(), WIDTH)
        return report_text(whole.title, table_lines(whole, WIDTH), remark, table_lines(cases, WIDTH))

    def _repr_html_(self) -> str:
        from reasoner.reports.notebook import table_html

        whole, cases = (table_html(table) for table in self._tables())
        return f"<div>{whole}<p>{escape(self._remark())}</p>{cases}</div>"

    def _tables(self) -> tuple[Table, Table]:
        rows = [(readable(item.name), *cells_of(item.entailed), *cells_of(item.not_entailed)) for item in self.outcomes]
        rows.append(("all", *cells_of(self.entailed), *cells_of(self.not_entailed)))
        title = f"Heuristics: accuracy {self.accuracy:.4f} on {self.split} ({self.rows:,} rows)"
        return Table(title, COLUMNS, rows), Table("Cases", CASES, list(self._cases()))

    def _cases(self) -> Iterator[tuple[str, ...]]:
        for outcome in self.outcomes:
            for gold, cases in (("entailed", outcome.entailed_cases), ("not entailed", outcome.not_entailed_cases)):
                for name, share in cases.items():
                    yield readable(name), gold, f"{share.rows:,}", *share.cells

    def _remark(self) -> str:
        others = ", ".join(label for label in self.labels if label != self.entailing)
        return (
            f"The model's label '{self.entailing}' counts as entailed, and {others} as not entailed. It says entailed "
            f"of {self.said_entailed.rate:.1%} of the rows. In rows as HANS has them all words of the hypothesis "
            "stand in the premise: a model that goes by that alone is right on the entailed half and no other."
        )
