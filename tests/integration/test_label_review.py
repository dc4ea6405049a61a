"""Do labels that were flipped by hand come out on top of the review of a real training?"""

from __future__ import annotations

import re
from pathlib import Path
from random import Random
from typing import Any

import pytest

import reasoner
from reasoner.errors import ConfigError

NAMES, VERBS = ("Maria", "John", "Laura", "Peter", "Emily", "Tom"), ("sang", "left", "spoke", "slept")
PLACES = ("Oslo", "Lisbon", "Boston", "Prague", "Leeds", "Vienna")
SETTINGS = {"num_train_epochs": 6, "learning_rate": 5e-3, "use_cpu": True, "disable_tqdm": True,
            "evaluate_before": False, "check": False}  # fmt: skip


def rows(task: str, number: int, seed: int) -> list[dict[str, Any]]:
    """Return rows whose label a few words decide."""
    random, made = Random(seed), []
    for _ in range(number):
        name, place, verb = random.choice(NAMES), random.choice(PLACES), random.choice(VERBS)
        if task == "ner":
            words = [name, verb, "in", place, random.choice(("today", "alone", "again")), "."]
            made.append({"tokens": words, "ner_tags": ["B-PER", "O", "O", "B-LOC", "O", "O"]})
        elif task == "nli":
            label = random.choice(("entailment", "contradiction"))
            never = " never" if label == "contradiction" else ""
            made.append({"premise": f"{name} {verb} in {place}.", "hypothesis": f"{name}{never} {verb}.",
                         "label": label})  # fmt: skip
        else:
            label = random.choice(("good", "bad"))
            made.append({"text": f"{name} {verb} in {place}, which was {label}.", "label": label})
    return made


def flip(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with another label, or with another type for its place."""
    if "ner_tags" in row:
        return {**row, "ner_tags": ["B-PER", "O", "O", "B-PER", "O", "O"]}
    other = {"good": "bad", "bad": "good", "entailment": "contradiction", "contradiction": "entailment"}
    return {**row, "label": other[row["label"]]}


@pytest.mark.parametrize("task", ["classification", "nli", "ner"])
def test_flipped_labels_come_out_on_top(task: str, tiny_bert: Path):
    train = rows(task, 200, seed=1)
    flipped = sorted(Random(2).sample(range(len(train)), 10))
    data = {"train": [flip(row) if place in flipped else row for place, row in enumerate(train)],
            "validation": rows(task, 10, seed=3)}  # fmt: skip
    review = reasoner.fine_tune(tiny_bert, data, task=task, **SETTINGS).review(len(flipped))
    found = [entry for entry in review if entry["row"] in flipped]
    assert len(found) >= 9
    for entry in found:
        row = train[entry["row"]]
        assert entry["where"] == f"train, row {entry['row'] + 1}"
        assert 0 <= entry["confidence"] < 0.5 < entry["other_probability"] <= 1
        assert entry["other_label"] == (row["ner_tags"][3] if task == "ner" else row["label"])
        if task == "ner":
            assert (entry["label"], entry["word"], entry["word_index"]) == ("B-PER", row["tokens"][3], 3)


def test_reviewing_changes_nothing_in_training(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch):
    from reasoner.review import LabelRecorder

    data = {"train": rows("ner", 24, seed=1), "validation": rows("ner", 8, seed=3)}
    losses = []
    for recorded in (True, False):
        if not recorded:
            monkeypatch.setattr(LabelRecorder, "on_batch", lambda *arguments: None)
        result = reasoner.fine_tune(tiny_bert, data, task="ner", **SETTINGS)
        losses.append([row["loss"] for row in result.history])
    assert losses[0] == losses[1]


def test_a_long_text_is_one_row_whatever_its_windows(tiny_bert: Path):
    long = [{name: value * 4 for name, value in row.items()} for row in rows("ner", 40, seed=1)]
    long[7]["ner_tags"] = [*long[7]["ner_tags"][:21], "B-PER", "O", "O"]  # in the last of its windows
    data = {"train": long, "validation": rows("ner", 8, seed=3)}
    result = reasoner.fine_tune(tiny_bert, data, task="ner", max_length=16, stride=4, **SETTINGS)
    review = result.review(100)
    assert sorted(entry["row"] for entry in review) == list(range(40))
    assert (review[0]["row"], review[0]["word_index"]) == (7, 21)


def test_a_loaded_model_and_a_task_without_labels_say_why_there_is_none(tiny_bert: Path, tmp_path: Path):
    data = {"train": rows("nli", 8, seed=1), "validation": rows("nli", 4, seed=3)}
    reasoner.fine_tune(tiny_bert, data, task="nli", output_dir=tmp_path / "model", **{**SETTINGS, "max_steps": 1})
    with pytest.raises(ConfigError, match="was loaded"):
        reasoner.load(tmp_path / "model").review()
    numbers = [{"text": row["text"], "label": len(row["text"]) / 7} for row in rows("", 8, seed=1)]
    result = reasoner.fine_tune(
        tiny_bert, {"train": numbers, "validation": numbers[:4]}, task="classification",
        **{**SETTINGS, "max_steps": 1},
    )  # fmt: skip
    with pytest.raises(ConfigError, match=re.escape("SequenceClassificationHead gives no gold_probabilities")):
        result.review()
