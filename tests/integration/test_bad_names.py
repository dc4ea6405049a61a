"""What does a wrong name, a wrong setting or a wrong input to `predict` get?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from task_cases import CASES, assert_close

import reasoner
from reasoner import NER, ConfigError, DataError

GOOD_WORDS = "Ann B-PER\nleft O\nOslo B-LOC\n\nBob B-PER\nslept O\n"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"task": "nre"}, "There is no task named 'nre'. Did you mean 'ner'?"),
        ({"method": "frezee"}, "There is no method named 'frezee'. Did you mean 'freeze'?"),
        (
            {"task": NER(head="token_classifcation")},
            "There is no head named 'token_classifcation'. Did you mean 'token_",
        ),
        (
            {"batch_siz": 8, "lerning_rate": 1e-3},
            "There is no setting named 'lerning_rate'. Did you mean 'learning_rate'?",
        ),
        ({"num_train_epochs": 0}, "num_train_epochs is 0; it must be an integer of at least 1."),
        ({"optim": "adam", "seed": -1}, "seed is -1; it must be an integer of at least 0. optim is 'adam'; it must be"),
        (
            {"columns": {"tokens": 9}},
            "train.conll: has no column number 9 to read as 'tokens': its lines have 2 columns.",
        ),
    ],
    ids=lambda value: None if isinstance(value, str) else ", ".join(value),
)
def test_unknown_names_and_settings(given: dict[str, Any], message: str, refused: Any) -> None:
    files = {"train.conll": GOOD_WORDS, "validation.conll": GOOD_WORDS}
    error = refused(files, given.pop("task", "ner"), **given)
    assert message in str(error)
    assert isinstance(error, ConfigError | DataError)


def test_every_unknown_setting_is_named(refused: Any) -> None:
    error = refused({"train.conll": GOOD_WORDS}, "ner", epoch=1, patince=2)
    assert "'epoch'" in str(error) and "There is no setting named 'patince'. Did you mean 'patience'?" in str(error)


def test_an_unknown_split(lively_bert: Path) -> None:
    with pytest.raises(ConfigError, match=r"'validaton' is no split\. Did you mean 'validation'\?"):
        reasoner.fine_tune(lively_bert, {"train": [], "validaton": []}, task="ner")


def test_an_unknown_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"The model '.*nowhere' cannot be loaded"):
        reasoner.fine_tune(tmp_path / "nowhere", CASES["ner"].splits, task="ner")


# ---------------------------------------------------------------- predict

WRONG_INPUTS = {
    "ner": (5, "ner predicts for a string, a list of words, or a dict with these, not for 5."),
    "nli": ("just one", "nli predicts for {'premise': ..., 'hypothesis': ...} or a pair, not for 'just one'."),
    "qa": ({"question": "Who?"}, "qa predicts for {'question': ..., 'context': ...}, not for {'question': 'Who?'}."),
    "multiple_choice": ({"question": "Who?", "choices": ["Ann"]}, "choices has 1 items. Give at least two choices."),
    "classification": (None, "classification predicts for a string or a pair of strings, not for None."),
}


@pytest.mark.parametrize("name", WRONG_INPUTS)
def test_predict_says_what_it_takes(name: str, lively_bert: Path) -> None:
    case, (wrong, message) = CASES[name], WRONG_INPUTS[name]
    result = reasoner.fine_tune(
        lively_bert, case.splits, task=case.task, max_steps=1, evaluate_before=False, use_cpu=True
    )
    with pytest.raises(DataError) as alone:
        result.predict(wrong)
    assert str(alone.value) == message
    with pytest.raises(DataError) as among:
        result.predict([case.inputs[0], wrong])
    assert str(among.value) == f"input 1: {message}"
    assert_close(result.predict([case.inputs[0]])[0], result.predict(case.inputs[0]))
