"""What does the robustness card show: flips and scores by edit, with examples, as text, HTML and JSON values?"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from statistics import mean
from typing import Any

from reasoner.reports.layout import Table, report_text, table_lines

WIDTH = 80
COLUMNS = ("edit", "rows", "flipped", "95% interval", "kept", "score", "edited", "95% interval")


@dataclass(frozen=True, kw_only=True)
class FlippedRow:
    """A row whose prediction was another after the edit."""

    where: str
    before: Mapping[str, str]
    """The texts that the edit changed, by name."""
    after: Mapping[str, str]
    said_before: Sequence[str]
    """What the model said: a label; entities or an answer, with their types. Empty: nothing."""
    said_after: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class EditOutcome:
    """How the model did on the rows that an edit changed."""

    name: str
    what: str
    rows: int
    """That it changed."""
    flips: int
    """Of these, whose prediction was another one."""
    lower: float
    """Lower end of the flip rate's 95% interval (Wilson)."""
    upper: float
    before: float
    """Score on these rows as they were."""
    after: float
    """Score on them as they are after the edit."""
    difference_lower: float | None = None
    """Lower end of the 95% interval of after - before, by paired bootstrap; None where the task has no counts."""
    difference_upper: float | None = None
    said_before: int = 0
    """How many things (entities, labels, answers) the model said of these rows as they were."""
    said_after: int = 0
    said_both: int = 0
    """How many before and after."""
    examples: tuple[FlippedRow, ...] = ()

    @property
    def flip_rate(self) -> float:
        """Share of the changed rows whose prediction was another one."""
        return self.flips / self.rows

    @property
    def kept(self) -> float | None:
        """Of all that was said of these rows before or after the edit, the share that was said both times.

        That is the Jaccard index, of all rows together; None where nothing was said.
        """
        either = self.said_before + self.said_after - self.said_both
        return self.said_both / either if either else None


@dataclass(frozen=True, kw_only=True, repr=False)
class RobustnessCard:
    """What `robustness` found. Printing it, or showing it in a notebook, shows the table and examples."""

    task: str
    metric: str
    """The task's primary metric, a fraction."""
    split: str
    rows: int
    """Of that split."""
    score: float
    """On all of them, as they are."""
    seed: int
    outcomes: tuple[EditOutcome, ...]
    """One an edit that changes some row, in the edits' order."""

    @property
    def mean_flip_rate(self) -> float:
        """The mean of the edits' flip rates.

        Raises:
            ValueError: if no edit changed a row.
        """
        return mean(outcome.flip_rate for outcome in self.outcomes)

    @property
    def mean_kept(self) -> float | None:
        """The mean of the edits' `kept`; None where none has it."""
        found = [outcome.kept for outcome in self.outcomes if outcome.kept is not None]
        return mean(found) if found else None

    def __getitem__(self, name: str) -> EditOutcome:
        """Return the outcome of the edit of that name."""
        return {outcome.name: outcome for outcome in self.outcomes}[name]

    def to_dict(self) -> dict[str, Any]:
        """Return the card as JSON values."""
        return {
            **asdict(self),
            "outcomes": [
                {**asdict(outcome), "flip_rate": outcome.flip_rate, "kept": outcome.kept} for outcome in self.outcomes
            ],
        }

    def __repr__(self) -> str:
        table = self._table()
        shown = [_wrapped(self._example_lines(outcome)) for outcome in self.outcomes if outcome.examples]
        return report_text(table.title, table_lines(table, WIDTH), textwrap.wrap(self._remark(), WIDTH), *shown)

    def _repr_html_(self) -> str:
        from reasoner.reports.notebook import table_html

        shown = "".join(
            f"<details><summary>{escape(title)}</summary>{'<br>'.join(map(escape, lines))}</details>"
            for title, *lines in (self._example_lines(outcome) for outcome in self.outcomes if outcome.examples)
        )
        return f"<div>{table_html(self._table())}<p>{escape(self._remark())}</p>{shown}</div>"

    def _table(self) -> Table:
        heading = f"Robustness: {self.task}, {self.metric} {self.score:.4f} on {self.split} ({self.rows:,} rows)"
        rows = [COLUMNS, *self._cells()]
        columns, *cells = rows if self._says_several else [(*row[:4], *row[5:]) for row in rows]
        return Table(heading, columns, cells)

    @property
    def _says_several(self) -> bool:
        """Whether it says several things of a row, or nothing; else the flip rate tells all."""
        return any({one.said_before, one.said_after} != {one.rows} for one in self.outcomes)

    def _cells(self) -> Iterator[tuple[str, ...]]:
        for outcome in self.outcomes:
            change = "-"
            if outcome.difference_lower is not None:
                change = f"{outcome.difference_lower:+.3f} {outcome.difference_upper:+.3f}"
            yield (
                outcome.name,
                f"{outcome.rows:,}",
                f"{outcome.flip_rate:.1%}",
                f"{outcome.lower:.1%} {outcome.upper:.1%}",
                "-" if outcome.kept is None else f"{outcome.kept:.0%}",
                f"{outcome.before:.3f}",
                f"{outcome.after:.3f}",
                change,
            )

    def _remark(self) -> str:
        if not self.outcomes:
            return "No edit changes any of these rows."
        kept = ""
        if self._says_several and self.mean_kept is None:
            kept = " The model says nothing of any row, before or after: so it flips none, which tells nothing of it."
        elif self._says_several:
            kept = (
                f" Of what is said of a row before or after, {self.mean_kept:.1%} is said both times ('kept', in the "
                "mean): a model that says less flips fewer rows, and keeps no more for that."
            )
        return (
            f"Mean flip rate: {self.mean_flip_rate:.1%}. Each edit leaves what is right as it is, or moves it along: a "
            "flip is a change of mind without a reason. The first interval is that of the share of flips, the second "
            f"that of the change in score; both are over rows.{kept}"
        )

    def _example_lines(self, outcome: EditOutcome) -> list[str]:
        lines = [f"{outcome.name}: {outcome.what}"]
        for row in outcome.examples:
            for name, text in row.before.items():
                lines += [f"- {name}: {_cut(text)}", f"  edited: {_cut(row.after[name])}"]
            said = [", ".join(part) or "nothing" for part in (row.said_before, row.said_after)]
            lines.append(f"  said {said[0]}, then {said[1]} ({row.where})")
        return lines


def _cut(text: str, most: int = 160) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _wrapped(lines: Sequence[str]) -> list[str]:
    return [piece for line in lines for piece in textwrap.wrap(line, WIDTH, subsequent_indent="    ")]
