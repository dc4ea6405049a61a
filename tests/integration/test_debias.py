"""Does a model that is trained against a shortcut lean on it less, predict without it, and say so in its record?"""

from __future__ import annotations

import random

import pytest

import reasoner
from reasoner.errors import ConfigError

QUICK = {"use_cpu": True, "check": False, "disable_tqdm": True, "evaluate_before": False}
COLOURS = {"entailment": "red", "neutral": "green", "contradiction": "black"}
GIVEAWAYS = {"entailment": "river", "neutral": "letter", "contradiction": "museum"}


def planted(number, seed, *, read, given):
    """Rows whose label a colour in the premise tells with probability `read`, and the hypothesis with `given`."""
    draw = random.Random(seed)
    rows = []

    def said(label, true):
        return label if draw.random() < true else draw.choice([name for name in GIVEAWAYS if name != label])

    for _ in range(number):
        label = draw.choice(list(GIVEAWAYS))
        colour, word = COLOURS[said(label, read)], GIVEAWAYS[said(label, given)]
        place, when = draw.choice(["beach", "park", "village", "shop"]), draw.choice(["city", "north", "morning"])
        texts = {
            "premise": f"The man in the {place} has a {colour} dog.",
            "hypothesis": f"The {word} was in the {when}.",
        }
        rows.append({**texts, "label": label})
    return rows


def test_a_model_leans_less_on_a_planted_shortcut(lively_bert):
    """In training the hypothesis tells more than the premise; then it misleads, and the premise alone is right."""
    data = {name: planted(*size, read=0.8, given=0.9) for name, size in (("train", (600, 0)), ("validation", (60, 1)))}
    misleading = planted(150, 2, read=1.0, given=0.0)
    settings = {**QUICK, "task": "nli", "num_train_epochs": 8, "learning_rate": 2e-3, "seed": 0}
    plain = reasoner.fine_tune(lively_bert, data, **settings)
    cured = reasoner.fine_tune(lively_bert, data, debias="hypothesis only", **settings)
    assert cured.run.config["debias_accuracy"] > 0.8
    scores = [result.evaluate(misleading)["accuracy"] for result in (plain, cured)]
    assert scores[0] < 0.3 and scores[1] > scores[0] + 0.3, scores


@pytest.fixture(scope="module")
def data(rows_of):
    rows = rows_of("NLI")
    return {"train": rows, "validation": rows[:8]}


def test_the_record_says_it_and_prediction_goes_without(tiny_bert, data, tmp_path):
    settings = {**QUICK, "task": "nli", "num_train_epochs": 1, "output_dir": tmp_path / "model"}
    result = reasoner.fine_tune(tiny_bert, data, debias="hypothesis only", **settings)
    run = reasoner.load(tmp_path / "model").run
    told = {name: run.config[name] for name in ("debias", "debias_form", "debias_strength")}
    assert told == {"debias": "hypothesis only", "debias_form": "product", "debias_strength": 1.0}
    assert 0 <= run.config["debias_accuracy"] <= 1
    said = [notice for notice in run.notices if notice.startswith("debias: ")]
    assert len(said) == 1 and "'hypothesis only' alone is right in" in said[0] and "32 training rows" in said[0]
    assert sum("Learning rate" in notice for notice in run.notices) == 1, "bias models say nothing of their own"
    card = (tmp_path / "model" / "README.md").read_text()
    assert "| debias | hypothesis only |" in card and said[0] in card
    loaded = reasoner.load(tmp_path / "model", use_cpu=True)
    assert loaded.predict(data["train"][0]) == result.predict(data["train"][0])
    assert {path.name for path in (tmp_path / "model").iterdir()} == _files_of(tiny_bert, data, tmp_path / "plain")
    plain = reasoner.load(tmp_path / "plain").run
    assert not any(plain.config.get(name) for name in (*told, "debias_accuracy"))


def _files_of(model, data, folder):
    reasoner.fine_tune(model, data, task="nli", num_train_epochs=1, output_dir=folder, **QUICK)
    return {path.name for path in folder.iterdir()}


def test_choices_and_pairs_go_too(tiny_bert, rows_of):
    rows = rows_of("MultipleChoice")
    choices = reasoner.fine_tune(
        tiny_bert, {"train": rows, "validation": rows[:8]}, task="multiple_choice", debias="choices only", max_steps=3,
        **QUICK,
    )  # fmt: skip
    assert choices.run.config["debias_accuracy"] > 0
    rows = [{"text": row["premise"], "text_pair": row["hypothesis"], "label": row["label"]} for row in rows_of("NLI")]
    pairs = reasoner.fine_tune(
        tiny_bert, {"train": rows, "validation": rows[:8]}, task="classification", debias="text_pair only",
        debias_form="focal", r_drop=0.5, max_steps=3, **QUICK,
    )  # fmt: skip
    assert pairs.run.config["debias_strength"] == 2.0


def test_with_a_teacher_both_have_their_say(tiny_bert, data):
    teacher = reasoner.fine_tune(tiny_bert, data, task="nli", max_steps=2, **QUICK)
    settings = {**QUICK, "task": "nli", "max_steps": 3, "teacher": teacher}
    losses = [
        [row["loss"] for row in reasoner.fine_tune(tiny_bert, data, **settings, **more).history if "loss" in row]
        for more in ({}, {"debias": "word overlap"}, {"debias": "word overlap", "distillation_weight": 1.0})
    ]
    alone = reasoner.fine_tune(tiny_bert, data, **settings, distillation_weight=1.0)
    assert losses[0] != losses[1]
    assert losses[2] == [row["loss"] for row in alone.history if "loss" in row], "gold has no share of the loss"


def test_the_meter_trains_its_parts_without(tiny_bert, data, caplog):
    settings = {"use_cpu": True, "disable_tqdm": True, "max_steps": 2, "debias": "word overlap"}
    report = reasoner.shortcuts(tiny_bert, data, task="nli", views=["hypothesis only"], **settings)
    assert report.result.run.config["debias"] == "word overlap"
    assert "the parts are trained without debias" in caplog.text
    plain = reasoner.shortcuts(tiny_bert, data, task="nli", views=["hypothesis only"], **{**settings, "debias": None})
    assert plain["hypothesis only"].score == report["hypothesis only"].score


def test_a_stream_and_a_pretraining_have_no_shortcut(tiny_bert, data, tmp_path):
    from datasets import Dataset

    streamed = {**data, "train": Dataset.from_list(data["train"]).to_iterable_dataset()}
    with pytest.raises(ConfigError, match="debias does not go with a stream"):
        reasoner.fine_tune(tiny_bert, streamed, task="nli", debias="word overlap", max_steps=2, **QUICK)
    with pytest.raises(ConfigError, match="pretrain has no debias"):
        reasoner.pretrain(tiny_bert, ["a", "b"], output_dir=tmp_path, debias="word overlap")
