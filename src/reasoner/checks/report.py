"""What did the checks find: the report as an object, as text of 80 columns, and as HTML for a notebook?"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from html import escape
from typing import Any

from reasoner.checks.findings import ERROR, NOTE, WARNING, Finding, some_places
from reasoner.errors import Problem, raise_if_any
from reasoner.notices import say, tell

WIDTH = 80
SAID_BEFORE = frozenset({"cut_rows", "answer_moved", "entity_widened", "no_words", "no_gold", "ill_formed_tags"})
"""What reading and encoding have said themselves when they did it."""


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """All findings, the worst first. Printing it, or showing it in a notebook, shows them; clean data take one line."""

    findings: list[Finding] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    """Examples in each split."""
    estimate: dict[str, Any] = field(default_factory=dict)
    """Of the whole run: `seconds`, `steps`, `evaluations`, `memory_bytes`, `batch_bytes`, `disk_bytes`, `longest_batch`
    (rows, tokens), `device`; `bf16_seconds` where `bf16=True` would save much of a long run on the CPU. Empty if the
    model was not run, or could not be."""

    @property
    def errors(self) -> list[Finding]:
        """The findings with which training would fail, or its scores would lie."""
        return self._of(ERROR)

    @property
    def warnings(self) -> list[Finding]:
        """The findings to look at."""
        return self._of(WARNING)

    @property
    def notes(self) -> list[Finding]:
        """What is good to know, and asks for nothing."""
        return self._of(NOTE)

    def to_dict(self, *, most_places: int | None = None) -> dict[str, Any]:
        """Return everything as JSON values, with at most so many places a finding (its `count` stays whole)."""
        findings = [
            replace(item, places=item.places[:most_places], partners=item.partners[:most_places])
            for item in self.findings
        ]
        values = asdict(replace(self, findings=findings))
        for item in values["findings"]:
            item["places"], item["partners"] = list(item["places"]), list(item["partners"])
        return values

    def raise_errors(self) -> None:
        """Raise one error that lists all errors found, if there are any.

        Raises:
            DataError: with a `Problem` for each.
        """
        raise_if_any(Problem(some_places(item) or item.code, item.what, item.remedy) for item in self.errors)

    def say_all(self) -> None:
        """Say each warning in one line, and what the run will take."""
        for finding in self.warnings:
            if finding.code not in SAID_BEFORE:
                say(f"Check, {finding.code}: {finding.what}.")
        if self.estimate:
            lines = dict(_estimate_lines(self.estimate))
            tell(f"Estimate: {lines['time']}; memory {lines['memory']}.")

    def __str__(self) -> str:
        blocks = [textwrap.fill(self._headline(), WIDTH)]
        for title, findings in (("Errors", self.errors), ("Warnings", self.warnings), ("Notes", self.notes)):
            if findings:
                blocks.append("\n".join([title, *(_text(finding) for finding in findings)]))
        if self.estimate:
            blocks.append("\n".join(["Estimate", *_columns(_estimate_lines(self.estimate))]))
        return "\n\n".join(blocks)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        parts = [f"<p><b>{escape(self._headline())}</b></p>"]
        cell = '<td style="text-align: left; vertical-align: top; padding: 2px 12px 2px 0">'
        rows = [
            f"<tr>{cell}{item.severity}</td>{cell}<code>{escape(item.code)}</code></td>{cell}{escape(item.what)}. "
            f"<i>{escape(item.remedy)}</i><br><small>{escape(some_places(item))}</small></td></tr>"
            for item in self.findings
        ]
        if rows:
            parts.append(f"<table>{''.join(rows)}</table>")
        if self.estimate:
            lines = [f"<tr>{cell}{name}</td>{cell}{escape(value)}</td></tr>" for name, value in
                     _estimate_lines(self.estimate)]  # fmt: skip
            parts.append(f"<p>Estimate</p><table>{''.join(lines)}</table>")
        return f'<div style="max-width: 920px; line-height: 1.35">{"".join(parts)}</div>'

    def _of(self, severity: str) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == severity]

    def _headline(self) -> str:
        rows = ", ".join(f"{split} {number:,}" for split, number in self.rows.items())
        checked = f"Checked {rows} rows" if rows else "Checked"
        if not self.findings:
            return f"{checked}: nothing wrong was found."
        kinds = (("error", self.errors), ("warning", self.warnings), ("note", self.notes))
        counts = [f"{len(found)} {name}{'s' if len(found) > 1 else ''}" for name, found in kinds if found]
        return f"{checked}: {', '.join(counts)}."


def _text(finding: Finding) -> str:
    text = f"[{finding.code}] {finding.what}. {finding.remedy}"
    lines = textwrap.wrap(text, WIDTH, initial_indent="- ", subsequent_indent="  ")
    places = some_places(finding)
    lines += textwrap.wrap(places, WIDTH, initial_indent="    ", subsequent_indent="    ") if places else []
    return "\n".join(lines)


def _columns(lines: Iterator[tuple[str, str]]) -> Iterator[str]:
    for name, value in lines:
        yield textwrap.fill(f"{name:<15}{value}", WIDTH, initial_indent="  ", subsequent_indent=" " * 17)


def _estimate_lines(estimate: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Give what an estimate says, as name and text."""
    evaluations = estimate["evaluations"]
    several = f"{evaluations} evaluations" if evaluations > 1 else "one evaluation"
    faster = f", with bf16=True {_duration(estimate['bf16_seconds'])}" if "bf16_seconds" in estimate else ""
    work = f"({estimate['steps']:,} steps, {several}, {estimate['device']})"
    yield "time", f"{_duration(estimate['seconds'])}{faster} {work}"
    yield "memory", f"about {_size(estimate['memory_bytes'])}, {_size(estimate['batch_bytes'])} of it for a batch"
    yield "disk", f"{_size(estimate['disk_bytes'])} in output_dir, twice that while it is written"
    yield "longest batch", "{} x {} tokens".format(*estimate["longest_batch"])


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"about {max(seconds, 1):.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


def _size(number: float) -> str:
    return f"{number / 1e6:,.0f} MB" if number < 1e9 else f"{number / 1e9:,.1f} GB"
