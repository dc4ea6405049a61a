"""Do errors say what, where and what to do, all at once, and is the nearest name suggested?"""

from __future__ import annotations

import pickle

import pytest

from reasoner import errors
from reasoner.errors import (
    SHOWN_PROBLEMS,
    CheckpointError,
    ConfigError,
    DataError,
    DivergedError,
    LabelError,
    Problem,
    ReasonerError,
    raise_if_any,
    suggestion,
)

FIRST = Problem("train.jsonl, line 812", "ner_tags has 7 items, tokens has 8", "Give one tag per token.")
LABEL = Problem("dev.csv, line 3", "label 'entail' is unknown", "Did you mean 'entailment'?", about_labels=True)


def test_one_problem_is_one_line():
    with pytest.raises(DataError) as caught:
        raise_if_any([FIRST])
    assert str(caught.value) == "train.jsonl, line 812: ner_tags has 7 items, tokens has 8. Give one tag per token."
    assert not isinstance(caught.value, LabelError)


def test_all_problems_are_listed():
    with pytest.raises(DataError) as caught:
        raise_if_any(iter([FIRST, LABEL]))
    assert str(caught.value) == (
        "2 problems in the data:\n"
        "  - train.jsonl, line 812: ner_tags has 7 items, tokens has 8. Give one tag per token.\n"
        "  - dev.csv, line 3: label 'entail' is unknown. Did you mean 'entailment'?"
    )
    assert caught.value.problems == (FIRST, LABEL)


def test_many_problems_are_cut_and_the_rest_is_counted_and_kept():
    many = [Problem(f"line {number}", "is bad", "Mend it.") for number in range(SHOWN_PROBLEMS + 7)]
    with pytest.raises(DataError) as caught:
        raise_if_any(many)
    text = str(caught.value)
    assert text.startswith(f"{len(many)} problems") and f"line {SHOWN_PROBLEMS - 1}:" in text
    assert f"line {SHOWN_PROBLEMS}:" not in text and "and 7 more" in text
    assert len(caught.value.problems) == len(many)


def test_problems_of_labels_alone_are_a_label_error():
    with pytest.raises(LabelError):
        raise_if_any([LABEL, LABEL])
    with pytest.raises(DataError) as caught:
        raise_if_any([LABEL, FIRST])
    assert type(caught.value) is DataError


def test_no_problem_is_no_error():
    raise_if_any([])


def test_a_message_alone_has_no_problems():
    assert DataError("Give a list.").problems == () and str(DataError("Give a list.")) == "Give a list."


@pytest.mark.parametrize("kind", [ConfigError, CheckpointError, DivergedError, DataError, LabelError])
def test_one_tree(kind):
    assert issubclass(kind, ReasonerError) and not issubclass(kind, (ValueError, KeyError))
    assert issubclass(LabelError, DataError)


def test_an_error_survives_the_way_to_another_process():
    error = pickle.loads(pickle.dumps(DataError([FIRST, LABEL])))
    assert str(error) == str(DataError([FIRST, LABEL]))


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [
        ("lerning_rate", ["learning_rate", "seed"], "Did you mean 'learning_rate'?"),
        ("zzz", ["b", "a"], "Known: a, b."),
        (7, [1, 2], "Known: 1, 2."),
        ("x", [], "None is known."),
    ],
)
def test_the_nearest_name_is_suggested(name, known, said):
    assert suggestion(name, known) == said


def test_everything_public_is_documented():
    kinds = [item for item in vars(errors).values() if isinstance(item, type) and item.__module__ == errors.__name__]
    assert all(kind.__doc__ for kind in kinds)
