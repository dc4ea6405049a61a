from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoner.errors import ConfigError
from reasoner.reports.layout import cell, duration
from reasoner.reports.run import Run
from reasoner.reports.tables import SHOWN_ROWS, last_part, report_text, score_tables


def block(text: str, heading: str) -> list[str]:
    """The lines under a heading, up to the next empty line."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(heading)) + 1
    return lines[start : next((i for i in range(start, len(lines)) if not lines[i]), len(lines))]


def test_scores_stand_side_by_side_and_the_primary_metric_comes_first(full: Run) -> None:
    header, first, *rows = block(report_text(full), "Scores on test (3 rows), before and after training")
    assert header.split() == ["before", "after", "change", "validation"]
    assert first.split() == ["*", "f1", "0.2222", "0.6667", "+0.4444", "0.4321"]
    assert [row.split()[0] for row in rows] == ["precision", "recall", "support", "loss"]
    assert rows[-1].split() == ["loss", "2.3000", "0.5000", "-1.8000", "0.6000"]
    assert rows[2].split() == ["support", "6", "6", "70"]


def test_columns_end_under_their_headers(full: Run) -> None:
    for table in ("Scores on", "test: by type", "test: tokens by tag"):
        header, *rows = block(report_text(full), table)
        ends = {match.end() for match in re.finditer(r"\S+( before)?", header)}
        for row in rows:
            numbers = [match.end() + 2 for match in re.finditer(r"(?<=\s\s)\S+", row[2:])]  # 2: the mark's column
            assert len(numbers) >= 3 and set(numbers) <= ends, row


def test_tables_by_type_and_tag_equal_the_metrics(full: Run) -> None:
    text = report_text(full)
    header, *rows = block(text, "test: by type")
    assert header.split() == ["precision", "recall", "f1", "f1", "before", "support"]
    assert [row.split() for row in rows] == [
        ["LOC", "0.6667", "1.0000", "0.8000", "0.5000", "2"],
        ["MISC", "0.0000", "0.0000", "0.0000", "0.0000", "1"],
        ["ORG", "0.0000", "0.0000", "0.0000", "0.0000", "1"],
        ["PER", "1.0000", "1.0000", "1.0000", "0.0000", "2"],
    ]
    assert [row.split()[0] for row in block(text, "test: macro, weighted")[1:]] == ["macro", "weighted"]
    assert [row.split() for row in block(text, "test: tokens")[1:]] == [
        ["before", "0.3333", "12"],
        ["after", "0.7500", "12"],
    ]
    assert block(text, "test: tokens by tag")[-1].split() == ["O", "0.8000", "1.0000", "0.8889", "0.4615", "4"]


def test_says_what_was_trained_and_how_it_went(full: Run) -> None:
    text = report_text(full)
    assert text.splitlines()[0] == "ner: minilm, Freeze(layers=2, embeddings=True)"
    assert "rows        train 1,234, validation 56, test 3" in text
    assert "parameters  22,713,216, trainable: 10,647,936 (46.88%)" in text
    assert "steps          120, 3.00 epochs" in text
    assert "12,346 tokens/s" in text
    assert "best step      80 (epoch 2.00, validation f1 0.4321)" in text
    assert "stopped early  yes (patience 1)" in text
    assert "greater is better" in text and "fractions from 0 to 1" in text
    assert "\n- Learning rate 0.0002, by the rule of Freeze" in text
    assert "rows_per_second" not in text


def test_says_what_was_padding_and_how_near_the_peak_it_was(full: Run) -> None:
    full.metrics["train"] |= {
        "positions": 76_020,  # in three epochs
        "padding_share": 0.0312,
        "evaluation_padding_share": 0.004,
        "peak_share": 0.714,
        "peak_operations_per_second": 141.6e9,
    }
    text = report_text(full)
    assert "padding        3.1% of 25,340 positions an epoch, 0.4% in evaluation" in text
    assert "share of peak  71% of a matrix product's 142 GFLOP/s" in text
    assert "positions  " not in text and "peak share" not in text and "operations" not in text  # nothing twice


def test_a_minimal_run_reads_well(minimal: Run) -> None:
    text = report_text(minimal)
    header, first, *_ = block(text, "Scores on validation")
    assert header.split() == ["validation"]
    assert first.split() == ["*", "macro_f1", "0.7333"]
    assert block(text, "validation: by label")[1].split() == ["no", "0.6667", "1.0000", "0.8000", "2"]
    for absent in ("before", "change", "Training", "Notices", "rows ", "parameters", "None"):
        assert absent not in text


def test_a_run_without_scores_reads_well(minimal: Run) -> None:
    minimal.metrics = {}
    assert report_text(minimal).splitlines()[-1].startswith("method")


def test_validation_that_is_compared_has_no_second_column_and_is_called_optimistic(answers: Run) -> None:
    answers.best_step = 5
    text = report_text(answers)
    header, *rows = block(text, "Scores on validation, before and after")
    assert header.split() == ["before", "after", "change"]
    assert ["has_answer_f1", "0.0000", "0.9000", "+0.9000"] in [row.split() for row in rows]
    assert ["no_answer_threshold", "-", "-1.2500"] in [row.split() for row in rows]
    assert ["total", "3", "3"] in [row.split() for row in rows]
    assert "optimistic" in text


def test_a_record_written_during_training_shows_the_best_step(full: Run) -> None:
    full.metrics = {"before": full.metrics["before"]}
    text = report_text(full)
    header, first, *_ = block(text, "Scores")
    assert re.split(r"\s{2,}", header.strip()) == ["before (test)", "validation"]
    assert first.split() == ["*", "f1", "0.2222", "0.4321"]
    assert "written during training, at step 120" in text


def test_metrics_of_a_downstream_task_show_whatever_their_form(minimal: Run) -> None:
    minimal.primary_metric = "success"
    minimal.metrics["validation"] = {
        "success": 0.5,
        "verdict": "good",
        "by_difficulty": {1: {"success": 0.75, "rows": 3}, 2: {"success": 0.25}},
        "deep": {"inner": {"by_kind": {"a": {"x": 1e-7}}}, "flat": {"ece": 0.125}},
    }
    text = report_text(minimal)
    assert "* success" in text and "is better" not in text
    assert "good" in text
    assert block(text, "validation: by difficulty")[2].split() == ["2", "0.2500", "-"]
    assert block(text, "validation: deep inner by kind")[1].split() == ["a", "1e-07"]
    assert block(text, "validation: deep flat")[1].split() == ["0.1250"]  # the heading has its name


def test_smaller_is_said_where_smaller_is_better(minimal: Run) -> None:
    minimal.primary_metric, minimal.metrics = "rmse", {"validation": {"rmse": 1.5}}
    assert "rmse is the primary metric (smaller is better)" in report_text(minimal)


def test_many_labels_are_cut_and_counted(minimal: Run) -> None:
    row = {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 1}
    minimal.metrics["validation"]["by_label"] = {f"label {number}": row for number in range(SHOWN_ROWS + 7)}
    lines = block(report_text(minimal), "validation: by label")
    assert len(lines) == SHOWN_ROWS + 2
    assert lines[-1] == "… 7 more in metrics"


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_line_is_longer_than_the_width(full: Run, width: int) -> None:
    full.model = "/a/very/" + "long" * 40 + "/path"
    full.notices.append("x" * 300)
    full.metrics["test"]["by_type"]["a type with a name that goes on and on and on and on and on and on and on"] = {
        f"measure number {number}": 0.5 for number in range(12)
    }
    text = report_text(full, width=width)
    assert max(map(len, text.splitlines())) <= width
    for number in range(12):
        assert f"measure number {number}"[:10] in text


def test_a_width_in_which_nothing_fits_is_refused(full: Run) -> None:
    with pytest.raises(ConfigError, match="width is 20; a report needs at least 40 columns"):
        report_text(full, width=20)


def test_wide_characters_keep_the_columns_aligned(minimal: Run) -> None:
    row = {"f1": 0.5}
    minimal.metrics["validation"] = {"by_label": {"東京": row, "abcd": row}}
    wide, narrow = block(report_text(minimal), "validation: by label")[1:]
    assert wide.removeprefix("東京") == narrow.removeprefix("abcd")


def test_control_characters_do_not_reach_the_terminal(minimal: Run) -> None:
    minimal.notices = ["a\x1b[31m red\nline"]
    minimal.metrics["validation"]["by_label"] = {"x\x1b[2J\ty": {"f1": 1.0}}
    text = report_text(minimal)
    assert "\x1b" not in text and "\t" not in text
    assert "- a[31m red line" in text


NAMES = st.text(max_size=40) | st.just("a long name " * 9) | st.just("a\nb") | st.just("東京" * 50)
VALUES = st.floats() | st.integers() | st.none() | NAMES | st.booleans()


@settings(max_examples=60)
@given(st.dictionaries(NAMES, VALUES, max_size=5), st.dictionaries(NAMES, VALUES, max_size=5))
def test_any_metrics_fit_into_the_width(scores: dict[str, object], row: dict[str, object]) -> None:
    metrics = {"before": row, "test": {**scores, "by": {"one": row, "two": scores}}}
    run = Run(task="t", model="m", method="Full()", primary_metric="f1", compared_split="test", metrics=metrics)
    text = report_text(run)
    assert "\n".join(text.splitlines()) == text  # no name has broken a line
    for line in text.split("\n"):
        marks = sum(unicodedata.combining(character) > 0 for character in line)
        wide = sum(unicodedata.east_asian_width(character) in "WF" for character in line)
        assert len(line) - marks + wide <= 80 + marks  # a mark may itself be called wide


def test_cells() -> None:
    values = {0.5: "0.5000", 1e-7: "1e-07", 0.0: "0.0000", 12345678: "12,345,678", 2.5e9: "2.5e+09", None: "-"}
    assert [cell(value) for value in values] == list(values.values())
    assert (cell(True), cell("a" * 50), cell(float("nan"))) == ("yes", "a" * 23 + "…", "nan")
    assert [duration(seconds) for seconds in (3.14, 125, 7260)] == ["3.1 s", "2 min 5 s", "2 h 1 min"]
    assert [last_part(path) for path in ("/a/b/", "C:\\x\\y", "owner/name", "/")] == ["b", "y", "name", "/"]


def test_the_tables_leave_the_record_as_it_was(full: Run) -> None:
    before = full.to_dict()
    score_tables(full)
    report_text(full)
    assert full.to_dict() == before
