"""Does a model pass the tests that a file declares: say this, let that change nothing, let it change so?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reasoner.behaviour.declared import DIRECTION, FUNCTIONALITY, Declared, read_tests
from reasoner.edits.catalog import EDITS
from reasoner.edits.rows import edited_rows, said_after, said_in_words
from reasoner.errors import ConfigError, DataError, Problem, raise_if_any, suggestion
from reasoner.inference import Predictor
from reasoner.notices import collect, say
from reasoner.reports.checklist import ChecklistReport, TestOutcome
from reasoner.reports.layout import clean, clipped
from reasoner.reports.shares import Share
from reasoner.result import Result, load_result
from reasoner.tasks.base import Task

SHOWN = 5
"""Failed cases that are shown of a test."""


def checklist(model: Result | str | Path, path: str | Path, *, seed: int = 0) -> ChecklistReport:
    """Run the tests of a YAML file on a model, and say how often each fails.

    The tests are those of CheckList (Ribeiro et al., 2020, https://aclanthology.org/2020.acl-main.442): minimum
    functionality (the model must say this), invariance (a change must change nothing) and direction (a change must make
    a label more or less probable). docs/behaviour.md says how they are written.

    Args:
        model: what `fine_tune` or `load` gave, or the folder of a model.
        path: of the file.
        seed: of the cases that are drawn.

    Raises:
        ConfigError: if the file cannot be read, or a test asks what predictions of the task do not tell.
        DataError: with all that is wrong in the file, each with its line.

    Example:
        >>> report = reasoner.checklist("output/nli", "tests.yaml")  # doctest: +SKIP
        >>> report.passed  # doctest: +SKIP
    """
    tests = read_tests(path, seed=seed)
    with collect():
        result = model if isinstance(model, Result) else load_result(model)
        _check(result.predictor.task, tests)
        outcomes = []
        for test in tests:
            verdicts = _verdicts(result.predictor, test, seed)
            if verdicts:
                outcomes.append(_outcome(test, verdicts))
            else:
                say(f"checklist: the edits of '{test.name}' change none of its inputs, and it is left out.")
    return ChecklistReport(task=result.run.task, file=Path(path).name, outcomes=tuple(outcomes))


@dataclass(frozen=True, kw_only=True)
class ChecklistCase:
    """A case of a test, for `pytest.mark.parametrize`; its name is `str(case)`."""

    test: Declared
    """The test, with this case alone."""
    number: int
    """Of the case in the test, from 1."""
    seed: int

    def __str__(self) -> str:
        return f"{self.test.name} {self.number}"

    def failure(self, model: Result | str | Path) -> str:
        """Return what is wrong with what a model makes of the case, in a sentence; empty: nothing is.

        Args:
            model: as in `checklist`; give what `load` gave rather than a folder, which is read for each case.

        Raises:
            ConfigError: as `checklist` does.
            DataError: likewise.
        """
        result = model if isinstance(model, Result) else load_result(model)
        _check(result.predictor.task, [self.test])
        return "; ".join(filter(None, _verdicts(result.predictor, self.test, self.seed)))


def checklist_cases(path: str | Path, *, seed: int = 0) -> list[ChecklistCase]:
    """Return all cases of the tests of a file, so that pytest may run each as a test of its own.

    Args:
        path: of the file.
        seed: of the cases that are drawn.

    Raises:
        ConfigError: if the file cannot be read.
        DataError: with all that is wrong in it.

    Example:
        >>> @pytest.mark.parametrize("case", reasoner.checklist_cases("tests.yaml"), ids=str)  # doctest: +SKIP
        ... def test_behaviour(case, model):
        ...     assert case.failure(model) == ""
    """
    return [
        ChecklistCase(test=_alone(test, place), number=place + 1, seed=seed)
        for test in read_tests(path, seed=seed)
        for place in range(len(test.inputs))
    ]


def _alone(test: Declared, place: int) -> Declared:
    """Return a test with one of its cases."""
    parts = {name: getattr(test, name)[place : place + 1] for name in ("inputs", "changed", "said")}
    return replace(test, **parts)


def _outcome(test: Declared, verdicts: Sequence[str]) -> TestOutcome:
    return TestOutcome(
        name=test.name,
        kind=test.kind,
        capability=test.capability,
        where=test.where,
        failures=Share.of([bool(verdict) for verdict in verdicts]),
        examples=tuple([verdict for verdict in verdicts if verdict][:SHOWN]),
    )


def _check(task: Task[Any, Any], tests: Sequence[Declared]) -> None:
    """Refuse tests that the task cannot answer, all at once."""
    if type(task).said is Task.said or getattr(task, "kind", None) == "number":
        raise ConfigError(f"checklist: predictions of {type(task).__name__} cannot be told apart: it has no `said`.")
    labels = [str(label) for label in getattr(task, "labels", ())]
    problems: list[Problem] = []
    for test in tests:
        for value in (*test.inputs, *test.changed):
            try:
                task.example_from_input(value)
            except DataError as error:
                problems.append(Problem(test.where, f"'{test.name}': {error}".rstrip("."), ""))
                break
        asked = {test.expected.label} if test.expected else {name for said in test.said for name in said}
        # of entities and answers the words are expected too
        known = labels if test.expected or hasattr(task, "kind") else []
        unknown = sorted(asked - set(known)) if known else []
        if unknown:
            remedy = suggestion(unknown[0], known)
            problems.append(Problem(test.where, f"'{test.name}' expects '{unknown[0]}', which is no label", remedy))
    raise_if_any(problems)


def _verdicts(predictor: Predictor, test: Declared, seed: int) -> list[str]:
    """Return for each case what is wrong with it; empty: nothing is."""
    before = predictor.predict(list(test.inputs))
    if test.edits:
        return _after_edits(predictor, test, before, seed)
    if test.kind == FUNCTIONALITY:
        return [_unlike(predictor.task, value, found, said)
                for value, found, said in zip(test.inputs, before, test.said, strict=True)]  # fmt: skip
    after = predictor.predict(list(test.changed))
    compare = _misdirected if test.kind == DIRECTION else _unequal
    return [compare(predictor.task, test, *case) for case in zip(test.inputs, before, test.changed, after, strict=True)]


def _unlike(task: Task[Any, Any], value: Any, found: Any, expected: Sequence[str]) -> str:
    said = _words(task, value, found)
    if sorted(said) == sorted(expected):
        return ""
    return f"{_shown(value)}: said {_listed(said)}, not {_listed(expected)}"


def _unequal(task: Task[Any, Any], test: Declared, value: Any, before: Any, changed: Any, after: Any) -> str:
    said = [_words(task, value, before), _words(task, changed, after)]
    if sorted(said[0]) == sorted(said[1]):
        return ""
    return f"{_shown(value)}: said {_listed(said[0])}; {_shown(changed)}: said {_listed(said[1])}"


def _misdirected(task: Task[Any, Any], test: Declared, value: Any, before: Any, changed: Any, after: Any) -> str:
    expected, found = test.expected, [task.label_probabilities(one) for one in (before, after)]
    assert expected is not None
    if found[0] is None or found[1] is None:
        raise ConfigError(f"{test.where}: '{test.name}' asks for probabilities of labels, which "
                          f"{type(task).__name__} does not choose from.")  # fmt: skip
    one, two = found[0].get(expected.label), found[1].get(expected.label)
    if one is None or two is None:
        what = f"'{test.name}' expects something of '{expected.label}', which is no label"
        raise DataError([Problem(test.where, what, suggestion(expected.label, found[0]))])
    if expected.holds(one, two):
        return ""
    return (f"{_shown(value)}: {expected.label} {one:.3f}; {_shown(changed)}: {two:.3f}, which is not "
            f"{expected.probability}" + (f" by {expected.by:g}" if expected.by else ""))  # fmt: skip


def _after_edits(predictor: Predictor, test: Declared, before: Sequence[Any], seed: int) -> list[str]:
    """Return a verdict for each input and each edit that changes it."""
    task = predictor.task
    examples = [task.example_from_input(value) for value in test.inputs]
    verdicts = []
    for edit in (edit for edit in EDITS if edit.name in test.edits):
        rows = edited_rows(task, examples, edit, seed=seed)
        found = predictor.predict_examples([row.example for row in rows])
        for row, now in zip(rows, found, strict=True):
            was = task.said(before[row.number])
            texts = row.example.texts
            if said_after(was, row.texts) == task.said(now):
                verdicts.append("")
                continue
            said = said_in_words(was, examples[row.number].texts), said_in_words(task.said(now), texts)
            first = f"{_shown(test.inputs[row.number])}: said {_listed(said[0])}"
            verdicts.append(f"{first}; {edit.name}: {_shown(texts)}: said {_listed(said[1])}")
    return verdicts


def _words(task: Task[Any, Any], value: Any, prediction: Any) -> list[str]:
    """Return what a prediction says, in words: a label, "Oslo (place)", the answer or the choice."""
    if isinstance(prediction, dict) and "answer" in prediction:
        return [prediction["answer"]] if prediction["answer"] else []
    return said_in_words(task.said(prediction), task.example_from_input(value).texts)


def _shown(value: Any) -> str:
    """Return an input in words."""
    texts = value.values() if isinstance(value, dict) else [value]
    return " / ".join(clipped(clean(", ".join(text) if isinstance(text, list) else text), 120) for text in texts)


def _listed(said: Sequence[str]) -> str:
    return ", ".join(said) or "nothing"
