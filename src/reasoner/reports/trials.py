"""What did a search find: its trials and the best setting, as text, HTML and JSON?"""

from __future__ import annotations

import textwrap
from collections import Counter
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from reasoner.reports.layout import Table, cell, clean, duration, report_text, table_lines

SHOWN_TRIALS = 10
WIDTH = 80


@dataclass(frozen=True, kw_only=True, repr=False)
class SearchResult:
    """What `search` found. Printing it, or showing it in a notebook, shows the best trials."""

    task: str
    metric: str
    """The task's primary metric; values are scores on validation."""
    trials: tuple[dict[str, Any], ...]
    """In their order: `number`, `state` ("complete", "pruned", "failed", "running"), `value` (of a pruned trial that of
    its last evaluation), `params`, `seconds`, `error`."""
    best: dict[str, Any] | None
    """The complete trial with the best value; None if there is none."""
    method: Any = field(compare=False)
    """The best setting's `Method`; without a best, the one that was given."""
    config: Any = field(compare=False)
    """The best setting's `TrainingConfig`, with the seed of the search."""
    path: Path | None
    """The file with the best setting, for `read_settings`; None without `output_dir` or a best trial."""
    study: Any = field(compare=False)
    """Optuna's study, for its own plots."""
    result: Any = field(default=None, compare=False)
    """The `Result` of the best setting, trained once more and scored on test, if that was asked for."""

    @property
    def counts(self) -> dict[str, int]:
        """How many trials there are by state."""
        return dict(Counter(trial["state"] for trial in self.trials))

    def to_dict(self) -> dict[str, Any]:
        """Return trials and best as JSON values."""
        plain = {name: getattr(self, name) for name in ("task", "metric", "best", "counts")}
        return {**plain, "trials": list(self.trials), "method": repr(self.method), "config": self.config.to_dict()}

    def table(self) -> Table:
        """Return the ten best trials as finished cells, the best first; pruned ones after those that are complete."""
        worth = {trial["number"]: place for place, trial in enumerate(self._ranked())}
        done = sorted((t for t in self.trials if t["number"] in worth), key=lambda t: worth[t["number"]])[:SHOWN_TRIALS]
        names = list(dict.fromkeys(name for trial in done for name in trial["params"]))
        rows = [
            (
                f"{trial['number']}{', pruned' if trial['state'] == 'pruned' else ''}",
                cell(trial["value"]),
                duration(trial["seconds"] or 0.0),
                *(cell(trial["params"].get(name)) for name in names),
            )
            for trial in done
        ]
        return Table(self._heading(), ("trial", self.metric, "time", *names), rows)

    def __repr__(self) -> str:
        table = self.table()
        said = [line for text in self._said() for line in textwrap.wrap(clean(text), WIDTH, subsequent_indent="  ")]
        return report_text(table.title, table_lines(table, WIDTH) if table.rows else [], said)

    def _repr_html_(self) -> str:
        from html import escape

        from reasoner.reports.notebook import table_html

        said = "".join(f"<p>{escape(line)}</p>" for line in self._said())
        return f'<div style="max-width: 920px">{table_html(self.table())}{said}</div>'

    def _heading(self) -> str:
        counts = ", ".join(f"{number} {state}" for state, number in sorted(self.counts.items()))
        return f"Search for {self.task} by {self.metric} on validation: {counts or 'no trial'}"

    def _ranked(self) -> list[dict[str, Any]]:
        from reasoner.metrics.direction import greater_is_better

        sign = 1 if greater_is_better(self.metric) else -1
        done = [trial for trial in self.trials if trial["state"] in ("complete", "pruned")]
        return sorted(done, key=lambda t: (t["state"] == "pruned", t["value"] is None, -sign * (t["value"] or 0.0)))

    def _said(self) -> list[str]:
        lines = []
        if self.best is not None:
            lines.append(f"Best: trial {self.best['number']}, {self.metric} {cell(self.best['value'])} on validation.")
            lines.append("It is the best of many on these rows, and so too optimistic: believe its score on test.")
        if self.result is not None and "test" in self.result.metrics:
            lines.append(f"Trained once more, on test: {self.metric} {cell(self.result.metrics['test'][self.metric])}.")
        if self.path is not None:
            lines.append(f"The setting: {self.path.name}, for fine_tune(..., **reasoner.read_settings(path)).")
        failed = Counter(trial["error"] for trial in self.trials if trial["state"] == "failed")
        return lines + [f"failed, {number} of them: {error}" for error, number in failed.items()]


def trial_values(trial: Any) -> dict[str, Any]:
    """Return what there is to say of a trial of optuna, as JSON values."""
    state = {"fail": "failed"}.get(trial.state.name.lower(), trial.state.name.lower())
    error = trial.user_attrs.get("error", "its process ended") if state == "failed" else None
    value = trial.value
    if state == "pruned" and trial.intermediate_values:
        value = trial.intermediate_values[max(trial.intermediate_values)]
    return {
        "number": trial.number,
        "state": state,
        "value": None if value is None or not isfinite(value) else value,
        "params": dict(trial.params),
        "seconds": None if trial.duration is None else trial.duration.total_seconds(),
        "error": error,
    }
