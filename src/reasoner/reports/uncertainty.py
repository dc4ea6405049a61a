"""What does a report say of how sure its scores are: intervals, after against before, several seeds, calibration?"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from reasoner.reports.layout import Table, cell
from reasoner.reports.run import Run

SHOWN_PLACES = 3


def interval_row(intervals: Sequence[Mapping[str, float] | None]) -> list[str] | None:
    """Return the cells for a row of intervals, its name first; None where there are none."""
    given = [interval for interval in intervals if interval]
    if not given:
        return None
    name = f"{given[0]['confidence']:.0%} interval"
    return [name, *(f"{item['lower']:.4f}–{item['upper']:.4f}" if item else "" for item in intervals)]


def comparison_sentences(comparison: Mapping[str, Any]) -> str:
    """Return the difference with its interval, how likely it is by chance, and how many rows changed."""
    said = f"{comparison['metric']} {comparison['difference']:+.4f}"
    if comparison.get("p_value") is not None:
        ends = f"{comparison['lower']:+.4f} to {comparison['upper']:+.4f}"
        said += f" ({comparison['confidence']:.0%} interval {ends}), {_p_value(comparison['p_value'])}"
    if comparison.get("mcnemar_p_value") is not None:
        rows = f"{comparison['fixed_count']:,} rows fixed and {comparison['broken_count']:,} broken"
        said += f"; as a whole {rows}, McNemar {_p_value(comparison['mcnemar_p_value'])}"
    return said + "."


def comparison_text(comparison: Mapping[str, Any], *, width: int = 80) -> str:
    """Return all that a comparison says, with the first of the rows that changed, in lines of `width` columns."""
    scores = f"{comparison['before']:.4f} before, {comparison['after']:.4f} after"
    paragraphs = [
        f"{comparison['metric']} on {comparison['rows']:,} rows: {scores}.",
        comparison_sentences(comparison),
    ]
    for kind in ("fixed", "broken"):
        if places := comparison[kind][:SHOWN_PLACES]:
            more = comparison[f"{kind}_count"] - len(places)
            paragraphs.append(f"{kind}: {'; '.join(places)}{f'; and {more:,} more' if more else ''}")
    return "\n".join(line for text in paragraphs for line in textwrap.wrap(text, width, subsequent_indent="  "))


def seeds_table(run: Run) -> Table | None:
    """Return the primary metric of each seed, their mean and deviation; None for a run with one seed."""
    if len(run.seeds) < 2:
        return None
    from reasoner.metrics import mean_and_deviation

    metric, splits = run.primary_metric, [split for split in ("validation", "test") if split in run.seeds[0]]
    columns = [[row[split][metric] for row in run.seeds] for split in splits]
    kept = run.config.get("seed")
    names = [f"{row['seed']}{', kept' if row['seed'] == kept else ''}" for row in run.seeds]
    times = [f"{row['seconds']:.1f}" for row in run.seeds]
    rows = [(name, *map(cell, scores), time) for name, time, *scores in zip(names, times, *columns, strict=True)]
    summary = [mean_and_deviation(scores) for scores in columns]
    rows.append(("mean", *(cell(item.mean) for item in summary), ""))
    rows.append(("deviation", *(cell(item.deviation) for item in summary), ""))
    headers = ("seed", *(f"{split} {metric}" for split in splits), "seconds")
    return Table(f"{len(run.seeds)} seeds; seed {kept} is kept, the best on validation", headers, rows)


def calibration_line(run: Run) -> str:
    """Return what the probabilities are worth, in a line; empty where that was not measured."""
    known = run.calibration
    unchanged = known.get("temperature") == 1
    parts = []
    if "temperature" in known:
        parts.append("temperature 1 (as they were)" if unchanged else f"temperature {known['temperature']:.2f}")
    if "validation_ece_before" in known and "validation_ece_after" in known:
        before, after = cell(known["validation_ece_before"]), cell(known["validation_ece_after"])
        errors = after if unchanged else f"{before} without it and {after} with it"
        parts.append(f"calibration error (ECE) on validation {errors}")
    if "ece" in known and run.compared_split != "validation":
        parts.append(f"on {run.compared_split} {cell(known['ece'])}")
    return ", ".join(parts)


def _p_value(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
