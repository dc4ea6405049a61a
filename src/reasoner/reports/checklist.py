"""What does the report on declared tests show: failure rates, with failed cases, as text, HTML and JSON values?"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from reasoner.reports.layout import Table, report_text, table_lines
from reasoner.reports.shares import Share

WIDTH = 80
COLUMNS = ("test", "type", "cases", "failed", "95% interval")


@dataclass(frozen=True, kw_only=True)
class TestOutcome:
    """How a test went."""

    __test__ = False  # pytest would take its name for a test

    name: str
    kind: str
    capability: str
    """What it is about, as the file says; empty: it says nothing."""
    where: str
    failures: Share
    """Cases that failed."""
    examples: Sequence[str]
    """A few of them, in a sentence each."""


@dataclass(frozen=True, kw_only=True, repr=False)
class ChecklistReport:
    """What `checklist` found. Printing it, or showing it in a notebook, shows the table and failed cases."""

    task: str
    file: str
    outcomes: tuple[TestOutcome, ...]
    """One a test, in the order of the file."""

    def __getitem__(self, name: str) -> TestOutcome:
        """Return the outcome of the test of that name."""
        return {outcome.name: outcome for outcome in self.outcomes}[name]

    @property
    def passed(self) -> bool:
        """Whether no case of any test failed."""
        return not any(outcome.failures.hits for outcome in self.outcomes)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {**asdict(self), "passed": self.passed}

    def __repr__(self) -> str:
        blocks = [[table.title, *table_lines(table, WIDTH)] for table in self._tables()]
        blocks += [
            [line for text in self._lines(outcome) for line in textwrap.wrap(text, WIDTH, subsequent_indent="  ")]
            for outcome in self.outcomes
            if outcome.examples
        ]
        return report_text(self._heading(), *blocks)

    def _repr_html_(self) -> str:
        from reasoner.reports.notebook import table_html

        tables = "".join(table_html(table) for table in self._tables())
        failed = "".join(
            f"<details><summary>{escape(title)}</summary>{'<br>'.join(map(escape, lines))}</details>"
            for title, *lines in (self._lines(outcome) for outcome in self.outcomes if outcome.examples)
        )
        return f"<div><b>{escape(self._heading())}</b>{tables}{failed}</div>"

    def _heading(self) -> str:
        bad = sum(outcome.failures.hits > 0 for outcome in self.outcomes)
        return f"Checklist: {self.task}, {self.file}: {bad} of {len(self.outcomes)} tests have failures"

    def _tables(self) -> list[Table]:
        """Return a table a capability."""
        names = dict.fromkeys(outcome.capability for outcome in self.outcomes)
        return [
            Table(
                name or "Tests",
                COLUMNS,
                [
                    (outcome.name, outcome.kind, f"{outcome.failures.rows:,}", *outcome.failures.cells)
                    for outcome in self.outcomes
                    if outcome.capability == name
                ],
            )
            for name in names
        ]

    def _lines(self, outcome: TestOutcome) -> list[str]:
        return [f"{outcome.name} ({outcome.where})", *(f"- {text}" for text in outcome.examples)]
