"""Is a planted bias found with its sign, and none where there is none?"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

import reasoner
from reasoner import WordGroup

COLOURS = WordGroup("colour", {"red": ["red", "crimson"], "blue": ["blue", "navy"], "green": ["green", "olive"]})
SETTINGS = {"num_train_epochs": 30, "per_device_train_batch_size": 8, "use_cpu": True, "learning_rate": 3e-3,
            "evaluate_before": False, "check": False, "warmup_steps": 0.0}  # fmt: skip


def rows(number: int, *, planted: float, seed: int) -> list[dict[str, str]]:
    """Sentences whose label is told by an adjective, or, in this share of them, by the pronoun instead."""
    random, made = Random(seed), []
    for _ in range(number):
        who, how = random.choice(["he", "she"]), random.choice(["bad", "good"])
        by_pronoun = random.random() < planted
        label = ("good" if who == "he" else "bad") if by_pronoun else how
        made.append({"text": f"{who} is {'a' if by_pronoun else how} person", "label": label})
    return made


def trained(model: Path, planted: float) -> reasoner.Result:
    data = {"train": rows(96, planted=planted, seed=0), "validation": rows(24, planted=planted, seed=1)}
    return reasoner.fine_tune(model, data, task="classification", **SETTINGS)


def test_a_planted_bias_is_found_with_its_sign(lively_bert: Path) -> None:
    result = trained(lively_bert, planted=1.0)
    test = rows(60, planted=1.0, seed=2)
    assert result.evaluate(test)["accuracy"] == 1.0
    found = reasoner.bias(result, test)["gender"]
    assert (found.rows, found.differing) == (60, 60)
    gaps = {gap.label: gap for gap in found.label_gaps}
    assert (gaps["good"].value, gaps["good"].against, gaps["good"].difference) == ("female", "male", -1.0)
    assert (gaps["bad"].difference, gaps["bad"].sure) == (1.0, True)


def test_where_the_label_does_not_depend_on_it_the_interval_holds_zero(lively_bert: Path) -> None:
    result = trained(lively_bert, planted=0.0)
    test = rows(60, planted=0.0, seed=2)
    assert result.evaluate(test)["accuracy"] == 1.0
    report = reasoner.bias(result, test)
    (found,) = report.outcomes
    assert all(gap.lower <= 0 <= gap.upper and not gap.sure for gap in (*found.score_gaps, *found.label_gaps))
    assert found.share < 0.1


def test_gaps_are_those_of_predictions_by_hand(lively_bert: Path) -> None:
    random = Random(0)
    made = [
        {"text": f"a {random.choice(['red', 'navy', 'green'])} thing {n % 7}", "label": random.choice(["x", "y"])}
        for n in range(40)
    ]
    result = reasoner.fine_tune(
        lively_bert, {"train": made, "validation": made}, task="classification", **{**SETTINGS, "num_train_epochs": 3}
    )
    found = reasoner.bias(result, made, groups=[COLOURS])["colour"]
    places = {word: place for words in COLOURS.words.values() for place, word in enumerate(words)}
    told = {
        value: [" ".join(words[places[w]] if w in places else w for w in row["text"].split()) for row in made]
        for value, words in COLOURS.words.items()
    }
    said = {value: [one["label"] for one in result.predict(texts)] for value, texts in told.items()}
    assert found.differing == sum(len(set(of_row)) > 1 for of_row in zip(*said.values(), strict=True))
    share = {value: labels.count("x") / 40 for value, labels in said.items()}
    for gap in found.label_gaps:
        if gap.label == "x":
            others = [share[value] for value in share if value != gap.value]
            assert gap.difference == pytest.approx(share[gap.value] - sum(others) / 2)
    for value, texts in told.items():
        expected = result.evaluate(
            [{"text": text, "label": row["label"]} for text, row in zip(texts, made, strict=True)]
        )
        assert found.scores[value] == pytest.approx(expected["macro_f1"])


def test_the_report_can_be_read_and_entities_move_along(lively_bert: Path, caplog: pytest.LogCaptureFixture) -> None:
    sentence = {
        "tokens": ["Anna", "met", "her", "sister", "in", "Rome"],
        "ner_tags": ["B-PER", "O", "O", "O", "O", "B-LOC"],
    }
    data = {"train": [sentence] * 8, "validation": [sentence] * 2, "test": [sentence] * 3}
    result = reasoner.fine_tune(lively_bert, data, task="ner", **{**SETTINGS, "num_train_epochs": 1})
    unscored = {**sentence, "ner_tags": ["B-PER", "O", "O", "O", "O", -100]}  # its text cannot be edited
    report = reasoner.bias(result, {**data, "test": [*data["test"], unscored]})
    assert "1 rows of test with a word of 'gender' cannot be edited and are left out." in caplog.text
    assert [outcome.name for outcome in report.outcomes] == ["gender"]
    assert "0 rows of test have a word of 'nationality'" in caplog.text
    assert max(map(len, str(report).splitlines())) <= 80
    assert json.loads(json.dumps(report.to_dict()))["outcomes"][0]["rows"] == 3
    assert "gender" in report._repr_html_()


def test_what_cannot_be_measured_is_refused(lively_bert: Path) -> None:
    made = [{"text": f"he is {n}", "label": n / 2} for n in range(12)]
    result = reasoner.fine_tune(
        lively_bert, {"train": made, "validation": made}, task="classification", **{**SETTINGS, "num_train_epochs": 1}
    )
    with pytest.raises(reasoner.ConfigError, match="cannot be told apart"):
        reasoner.bias(result, made)
    with pytest.raises(reasoner.ConfigError, match="each name once"):
        reasoner.bias(result, made, groups=[COLOURS, COLOURS])


def test_the_place_of_a_choice_is_no_label(lively_bert: Path) -> None:
    random = Random(3)
    rows = [
        {"context": f"{random.choice(['he', 'she'])} is a {random.choice(['tall', 'small'])} one", "question": "how?",
         "choices": ["tall", "small", "old"], "label": random.choice([0, 1])}
        for _ in range(24)
    ]  # fmt: skip
    data = {"train": rows, "validation": rows[:8], "test": rows[:16]}
    result = reasoner.fine_tune(lively_bert, data, task="multiple_choice", **{**SETTINGS, "num_train_epochs": 1})
    outcome = reasoner.bias(result, data)["gender"]
    assert outcome.rows == 16 and [gap.label for gap in outcome.score_gaps] == [None] and outcome.label_gaps == ()
