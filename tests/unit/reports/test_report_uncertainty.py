"""Do the reports say how sure the scores are, in few words, once, and within 80 columns?"""

from __future__ import annotations

import re
from html import unescape

import pytest

from reasoner.reports.card import model_card
from reasoner.reports.notebook import report_html
from reasoner.reports.run import Run
from reasoner.reports.tables import report_text
from reasoner.reports.uncertainty import comparison_sentences, comparison_text

SENTENCE = (
    "After against before: f1 +0.3100 (95% interval +0.2500 to +0.3700), p < 0.001; "
    "as a whole 1,210 rows fixed and 12 broken, McNemar p = 0.031."
)


def block(text: str, heading: str) -> list[str]:
    """The lines under a heading, up to the next empty line."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(heading)) + 1
    return lines[start : next((i for i in range(start, len(lines)) if not lines[i]), len(lines))]


def plain(markup: str) -> str:
    """The text of HTML or Markdown."""
    return unescape(re.sub(r"<[^>]+>|\\", "", markup))


def test_the_interval_stands_below_the_primary_score(sure: Run) -> None:
    _, primary, interval, *_ = block(report_text(sure), "Scores on test")
    assert primary.split() == ["*", "f1", "0.2222", "0.6667", "+0.4444", "0.4321"]
    assert interval.split() == ["95%", "interval", "0.1000–0.3500", "0.5000–0.8000", "0.3812–0.4933"]
    assert primary.index("0.6667") + 6 == interval.index("0.8000") + 6  # in the column of its score
    assert "not over seeds" in report_text(sure)


def test_without_a_test_split_the_interval_is_that_of_validation(sure: Run) -> None:
    sure.compared_split = "validation"
    del sure.metrics["test"], sure.intervals["test"]
    _, _, interval, *_ = block(report_text(sure), "Scores on validation")
    assert interval.split()[2:] == ["0.1000–0.3500", "0.3812–0.4933"]


def test_a_split_without_an_interval_has_an_empty_cell(sure: Run) -> None:
    del sure.intervals["before"], sure.intervals["test"]
    assert block(report_text(sure), "Scores on test")[2].split() == ["95%", "interval", "0.3812–0.4933"]


@pytest.mark.parametrize("form", [report_text, report_html, model_card])
def test_every_form_says_all_of_it_once(sure: Run, form) -> None:
    text = " ".join(plain(form(sure)).split())
    for said in (SENTENCE, "0.5000–0.8000", "3 seeds; seed 42 is kept", "temperature 1.37, calibration error (ECE) on "
                 "validation 0.0812 without it and 0.0300 with it, on test 0.0400"):  # fmt: skip
        assert text.count(said) == 1, said


def test_the_seeds_have_mean_and_deviation(sure: Run) -> None:
    header, *rows = block(report_text(sure), "3 seeds; seed 42 is kept, the best on validation")
    assert header.split() == ["seed", "validation", "f1", "test", "f1", "seconds"]
    assert [row.split() for row in rows] == [
        ["41", "0.4000", "0.5000", "30.0"],
        ["42,", "kept", "0.4321", "0.6667", "35.2"],
        ["43", "0.4200", "0.6000", "29.0"],
        ["mean", "0.4174", "0.5889"],
        ["deviation", "0.0162", "0.0839"],  # sqrt(((-.0174)² + .0147² + .0026²) / 2)
    ]


def test_one_seed_has_no_table(sure: Run) -> None:
    sure.seeds = sure.seeds[:1]
    assert "seeds;" not in report_text(sure)


def test_rules_errors_and_novelty_have_their_tables(sure: Run) -> None:
    row = {"precision": 0.5, "recall": 0.25, "f1": 1 / 3, "support": 4}
    sure.metrics["test"]["by_novelty"] = {"seen": row, "unseen": row}
    text = report_text(sure)
    header, *rows = block(text, "test: by rule (partial: span only, overlap half; type_only: any overlap)")
    assert header.split() == ["precision", "recall", "f1", "f1", "before", "support"]
    assert [line.split()[0] for line in rows] == ["conll", "scheme_strict", "partial", "type_only"]
    assert rows[0].split()[1:] == ["0.6667", "0.6667", "0.6667", "0.2222", "6"]
    header, before, after = block(text, "test: errors")
    assert header.split() == ["correct", "boundary", "type", "boundary", "and", "type", "missed", "spurious"]
    # By hand: PER and LOC right, ORG taken for LOC, LOC and PER right, MISC too short.
    assert after.split() == ["after", "4", "1", "1", "0", "0", "0"]
    assert before.split() == ["before", "1", "1", "0", "0", "4", "1"]
    assert [line.split()[0] for line in block(text, "test: by novelty")[1:]] == ["seen", "unseen"]


def test_the_card_says_what_seeds_and_temperature_mean(sure: Run, full: Run) -> None:
    assert "the best of 3 runs on validation" in model_card(sure)
    assert "plain transformers does not" in model_card(sure)
    full.calibration, full.seeds = {}, []
    assert "from one run" in model_card(full) and "not calibrated" in model_card(full)


def test_no_line_is_longer_than_80_columns(sure: Run) -> None:
    sure.metrics["test"]["no_answer_threshold"] = 0.25  # as long as a score's name gets
    text = report_text(sure)
    assert max(map(len, text.splitlines())) <= 80
    header = block(text, "Scores on test")[0]
    assert header.split() == ["before", "after", "change", "validation"]  # all beside each other


def test_a_calibration_with_less_in_it_is_told_as_far_as_it_goes(minimal: Run) -> None:
    minimal.calibration = {"temperature": 2.0}
    assert "probabilities  temperature 2.00\n" in report_text(minimal) + "\n"
    minimal.calibration = {"temperature": 1.0, "validation_ece_before": 0.05, "validation_ece_after": 0.05}
    said = "probabilities temperature 1 (as they were), calibration error (ECE) on validation 0.0500"
    assert said in " ".join(report_text(minimal).split())
    minimal.calibration = {"ece": 0.1}
    assert "probabilities" not in report_text(minimal)  # the only split is validation, and its error is not known


@pytest.mark.parametrize(
    ("p_value", "said"), [(0.000999, "p < 0.001"), (0.001, "p = 0.001"), (0.0496, "p = 0.050"), (1.0, "p = 1.000")]
)
def test_p_values(sure: Run, p_value: float, said: str) -> None:
    assert sure.comparison is not None
    assert f"), {said};" in comparison_sentences(sure.comparison | {"p_value": p_value})


def test_a_comparison_without_counts_or_rows_says_the_difference(sure: Run) -> None:
    assert sure.comparison is not None
    bare = {**sure.comparison, "p_value": None, "mcnemar_p_value": None, "fixed": [], "broken": []}
    assert comparison_sentences(bare) == "f1 +0.3100."
    assert comparison_text(bare).splitlines() == ["f1 on 1,287 rows: 0.2000 before, 0.5100 after.", "f1 +0.3100."]


def test_a_comparison_names_the_first_rows_that_changed(sure: Run) -> None:
    assert sure.comparison is not None
    lines = comparison_text(sure.comparison).splitlines()
    assert lines[-2:] == ["fixed: test, row 1; test, row 2; test, row 5; and 1,207 more",
                          "broken: test, row 9; and 11 more"]  # fmt: skip
    sure.comparison["fixed"] = ["x" * 300]
    assert max(map(len, comparison_text(sure.comparison).splitlines())) <= 80
