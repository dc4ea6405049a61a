"""Are labels that a model gives as right as was wanted, balanced, counted, and is what they give measured?"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
from task_cases import CASES

import reasoner
from reasoner.labelling.pseudo import kind_of

SETTINGS = {"num_train_epochs": 20, "per_device_train_batch_size": 8, "use_cpu": True, "learning_rate": 3e-3,
            "evaluate_before": False, "check": False, "warmup_steps": 0.0}  # fmt: skip
WORDS = ["lamp", "chair", "street", "people", "walk", "garden", "letter", "book"]
WET, DRY = ["river", "rain", "lake"], ["house", "city", "road"]


def rows(number: int, seed: int, *, wet: float = 0.5, noise: float = 0.1) -> list[dict]:
    """Texts with a word that tells the label, which is turned in some."""
    random, made = Random(seed), []
    for place in range(number):
        label = "wet" if random.random() < wet else "dry"
        words = random.choices(WORDS, k=4)
        words.insert(random.randrange(5), random.choice(WET if label == "wet" else DRY))
        told = label if random.random() >= noise else {"wet": "dry", "dry": "wet"}[label]
        made.append({"text": " ".join(words) + f" {place}", "label": told, "page": place})
    return made


DATA = {"train": rows(60, 0, wet=0.3), "validation": rows(60, 1), "test": rows(60, 2)}


@pytest.fixture(scope="module")
def teacher(lively_bert: Path) -> reasoner.Result:
    return reasoner.fine_tune(lively_bert, DATA, task="classification", **SETTINGS)


def test_the_threshold_is_the_lowest_that_keeps_the_promise(teacher):
    found = reasoner.pseudo_labels(teacher, rows(40, 5), DATA["validation"], precision=0.8)
    said = teacher.predict([row["text"] for row in DATA["validation"]])
    sure = sorted(
        ((one["score"], one["label"] == row["label"]) for one, row in zip(said, DATA["validation"], strict=True)),
        reverse=True,
    )
    right = [sum(hit for _, hit in sure[:place]) / place for place in range(1, len(sure) + 1)]
    place = max(place for place in range(10, len(sure) + 1) if right[place - 1] >= 0.8)
    assert found.threshold == pytest.approx(sure[place - 1][0], abs=1e-5)
    assert (found.validation.right, found.validation.rows) == (round(right[place - 1] * place), place)
    assert found.validation.lower < right[place - 1] < found.validation.upper


def test_labels_are_what_is_predicted_and_judged_by_the_gold(teacher):
    pool = rows(40, 5)
    found = reasoner.pseudo_labels(teacher, pool, DATA["validation"], precision=0.8, balanced=False)
    said = dict(zip((row["text"] for row in pool), teacher.predict([row["text"] for row in pool]), strict=True))
    sure = {text: one for text, one in said.items() if one["score"] >= found.threshold}
    assert {row["text"]: row["label"] for row in found} == {text: one["label"] for text, one in sure.items()}
    assert all(row["page"] == pool[row["page"]]["page"] for row in found), "the row's own columns stay"
    gold = {row["text"]: row["label"] for row in pool}
    assert found.right.right == sum(one["label"] == gold[text] for text, one in sure.items())
    assert found.right.rows == len(sure)
    bare = [{"text": row["text"]} for row in pool]
    without = reasoner.pseudo_labels(teacher, bare, DATA["validation"], precision=0.8, balanced=False)
    assert without.right is None and len(without) == len(found)


def test_no_label_gets_more_than_its_share_in_training(teacher):
    pool = rows(80, 6, wet=0.8)
    free = reasoner.pseudo_labels(teacher, pool, DATA["validation"], precision=0.7, balanced=False)
    kept = reasoner.pseudo_labels(teacher, pool, DATA["validation"], precision=0.7)
    share = sum(row["label"] == "wet" for row in DATA["train"]) / 60
    counts = {one.label: one for one in kept.counts}
    assert counts["wet"].taken == min(counts["wet"].sure, round(share * len(free)))
    assert len(kept) < len(free) == sum(one.sure for one in kept.counts)
    surest = [one.probability for one in free.taken if one.columns["label"] == "wet"][: counts["wet"].taken]
    assert [one.probability for one in kept.taken if one.columns["label"] == "wet"] == surest


def test_the_student_learns_from_both_and_is_compared(lively_bert: Path, caplog):
    pool = rows(60, 5)
    found = reasoner.self_train(
        lively_bert, DATA, [*pool, DATA["train"][0], DATA["test"][0]], task="classification", precision=0.8, **SETTINGS
    )
    assert "2 unlabelled rows are in the training data already" in caplog.text
    plain = reasoner.fine_tune(lively_bert, DATA, task="classification", **SETTINGS)
    (one,) = found.rounds
    by_hand = reasoner.pseudo_labels(plain, pool, DATA["validation"], precision=0.8)
    assert list(one.labels) == list(by_hand)
    assert found.before == plain.metrics["validation"]["macro_f1"]
    assert one.comparison.before == pytest.approx(plain.metrics["test"]["macro_f1"])
    more = {**DATA, "train": [*DATA["train"], *by_hand]}
    student = reasoner.fine_tune(lively_bert, more, task="classification", **SETTINGS)
    assert one.validation == student.metrics["validation"]["macro_f1"]
    assert one.comparison.after == pytest.approx(student.metrics["test"]["macro_f1"])
    best = student if found.best else plain
    assert found.result.metrics["test"]["macro_f1"] == pytest.approx(best.metrics["test"]["macro_f1"])
    gold = {row["text"]: row["label"] for row in pool}
    wrong = [row for row in by_hand if row["label"] != gold[row["text"]]]
    said = student.predict([row["text"] for row in wrong])
    assert one.mistakes.wrong == len(wrong) > 0
    assert one.mistakes.repeated == sum(a["label"] == row["label"] for a, row in zip(said, wrong, strict=True))
    assert one.mistakes.corrected == len(wrong) - one.mistakes.repeated, "there are two labels"
    text = str(found)
    assert max(map(len, text.splitlines())) <= 80, text
    assert "wrong labels that it was given the student repeats" in " ".join(text.split())
    assert json.loads(json.dumps(found.to_dict()))["rounds"][0]["labels"]["taken"] == len(by_hand)
    assert "<table" in found._repr_html_()


@pytest.mark.parametrize("case", ["ner", "qa", "multiple_choice", "several labels"])
def test_other_tasks(lively_bert: Path, case: str):
    made = CASES[case]
    settings = {**SETTINGS, "num_train_epochs": 1}
    more = {"ner": reasoner.synthetic.ner_pack, "qa": reasoner.synthetic.qa_pack,
            "multiple_choice": reasoner.synthetic.multiple_choice_pack}  # fmt: skip
    splits = more[case](train=24, validation=24, test=12, seed=7) if case in more else made.splits
    splits = {**splits, "validation": [*splits["validation"], *splits["test"]]}
    result = reasoner.fine_tune(lively_bert, {**splits, "test": None}, task=made.task, **settings)
    found = reasoner.pseudo_labels(result, splits["test"], splits["validation"], precision=0.01, balanced=case == "ner")
    task = result.predictor.task
    if found.threshold is None:
        assert not found and "No row is labelled" in str(found)
        return
    assert found.right.rows == len(found)
    assert sum(one.sure for one in found.counts) >= len(found)
    schema = task.schema(task.settings())
    for one in found.taken:
        again = schema.from_columns(one.columns, where="")
        assert task.gold_names(again) == task.gold_names(one.example)
        assert kind_of(task, again) in {count.label for count in found.counts}


def test_where_no_threshold_does_nothing_is_labelled(teacher):
    turned = [{**row, "label": {"wet": "dry", "dry": "wet"}[row["label"]]} for row in DATA["validation"]]
    found = reasoner.pseudo_labels(teacher, rows(20, 5), turned, precision=0.95)
    assert list(found) == [] and found.threshold is None
    assert "No row is labelled: no threshold makes 95%" in str(found)


def test_a_round_that_labels_nothing_says_so(lively_bert: Path):
    turned = [{**row, "label": {"wet": "dry", "dry": "wet"}[row["label"]]} for row in DATA["validation"]]
    settings = {**SETTINGS, "num_train_epochs": 1}
    found = reasoner.self_train(
        lively_bert, {**DATA, "validation": turned}, rows(20, 5), task="classification", precision=1.0, **settings
    )
    assert (found.rounds, found.best) == ((), 0)
    assert found.before_compared == found.result.metrics["test"]["macro_f1"]
    assert "Round 1 labels nothing. No row is labelled: no threshold makes 100%" in " ".join(str(found).split())


def test_what_makes_no_sense_is_refused(teacher, lively_bert: Path, tiny_models):
    for precision in (0, 1.5, "x"):
        with pytest.raises(reasoner.ConfigError, match="precision is"):
            reasoner.pseudo_labels(teacher, rows(5, 5), DATA["validation"], precision=precision)
    with pytest.raises(reasoner.ConfigError, match="rounds is 0"):
        reasoner.self_train(lively_bert, DATA, rows(5, 5), task="classification", rounds=0)
    numbers = [{"text": f"it is {n}", "label": n / 2} for n in range(12)]
    result = reasoner.fine_tune(lively_bert, {"train": numbers, "validation": numbers}, task="classification",
                                **{**SETTINGS, "num_train_epochs": 1})  # fmt: skip
    with pytest.raises(reasoner.ConfigError, match="do not say here how likely a row is to be right"):
        reasoner.pseudo_labels(result, rows(5, 5), numbers)
    texts = {"train": [{"prompt": "a", "completion": "b"}] * 4, "validation": [{"prompt": "a", "completion": "b"}] * 2}
    with pytest.raises(reasoner.ConfigError, match="no column for a label"):
        reasoner.self_train(tiny_models("gpt2"), texts, [{"prompt": "c"}], task="generation")
