"""What does the contrast report show: how many sets are right as a whole, with broken ones, as text, HTML and JSON?"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from reasoner.reports.layout import Table, clean, clipped, report_text, table_lines
from reasoner.reports.shares import Share, cells_of

WIDTH = 80
COLUMNS = ("sets", "number", "whole", "95% interval", "rows right", "as they were", "changed")


@dataclass(frozen=True, kw_only=True)
class Member:
    """A row of a set, and what the model made of it."""

    where: str
    texts: Mapping[str, str]
    gold: Sequence[str]
    """What is right, where the task names it."""
    said: Sequence[str]
    right: bool


@dataclass(frozen=True, kw_only=True)
class ContrastOutcome:
    """How sets of one kind went."""

    name: str
    what: str
    whole: Share
    """Sets all of whose rows are right (contrast consistency: Gardner et al., 2020)."""
    rows: Share
    """Rows that are right, over all sets."""
    before: Share | None
    """Of the rows as they were; None: the sets are the data's own."""
    after: Share | None
    """Of the rows after the change."""
    broken: tuple[tuple[Member, ...], ...]
    """A few sets of which a row is right and another is not."""


@dataclass(frozen=True, kw_only=True, repr=False)
class ContrastReport:
    """What `contrast` found. Printing it, or showing it in a notebook, shows the table and broken sets."""

    task: str
    split: str
    rows: int
    """Of that split."""
    outcomes: tuple[ContrastOutcome, ...]

    def __getitem__(self, name: str) -> ContrastOutcome:
        """Return the outcome of that name."""
        return {outcome.name: outcome for outcome in self.outcomes}[name]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)

    def __repr__(self) -> str:
        table = self._table()
        shown = (
            [line for text in self._lines(outcome) for line in textwrap.wrap(text, WIDTH, subsequent_indent="    ")]
            for outcome in self.outcomes
            if outcome.broken
        )
        return report_text(table.title, table_lines(table, WIDTH), textwrap.wrap(self._remark(), WIDTH), *shown)

    def _repr_html_(self) -> str:
        from reasoner.reports.notebook import table_html

        shown = "".join(
            f"<details><summary>{escape(title)}</summary>{'<br>'.join(map(escape, lines))}</details>"
            for title, *lines in (self._lines(outcome) for outcome in self.outcomes if outcome.broken)
        )
        return f"<div>{table_html(self._table())}<p>{escape(self._remark())}</p>{shown}</div>"

    def _table(self) -> Table:
        cells = [
            (
                outcome.name,
                f"{outcome.whole.rows:,}",
                *outcome.whole.cells,
                outcome.rows.cells[0],
                cells_of(outcome.before)[0],
                cells_of(outcome.after)[0],
            )
            for outcome in self.outcomes
        ]
        return Table(f"Contrast: {self.task} on {self.split} ({self.rows:,} rows)", COLUMNS, cells)

    def _remark(self) -> str:
        if not self.outcomes:
            return "No change applies to any of these rows."
        return (
            "A set is whole when all its rows are right. A model that does not look at what differs between them can "
            "be right in some of its rows, and hardly ever in all."
        )

    def _lines(self, outcome: ContrastOutcome) -> list[str]:
        lines = [f"{outcome.name}: {outcome.what}"]
        for members in outcome.broken:
            for place, member in enumerate(members):
                texts = "; ".join(f"{name}: {clipped(clean(text), 120)}" for name, text in member.texts.items())
                verdict = "right" if member.right else f"right is {', '.join(member.gold) or 'something else'}"
                lines.append(
                    f"{'-' if place == 0 else ' '} {texts}: said {', '.join(member.said) or 'nothing'} ({verdict})"
                )
        return lines
