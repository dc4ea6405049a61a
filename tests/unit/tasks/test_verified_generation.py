"""Does a verifier score generated texts: by name, by settings, saved with the task, and refused where it must be?"""

from __future__ import annotations

import json

import pytest

from reasoner.data.completions import QuestionExample
from reasoner.data.examples import examples_from_rows
from reasoner.data.sources import read_splits
from reasoner.errors import ConfigError, DataError
from reasoner.metrics import greater_is_better
from reasoner.tasks.generation import Generation, GenerationExample
from reasoner.verifiers import Choice, Code, Exact, Number
from reasoner.verifiers.base import as_verifier

WORKED = {"prompt": "How many?", "completion": "Two and three make five.\n#### 5"}


def examples(*rows, schema=GenerationExample):
    return examples_from_rows(read_splits({"train": list(rows)}), schema)["train"]


def predicted(*texts):
    return [{"text": text, "finished": True} for text in texts]


def test_shares_of_what_the_verifier_says_stand_beside_exact_match():
    task = Generation.from_examples({"train": examples(*[WORKED] * 4)}, verifier="number")
    texts = predicted("It is 5.", "#### 6", "I do not know.", WORKED["completion"])
    scores = task.score(texts, examples(*[WORKED] * 4))
    assert (scores["accuracy"], scores["wrong"], scores["unparsable"], scores["timed_out"]) == (0.5, 0.25, 0.25, 0)
    assert scores["exact_match"] == 0.25
    assert task.rows_right(texts, examples(*[WORKED] * 4)) == [True, False, False, True]
    counts = task.primary_counts(texts, examples(*[WORKED] * 4))
    assert counts.statistic(counts.counts.sum(axis=0)) == 0.5


def test_rows_with_gold_alone_are_scored_by_the_verifier_alone():
    rows = examples({"prompt": "How many?", "gold": 5}, schema=QuestionExample)
    scores = Generation(verifier="number").score(predicted("It is 5."), rows)
    assert scores["accuracy"] == 1 and "exact_match" not in scores


@pytest.mark.parametrize(
    ("settings", "primary"),
    [
        ({}, "exact_match"),
        ({"verifier": "number"}, "accuracy"),
        ({"verifier": "number", "metric": "loss"}, "loss"),
        ({"verifier": "number", "metric": "exact_match"}, "exact_match"),
    ],
)
def test_what_counts_follows_the_verifier(settings, primary):
    task = Generation(**settings)
    assert task.primary_metric == primary
    assert greater_is_better(task.primary_metric) is (primary != "loss")


def test_the_shares_of_failures_are_better_when_they_are_smaller():
    assert [greater_is_better(name) for name in ("wrong", "unparsable", "timed_out")] == [False] * 3


def test_rows_right_go_by_exact_match_where_that_counts():
    task = Generation(verifier="number", metric="exact_match")
    assert task.rows_right(predicted("It is 5."), examples(WORKED)) == [False]


def test_a_verifier_is_kept_as_its_name_and_settings():
    for given in (Exact(after="Answer:"), {"name": "exact", "after": "Answer:"}):
        task = Generation(verifier=given)
        settings = json.loads(json.dumps(task.settings()))
        assert settings["verifier"] == {"name": "exact", "after": "Answer:", "ignore_case": False}
        assert Generation(**settings).verifier == task.verifier
        assert as_verifier(task.verifier) == Exact(after="Answer:")


def test_gold_is_the_row_s_own_or_is_read_in_the_completion():
    letter = {"prompt": "Which?", "completion": "It is blue, so the answer is (B)."}
    marked = {"prompt": "Who?", "completion": "She wrote it. Answer: Ada"}
    own = {"prompt": "Which?", "completion": "Since it is blue.", "gold": 1}
    for verifier, row, text in ((Choice(), letter, "(B)"), (Exact(after="Answer:"), marked, "So. Answer: Ada"),
                                (Choice(), own, "(B)")):  # fmt: skip
        task = Generation.from_examples({"train": examples(row)}, verifier=verifier)
        assert task.score(predicted(text), examples(row))["accuracy"] == 1
        assert task.score(predicted("(C)"), examples(row))["accuracy"] == 0


def test_gold_that_cannot_be_read_is_refused_with_its_row():
    with pytest.raises(DataError, match=r"row 2.*no answer is found in the solution 'None\.'"):
        Generation.from_examples(
            {"train": examples(WORKED, {"prompt": "How many?", "completion": "None."})}, verifier="number"
        )
    with pytest.raises(DataError, match="gold is 'F'"):
        Generation.from_examples({"train": examples({**WORKED, "gold": "F"})}, verifier="choice")


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"verifier": "numbr"}, "Did you mean 'number'"),
        ({"verifier": {"name": "number", "symbolc": True}}, "does not take these settings"),
        ({"verifier": 3}, "Give a name such as 'number'"),
        ({"verifier": {"after": "x"}}, "Give a name such as 'number'"),
        ({"metric": "accuracy"}, "needs one"),
        ({"top_p": 0.5}, "a temperature too"),
        ({"top_p": 0, "temperature": 1.0}, "above 0"),
    ],
)
def test_settings_that_make_no_sense(settings, what):
    with pytest.raises(ConfigError, match=what):
        Generation(**settings)


def test_a_permission_is_never_saved_with_a_model(monkeypatch):
    monkeypatch.setattr("reasoner.verifiers.code.require_walls", lambda: None)
    with pytest.raises(ConfigError, match=r"permission.*reasoner\.sample"):
        Generation(verifier=Code(allow_execution=True))


def test_a_worked_symbolic_solution_is_gold():
    pytest.importorskip("math_verify")
    row = {"prompt": "Solve.", "completion": "So we get $2\\sqrt{3}$."}
    task = Generation.from_examples({"train": examples(row)}, verifier=Number(symbolic=True))
    assert task.score(predicted("$\\sqrt{12}$"), examples(row))["accuracy"] == 1


def test_a_question_needs_no_completion():
    messages = [{"role": "user", "content": "Who?"}]
    plain, chat, told = examples(
        {"prompt": "Who?", "gold": 5},
        {"messages": messages},
        {"messages": [*messages, {"role": "assistant", "content": "Ada."}]},
        schema=QuestionExample,
    )
    assert (plain.completion, plain.gold, chat.completion) == (None, 5, None)
    assert chat.messages == told.messages and told.completion == "Ada."
