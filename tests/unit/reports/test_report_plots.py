from __future__ import annotations

import io
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reasoner.errors import ConfigError
from reasoner.reports.plots import (
    calibration_plot,
    learning_curve,
    learning_curve_png,
    save_calibration_plot,
    save_learning_curve,
)
from reasoner.reports.run import Run


def lines(axes: Any) -> dict[str, tuple[list[float], list[float]]]:
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines}


def test_the_lines_are_the_history(full: Run) -> None:
    losses, scores = learning_curve(full).axes
    train = [row for row in full.history if row["split"] == "train"]
    validation = [row for row in full.history if row["split"] == "validation"]
    steps = [row["step"] for row in validation]
    assert lines(losses) == {
        "training": ([row["step"] for row in train], [row["loss"] for row in train]),
        "validation": (steps, [row["loss"] for row in validation]),
    }
    assert lines(scores) == {
        "validation": (steps, [0.31, 0.4321, 0.4]),
        "best, 0.4321 at step 80": ([80], [0.4321]),
    }


def test_axes_say_what_they_show(full: Run) -> None:
    losses, scores = learning_curve(full).axes
    assert losses.get_xlabel() == scores.get_xlabel() == "optimiser step (40 steps = 1 epoch)"
    assert (losses.get_ylabel(), scores.get_ylabel()) == ("mean loss", "f1 (fraction, 0 to 1)")
    full.primary_metric = "rmse"
    assert learning_curve(full).axes[1].get_ylabel() == "rmse"
    full.primary_metric = "a_metric_of_mine"
    assert learning_curve(full).axes[1].get_ylabel() == "a_metric_of_mine"


def test_the_level_before_is_drawn_where_it_was_scored_on_the_same_split(full: Run) -> None:
    full.compared_split = "validation"
    dashed = [line for line in learning_curve(full).axes[1].lines if line.get_linestyle() == "--"]
    assert [set(line.get_ydata()) for line in dashed] == [{full.metrics["before"]["f1"]}]
    assert dashed[0].get_label() == "before training, 0.2222"


def test_a_single_point_has_a_marker(full: Run) -> None:
    full.history, full.best_step = [{"step": 5, "epoch": 1.0, "split": "train", "loss": 1.0}], None
    losses, scores = learning_curve(full).axes
    assert losses.lines[0].get_marker() == "o"
    assert [text.get_text() for text in scores.texts] == ["not evaluated during training"]
    assert not scores.lines


def test_the_png_has_the_stated_size(full: Run, tmp_path: Path) -> None:
    path = save_learning_curve(full, tmp_path / "new" / "curve.png")
    content = path.read_bytes()
    assert content == learning_curve_png(full)
    assert struct.unpack(">II", content[16:24]) == (900, 360)
    image = pytest.importorskip("PIL.Image").open(io.BytesIO(content))
    image.load()
    assert (image.format, image.size) == ("PNG", (900, 360))
    assert len(image.convert("RGB").getcolors(1 << 20)) > 20  # not an empty sheet


def test_settings_of_the_user_do_not_change_the_size(full: Run) -> None:
    import matplotlib

    with matplotlib.rc_context({"savefig.bbox": "tight", "savefig.dpi": 300, "figure.dpi": 50}):
        assert struct.unpack(">II", learning_curve_png(full)[16:24]) == (900, 360)


def test_a_notebook_gets_a_png_without_pyplot(full: Run) -> None:
    figure: Any = learning_curve(full)
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_pyplot_is_not_touched(full: Run) -> None:
    program = (
        "import sys; from reasoner.reports.run import Run; from reasoner.reports.plots import learning_curve_png; "
        "assert 'matplotlib' not in sys.modules; "
        f"learning_curve_png(Run.from_dict({full.to_dict()!r})); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_other_forms_than_png_are_refused(full: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"written as PNG, but the path is .*curve\.pdf"):
        save_learning_curve(full, tmp_path / "curve.pdf")


def test_nothing_to_plot_is_said(minimal: Run) -> None:
    with pytest.raises(ConfigError, match="no history to plot"):
        learning_curve(minimal)


def test_without_matplotlib_the_error_says_how_to_get_it(full: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match=r"pip install 'reasoner-ft\[plots\]'"):
        learning_curve(full)


CALIBRATION = {
    "temperature": 1.234,
    "count": 10,
    "ece": 0.0567,
    "bins": [
        {"lower": 0.4, "upper": 0.6, "count": 2, "confidence": 0.55, "accuracy": 0.5},
        {"lower": 0.8, "upper": 1.0, "count": 8, "confidence": 0.9, "accuracy": 0.75},
    ],
    "risk_coverage": [
        {"threshold": 0.98, "coverage": 0.1, "risk": 0.0},
        {"threshold": 0.91, "coverage": 0.6, "risk": 0.1},
        {"threshold": 0.49, "coverage": 1.0, "risk": 0.3},
    ],
}


def test_the_calibration_plot_shows_bins_and_curve(full: Run) -> None:
    full.calibration = CALIBRATION
    reliability, risk = calibration_plot(full).axes
    bars = [(bar.get_x(), bar.get_width(), bar.get_height()) for bar in reliability.patches]
    assert bars == [(0.4, pytest.approx(0.2), 0.5), (0.8, pytest.approx(0.2), 0.75)]
    assert reliability.collections[0].get_offsets().tolist() == [[0.55, 0.5], [0.9, 0.75]]
    small, large = reliability.collections[0].get_sizes()
    assert small < large
    assert reliability.get_title() == "Reliability on test: calibration error 0.0567"
    assert reliability.get_xlabel() == "confidence, temperature 1.234"
    curve, *marked = risk.lines
    assert (list(curve.get_xdata()), list(curve.get_ydata())) == ([0.1, 0.6, 1.0], [0.0, 0.1, 0.3])
    # 0.5 and 0.9 have a point nearby, 0.7 has none
    assert [text.get_text() for text in risk.texts] == ["min_confidence=0.5", "min_confidence=0.9"]
    assert [(list(line.get_xdata()), list(line.get_ydata())) for line in marked] == [([1.0], [0.3]), ([0.6], [0.1])]


def test_the_calibration_plot_is_written(full: Run, tmp_path: Path) -> None:
    full.calibration = CALIBRATION
    path = save_calibration_plot(full, tmp_path / "new" / "calibration.png")
    assert struct.unpack(">II", path.read_bytes()[16:24]) == (900, 360)
    with pytest.raises(ConfigError, match=r"Give a name that ends with .png"):
        save_calibration_plot(full, tmp_path / "calibration.svg")


def test_without_confidences_there_is_no_calibration_plot(minimal: Run) -> None:
    with pytest.raises(ConfigError, match=r"There is no calibration to plot"):
        calibration_plot(minimal)
