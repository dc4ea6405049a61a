"""Is the word that decides found, by both ways and for each task, and are weights those that one gets by hand?"""

from __future__ import annotations

import json
from math import log
from pathlib import Path
from random import Random

import pytest
from task_cases import CASES

import reasoner
from reasoner.explanations import WAYS

SETTINGS = {"num_train_epochs": 30, "per_device_train_batch_size": 8, "use_cpu": True, "learning_rate": 3e-3,
            "evaluate_before": False, "check": False, "warmup_steps": 0.0}  # fmt: skip
PLANTED = {"sunny": "good", "rainy": "bad"}
PLAIN = {"near": "plain"}
"""Of rows that hold neither: what is likely without the word needs none."""
FILLER = [
    "the",
    "a",
    "in",
    "on",
    "city",
    "street",
    "people",
    "day",
    "it",
    "was",
    "they",
    "saw",
    "near",
    "long",
    "walk",
    "house",
]


def sentence(random: Random, word: str) -> str:
    words = random.choices(FILLER, k=7)
    words.insert(random.randrange(8), word)
    return " ".join(words)


def rows(task: str, number: int, seed: int) -> list[dict]:
    """Rows whose gold is decided by one word."""
    random, made = Random(seed), []
    for _ in range(number):
        several = task in ("classification", "nli")
        word, label = random.choice(sorted({**PLANTED, **(PLAIN if several and seed < 2 else {})}.items()))
        text, other = sentence(random, word), " ".join(random.choices(FILLER, k=4))
        pair = [text.replace(word, "sunny"), text.replace(word, "rainy")]
        made.append(
            {
                "classification": {"text": text, "label": label},
                "nli": {"premise": text, "hypothesis": other, "label": label},
                "multiple_choice": {"question": other, "choices": pair, "label": 0},
                "ner": {"tokens": text.split(), "ner_tags": ["B-W" if w == word else "O" for w in text.split()]},
            }[task]
        )  # fmt: skip
    return made


def inputs(task: str, row: dict):
    return {"classification": lambda: row["text"], "nli": lambda: (row["premise"], row["hypothesis"]),
            "multiple_choice": lambda: {"question": row["question"], "choices": row["choices"]},
            "ner": lambda: tuple(row["tokens"])}[task]()  # fmt: skip


@pytest.fixture(scope="module", params=["classification", "nli", "multiple_choice", "ner"])
def planted(request, lively_bert: Path):
    task = request.param
    data = {"train": rows(task, 160, 0), "validation": rows(task, 24, 1)}
    result = reasoner.fine_tune(lively_bert, data, task=task, **SETTINGS)
    test = rows(task, 20, 2)
    assert result.evaluate(test)[result.run.primary_metric] >= 0.95
    return task, result, test


@pytest.mark.parametrize("by", WAYS)
def test_the_word_that_decides_comes_first_and_faithfully(planted, by):
    task, result, test = planted
    found = reasoner.explain(result, [inputs(task, row) for row in test], by=by)
    assert len(found) >= 0.95 * len(test)
    first = [one.ranked[0].surface in PLANTED for one in found]
    assert sum(first) >= 0.95 * len(first)
    summary = found.summary()["comprehensiveness"]
    assert summary["lower"] > 0, "the words that count are not better than words by chance"


@pytest.mark.parametrize("planted", ["classification"], indirect=True)
def test_occlusion_is_the_fall_of_the_log_probability_with_the_word_masked(planted):
    _, result, test = planted
    text = test[0]["text"]
    (found,) = reasoner.explain(result, text, by="occlusion")
    whole = result.predict(text)
    assert found.probability == pytest.approx(whole["score"], abs=1e-6)
    for number, word in enumerate(found.words):
        words = text.split()
        words[number] = "[MASK]" * len(result.tokenizer.tokenize(words[number]))
        masked = result.predict(" ".join(words))["scores"][whole["label"]]
        assert word.weight == pytest.approx(log(whole["score"]) - log(masked), abs=1e-4)


def test_integrated_gradients_add_up_to_the_whole_rise(planted):
    task, result, test = planted
    for one in reasoner.explain(result, [inputs(task, row) for row in test[:4]], steps=64):
        total = sum(word.weight for word in one.words)
        assert abs(one.error) < 0.05 * max(1.0, abs(total))


def test_training_and_predicting_go_on_as_before(planted):
    task, result, test = planted
    model = result.predictor.model
    before = result.predict([inputs(task, row) for row in test])
    learning = [weight.requires_grad for weight in model.parameters()]
    reasoner.explain(result, inputs(task, test[0]))
    assert result.predict([inputs(task, row) for row in test]) == before
    assert [weight.requires_grad for weight in model.parameters()] == learning


def test_what_is_shown(planted, tmp_path: Path):
    task, result, test = planted
    found = reasoner.explain(result, [inputs(task, row) for row in test[:2]])
    assert max(map(len, str(found).splitlines())) <= 80
    assert found[0].said in str(found)
    assert found._repr_html_().count("<span") == sum(len(one.words) for one in found)
    assert json.loads(json.dumps(found[0].to_dict()))["said"] == found[0].said
    found[0].plot(tmp_path / "words.png")
    assert (tmp_path / "words.png").stat().st_size > 5_000


def test_answers_in_a_context_can_be_explained(lively_bert: Path):
    case = CASES["qa"]
    result = reasoner.fine_tune(lively_bert, case.splits, task=case.task, **{**SETTINGS, "num_train_epochs": 2})
    row = {"question": "Who sleeps in Rome?", "context": "Anna sleeps in Rome. Paul runs in Oslo."}
    (found,) = reasoner.explain(result, {"question": row["question"], "context": row["context"]}, by="occlusion")
    assert found.texts == (row["question"], row["context"])
    assert 0 < found.probability < 1


def test_what_cannot_be_explained_is_refused_or_said(lively_bert: Path, caplog):
    numbers = [{"text": f"it is {n}", "label": n / 2} for n in range(12)]
    result = reasoner.fine_tune(
        lively_bert,
        {"train": numbers, "validation": numbers},
        task="classification",
        **{**SETTINGS, "num_train_epochs": 1},
    )
    assert reasoner.explain(result, "it is 3") == []
    assert "nothing to explain" in caplog.text
    with pytest.raises(reasoner.ConfigError, match=r"by is 'occlusoin'\. Did you mean 'occlusion'"):
        reasoner.explain(result, "it is 3", by="occlusoin")
    with pytest.raises(reasoner.ConfigError, match="steps is 0"):
        reasoner.explain(result, "it is 3", steps=0)
