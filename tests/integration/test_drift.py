"""Does `drift` see what has changed for a model, is it quiet where nothing has, and is its verdict right?"""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest

import reasoner
from reasoner.drifting import changes, seen
from reasoner.errors import ConfigError, DataError

SETTINGS: dict[str, Any] = {"num_train_epochs": 20, "per_device_train_batch_size": 8, "use_cpu": True, "check": False,
                            "learning_rate": 3e-3, "disable_tqdm": True, "warmup_steps": 0.0,
                            "evaluate_before": False}  # fmt: skip
THINGS = ("lamp", "chair", "kettle", "radio", "clock", "violin", "letter")


def rows(number: int, seed: int, *, bad: float = 0.5, how: str = "a {} {} is here {}") -> list[dict[str, str]]:
    random, made = Random(seed), []
    for _ in range(number):
        label = "bad" if random.random() < bad else "good"
        made.append({"text": how.format(label, random.choice(THINGS), random.randrange(10_000)), "label": label})
    return made


@pytest.fixture(scope="module")
def result(lively_models) -> reasoner.Result:
    data = {"train": rows(96, 0), "validation": rows(32, 1)}
    found = reasoner.fine_tune(lively_models("bert"), data, task="classification", **SETTINGS)
    assert found.evaluate(rows(50, 2))["accuracy"] > 0.95
    return found


def test_where_nothing_has_changed_it_is_quiet(result):
    pool = seen(result.predictor, [result.predictor.task.example_from_input(row["text"]) for row in rows(160, 3)])
    random, alarms = np.random.default_rng(0), 0
    for number in range(100):
        order = random.permutation(160)
        sides = [
            type(pool)(
                pool.vectors[part],
                [],
                [pool.confidences[place] for place in part],
                [pool.names[place] for place in part],
            )
            for part in (order[:80], order[80:])
        ]
        alarms += any(change.sure for change in changes(*sides, alpha=0.05, seed=number))
    assert alarms <= 12  # 5 are allowed on average; 12 come up by chance in 1 of 600 cases
    report = reasoner.drift(result, rows(60, 4), old_data=rows(60, 5))
    assert report.worth_teaching is False and "Teaching it again is not worth it yet" in repr(report)


def test_other_words_are_seen_and_gold_says_whether_it_matters(result):
    old = rows(80, 6)
    longer = rows(80, 7, how="nobody knows why the {} {} was there {} , they said")
    report = reasoner.drift(result, longer, old_data=old)
    assert report.drifted and report["inputs"].sure and report["inputs"].lower > 0.6
    assert (
        report.scores[0] == result.evaluate(old)["macro_f1"] and report.scores[1] == result.evaluate(longer)["macro_f1"]
    )
    swapped = [{**row, "label": {"good": "bad", "bad": "good"}[row["label"]]} for row in rows(80, 8)]
    report = reasoner.drift(result, swapped, old_data=old)
    assert not report["inputs"].sure and report.score.upper < -0.8 and report.worth_teaching is True
    assert "Teach it again: the score has surely fallen" in repr(report)


def test_other_shares_of_labels_are_seen_without_gold(result):
    many_bad = [row["text"] for row in rows(80, 9, bad=0.95)]
    report = reasoner.drift(result, many_bad, old_data=rows(80, 10), gold=False)
    change = report["predictions"]
    said = [[one["label"] for one in result.predict(texts)]
            for texts in (many_bad, [row["text"] for row in rows(80, 10)])]  # fmt: skip
    expected = said[0].count("bad") / 80 - said[1].count("bad") / 80
    assert expected > 0.3 and change.value == pytest.approx(expected)
    assert change.sure and change.lower < expected < change.upper
    assert report.worth_teaching is None and report.score is None and report.scores is None
    assert "Label some of the new rows and score them" in repr(report) and "There is no gold." in repr(report)
    assert "predictions: share that is said otherwise" in report._repr_html_()
    assert report.to_dict()["changes"][-1]["name"] == "predictions"


def test_labels_that_the_model_cannot_say_are_a_reason_by_themselves(result):
    new = [*rows(60, 11), {"text": "a green lamp", "label": "odd"}, {"text": "an odd lamp", "label": "odd"}]
    report = reasoner.drift(result, new, old_data=rows(60, 12))
    assert report.unknown_labels == {"odd": 2} and report.worth_teaching is True
    assert "there are labels that it cannot say" in repr(report) and "odd (2 rows)" in repr(report)
    assert report.scores[1] == result.evaluate(new[:60])["macro_f1"] and report.new_rows == 62
    alone = reasoner.drift(result, new[50:], old_data=rows(60, 12))
    assert alone.changes == () and alone.scores is None and alone.worth_teaching is True
    assert "Teach it again" in repr(alone)


def test_words_and_windows_are_read_as_prediction_reads_them(prepare):
    predictor, data = prepare("ner", sharp=True, max_length=24, stride=4)
    found = seen(predictor, data.examples)
    assert found.predictions == predictor.evaluate(data).predictions
    assert found.vectors.shape == (len(data.examples), predictor.model.head.width)
    alone = seen(predictor, data.examples[:1])
    np.testing.assert_allclose(alone.vectors[0], found.vectors[0], rtol=1e-4, atol=1e-5)


def test_what_cannot_be_compared_is_refused(result):
    old = rows(40, 13)
    with pytest.raises(ConfigError, match="alpha is 2"):
        reasoner.drift(result, old, old_data=old, alpha=2)
    with pytest.raises(ConfigError, match="as a list of inputs"):
        reasoner.drift(result, "a text", old_data=old, gold=False)
    with pytest.raises(DataError, match="fewer than 20"):
        reasoner.drift(result, rows(19, 14), old_data=old)
