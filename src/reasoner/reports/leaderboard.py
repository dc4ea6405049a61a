"""What did comparing several variants show: a line for each, with its score and its cost, as text, HTML and JSON?"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from math import inf
from pathlib import Path
from statistics import fmean
from typing import Any

from reasoner.metrics.direction import greater_is_better
from reasoner.reports.layout import Table, cell, clean, duration, mebibytes, report_text, table_lines

WIDTH = 80


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A variant: the means of its finished runs, one a seed. What no run gave is None."""

    name: str
    runs: int
    """How many were finished."""
    failed: int
    score: float | None = None
    """The primary metric on the compared split, the mean over seeds."""
    deviation: float | None = None
    """Over seeds; None with one."""
    lower: float | None = None
    """Lower end of the score's 95% interval."""
    upper: float | None = None
    interval_over: str = ""
    """"seeds" (Student's interval of the mean), or with one finished run "rows" (bootstrap)."""
    validation: float | None = None
    """The score on validation, which says what is best."""
    trainable_share: float | None = None
    """Of all weights, from 0 to 1."""
    seconds: float | None = None
    """Inside the training steps."""
    steps: float | None = None
    epochs: float | None = None
    peak_memory_mib: float | None = None
    """The most of any run: CUDA: of the device in training; else of the whole process during the run."""
    disk_bytes: int | None = None
    """What the weights take when they are saved."""
    old_change: float | None = None
    """After less before on the old task, by its own metric; below 0: skills were lost (above, for a metric that is
    better when smaller)."""
    errors: tuple[str, ...] = ()
    """Of the runs that failed, each once."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Leaderboard:
    """What `compare` found. Printing it, or showing it in a notebook, shows the table, the best on validation first."""

    task: str
    metric: str
    """The task's primary metric."""
    split: str
    """That scores and intervals are of: "test" if there is one, else "validation"."""
    standings: tuple[Standing, ...]
    """The best on validation first; those of which no run was finished last."""
    notes: tuple[str, ...]
    """What a reader must know to read the table right."""
    runs: list[dict[str, Any]] = field(compare=False)
    """The record of each run."""

    @property
    def best(self) -> Standing | None:
        """The variant with the best mean on validation; None if no run was finished."""
        first = self.standings[0]
        return first if first.validation is not None else None

    def __getitem__(self, name: str) -> Standing:
        """Return the variant of that name."""
        return {standing.name: standing for standing in self.standings}[name]

    def table(self) -> Table:
        """Return the finished cells; a column that would say nothing is left out."""
        columns = [column for column in self._columns() if any(text != "-" for text in column[1])]
        names = [standing.name for standing in self.standings]
        rows = list(zip(names, *(cells for _, cells in columns), strict=True))
        return Table(self._heading(), ("", *(header for header, _ in columns)), rows)

    def to_dict(self) -> dict[str, Any]:
        """Return all as JSON values, the records of the runs too."""
        plain = {name: getattr(self, name) for name in ("task", "metric", "split", "runs")}
        return {**plain, "standings": [asdict(item) for item in self.standings], "notes": list(self.notes)}

    def plot(self, path: str | Path | None = None, *, against: str = "trainable_share") -> Any:
        """Return a matplotlib figure: score against cost, with the variants that no other beats in both.

        Args:
            path: where it is written as PNG as well.
            against: "trainable_share", "seconds", "peak_memory_mib" or "disk_bytes".

        Raises:
            ConfigError: if matplotlib is not installed (the extra `plots`), or there is nothing to draw.
        """
        from reasoner.reports.pareto import pareto_plot, save_pareto_plot

        if path is not None:
            save_pareto_plot(self, path, against=against)
        return pareto_plot(self, against=against)

    def __repr__(self) -> str:
        table = self.table()
        notes = (line for note in self.notes for line in textwrap.wrap(clean(note), WIDTH, subsequent_indent="  "))
        return report_text(table.title, table_lines(table, WIDTH), list(notes))

    def _repr_html_(self) -> str:
        from reasoner.reports.notebook import table_html

        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        return f'<div style="max-width: 920px">{table_html(self.table())}{notes}</div>'

    def _heading(self) -> str:
        return f"{self.task}: {len(self.standings)} variants, {self.metric} on {self.split}"

    def _columns(self) -> Iterator[tuple[str, list[str]]]:
        def column(show: Callable[[Standing], str | None]) -> list[str]:
            return [show(standing) or "-" for standing in self.standings]

        yield self.metric, column(lambda item: cell(item.score) if item.runs else "failed")
        yield (
            "95% interval",
            column(lambda item: None if item.lower is None else f"{item.lower:.4f}–{item.upper:.4f}"),
        )
        if self.split != "validation":
            yield "validation", column(lambda item: cell(item.validation))
        yield "trainable", column(lambda item: shown(item.trainable_share, lambda share: f"{share:.2%}"))
        yield "time", column(lambda item: shown(item.seconds, duration))
        yield "memory", column(lambda item: shown(item.peak_memory_mib, lambda mib: f"{mib:,.0f} MiB"))
        yield "disk", column(lambda item: shown(item.disk_bytes, mebibytes))
        yield "old task", column(lambda item: shown(item.old_change, lambda change: f"{change:+.4f}"))
        if len({(item.steps, item.epochs) for item in self.standings if item.runs}) > 1:
            yield "steps", column(lambda item: shown(item.steps, lambda steps: f"{steps:,.0f}"))
            yield "epochs", column(lambda item: shown(item.epochs, lambda epochs: f"{epochs:.2f}"))
        if any(item.failed and item.runs for item in self.standings):
            yield "finished", column(lambda item: f"{item.runs} of {item.runs + item.failed}")


def shown(value: Any, show: Callable[[Any], str]) -> str | None:
    """Return a value as text; None as it is."""
    return None if value is None else show(value)


def make_leaderboard(
    runs: Sequence[dict[str, Any]], *, names: Sequence[str], task: str, metric: str, split: str
) -> Leaderboard:
    """Return the table of runs.

    Args:
        runs: the record of each; those of a variant have its name in "variant".
        names: of the variants; those that are equally good stay in this order.
        task: the task's registered name.
        metric: its primary metric.
        split: that is compared.
    """
    standings = [_standing(name, [run for run in runs if run["variant"] == name], split) for name in names]
    sign = 1 if greater_is_better(metric) else -1
    standings.sort(key=lambda item: inf if item.validation is None else -sign * item.validation)
    return Leaderboard(
        task=task,
        metric=metric,
        split=split,
        standings=tuple(standings),
        notes=tuple(_notes(standings, runs, split)),
        runs=list(runs),
    )


def _standing(name: str, runs: Sequence[dict[str, Any]], split: str) -> Standing:
    done = [run for run in runs if run["error"] is None]
    errors = tuple(dict.fromkeys(run["error"] for run in runs if run["error"] is not None))
    if not done:
        return Standing(name=name, runs=0, failed=len(runs), errors=errors)
    olds = [run["old"]["after"] - run["old"]["before"] for run in done if run.get("old")]
    return Standing(
        name=name,
        runs=len(done),
        failed=len(runs) - len(done),
        **_score(done, split),
        validation=_mean([run["scores"]["validation"] for run in done]),
        trainable_share=fmean(run["trainable_parameters"] / run["parameters"] for run in done),
        seconds=_mean([run["seconds"] for run in done]),
        steps=_mean([run["steps"] for run in done]),
        epochs=_mean([run["epochs"] for run in done]),
        peak_memory_mib=max((run["peak_memory_mib"] for run in done if run["peak_memory_mib"]), default=None),
        disk_bytes=max(run["disk_bytes"] for run in done),
        old_change=_mean(olds) if olds else None,
        errors=errors,
    )


def _score(runs: Sequence[dict[str, Any]], split: str) -> dict[str, Any]:
    """Return the mean with its interval: over seeds where there are several, else over rows."""
    from reasoner.metrics import mean_and_deviation

    values = [run["scores"][split] for run in runs]
    if len(values) > 1 and None not in values:
        over = mean_and_deviation(values)
        ends = {"lower": over.lower, "upper": over.upper, "interval_over": "seeds"}
        return {"score": over.mean, "deviation": over.deviation, **ends}
    rows = runs[0]["intervals"].get(split) if len(values) == 1 else None
    ends = {} if rows is None else {"lower": rows["lower"], "upper": rows["upper"], "interval_over": "rows"}
    return {"score": _mean(values), **ends}


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean; None if one is no number: it would be the mean of those that happened to go well."""
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


def _notes(standings: Sequence[Standing], runs: Sequence[dict[str, Any]], split: str) -> Iterator[str]:
    for kind, name in (("seeds", "over seeds (Student's, of the mean)"), ("rows", "over rows (bootstrap)")):
        of = [item.name for item in standings if item.interval_over == kind]
        if of:
            whose = "" if len(of) == sum(bool(item.interval_over) for item in standings) else f" of {', '.join(of)}"
            counts = " or ".join(map(str, sorted({item.runs for item in standings if item.name in of})))
            scores = "each score is of one run" if kind == "rows" else f"each score is the mean of {counts} runs"
            yield f"The intervals{whose} are {name}; {scores}."
    if split == "test":
        yield "The order is that of validation, which chooses; the scores on test say what the choice is worth."
    else:
        yield "There is no test split: the same rows chose the best weights, so all scores are optimistic."
    if len({(item.steps, item.epochs) for item in standings if item.runs}) > 1:
        yield "The budgets differ: see steps and epochs."
    if any(item.old_change is not None for item in standings):
        metric = next(run["old"]["metric"] for run in runs if run.get("old"))
        yield f"Old task: the change of its {metric}, the old head on the tuned layers."
    for item in standings:
        for error in item.errors:
            yield f"{item.name} failed: {error}"
    done = [run for run in runs if run["error"] is None]
    for name in ("device", "threads", "versions"):
        if len({str(run[name]) for run in done}) > 1:
            yield f"Not all runs were made with the same {name}: compare times and memory with care."
