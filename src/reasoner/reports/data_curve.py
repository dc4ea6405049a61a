"""How does a score grow with the training rows, and what would more of them give: table, plot, forecast?"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from html import escape
from math import inf, isfinite
from pathlib import Path
from statistics import fmean
from typing import Any

from reasoner.errors import ConfigError
from reasoner.metrics.direction import greater_is_better
from reasoner.reports.layout import Table, cell, clean, report_text, table_lines

WIDTH = 80
DRAWS = 200
"""Resamples of seeds, at most; of three seeds there are ten different ones."""
FEW_SEEDS = 5
FAR = 2
"""A forecast for more than so many times the rows is called a guess."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """The scores with one number of rows."""

    rows: int
    scores: dict[int, float]
    """By seed."""
    mean: float
    deviation: float | None = None
    """Over seeds; None with one."""
    lower: float | None = None
    """Lower end of Student's 95% interval of the mean."""
    upper: float | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class Forecast:
    """What a number of rows would give. Printing it says it, with what speaks against believing it."""

    metric: str
    rows: int
    more: int
    """Of these, how many beyond those that were measured."""
    score: float
    gain: float
    """Over what the curve says of all rows."""
    lower: float | None
    """Lower end of the 95% interval of the score, by resampling seeds; None: one seed has none."""
    upper: float | None
    gain_lower: float | None
    gain_upper: float | None
    doubts: tuple[str, ...]

    def __repr__(self) -> str:
        interval = "" if self.lower is None else f" ({self.lower:.4f} to {self.upper:.4f})"
        gain = "" if self.gain_lower is None else f" ({self.gain_lower:+.4f} to {self.gain_upper:+.4f})"
        said = (f"{self.more:,} more rows ({self.rows:,} in all): {self.metric} {self.score:.4f}{interval}, "
                f"{self.gain:+.4f}{gain}.")  # fmt: skip
        return "\n".join(line for text in (said, *self.doubts) for line in textwrap.wrap(text, WIDTH))


@dataclass(frozen=True, kw_only=True, repr=False)
class DataCurve:
    """What `learning_curve` found. Printing it, or showing it in a notebook, shows table, curve and a forecast."""

    task: str
    metric: str
    split: str
    points: tuple[Point, ...]
    """In order of rows."""
    failed: tuple[str, ...]
    """What runs failed of."""
    runs: list[dict[str, Any]] = field(compare=False)
    """The record of each run."""

    @property
    def largest(self) -> int:
        """The most rows that were measured."""
        return self.points[-1].rows

    @cached_property
    def law(self) -> Any:
        """The fitted `metrics.scaling.PowerLaw`; None where there is none, see `doubts`.

        For a metric of which less is better it is fitted to the score with its sign turned.
        """
        return None if self._no_law else self._fit(self.points)

    @cached_property
    def doubts(self) -> tuple[str, ...]:
        """What speaks against the curve, or why there is none."""
        return (self._no_law,) if self._no_law else tuple(self._doubts())

    def forecast(self, more: int) -> Forecast:
        """Return what so many more rows would give.

        Args:
            more: beyond the most rows that were measured; at least 1.

        Raises:
            ConfigError: if there is no curve to go by, or `more` is below 1.
        """
        if type(more) is not int or more < 1:
            raise ConfigError(f"more is {more!r}. Give a number of rows, such as 2000.")
        if self.law is None:
            raise ConfigError(f"There is no forecast. {self._no_law}")
        rows = self.largest + more
        score, now = self.law.at(rows), self.law.at(self.largest)
        ends = self._interval([law.at(rows) for law in self._laws])
        gains = self._interval([law.at(rows) - law.at(self.largest) for law in self._laws])
        far = ["That is more than twice the rows that were measured: a guess, no measurement."]
        return Forecast(
            metric=self.metric, rows=rows, more=more, score=self._sign * score, gain=self._sign * (score - now),
            **dict(zip(("lower", "upper"), self._signed(ends), strict=True)),
            **dict(zip(("gain_lower", "gain_upper"), self._signed(gains), strict=True)),
            doubts=(*self.doubts, *(far if rows > FAR * self.largest else ())),
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return all as JSON values, the records of the runs too."""
        plain = {name: getattr(self, name) for name in ("task", "metric", "split", "runs")}
        return {**plain, "points": [asdict(point) for point in self.points], "failed": list(self.failed),
                "law": None if self.law is None else self.law._asdict(), "doubts": list(self.doubts)}  # fmt: skip

    def plot(self, path: str | Path | None = None) -> Any:
        """Return the curve as a matplotlib figure; with a path, write it as PNG as well.

        Raises:
            ConfigError: if matplotlib is not installed (the extra `plots`), or the path does not end with `.png`.
        """
        from reasoner.reports.plots import BLUE, GREY, ORANGE, empty_figure, finish, png, unit, written

        figure = empty_figure()
        axes = figure.subplots()
        for point in self.points:
            axes.plot([point.rows] * len(point.scores), list(point.scores.values()), "o", color=GREY, markersize=3,
                      alpha=0.6, label="a seed" if point is self.points[0] else None)  # fmt: skip
        rows, means = [point.rows for point in self.points], [point.mean for point in self.points]
        axes.plot(rows, means, "s", color=BLUE, markersize=6, label="mean over seeds")
        if self.law is not None:
            self._draw_law(axes, ORANGE)
        axes.set_xscale("log")
        ticks = [*rows, *([FAR * self.largest] if self.law is not None else [])]
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.minorticks_off()
        axes.set_title(f"{self.task}: {self.metric} on {self.split} by training rows", fontsize=11)
        axes.set_xlabel("training rows (logarithmic)", fontsize=10)
        axes.set_ylabel(f"{self.metric}{unit(self.metric, means)}", fontsize=10)
        finish(axes)
        if path is not None:
            written(path, lambda: png(figure))
        return figure

    def __repr__(self) -> str:
        table = self._table()
        notes = (line for note in self._notes() for line in textwrap.wrap(clean(note), WIDTH, subsequent_indent="  "))
        return report_text(table.title, table_lines(table, WIDTH), list(notes))

    def _repr_html_(self) -> str:
        from reasoner.reports.notebook import table_html

        notes = "".join(f"<p>{escape(clean(note))}</p>" for note in self._notes())
        return f"<div>{table_html(self._table())}{notes}</div>"

    # --- the law -----------------------------------------------------------------------------------------------------

    @property
    def _sign(self) -> int:
        return 1 if greater_is_better(self.metric) else -1

    @cached_property
    def _no_law(self) -> str:
        """Why there is no curve; empty: there is one."""
        from reasoner.metrics.scaling import LEAST_SIZES

        if len(self.points) < LEAST_SIZES:
            return f"A curve needs at least {LEAST_SIZES} numbers of rows; {len(self.points)} were measured."
        rise = self._sign * (self.points[-1].mean - self.points[0].mean)
        if rise <= self._noise:
            return (f"From {self.points[0].rows:,} to {self.largest:,} rows {self.metric} does not grow by more than "
                    "seeds differ: what is measured says nothing of more rows.")  # fmt: skip
        return ""

    def _fit(self, points: Sequence[Point], seeds: Sequence[int] | None = None) -> Any:
        from reasoner.metrics.scaling import fit_power_law

        of = [point.mean if seeds is None else fmean(point.scores[seed] for seed in seeds) for point in points]
        shares = all(0 <= point.mean <= 1 for point in self.points)
        highest = (1.0 if shares else inf) if self._sign > 0 else 0.0
        return fit_power_law([point.rows for point in points], [self._sign * one for one in of], highest=highest)

    @cached_property
    def _seeds(self) -> list[int]:
        """Those with which every number of rows was measured."""
        return [seed for seed in self.points[0].scores if all(seed in point.scores for point in self.points)]

    @cached_property
    def _laws(self) -> list[Any]:
        """One for each resample of the seeds, drawn with replacement; none with one seed."""
        import numpy as np

        if len(self._seeds) < 2:
            return []
        source = np.random.default_rng(0)
        drawn = Counter(tuple(sorted(source.choice(self._seeds, len(self._seeds)).tolist())) for _ in range(DRAWS))
        return [law for seeds, times in drawn.items() for law in [self._fit(self.points, seeds)] * times]

    def _interval(self, values: Sequence[float]) -> tuple[float, float] | None:
        """Return the expanded percentile interval, which few seeds do not make too narrow.

        Hesterberg, 2015, https://doi.org/10.1080/00031305.2015.1089789, section 5.3.
        """
        import numpy as np
        from scipy.special import ndtr, stdtrit

        if not values:
            return None
        seeds = len(self._seeds)
        tail = float(ndtr((seeds / (seeds - 1)) ** 0.5 * stdtrit(seeds - 1, 0.025)))
        lower, upper = np.quantile(values, [tail, 1 - tail])
        return float(lower), float(upper)

    def _signed(self, ends: tuple[float, float] | None) -> tuple[float | None, float | None]:
        if ends is None:
            return None, None
        return ends if self._sign > 0 else (-ends[1], -ends[0])

    @cached_property
    def _noise(self) -> float:
        """The standard error of a mean over seeds; 0 with one seed."""
        known = [point.deviation**2 / len(point.scores) for point in self.points if point.deviation is not None]
        return fmean(known) ** 0.5 if known else 0.0

    def _doubts(self) -> Iterator[str]:
        from reasoner.metrics.scaling import FLATTEST, LEAST_SIZES, STEEPEST

        misses = [self._sign * point.mean - self.law.at(point.rows) for point in self.points]
        miss, rise = fmean(one**2 for one in misses) ** 0.5, abs(self.points[-1].mean - self.points[0].mean)
        if miss > max(2 * self._noise, 0.05 * rise):
            yield f"The curve fits badly: it misses the means by {miss:.4f}, seeds by {self._noise:.4f}."
        if not 1.05 * FLATTEST < self.law.exponent < 0.95 * STEEPEST:
            yield "How the curve bends cannot be told from these sizes: a forecast is a guess."
        if len(self.points) > LEAST_SIZES:
            last, said = self.points[-1], self._sign * self._fit(self.points[:-1]).at(self.largest)
            off = abs(said - last.mean) > max(2 * self._noise, 0.1 * rise)
            yield (f"{'It would have been wrong before: f' if off else 'F'}itted without the largest size, it says "
                   f"{said:.4f} of that; {last.mean:.4f} was measured.")  # fmt: skip
        if len(self._seeds) < FEW_SEEDS:
            known = (
                f"{len(self._seeds)} seeds are few: the interval is rough" if self._laws else "One seed: no interval"
            )
            yield f"{known}."

    def _notes(self) -> Iterator[str]:
        if self.law is not None:
            yield (f"{self.metric} = {self._sign * self.law.limit:.4f} {'-' if self._sign > 0 else '+'} "
                   f"{self.law.distance:.4f} * (rows / {self.largest:,}) ** -{self.law.exponent:.3f}.")  # fmt: skip
            yield clean(repr(self.forecast(self.largest)))
        else:
            yield self._no_law
        yield from dict.fromkeys(f"A run failed: {error}" for error in self.failed)

    def _table(self) -> Table:
        rows = []
        for point in self.points:
            interval = "-" if point.lower is None else f"{point.lower:.4f} to {point.upper:.4f}"
            said = "-" if self.law is None else cell(self._sign * self.law.at(point.rows))
            rows.append(
                (f"{point.rows:,}", cell(point.mean), cell(point.deviation), interval, str(len(point.scores)), said)
            )
        columns = ("rows", "mean", "deviation", "95% interval", "seeds", "curve")
        return Table(f"Learning curve: {self.task}, {self.metric} on {self.split}", columns, rows)

    def _draw_law(self, axes: Any, colour: str) -> None:
        import numpy as np

        first, last = self.points[0].rows, self.largest
        for places, line in ((np.geomspace(first, last, 60), "-"), (np.geomspace(last, FAR * last, 30), "--")):
            said = [self._sign * self.law.at(rows) for rows in places]
            axes.plot(places, said, line, color=colour, linewidth=1.8, label="curve" if line == "-" else "forecast")
            ends = [self._interval([law.at(rows) for law in self._laws]) for rows in places]
            if None not in ends:
                lower, upper = zip(*(self._signed(end) for end in ends), strict=True)
                axes.fill_between(places, lower, upper, color=colour, alpha=0.15, linewidth=0)


def make_data_curve(runs: Sequence[dict[str, Any]], *, task: str, metric: str, split: str) -> DataCurve:
    """Return the curve of runs.

    Args:
        runs: the record of each; "variant" is its number of rows.
        task: the task's registered name.
        metric: its primary metric.
        split: that is scored.

    Raises:
        ConfigError: if no run was finished.
    """
    by_size: dict[int, dict[int, float]] = {}
    for run in runs:
        score = None if run["error"] is not None else run["scores"][split]
        if score is not None and isfinite(score):
            by_size.setdefault(int(run["variant"]), {})[run["seed"]] = score
    failed = tuple(dict.fromkeys(run["error"] for run in runs if run["error"] is not None))
    if not by_size:
        raise ConfigError(f"No run was finished: {'; '.join(failed) or 'no score is a number'}")
    points = [_point(size, scores) for size, scores in sorted(by_size.items())]
    return DataCurve(task=task, metric=metric, split=split, points=tuple(points), failed=failed, runs=list(runs))


def _point(size: int, scores: dict[int, float]) -> Point:
    from reasoner.metrics import mean_and_deviation

    if len(scores) < 2:
        return Point(rows=size, scores=scores, mean=fmean(scores.values()))
    over = mean_and_deviation(list(scores.values()))
    return Point(rows=size, scores=scores, mean=over.mean, deviation=over.deviation, lower=over.lower, upper=over.upper)
