"""How did training go, and what are the probabilities worth: figures, and their PNGs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoner.errors import ConfigError
from reasoner.metrics.direction import greater_is_better
from reasoner.reports.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE = (9.0, 3.6)
"""Inches; with `RESOLUTION` 900 x 360 pixels."""
RESOLUTION = 100
# Okabe and Ito's palette, https://jfly.uni-koeln.de/color/: told apart with any colour vision
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
_FEW_POINTS = 40
THRESHOLDS = (0.5, 0.7, 0.9)
"""Values of `min_confidence` that the risk-coverage curve shows."""
_CORRELATIONS = ("pearson", "spearman", "matthews")


def learning_curve(run: Run) -> Figure:
    """Return a figure: on the left the losses, on the right the primary metric on validation.

    The level before training is drawn where it was scored on validation as well, and the step whose weights were kept
    is marked. The figure is 900 x 360 pixels, belongs to no pyplot state, and shows itself in a notebook.

    Raises:
        ConfigError: if matplotlib is not installed, or the run has no history.
    """
    if not run.history:
        raise ConfigError("There is no history to plot: the run has logged nothing yet.")
    figure = empty_figure()
    losses, scores = figure.subplots(1, 2)
    _draw_losses(losses, run)
    _draw_scores(scores, run)
    for axes in (losses, scores):
        finish(axes)
        _over_steps(axes, run)
    return figure


def calibration_plot(run: Run) -> Figure:
    """Return a figure of 900 x 360 pixels: on the left a reliability diagram, on the right the risk-coverage curve.

    Raises:
        ConfigError: if matplotlib is not installed, or the run has no confidences.
    """
    if not run.calibration.get("bins"):
        raise ConfigError("There is no calibration to plot: this task, or this earlier model, has no confidences.")
    figure = empty_figure()
    reliability, risk = figure.subplots(1, 2)
    _draw_reliability(reliability, run)
    _draw_risk(risk, run)
    for axes in (reliability, risk):
        finish(axes)
    return figure


def learning_curve_png(run: Run) -> bytes:
    """Return the learning curve as the bytes of a PNG of 900 x 360 pixels.

    Raises:
        ConfigError: as `learning_curve`.
    """
    return png(learning_curve(run))


def save_calibration_plot(run: Run, path: str | Path) -> Path:
    """Write the calibration plot as PNG, and return where it is. Missing folders are made.

    Raises:
        ConfigError: if the path does not end with `.png`, or as `calibration_plot`.
    """
    return written(path, lambda: png(calibration_plot(run)))


def save_learning_curve(run: Run, path: str | Path) -> Path:
    """Write the learning curve as PNG, 900 x 360 pixels, and return where it is. Missing folders are made.

    Raises:
        ConfigError: if the path does not end with `.png`, or as `learning_curve`.
    """
    return written(path, lambda: learning_curve_png(run))


def series(run: Run, split: str, name: str) -> tuple[list[int], list[float]]:
    """Return the steps at which a value was logged for a split, and the values."""
    rows = [row for row in run.history if row["split"] == split and row.get(name) is not None]
    return [row["step"] for row in rows], [row[name] for row in rows]


def _draw_losses(axes: Any, run: Run) -> None:
    _line(axes, *series(run, "train", "loss"), color=BLUE, marker="o", label="training")
    _line(axes, *series(run, "validation", "loss"), color=ORANGE, marker="s", label="validation")
    axes.set_title("Loss", fontsize=11)
    axes.set_ylabel("mean loss", fontsize=10)


def _draw_scores(axes: Any, run: Run) -> None:
    metric = run.primary_metric
    steps, values = series(run, "validation", metric)
    axes.set_title(f"{metric} on validation", fontsize=11)
    axes.set_ylabel(f"{metric}{unit(metric, values)}", fontsize=10)
    if not steps:
        axes.text(0.5, 0.5, "not evaluated during training", transform=axes.transAxes, ha="center", color=GREY)
        return
    _line(axes, steps, values, color=ORANGE, marker="s", label="validation")
    before = run.metrics.get("before", {}).get(metric)
    if run.compared_split == "validation" and before is not None:
        axes.axhline(before, color=GREY, linestyle="--", linewidth=1.5, label=f"before training, {before:.4f}")
    if run.best_step in steps:
        best = values[steps.index(run.best_step)]
        label = f"best, {best:.4f} at step {run.best_step}"
        axes.plot([run.best_step], [best], "*", color=GREEN, markersize=15, markeredgecolor="white", label=label)


def _draw_reliability(axes: Any, run: Run) -> None:
    calibration = run.calibration
    bins = calibration["bins"]
    lower, widths = [each["lower"] for each in bins], [each["upper"] - each["lower"] for each in bins]
    heights, sure = [each["accuracy"] for each in bins], [each["confidence"] for each in bins]
    axes.bar(
        lower, heights, widths, align="edge", color=BLUE, alpha=0.3, edgecolor="white", label="share that is right"
    )
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1.2, label="as sure as right")
    most = max(each["count"] for each in bins)
    sizes = [12 + 108 * each["count"] / most for each in bins]
    label = "mean confidence (size: how many)"
    axes.scatter(sure, heights, s=sizes, color=ORANGE, edgecolor="white", zorder=3, clip_on=False, label=label)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title(f"Reliability on {run.compared_split}: calibration error {calibration['ece']:.4f}", fontsize=11)
    axes.set_xlabel(f"confidence, temperature {calibration['temperature']:.3f}", fontsize=10)
    axes.set_ylabel("share that is right", fontsize=10)


def _draw_risk(axes: Any, run: Run) -> None:
    points = run.calibration["risk_coverage"]
    _line(axes, *_columns(points, "coverage", "risk"), color=BLUE, marker="o")
    for wanted in THRESHOLDS:
        point = min(points, key=lambda each: abs(each["threshold"] - wanted))
        if abs(point["threshold"] - wanted) < 0.02:
            axes.plot([point["coverage"]], [point["risk"]], "o", color=ORANGE, markersize=6, markeredgecolor="white")
            left = point["coverage"] < 0.5  # beside the rising curve: below it on the left, above it on the right
            axes.annotate(
                f"min_confidence={wanted:g}",
                (point["coverage"], point["risk"]),
                xytext=(7, -4) if left else (-7, 3),
                textcoords="offset points",
                ha="left" if left else "right",
                va="top" if left else "bottom",
                fontsize=8,
            )
    axes.set(xlim=(0, 1), ylim=(0, None))
    axes.set_title(f"What abstaining gains on {run.compared_split}", fontsize=11)
    axes.set_xlabel("coverage: share that is answered, the surest first", fontsize=10)
    axes.set_ylabel("risk: share of those that is wrong", fontsize=10)


def _columns(rows: list[dict[str, float]], *names: str) -> list[list[float]]:
    return [[row[name] for row in rows] for name in names]


def _line(axes: Any, steps: Sequence[float], values: list[float], *, marker: str, **style: Any) -> None:
    """Draw a series if there is one; a point of few has a marker, so that one alone is seen too."""
    if steps:
        shown = marker if len(steps) <= _FEW_POINTS else ""
        axes.plot(steps, values, marker=shown, markersize=4, linewidth=1.8, **style)


def _over_steps(axes: Any, run: Run) -> None:
    from matplotlib.ticker import MaxNLocator

    last = run.history[-1]
    epoch = f" ({last['step'] / last['epoch']:,.0f} steps = 1 epoch)" if last.get("epoch") else ""
    axes.set_xlabel(f"optimiser step{epoch}", fontsize=10)
    axes.set_xlim(0, max(row["step"] for row in run.history) * 1.05)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))


def finish(axes: Any) -> None:
    """Give axes the look of all figures, and a legend where something is named."""
    axes.tick_params(labelsize=9)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.margins(y=0.12)
        axes.legend(fontsize=9, loc="best", framealpha=0.8, edgecolor="none")


def unit(metric: str, values: list[float]) -> str:
    """Return what an axis says of a score that is a fraction; nothing of others."""
    try:
        share = greater_is_better(metric) and not metric.endswith(_CORRELATIONS)
    except ConfigError:  # a loaded run whose metric another library would have registered
        share = False
    return " (fraction, 0 to 1)" if share and all(0 <= value <= 1 for value in values) else ""


def empty_figure() -> Figure:
    """Return a figure of 900 x 360 pixels that belongs to no pyplot state, and shows itself in a notebook.

    Raises:
        ConfigError: if matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError("Plots need matplotlib. Install it: pip install 'reasoner-ft[plots]'") from None
    figure: Any = Figure(figsize=SIZE, dpi=RESOLUTION, layout="constrained")
    FigureCanvasAgg(figure)
    figure._repr_png_ = partial(png, figure)  # IPython shows figures by itself only after pyplot was imported
    return figure  # type: ignore[no-any-return]


def written(path: str | Path, image: Callable[[], bytes]) -> Path:
    """Write the image, and return where it is. Missing folders are made.

    Raises:
        ConfigError: if the path does not end with `.png`.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ConfigError(f"The plot is written as PNG, but the path is '{path}'. Give a name that ends with .png.")
    content = image()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def png(figure: Figure) -> bytes:
    """Return the figure as the bytes of a PNG."""
    canvas: Any = figure.canvas
    buffer = BytesIO()
    canvas.print_png(buffer)  # unlike savefig it follows no setting that would change the size
    return buffer.getvalue()
