"""Does the table say what the runs gave: means, intervals, the order, what differs, what failed, who is beaten?"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from reasoner.errors import ConfigError
from reasoner.metrics import mean_and_deviation
from reasoner.reports.leaderboard import Leaderboard, Standing, make_leaderboard
from reasoner.reports.pareto import pareto_front


def run(variant: str, seed: int, score: float | None, **changes: Any) -> dict[str, Any]:
    shared = {"device": "cpu", "threads": 1, "versions": {"torch": "2"}, "steps": 30, "epochs": 3.0}
    costs = {"seconds": 2.0, "parameters": 1000, "trainable_parameters": 10, "disk_bytes": 4000}
    interval = {"lower": 0.1, "upper": 0.9, "confidence": 0.95}
    scores = {"validation": score, "test": None if score is None else score - 0.1}
    record = {"variant": variant, "seed": seed, "error": None, "scores": scores, "intervals": {"test": interval}}
    return {**record, **shared, **costs, "peak_memory_mib": 100.0, **changes}


def failed(variant: str, seed: int, error: str = "ValueError: no") -> dict[str, Any]:
    return {"variant": variant, "seed": seed, "error": error}


def board(*runs: dict[str, Any], metric: str = "accuracy", split: str = "test") -> Leaderboard:
    names = list(dict.fromkeys(run["variant"] for run in runs))
    return make_leaderboard(runs, names=names, task="nli", metric=metric, split=split)


def test_scores_are_means_with_the_interval_over_seeds() -> None:
    found = board(run("a", 0, 0.6), run("a", 1, 0.8, peak_memory_mib=120.0), run("b", 0, 0.9), run("b", 1, 0.9))
    expected = mean_and_deviation([0.5, 0.7])
    item = found["a"]
    assert (item.score, item.deviation, item.lower, item.upper) == pytest.approx(tuple(expected[:4]))
    assert (item.interval_over, item.validation, item.runs) == ("seeds", pytest.approx(0.7), 2)
    assert (item.trainable_share, item.seconds, item.peak_memory_mib, item.disk_bytes) == (0.01, 2.0, 120.0, 4000)
    assert [standing.name for standing in found.standings] == ["b", "a"] and found.best == found["b"]
    assert "over seeds (Student's, of the mean); each score is the mean of 2 runs." in found.notes[0]


def test_one_run_has_the_interval_over_rows() -> None:
    found = board(run("a", 0, 0.6))
    assert (found["a"].lower, found["a"].upper, found["a"].interval_over) == (0.1, 0.9, "rows")
    assert found.notes[0] == "The intervals are over rows (bootstrap); each score is of one run."
    assert board(run("a", 0, 0.6, intervals={}))["a"].lower is None


def test_validation_gives_the_order_and_a_smaller_error_is_better() -> None:
    one, other = run("a", 0, 0.2, scores={"validation": 0.2, "test": 0.9}), run("b", 0, 0.3)
    assert [item.name for item in board(one, other).standings] == ["b", "a"]
    assert [item.name for item in board(one, other, metric="loss").standings] == ["a", "b"]


def test_failures_are_rows_with_their_errors() -> None:
    found = board(failed("x", 0), failed("x", 1, "KeyError: k"), run("a", 0, 0.5), failed("a", 1))
    assert [item.name for item in found.standings] == ["a", "x"]
    assert (found["x"].runs, found["x"].failed, found["x"].errors) == (0, 2, ("ValueError: no", "KeyError: k"))
    assert (found["a"].runs, found["a"].failed) == (1, 1)
    rows = {row[0]: row for row in found.table().rows}
    assert rows["x"][1] == "failed" and "1 of 2" in rows["a"] and "0 of 2" in rows["x"]
    assert [note for note in found.notes if "failed" in note] == [
        "a failed: ValueError: no", "x failed: ValueError: no", "x failed: KeyError: k"
    ]  # fmt: skip
    assert board(failed("x", 0)).best is None


def test_a_score_that_is_no_number_makes_no_mean() -> None:
    found = board(run("a", 0, None), run("a", 1, 0.5), run("b", 0, 0.1), run("b", 1, 0.1))
    assert (found["a"].score, found["a"].validation, found["a"].lower) == (None, None, None)
    assert found.best == found["b"]


def test_budgets_and_machines_that_differ_are_said() -> None:
    same = board(run("a", 0, 0.5), run("b", 0, 0.6))
    assert "steps" not in same.table().columns and not any("differ" in note for note in same.notes)
    found = board(run("a", 0, 0.5), run("b", 0, 0.6, steps=60, epochs=6.0, threads=2))
    assert {"steps", "epochs"} <= set(found.table().columns)
    assert "The budgets differ: see steps and epochs." in found.notes
    assert any("the same threads" in note for note in found.notes)


def test_what_was_forgotten_has_its_column() -> None:
    old = {"metric": "f1", "before": 0.9, "after": 0.7}
    found = board(run("a", 0, 0.5, old=old), run("a", 1, 0.5, old={**old, "after": 0.8}))
    assert found["a"].old_change == pytest.approx(-0.15)
    assert "-0.1500" in repr(found) and "the change of its f1" in repr(found)


def test_without_a_test_split_it_says_that_scores_are_optimistic() -> None:
    found = board(run("a", 0, 0.5, intervals={}), split="validation")
    assert found["a"].score == 0.5
    assert "validation" not in found.table().columns
    assert any("optimistic" in note for note in found.notes)


def test_text_html_and_json() -> None:
    found = board(run("<a>", 0, 0.5), failed("long name of a variant " * 4, 0, "E: " + "word " * 60))
    assert max(map(len, repr(found).splitlines())) <= 80
    assert "&lt;a&gt;" in found._repr_html_() and "<a>" not in found._repr_html_()
    values = json.loads(json.dumps(found.to_dict()))
    assert values["standings"][0]["name"] == "<a>" and len(values["runs"]) == 2


# --- who is beaten by none ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("greater", [True, False])
@pytest.mark.parametrize("seed", range(60))
def test_the_front_is_those_that_no_other_beats(seed: int, greater: bool) -> None:
    random = Random(seed)
    given_points = [(random.randint(1, 5), random.randint(0, 5)) for _ in range(random.randint(1, 12))]
    standings = [
        Standing(name=str(n), runs=1, failed=0, seconds=float(cost), score=float(score))
        for n, (cost, score) in enumerate(given_points)
    ]
    sign = 1 if greater else -1
    beaten = {
        (cost, score)
        for cost, score in given_points
        for lower, better in given_points
        if lower <= cost and sign * better >= sign * score and (lower, better) != (cost, score)
    }
    front = [(item.seconds, item.score) for item in pareto_front(standings, "seconds", greater=greater)]
    assert front == sorted({*given_points} - beaten)


def test_a_plot_is_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra 'plots' is not installed")
    found = board(*(run(f"variant {n}", 0, 0.5 + n / 100, trainable_parameters=n + 1) for n in range(12)))
    for against in ("trainable_share", "seconds", "peak_memory_mib", "disk_bytes"):
        figure = found.plot(tmp_path / f"{against}.png", against=against)
        assert (tmp_path / f"{against}.png").read_bytes().startswith(b"\x89PNG")
    axes = found.plot().axes[0]
    assert len(axes.containers) == 12 and axes.get_xscale() == "log"
    assert figure.get_size_inches().tolist() == [9.0, 3.6]
    (front,) = [line for line in axes.get_lines() if line.get_linestyle() == "--"]
    assert len(front.get_xdata()) == 12  # each costs more and is better than the one before
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert sorted(labels) == sorted([*(item.name for item in found.standings), "beaten by none in both"])


def test_a_fraction_is_drawn_between_0_and_1_though_an_interval_leaves_that() -> None:
    pytest.importorskip("matplotlib", reason="the extra 'plots' is not installed")
    found = board(run("a", 0, 0.3), run("a", 1, 0.9))
    assert found["a"].lower is not None and found["a"].lower < -1
    assert found.plot().axes[0].get_ylim() == (-0.02, 1.02)
    smaller = board(run("a", 0, 3.0), run("a", 1, 9.0), metric="loss")
    assert smaller.plot().axes[0].get_ylim()[1] > 10


def test_what_cannot_be_plotted_is_said() -> None:
    pytest.importorskip("matplotlib", reason="the extra 'plots' is not installed")
    with pytest.raises(ConfigError, match="There is nothing to draw"):
        board(failed("a", 0)).plot()
    with pytest.raises(ConfigError, match=r"no cost named 'second'\. Did you mean 'seconds'"):
        board(run("a", 0, 0.5)).plot(against="second")
