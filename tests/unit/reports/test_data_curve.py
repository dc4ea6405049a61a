"""Does the curve say what is planted, and does it speak against itself where it must?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reasoner.errors import ConfigError
from reasoner.reports.data_curve import DataCurve, make_data_curve

SIZES = [50, 100, 200, 400, 800]


def curve(score, *, seeds: int = 3, sizes=SIZES, noise: float = 0.003, metric: str = "accuracy") -> DataCurve:
    random = np.random.default_rng(0)
    runs = [
        {"variant": str(size), "seed": seed, "error": None, "scores": {"test": score(size) + random.normal(0, noise)}}
        for seed in range(seeds)
        for size in sizes
    ]
    return make_data_curve(runs, task="nli", metric=metric, split="test")


def planted(rows: float) -> float:
    return 0.92 - 0.06 * (rows / 800) ** -0.5


def test_the_forecast_is_what_was_planted():
    found = curve(planted, seeds=8)
    said = found.forecast(800)
    assert said.rows == 1600
    assert said.lower <= said.score <= said.upper
    assert said.lower < planted(1600) < said.upper
    assert said.score == pytest.approx(planted(1600), abs=0.01)
    assert said.gain_lower < planted(1600) - planted(800) < said.gain_upper
    assert not any("guess" in doubt for doubt in said.doubts)
    assert any("more than twice" in doubt for doubt in found.forecast(2000).doubts)


def test_few_seeds_have_a_wider_interval_than_their_resamples():
    found = curve(planted)
    laws = [law.at(1600) for law in found._laws]
    said = found.forecast(800)
    assert (said.lower, said.upper) == (pytest.approx(min(laws)), pytest.approx(max(laws)))
    assert any("3 seeds are few" in doubt for doubt in said.doubts)
    alone = curve(planted, seeds=1)
    assert alone.forecast(800).lower is None and any("One seed" in doubt for doubt in alone.doubts)


def test_of_a_loss_less_is_better():
    found = curve(lambda rows: 0.5 + 3 * rows**-0.4, metric="perplexity", seeds=5)
    said = found.forecast(800)
    assert said.gain < 0 and said.lower <= said.score <= said.upper
    assert said.score == pytest.approx(0.5 + 3 * 1600**-0.4, abs=0.02)


@pytest.mark.parametrize(
    ("score", "sizes", "word"),
    [
        (planted, [100, 200, 400], "at least 4 numbers of rows"),
        (lambda rows: 0.8, SIZES, "does not grow by more than seeds differ"),
        (lambda rows: 0.9 - rows / 4000, SIZES, "does not grow"),
    ],
)
def test_where_there_is_no_curve_there_is_no_forecast(score, sizes, word):
    found = curve(score, sizes=sizes)
    assert found.law is None and word in found.doubts[0]
    assert word in " ".join(str(found).split())
    with pytest.raises(ConfigError, match="There is no forecast"):
        found.forecast(100)


def test_a_curve_that_fits_badly_says_so():
    steps = dict(zip(SIZES, [0.5, 0.5, 0.5, 0.9, 0.9], strict=True))
    found = curve(lambda rows: steps[rows])
    assert any("fits badly" in doubt for doubt in found.doubts)
    late = dict(zip(SIZES, [0.5, 0.52, 0.53, 0.535, 0.8], strict=True))
    assert any("would have been wrong before" in doubt for doubt in curve(lambda rows: late[rows]).doubts)


def test_runs_that_failed_are_said():
    runs = [
        {"variant": str(size), "seed": 0, "error": "ValueError: no" if size == 50 else None,
         "scores": {"test": planted(size)}}
        for size in SIZES
    ]  # fmt: skip
    found = make_data_curve(runs, task="nli", metric="accuracy", split="test")
    assert [point.rows for point in found.points] == SIZES[1:]
    assert "A run failed: ValueError: no" in str(found)
    with pytest.raises(ConfigError, match="No run was finished: ValueError: no"):
        make_data_curve(runs[:1], task="nli", metric="accuracy", split="test")


def test_what_is_shown(tmp_path: Path):
    found = curve(planted)
    assert max(map(len, str(found).splitlines())) <= 80
    assert "800 more rows (1,600 in all): accuracy 0.8" in " ".join(str(found).split())
    assert json.loads(json.dumps(found.to_dict()))["points"][0]["rows"] == 50
    assert "<table" in found._repr_html_()
    found.plot(tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(ConfigError, match="more is 0"):
        found.forecast(0)


def test_what_a_run_failed_of_is_no_markup_in_a_notebook():
    failed = replace(curve(lambda n: 0.9 - n**-0.5), failed=("ValueError: <b>no</b>",))
    assert "&lt;b&gt;no&lt;/b&gt;" in failed._repr_html_() and "<b>no" not in failed._repr_html_()
