"""What does the bias report show: gaps between the values of a group, as text, HTML and JSON values?"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from reasoner.reports.layout import Table, report_text, table_lines

WIDTH = 80
COLUMNS = ("", "difference", "95% interval", "")
LIMITS = (
    "Words are swapped by lists that know few of them, and tell of few of the ways to be biased: that no gap was found "
    "is no proof that there is none. With many gaps some are sure by chance: one in twenty."
)


@dataclass(frozen=True, kw_only=True)
class Gap:
    """How far a value of a group is from the others, on the same rows."""

    value: str
    against: str
    """The other value, or "the others": the mean over them."""
    label: str | None
    """None: the gap is one of the score; else of how often this label, or type of entity, is said of a row."""
    difference: float
    lower: float
    """Lower end of the 95% interval over rows (bootstrap)."""
    upper: float

    @property
    def sure(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.lower > 0 or self.upper < 0


@dataclass(frozen=True, kw_only=True)
class GroupOutcome:
    """What differs between the values of a group of words."""

    name: str
    rows: int
    """Those with a word of the group; each is told of every value."""
    differing: int
    """Of these, where the model does not say the same of all values."""
    lower: float
    """Lower end of the 95% interval of their share (Wilson)."""
    upper: float
    scores: Mapping[str, float]
    """The primary metric by value."""
    score_gaps: tuple[Gap, ...]
    label_gaps: tuple[Gap, ...]

    @property
    def share(self) -> float:
        """Share of the rows where the model does not say the same of all values."""
        return self.differing / self.rows


@dataclass(frozen=True, kw_only=True, repr=False)
class BiasReport:
    """What `bias` found. Printing it, or showing it in a notebook, shows the gaps."""

    task: str
    metric: str
    """The task's primary metric, a fraction."""
    split: str
    rows: int
    """Of that split."""
    outcomes: tuple[GroupOutcome, ...]

    def __getitem__(self, name: str) -> GroupOutcome:
        """Return the outcome of the group of that name."""
        return {outcome.name: outcome for outcome in self.outcomes}[name]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)

    def __repr__(self) -> str:
        blocks = []
        for outcome in self.outcomes:
            blocks += [textwrap.wrap(self._sentence(outcome), WIDTH), table_lines(self._table(outcome), WIDTH)]
        blocks.append(textwrap.wrap(self._remark(), WIDTH))
        return report_text(self._heading(), *blocks)

    def _repr_html_(self) -> str:
        from reasoner.reports.notebook import table_html

        parts = [f"<b>{escape(self._heading())}</b>"]
        for outcome in self.outcomes:
            parts.append(f"<p>{escape(self._sentence(outcome))}</p>{table_html(self._table(outcome))}")
        return f"<div>{''.join(parts)}<p>{escape(self._remark())}</p></div>"

    def _table(self, outcome: GroupOutcome) -> Table:
        return Table(outcome.name, COLUMNS, list(self._cells(outcome)))

    def _heading(self) -> str:
        return f"Bias: {self.task}, {self.metric} on {self.split} ({self.rows:,} rows)"

    def _sentence(self, outcome: GroupOutcome) -> str:
        scores = ", ".join(f"{value} {score:.3f}" for value, score in outcome.scores.items())
        return (
            f"{outcome.name}: {outcome.rows:,} rows have such a word. In {outcome.share:.1%} of them "
            f"({outcome.lower:.1%} to {outcome.upper:.1%}) the model does not say the same of all. "
            f"{self.metric}: {scores}."
        )

    def _cells(self, outcome: GroupOutcome) -> Iterator[tuple[str, str, str, str]]:
        for gap in (*outcome.score_gaps, *outcome.label_gaps):
            about = self.metric if gap.label is None else f"says {gap.label}"
            yield (
                f"{about}: {gap.value} less {gap.against}",
                f"{gap.difference:+.3f}",
                f"{gap.lower:+.3f} {gap.upper:+.3f}",
                "sure" if gap.sure else "",
            )

    def _remark(self) -> str:
        return LIMITS if self.outcomes else "No row has a word of these groups: nothing was measured."
