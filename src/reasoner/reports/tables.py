"""What does a run have to say: the tables that every report shows, and their form as text for a terminal."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from numbers import Integral, Real
from typing import Any

from reasoner.errors import ConfigError
from reasoner.metrics.direction import greater_is_better
from reasoner.reports.layout import (
    Facts,
    Table,
    cell,
    clean,
    clipped,
    display_width,
    duration,
    fact_lines,
    item_lines,
    mebibytes,
    readable,
    table_lines,
)
from reasoner.reports.run import Run
from reasoner.reports.uncertainty import calibration_line, comparison_sentences, interval_row, seeds_table

SHOWN_ROWS = 50
NARROWEST = 40
_NOT_SCORES = ("step", "epoch", "split")
_TRAINING_FACTS = (
    "seconds", "tokens_per_second", "loss", "steps", "epochs", "positions", "padding_share", "evaluation_padding_share",
    "peak_share", "peak_operations_per_second", "evaluation_seconds", "evaluations", "peak_memory_mib", "threads",
)  # fmt: skip
_EXPLAINED = {
    "by_rule": "partial: span only, overlap half; type_only: any overlap",
    "by_novelty": "is the entity, as this type, in the training data?",
}


def report_text(run: Run, *, width: int = 80) -> str:
    """Return the report that a person reads in a terminal.

    Args:
        run: the record.
        width: columns of the terminal; no line is longer.

    Raises:
        ConfigError: if `width` is below 40, where no table can be read.
    """
    if width < NARROWEST:
        raise ConfigError(f"width is {width}; a report needs at least {NARROWEST} columns.")
    heading = clipped(clean(title(run)), width)
    blocks = [[heading, "=" * display_width(heading), *fact_lines(overview(run), width)]]
    blocks += [[clipped(clean(table.title), width), *table_lines(table, width)] for table in score_tables(run)]
    if notes(run):
        blocks.insert(2, [line for note in notes(run) for line in textwrap.wrap(clean(note), width)])
    if facts := training_facts(run):
        blocks.append(["Training", *fact_lines(facts, width)])
    if run.notices:
        blocks.append(["Notices", *(line for notice in run.notices for line in item_lines(notice, width))])
    return "\n\n".join("\n".join(block) for block in blocks)


def title(run: Run) -> str:
    """Return the heading: what was trained for what."""
    return f"{run.task}: {last_part(run.model)}, {run.method}"


def last_part(path: str) -> str:
    """Return the last part of a Hub id, or of a path of any system."""
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1] or path


def overview(run: Run) -> Facts:
    """Return what was trained, how, and on how many rows."""
    facts = [("task", run.task), ("model", run.model), ("method", run.method), *_continued(run)]
    if run.rows:
        facts.append(("rows", ", ".join(f"{split} {number:,}" for split, number in run.rows.items())))
    if run.parameters:
        share = f"{run.trainable_parameters / run.parameters:.2%}"
        trained = "all" if run.trainable_parameters == run.parameters else f"{run.trainable_parameters:,} ({share})"
        facts.append(("parameters", f"{run.parameters:,}, trainable: {trained}"))
    if run.bytes_on_disk:
        facts.append(("weights on disk", mebibytes(run.bytes_on_disk)))
    return facts


def _continued(run: Run) -> Facts:
    """Return which model was taught again, and what became of what it knew."""
    told = run.continued
    if not told:
        return []
    added = ", ".join(told["labels_added"])
    protected = f", protected by {told['protection']}" if told["protection"] else ", unprotected"
    facts = [("taught again", f"{told['after']}{protected}{f'; labels added: {added}' if added else ''}")]
    for number, found in enumerate(told.get("old", ()), start=1):
        between = "" if found["lower"] is None else f" ({found['lower']:+.4f} to {found['upper']:+.4f})"
        scores = f"{cell(found['before'])} before, {cell(found['after'])} after{between}"
        facts.append((f"old data {number}", f"{found['metric']} {scores}, {found['rows']:,} validation rows"))
    return facts


def score_tables(run: Run) -> list[Table]:
    """Return the scores before and after with validation beside them, the seeds, then the tables by type etc."""
    split = run.compared_split if scores_on(run, run.compared_split) else "validation"
    before = run.metrics.get("before", {}) if split == run.compared_split else {}
    tables = [_scores_table(run), seeds_table(run), *_nested_tables(scores_on(run, split), before, (), split)]
    return [table for table in tables if table and table.rows]


def scores_on(run: Run, split: str) -> dict[str, Any]:
    """Return the scores on a split; for a run that is not finished, those that its best step had on validation."""
    if split in run.metrics or split != "validation":
        return run.metrics.get(split, {})
    best = [row for row in run.history if row["split"] == split and row["step"] == run.best_step]
    return {name: value for row in best for name, value in row.items() if name not in _NOT_SCORES}


def notes(run: Run) -> list[str]:
    """Return what a reader must know to read the scores right; nothing where there are no scores."""
    if not any(scores_on(run, split) for split in ("before", "validation", "test")):
        return []
    try:
        direction = f" ({'greater' if greater_is_better(run.primary_metric) else 'smaller'} is better)"
    except ConfigError:  # a loaded run whose metric another library would have registered
        direction = ""
    chosen = run.best_step is not None
    choice = "; on validation it chose the best weights" if chosen else ""
    over = " The interval is over rows (bootstrap), not over seeds." if run.intervals else ""
    found = [
        f"* {run.primary_metric} is the primary metric{direction}{choice}. "
        f"Scores such as F1 and accuracy are fractions from 0 to 1.{over}"
    ]
    if run.comparison:
        found.insert(0, f"After against before: {comparison_sentences(run.comparison)}")
    if chosen and run.compared_split == "validation":
        found.append("There is no test split: the same rows chose the best weights, so the scores are optimistic.")
    return found


def training_facts(run: Run) -> Facts:
    """Return how training went; where the record was written during training, that it was."""
    train = run.metrics.get("train", {})
    facts = []
    if "steps" in train:
        epochs = f", {train['epochs']:.2f} epochs" if "epochs" in train else ""
        facts.append(("steps", f"{train['steps']:,}{epochs}"))
    if "seconds" in train:
        facts.append(("time", _time(train)))
    if "tokens_per_second" in train:
        facts.append(("speed", f"{train['tokens_per_second']:,.0f} tokens/s{_threads(train)}"))
    if "peak_share" in train:
        peak = train["peak_operations_per_second"]
        facts.append(("share of peak", f"{train['peak_share']:.0%} of a matrix product's {peak / 1e9:,.0f} GFLOP/s"))
    if "peak_memory_mib" in train:
        facts.append(("peak memory", f"{train['peak_memory_mib']:,.0f} MiB"))
    if "padding_share" in train:
        facts.append(("padding", _padding(train)))
    if "loss" in train:
        facts.append(("training loss", f"{cell(train['loss'])} at the end"))
    facts += [(readable(name), cell(value)) for name, value in train.items() if name not in _TRAINING_FACTS]
    if run.best_step is not None:
        facts.append(("best step", f"{run.best_step:,}{_best_score(run)}"))
    if train:
        facts.append(("stopped early", _stopped(run)))
    if line := calibration_line(run):
        facts.append(("probabilities", line))
    if not train and run.history:
        facts.append(("state", f"written during training, at step {run.history[-1]['step']:,}"))
    return facts


def _scores_table(run: Run) -> Table:
    split = run.compared_split
    before, after, validation = (scores_on(run, name) for name in ("before", split, "validation"))
    count = f" ({run.rows[split]:,} rows)" if split in run.rows else ""
    columns: dict[str, dict[str, Any]] = {}
    if before:
        columns["before" if after else f"before ({split})"] = before
    if after:
        columns["after" if before else split] = after
    if split != "validation" and validation:
        columns["validation"] = validation
    names = dict.fromkeys([run.primary_metric, *(name for scores in columns.values() for name in scores)])
    rows = [
        [name, *(cell(scores.get(name)) for scores in columns.values())]
        for name in names
        if any(_is_score(name, scores.get(name)) for scores in columns.values())
    ]
    intervals = interval_row([run.intervals.get(_split_of(header, split)) for header in columns])
    if intervals and rows:
        rows.insert(1, intervals)
    headers = ["", *columns]
    if before and after:
        headers.insert(3, "change")
        for row in rows:
            row.insert(3, _change(before.get(row[0]), after.get(row[0])))
    heading = f"Scores on {split}{count}" + (", before and after training" if before and after else "")
    return Table(heading if after else "Scores", tuple(headers), [tuple(row) for row in rows], run.primary_metric)


def _split_of(header: str, compared: str) -> str:
    """Return which of the record's scores a column shows."""
    return compared if header == "after" else header.partition(" ")[0]


def _nested_tables(
    scores: Mapping[str, Any], before: Mapping[str, Any], path: tuple[str, ...], split: str
) -> Iterator[Table]:
    """Yield a table for each dict of dicts, and one line for each dict of values; they may stand inside each other."""
    inner = {name: value for name, value in scores.items() if isinstance(value, Mapping) and value}
    tables = {name: value for name, value in inner.items() if _is_table(value)}
    lines = {name: value for name, value in inner.items() if name not in tables}
    for name, value in tables.items():
        columns = tuple(dict.fromkeys(str(key) for row in value.values() for key in row))
        yield _table(_heading(split, path, str(name)), columns, value, _mapping(before.get(name)))
    for columns in dict.fromkeys(_columns(line) for line in lines.values()):
        group = {name: line for name, line in lines.items() if _columns(line) == columns}
        if columns:
            heading = _heading(split, path, ", ".join(map(str, group)))
            yield _table(heading, columns, _with_before(group, before) if len(group) == 1 else group, {})
    for name, line in lines.items():
        yield from _nested_tables(line, _mapping(before.get(name)), (*path, str(name)), split)


def _with_before(group: Mapping[Any, Any], before: Mapping[str, Any]) -> Mapping[Any, Any]:
    """Return the rows for a single line, whose name stands in the heading: before and after, if there is a before."""
    ((name, line),) = group.items()
    earlier = _mapping(before.get(name))
    return {"before": earlier, "after": line} if earlier else {"": line}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _is_table(value: Mapping[str, Any]) -> bool:
    """Whether all values are rows: dicts of plain values."""
    return all(
        isinstance(row, Mapping) and not any(isinstance(item, Mapping) for item in row.values())
        for row in value.values()
    )


def _columns(line: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(name) for name, value in line.items() if not isinstance(value, Mapping))


def _heading(split: str, path: tuple[str, ...], name: str) -> str:
    explained = f" ({_EXPLAINED[name]})" if name in _EXPLAINED and not path else ""
    return f"{split}: {readable(' '.join((*path, name)))}{explained}"


def _table(heading: str, columns: tuple[str, ...], rows: Mapping[Any, Any], before: Mapping[Any, Any]) -> Table:
    """Return the rows as a table; where F1 was scored before training too, that stands beside it."""
    values = {name: {str(key): value for key, value in row.items()} for name, row in rows.items()}
    if "f1" in columns and before:
        place = columns.index("f1") + 1
        columns = (*columns[:place], "f1 before", *columns[place:])
        for name, row in values.items():
            row["f1 before"] = _mapping(before.get(name)).get("f1")
    cells = [(str(name), *(cell(row.get(column)) for column in columns)) for name, row in values.items()]
    left_out = len(cells) - SHOWN_ROWS
    if left_out > 0:
        cells[SHOWN_ROWS:] = [(f"… {left_out} more in metrics", *([""] * len(columns)))]
    return Table(heading, ("", *map(readable, columns)), cells)


def _is_score(name: str, value: Any) -> bool:
    return value is not None and not isinstance(value, Mapping) and not name.endswith("_per_second")


def _change(before: Any, after: Any) -> str:
    """Return the difference of two scores; nothing for counts that are equal, and for what is no number."""
    if not isinstance(before, Real) or not isinstance(after, Real) or isinstance(before, bool):
        return ""
    if isinstance(before, Integral) and isinstance(after, Integral):
        return f"{int(after) - int(before):+,}" if before != after else ""
    difference = float(after) - float(before)
    return f"{difference:+.4f}" if abs(difference) >= 5e-5 else "0.0000"


def _best_score(run: Run) -> str:
    metric = run.primary_metric
    for row in run.history:
        if row["split"] == "validation" and row["step"] == run.best_step and metric in row:
            return f" (epoch {row['epoch']:.2f}, validation {metric} {cell(row[metric])})"
    return ""


def _time(train: Mapping[str, Any]) -> str:
    """Return how long the steps took, and the evaluations between them."""
    text, number = f"{duration(train['seconds'])} in training steps", train.get("evaluations", 0)
    plural = "s" if number != 1 else ""
    return f"{text}, {duration(train['evaluation_seconds'])} in {number} evaluation{plural}" if number else text


def _threads(train: Mapping[str, Any]) -> str:
    number = train.get("threads")
    return "" if number is None else f" on {number} CPU thread{'s' if number != 1 else ''}"


def _padding(train: Mapping[str, Any]) -> str:
    """Return how much of what the network computed was padding."""
    positions = train["positions"] / max(train["epochs"], 1e-9)
    return (
        f"{train['padding_share']:.1%} of {positions:,.0f} positions an epoch, "
        f"{train['evaluation_padding_share']:.1%} in evaluation"
    )


def _stopped(run: Run) -> str:
    if not run.stopped_early:
        return "no"
    return f"yes (patience {run.config['patience']})" if run.config.get("patience") else "yes"
