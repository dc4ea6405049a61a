"""What does the shortcut meter show: its lines, its warnings and its rule, as text, HTML and JSON values?"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any

from reasoner.reports.layout import report_text

WARNED_SHARE = 0.5
"""A part that keeps surely more than this share of the whole input's gain over the guess is warned of."""


@dataclass(frozen=True, kw_only=True)
class ShortcutView:
    """A line of the meter: what was seen, how far that went, and what it means."""

    name: str
    """Such as "hypothesis only"."""
    kind: str
    """"whole" and "partial" are trained; "reordered" is the whole's model on reordered input; "baseline" is none."""
    score: float
    lower: float | None
    """Lower end of the 95% interval of the score, over rows; None where the task has no `primary_counts`."""
    upper: float | None
    share: float | None
    """Of what the whole input gains over the guess; None where it gains nothing."""
    sentence: str = ""
    warning: str = ""


@dataclass(frozen=True, kw_only=True, repr=False)
class ShortcutReport:
    """What `shortcuts` found. Printing it, or showing it in a notebook, shows the table."""

    task: str
    metric: str
    """The task's primary metric, a fraction."""
    split: str
    """The split that all was scored on."""
    rows: int
    """Of that split."""
    views: tuple[ShortcutView, ...]
    """The whole input first, then partial ones, reordered ones, and what needs no model."""
    notes: tuple[str, ...]
    """What a reader must know to read the scores right."""
    result: Any = field(compare=False)
    """The `Result` of the training on the whole input."""

    @property
    def warnings(self) -> list[str]:
        """The shortcuts that were found, and what to do about each."""
        return [view.warning for view in self.views if view.warning]

    @property
    def rule(self) -> str:
        """When a warning is given."""
        return (
            f"a part is warned of when it surely (95% interval, paired bootstrap) keeps more than {WARNED_SHARE:.0%} "
            "of what the whole input gains over the guess, and reordered input when the score surely falls."
        )

    def __getitem__(self, name: str) -> ShortcutView:
        """Return the line of that name."""
        return {view.name: view for view in self.views}[name]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values, without the model."""
        plain = {name: getattr(self, name) for name in ("task", "metric", "split", "rows", "warnings", "rule")}
        return {**plain, "views": [asdict(view) for view in self.views], "notes": list(self.notes)}

    def __repr__(self) -> str:
        cells = [("", "score", "95% interval", "of the gain"), *self._cells()]
        wide = min(max(len(row[0]) for row in cells), 36)
        table = [f"  {name[:wide]:<{wide}}  {score:>7}  {span:>16}  {gain:>11}" for name, score, span, gain in cells]
        remarks = [line for text in self._remarks() for line in textwrap.wrap(text, 80)]
        return report_text(self._heading(), [line.rstrip() for line in table], _wrapped(self._sentences()), remarks)

    def _repr_html_(self) -> str:
        cells = [("", "score", "95% interval", "of the gain"), *self._cells()]
        style = "text-align: left; padding: 2px 14px 2px 0"
        rows = ("".join(f'<td style="{style}">{escape(text)}</td>' for text in row) for row in cells)
        table = f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"
        sentences = "".join(f"<li>{escape(text)}</li>" for text in self._sentences())
        remarks = "".join(f"<p>{escape(text)}</p>" for text in self._remarks())
        return f"<div><b>{escape(self._heading())}</b>{table}<ul>{sentences}</ul>{remarks}</div>"

    def _heading(self) -> str:
        return f"Shortcuts: {self.task}, {self.metric} on {self.split} ({self.rows:,} rows)"

    def _cells(self) -> Iterator[tuple[str, str, str, str]]:
        for view in self.views:
            span = "-" if view.lower is None else f"{view.lower:.4f} - {view.upper:.4f}"
            yield view.name, f"{view.score:.4f}", span, "-" if view.share is None else f"{view.share:.0%}"

    def _sentences(self) -> list[str]:
        return [view.sentence for view in self.views if view.sentence]

    def _remarks(self) -> list[str]:
        return [*(f"Warning: {text}" for text in self.warnings), *self.notes, f"The rule: {self.rule}"]


def _wrapped(sentences: Sequence[str]) -> list[str]:
    return [line for text in sentences for line in textwrap.wrap(text, 80, subsequent_indent="  ")]
