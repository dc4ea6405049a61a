"""Are failures of declared tests those of predictions by hand, in the report and under pytest alike?"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from task_cases import CASES
from test_heuristics import QUICK, always

import reasoner
from reasoner.errors import ConfigError, DataError
from reasoner.metrics import share_interval

TESTS = """\
slots:
  person: [Anna, Ben, Carl]
  job: [pilot, judge]
tests:
  - name: what is said is entailed
    type: MFT
    capability: sameness
    input: {premise: "{person} is a {job}.", hypothesis: "{person} is a {job}."}
    expect: entailment
  - name: a denial is none
    type: MFT
    capability: negation
    input: {premise: "{person} is a {job}.", hypothesis: "{person} is no {job}."}
    expect: contradiction
  - name: names do not matter
    type: INV
    input: {premise: "{person} is a {job}.", hypothesis: "{person} is a {job}."}
    changed: {premise: "{person2} is a {job}.", hypothesis: "{person2} is a {job}."}
  - name: writing does not matter
    type: INV
    input: {premise: "{person} is a {job}.", hypothesis: "He is a {job}."}
    edits: [spacing, contractions]
  - name: a denial makes it less likely
    type: DIR
    input: {premise: "{person} is a {job}.", hypothesis: "{person} is a {job}."}
    changed: {premise: "{person} is a {job}.", hypothesis: "{person} is no {job}."}
    expect: {label: entailment, probability: lower, by: 0.01}
"""


@pytest.fixture(scope="module")
def tests(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("declared") / "tests.yaml"
    path.write_text(TESTS)
    return path


@pytest.fixture(scope="module")
def entailing(tiny_bert: Path) -> reasoner.Result:
    return always(tiny_bert, "entailment")


def test_a_model_that_always_says_the_same_has_known_failures(entailing: reasoner.Result, tests: Path) -> None:
    report = reasoner.checklist(entailing, tests)
    found = {outcome.name: (outcome.failures.hits, outcome.failures.rows) for outcome in report.outcomes}
    assert found == {
        "what is said is entailed": (0, 6),
        "a denial is none": (6, 6),
        "names do not matter": (0, 12),
        "writing does not matter": (0, 12),
        "a denial makes it less likely": (6, 6),
    }
    interval = share_interval(6, 6)
    denial = report["a denial is none"]
    assert (denial.failures.lower, denial.failures.upper) == (interval.lower, interval.upper)
    assert denial.examples[0] == "Anna is a pilot. / Anna is no pilot.: said entailment, not contradiction"
    assert not report.passed
    text = str(report)
    assert "Checklist: nli, tests.yaml: 2 of 5 tests have failures" in text and "which is not lower by 0.01" in text
    assert max(map(len, text.splitlines())) <= 80 and "tests.yaml, line 10" in text
    assert "<details>" in report._repr_html_() and json.loads(json.dumps(report.to_dict()))["passed"] is False


def test_failures_are_those_of_predictions_by_hand(lively_bert: Path, tests: Path) -> None:
    pack = reasoner.synthetic.nli_pack(train=40, validation=9, test=9)
    result = reasoner.fine_tune(lively_bert, pack, task="nli", **{**QUICK, "max_steps": 8, "learning_rate": 3e-3})
    report = reasoner.checklist(result, tests)
    people, jobs = ("Anna", "Ben", "Carl"), ("pilot", "judge")
    same = {(p, j): result.predict((f"{p} is a {j}.", f"{p} is a {j}.")) for p in people for j in jobs}
    denied = {(p, j): result.predict((f"{p} is a {j}.", f"{p} is no {j}.")) for p in people for j in jobs}
    failures = {outcome.name: outcome.failures.hits for outcome in report.outcomes}
    assert failures["what is said is entailed"] == sum(found["label"] != "entailment" for found in same.values())
    assert failures["a denial is none"] == sum(found["label"] != "contradiction" for found in denied.values())
    swapped = [(same[p, j]["label"], same[q, j]["label"]) for p in people for q in people if p != q for j in jobs]
    assert failures["names do not matter"] == sum(a != b for a, b in swapped)
    fallen = [same[key]["scores"]["entailment"] - denied[key]["scores"]["entailment"] > 0.01 for key in same]
    assert failures["a denial makes it less likely"] == sum(not one for one in fallen)
    cases = reasoner.checklist_cases(tests)
    assert len(cases) == 6 + 6 + 12 + 6 + 6 and str(cases[7]) == "a denial is none 2"
    failed = sum(bool(case.failure(result)) for case in cases if "writing" not in str(case))
    assert failed == sum(count for name, count in failures.items() if "writing" not in name)


def test_pytest_runs_each_case_as_a_test(entailing: reasoner.Result, tests: Path, tmp_path: Path) -> None:
    entailing.save(tmp_path / "model")
    (tmp_path / "test_behaviour.py").write_text(
        f"import pytest, reasoner\n"
        f"@pytest.fixture(scope='session')\n"
        f"def model():\n    return reasoner.load({str(tmp_path / 'model')!r}, use_cpu=True)\n"
        f"@pytest.mark.parametrize('case', reasoner.checklist_cases({str(tests)!r}), ids=str)\n"
        f"def test_behaviour(case, model):\n    assert case.failure(model) == ''\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_behaviour.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "12 failed, 24 passed" in done.stdout
    assert "test_behaviour[a denial is none 1]" in done.stdout
    assert "said entailment, not contradiction" in done.stdout


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ner", "{input: 'Anna Berg lives in Oslo.', expect: []}"),
        ("qa", "{input: {question: 'Who came?', context: 'Ben came.'}, expect: Ben}"),
        ("multiple_choice", "{input: {question: 'Who?', choices: ['{who}', nobody]}, expect: '{who}'}"),
        ("classification", "{input: 'It was fine.', expect: LABEL}"),
    ],
)
def test_other_tasks_are_asked_in_their_own_words(name, text, lively_bert: Path, tmp_path: Path) -> None:
    case = CASES[name]
    result = reasoner.fine_tune(lively_bert, case.splits, task=case.task, **QUICK)
    label = next(iter(getattr(result.predictor.task, "labels", [""])))
    body = text[1:-1].replace("LABEL", f"'{label}'")
    edits = body.split("expect:")[0].rstrip(", ")
    (tmp_path / "t.yaml").write_text(
        "slots: {who: [Ben, Anna]}\ntests:\n"
        f"- {{name: one, type: MFT, {body}}}\n"
        f"- {{name: two, type: INV, {edits}, edits: [spacing, end mark, aside, capitals]}}\n"
    )
    report = reasoner.checklist(result, tmp_path / "t.yaml")
    assert [outcome.name for outcome in report.outcomes] == ["one", "two"]
    assert report["two"].failures.rows >= 2
    for case in reasoner.checklist_cases(tmp_path / "t.yaml"):
        case.failure(result)


def test_what_a_model_cannot_answer_is_refused_with_its_line(entailing: reasoner.Result, tests: Path, tmp_path) -> None:
    for change, error, message in (
        (("expect: contradiction", "expect: contradict"), DataError, r"line 10: .* 'contradict', which is no label"),
        (("label: entailment", "label: entail"), DataError, r"line 23: .* 'entail', which is no label"),
        (('input: {premise: "{person} is a {job}.", hypothesis: "He', 'input: {premiss: "a", hypothesis: "He'),
         DataError, "line 19: 'writing does not matter': nli predicts for"),
        (("type: DIR", "type: DIRR"), DataError, "the type 'DIRR' is unknown"),
    ):  # fmt: skip
        assert change[0] in TESTS
        (tmp_path / "t.yaml").write_text(TESTS.replace(*change, 1))
        with pytest.raises(error, match=message):
            reasoner.checklist(entailing, tmp_path / "t.yaml")


def test_a_number_is_no_answer(tiny_bert: Path, rows_of, tests: Path) -> None:
    rows = rows_of("Classification", "number")
    result = reasoner.fine_tune(tiny_bert, {"train": rows, "validation": rows[:8]}, task="classification", **QUICK)
    with pytest.raises(ConfigError, match="cannot be told apart"):
        reasoner.checklist(result, tests)
