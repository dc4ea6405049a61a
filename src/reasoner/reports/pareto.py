"""What does a better score cost: scores against a cost, and the variants that no other beats in both, as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoner.errors import ConfigError, suggestion
from reasoner.metrics.direction import greater_is_better
from reasoner.reports.layout import MIB, clipped
from reasoner.reports.leaderboard import Leaderboard, Standing
from reasoner.reports.plots import BLUE, GREEN, GREY, ORANGE, empty_figure, finish, png, unit, written

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# the rest of Okabe and Ito's palette
COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#B8A800")
MARKERS = "osD^vP*X"
_COSTS = {
    "trainable_share": ("trainable share of the weights (log scale)", 100.0, "{:g}%"),
    "seconds": ("seconds inside the training steps (log scale)", 1.0, "{:g} s"),
    "peak_memory_mib": ("peak memory, MiB (log scale)", 1.0, "{:,g}"),
    "disk_bytes": ("weights on disk, MiB (log scale)", 1 / MIB, "{:,g}"),
}
_NAME_WIDTH = 34


def pareto_plot(board: Leaderboard, *, against: str = "trainable_share") -> Figure:
    """Return a figure of 900 x 360 pixels: the score, with its 95% interval, against what it costs.

    A line joins the variants for which no other has a better score at the same cost or less.

    Raises:
        ConfigError: if matplotlib is not installed, the cost is unknown, or no variant has a score and this cost.
    """
    if against not in _COSTS:
        raise ConfigError(f"against: there is no cost named '{against}'. {suggestion(against, _COSTS)}")
    drawn = [item for item in board.standings if item.score is not None and getattr(item, against)]
    if not drawn:
        raise ConfigError(f"There is nothing to draw: no variant has a score and {against}.")
    figure = empty_figure()
    axes = figure.subplots()
    axes.set_xscale("log")
    _draw(axes, drawn, against)
    front = pareto_front(drawn, against, greater=greater_is_better(board.metric))
    scale = _COSTS[against][1]
    axes.plot([getattr(item, against) * scale for item in front], list(map(_score, front)),
              color=GREY, linestyle="--", linewidth=1.2, zorder=1, label="beaten by none in both")  # fmt: skip
    axes.set_title(f"{board.task}: {board.metric} on {board.split}, against its cost", fontsize=11)
    _cost_axis(axes, drawn, against)
    finish(axes)
    _score_axis(axes, board, drawn)
    axes.legend(fontsize=9, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return figure


def save_pareto_plot(board: Leaderboard, path: str | Path, *, against: str = "trainable_share") -> Path:
    """Write the plot as PNG, and return where it is. Missing folders are made.

    Raises:
        ConfigError: if the path does not end with `.png`, or as `pareto_plot`.
    """
    return written(path, lambda: png(pareto_plot(board, against=against)))


def pareto_front(standings: Sequence[Standing], against: str, *, greater: bool) -> list[Standing]:
    """Return those that no other beats: no better score at the same cost or less, no lower cost at the same score.

    They are in the order of their cost.
    """
    front: list[Standing] = []
    sign = 1 if greater else -1
    for item in sorted(standings, key=lambda item: (getattr(item, against), -sign * _score(item))):
        if not front or sign * _score(item) > sign * _score(front[-1]):
            front.append(item)
    return front


def _score(standing: Standing) -> float:
    assert standing.score is not None  # those without one are not drawn
    return standing.score


def _draw(axes: Any, drawn: Sequence[Standing], against: str) -> None:
    scale = _COSTS[against][1]
    for number, item in enumerate(drawn):
        ends = None
        if item.lower is not None and item.upper is not None:
            ends = [[_score(item) - item.lower], [item.upper - _score(item)]]
        axes.errorbar(
            [getattr(item, against) * scale],
            [item.score],
            yerr=ends,
            fmt=MARKERS[number % len(MARKERS)],
            color=COLOURS[(number + number // len(MARKERS)) % len(COLOURS)],  # no pair twice in 64
            markersize=8,
            capsize=3,
            linewidth=1.4,
            label=clipped(item.name, _NAME_WIDTH),
        )


def _cost_axis(axes: Any, drawn: Sequence[Standing], against: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    label, scale, form = _COSTS[against]
    costs = [getattr(item, against) * scale for item in drawn]
    axes.set_xlabel(label, fontsize=10)
    axes.set_xlim(min(costs) / 1.6, max(costs) * 1.6)
    axes.xaxis.set_major_locator(LogLocator(subs=(1,) if max(costs) / min(costs) > 100 else (1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: form.format(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _score_axis(axes: Any, board: Leaderboard, drawn: Sequence[Standing]) -> None:
    """Name the score; of a fraction show what lies between 0 and 1, even if an interval of few seeds leaves that."""
    fraction = unit(board.metric, list(map(_score, drawn)))
    over = {item.interval_over for item in drawn} - {""}
    ends = f", 95% interval over {' or '.join(sorted(over))}" if over else ""
    axes.set_ylabel(f"{board.metric}{'' if over else fraction}{ends}", fontsize=10)
    if fraction:
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, -0.02), min(high, 1.02))
