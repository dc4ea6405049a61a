"""What does a teaching in several batches show: the forgetting matrix and its figures, as text, HTML, JSON and plot?"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

from reasoner.metrics.direction import greater_is_better
from reasoner.metrics.transfer import Transfer, transfer_scores
from reasoner.reports.layout import Table, cell, report_text, table_lines
from reasoner.reports.plots import BLUE, GREEN, GREY, ORANGE, empty_figure, finish, png, unit, written

WIDTH = 80


@dataclass(frozen=True, kw_only=True, repr=False)
class Teaching:
    """What `teach` gives back. Printing it, or showing it in a notebook, shows the forgetting matrix."""

    task: str
    metric: str
    """The task's primary metric."""
    protection: str
    """Such as `Replay(share=0.5)`; "none"."""
    method: str
    batches: tuple[str, ...]
    """Their names, in the order in which they were taught."""
    matrix: tuple[tuple[float | None, ...], ...]
    """Line i, column j: the score on batch j after batch i; None: the model had no output for its labels yet."""
    untrained: tuple[float | None, ...]
    """Of a model that was taught nothing, on each batch whose labels were known before it was taught; else None."""
    folders: tuple[Path, ...]
    """Where the model after each batch is, for `load`; the last one is the model that was taught all."""
    stopped: tuple[bool, ...]
    """Whether `patience` or `max_forgetting` stopped the training on a batch."""
    told_apart: bool = False
    """Whether each batch was scored by a model of its own (protection "adapters"), so that one must know which."""

    @property
    def transfer(self) -> Transfer:
        """Average, forgetting, backward and forward transfer."""
        return transfer_scores(self.matrix, self.untrained, greater_is_better=greater_is_better(self.metric))

    def to_dict(self) -> dict[str, Any]:
        """Return all as JSON values, the figures among them; of the folders the names."""
        return {**asdict(self), "folders": [folder.name for folder in self.folders], **self.transfer._asdict()}

    def plot(self, path: str | Path | None = None) -> Any:
        """Return a matplotlib figure: on the left the matrix, on the right each batch's score over time.

        With a path it is written as PNG as well.

        Raises:
            ConfigError: if matplotlib is not installed, or the path does not end with `.png`.
        """
        figure = empty_figure()
        grid, lines = figure.subplots(1, 2)
        self._draw_matrix(grid)
        self._draw_lines(lines)
        if path is not None:
            written(path, lambda: png(figure))
        return figure

    def __repr__(self) -> str:
        table = self._table()
        said = [textwrap.wrap(line, WIDTH) for line in self._said()]
        return report_text(table.title, table_lines(table, WIDTH), *said)

    def _repr_html_(self) -> str:
        from reasoner.reports.notebook import table_html

        said = "".join(f"<p>{escape(line)}</p>" for line in self._said())
        return f"<div>{table_html(self._table())}{said}</div>"

    def _table(self) -> Table:
        title = f"Taught in {len(self.batches)} batches: {self.task}, {self.metric} on test, {self.protection}"
        rows = [
            (f"after {name}", *map(cell, line), "stopped" if stopped else "")
            for name, line, stopped in zip(self.batches, self.matrix, self.stopped, strict=True)
        ]
        marks = any(self.stopped)
        rows = rows if marks else [row[:-1] for row in rows]
        return Table(title, ("", *self.batches, *([""] if marks else [])), rows)

    def _said(self) -> Iterator[str]:
        found = self.transfer
        named = (("forgetting", found.forgetting), ("backward transfer", found.backward),
                 ("forward transfer", found.forward))  # fmt: skip
        figures = ", ".join(f"{name} {'unknown' if value is None else f'{value:+.4f}'}" for name, value in named)
        yield f"Mean of the last line: {found.average:.4f}. {figures[0].upper()}{figures[1:]}."
        if any(score is None for line in self.matrix for score in line):
            yield "-: the model had no output for labels of that batch yet; forward transfer leaves these out."
        if self.told_apart:
            yield ("Each batch is scored by its own adapter: these scores hold where one knows which batch a row is "
                   "from, which is an easier question than one model for all.")  # fmt: skip

    def _draw_matrix(self, axes: Any) -> None:
        values = [[float("nan") if score is None else score for score in line] for line in self.matrix]
        axes.imshow(values, cmap="Blues", aspect="auto")
        known = [score for line in self.matrix for score in line if score is not None]
        middle = (min(known) + max(known)) / 2
        for row, line in enumerate(self.matrix):
            for column, score in enumerate(line):
                dark = score is not None and score > middle
                text = "-" if score is None else f"{score:.2f}"
                axes.text(column, row, text, ha="center", va="center", fontsize=9, color="white" if dark else "black")
        axes.set_xticks(range(len(self.batches)), self.batches, fontsize=9)
        axes.set_yticks(range(len(self.batches)), [f"after {name}" for name in self.batches], fontsize=9)
        axes.set_title(f"{self.metric} on test, {self.protection}", fontsize=11)

    def _draw_lines(self, axes: Any) -> None:
        times = range(len(self.batches))
        colours, styles = (BLUE, ORANGE, GREEN, GREY), ("-", "--", ":")
        for column, name in enumerate(self.batches):
            shown = [time for time in times if self.matrix[time][column] is not None]
            scores = [self.matrix[time][column] for time in shown]
            axes.plot(shown, scores, marker="o", markersize=4, linewidth=1.8, label=name,
                      color=colours[column % 4], linestyle=styles[column // 4 % 3])  # fmt: skip
        known = [score for line in self.matrix for score in line if score is not None]
        axes.set_xticks(times, self.batches, fontsize=9)
        axes.set_xlabel("after", fontsize=10)
        axes.set_ylabel(f"{self.metric}{unit(self.metric, known)}", fontsize=10)
        axes.set_title("What is left of each batch", fontsize=11)
        finish(axes)
