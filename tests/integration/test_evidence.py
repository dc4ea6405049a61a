"""Are the training rows that a model sees near an input those that are, and a duplicate the first of them?"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest
from task_cases import CASES

import reasoner
from reasoner.vectors import head_vectors

SETTINGS = {"num_train_epochs": 6, "per_device_train_batch_size": 8, "use_cpu": True, "learning_rate": 3e-3,
            "evaluate_before": False, "check": False, "warmup_steps": 0.0}  # fmt: skip
WORDS = ["lamp", "chair", "street", "people", "walk", "garden", "letter", "book", "river", "house"]


def texts(number: int, seed: int) -> list[dict]:
    random = Random(seed)
    made = [random.choices(WORDS, k=6) for _ in range(number)]
    return [{"text": " ".join(words), "label": "wet" if "river" in words else "dry"} for words in made]


@pytest.mark.parametrize("architecture", ["bert", "modernbert", "gpt2", "llama"])
def test_a_duplicate_comes_first(lively_models, architecture: str):
    data = {"train": texts(48, 0), "validation": texts(16, 1)}
    result = reasoner.fine_tune(lively_models(architecture), data, task="classification", **SETTINGS)
    inputs = list(dict.fromkeys(row["text"] for row in data["train"]))[:20]
    found = reasoner.evidence(result, inputs, number=3)
    assert [one.neighbours[0].texts["text"] for one in found] == inputs
    assert all(one.neighbours[0].similarity == pytest.approx(1, abs=1e-5) for one in found)
    assert all(list(one.neighbours) == sorted(one.neighbours, key=lambda n: -n.similarity) for one in found)


@pytest.mark.parametrize("case", ["ner", "nli", "qa", "multiple_choice", "several labels"])
def test_a_duplicate_comes_first_in_each_task(lively_bert: Path, case: str, tmp_path: Path):
    made = CASES[case]
    result = reasoner.fine_tune(lively_bert, made.splits, task=made.task, **{**SETTINGS, "num_train_epochs": 1})
    result.save(tmp_path / "model")
    rows = made.splits["train"]
    inputs = [tuple(row["tokens"]) if case == "ner" else row.get("text", row) for row in rows]
    found = reasoner.evidence(tmp_path / "model", inputs, made.splits, number=4)
    task = result.predictor.task
    examples = [type(task).Example.from_columns(row, where="") for row in rows]
    assert [one.neighbours[0].texts for one in found] == [example.texts for example in examples]
    assert [one.neighbours[0].gold for one in found] == [task.gold_names(example) for example in examples]
    if case == "multiple_choice":
        assert all(one.agreeing is None for one in found)
    else:
        assert all(0 <= one.agreeing <= 4 for one in found) and 0 <= found.agreement() <= 1


def test_neighbours_are_those_by_hand(lively_bert: Path):
    data = {"train": texts(48, 0), "validation": texts(16, 1)}
    result = reasoner.fine_tune(lively_bert, data, task="classification", **SETTINGS)
    new = [row["text"] for row in texts(6, 9)]
    found = reasoner.evidence(result, new, number=5)
    task = result.predictor.task
    states = [head_vectors(result.predictor, [task.example_from_input(text) for text in of])
              for of in (new, [row["text"] for row in data["train"]])]  # fmt: skip
    for place, one in enumerate(found):
        cosines = [float(np.dot(states[0][place], state) / np.linalg.norm(states[0][place]) / np.linalg.norm(state))
                   for state in states[1]]  # fmt: skip
        order = sorted(range(48), key=lambda row: -cosines[row])[:5]
        assert [near.similarity for near in one.neighbours] == pytest.approx([cosines[row] for row in order], abs=1e-5)
        said = result.predict(new[place])["label"]
        assert one.said == (said,)
        assert one.agreeing == sum(near.gold == (said,) for near in one.neighbours)


def test_what_is_shown_and_refused(lively_bert: Path, tmp_path: Path):
    data = {"train": texts(16, 0), "validation": texts(8, 1)}
    result = reasoner.fine_tune(lively_bert, data, task="classification", **{**SETTINGS, "num_train_epochs": 1})
    found = reasoner.evidence(result, "the river walk", number=2)
    assert max(map(len, str(found).splitlines())) <= 80
    assert "of 2 neighbours agree" in str(found) and "train, row" in str(found)
    assert "<table" in found._repr_html_() and json.loads(json.dumps(found[0].to_dict()))["said"]
    assert reasoner.evidence(result, []) == []
    with pytest.raises(reasoner.ConfigError, match="number is 0"):
        reasoner.evidence(result, "a", number=0)
    result.save(tmp_path / "model")
    with pytest.raises(reasoner.ConfigError, match="are not known"):
        reasoner.evidence(tmp_path / "model", "a")
    with pytest.raises(reasoner.LabelError, match="unknown"):
        reasoner.evidence(result, "a", [{"text": "b", "label": "neither"}])
