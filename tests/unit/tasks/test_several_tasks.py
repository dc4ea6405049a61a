"""Do parts that share an encoder learn, predict and score as they would alone, and is what cannot be shared refused?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

import reasoner
from reasoner.data.examples import examples_from_rows
from reasoner.data.sources import read_splits
from reasoner.errors import ConfigError, DataError
from reasoner.metrics import classification_scores, entity_scores
from reasoner.synthetic import intent_and_slots_pack
from reasoner.tasks.classification import Classification
from reasoner.tasks.intent_and_slots import IntentAndSlots
from reasoner.tasks.ner import NER
from reasoner.tasks.several import SeveralTasks
from reasoner.testing import check_head, check_task

ROWS = intent_and_slots_pack(train=24, validation=0, test=0)["train"]
TWO = SeveralTasks(
    parts={"kind": "classification", "names": NER(head="crf"), "length": Classification(kind="number")},
    columns={"length": {"label": "words"}},
    weights={"names": 2.0},
)


def mixed_rows(task_rows):
    """Rows with a label, tags, and a number."""
    found = zip(task_rows("Classification"), task_rows("NER"), strict=True)
    return [{**one, **other, "words": len(other["tokens"]) / 7} for one, other in found]


def perfect(example):
    tags = [str(tag) for tag in example.parts["slots"].ner_tags]
    entities, start = [], None
    for place, tag in enumerate([*tags, "O"]):
        if start is not None and not tag.startswith("I-"):
            entities.append({"entity_group": tags[start][2:], "start_word": start, "end_word": place})
            start = None
        start = place if tag.startswith("B-") else start
    return {"intent": {"label": example.parts["intent"].label}, "slots": entities}


def test_the_contract_is_kept(tiny_bert, rows_of):
    inputs = ["play something by maria silva", ("book", "a", "table"), {"tokens": ["rain"]}, {"text": "will it rain"}]
    check_task("intent_and_slots", ROWS, model=tiny_bert, inputs=inputs, perfect=perfect)
    check_head(None, task="intent_and_slots", rows=ROWS, model=tiny_bert)
    check_task(TWO, mixed_rows(rows_of), model=tiny_bert, inputs=["The lake lies in the north of Ontario."])
    check_head(None, task=TWO, rows=mixed_rows(rows_of), model=tiny_bert)


@pytest.mark.parametrize(("weights", "share"), [({}, 0.5), ({"intent": 1.0, "slots": 3.0}, 0.75)])
def test_the_loss_is_the_weighted_mean_of_the_mean_losses(prepare, weights, share):
    """Worked out with PyTorch from the hidden states, over all training rows, whatever the batches."""
    predictor, data = prepare(IntentAndSlots(weights=weights), rows=ROWS, sharp=True)
    model, task = predictor.model.double().eval(), predictor.task
    intents, slots = task.tasks["intent"].labels, task.tasks["slots"].labels
    of_texts, of_tokens = (part.layer for part in model.head.parts)
    logits, numbers, token_logits, tags = [], [], [], []
    for (feature,), row in zip(data.features, ROWS, strict=True):
        inputs = {name: torch.tensor([values]) for name, values in feature.inputs.items()}
        hidden = model.network(**inputs).last_hidden_state[0]
        logits.append(of_texts(hidden.mean(0)))
        numbers.append(intents.index(row["intent"]))
        token_logits.append(of_tokens(hidden[[token for _, token, _ in feature.info]]))
        tags += [slots.index(tag) for tag in row["slots"]]
    intent = functional.cross_entropy(torch.stack(logits), torch.tensor(numbers))
    slot = functional.cross_entropy(torch.cat(token_logits), torch.tensor(tags))
    expected = (1 - share) * intent + share * slot
    for size in (5, 100):
        losses = [model.loss(model(batch), batch) for batch in predictor.batches(data, batch_size=size)]
        mean = sum(loss.total for loss in losses) / sum(loss.count for loss in losses)
        assert mean.item() == pytest.approx(expected.item(), rel=1e-9)
    assert intent.item() != pytest.approx(slot.item(), rel=1e-2)


def test_scores_are_those_of_the_parts_with_their_mean_and_the_rows_that_are_all_right(prepare):
    predictor, data = prepare(IntentAndSlots(), rows=ROWS, sharp=True)
    found = predictor.evaluate(data)
    intents = [prediction["intent"]["label"] for prediction in found.predictions]
    tags = []
    for prediction, row in zip(found.predictions, ROWS, strict=True):
        own = ["O"] * len(row["tokens"])
        for entity in prediction["slots"]:
            first, last = entity["start_word"], entity["end_word"]
            own[first:last] = [f"{'I' if n else 'B'}-{entity['entity_group']}" for n in range(last - first)]
        tags.append(own)
    gold = [row["intent"] for row in ROWS]
    classes = classification_scores(gold, intents, labels=sorted(set(gold)))
    entities = entity_scores([row["slots"] for row in ROWS], tags)
    both = [a == b and row["slots"] == c for a, b, row, c in zip(gold, intents, ROWS, tags, strict=True)]
    assert found.metrics["intent.accuracy"] == classes["accuracy"]
    assert found.metrics["slots.f1"] == entities["f1"]
    assert found.metrics["mean_primary"] == pytest.approx((classes["macro_f1"] + entities["f1"]) / 2)
    assert found.metrics["frame_accuracy"] == sum(both) / len(both)
    counts = predictor.task.primary_counts(found.predictions, data.examples)
    assert float(counts.statistic(counts.counts.sum(0))) == pytest.approx(found.metrics["mean_primary"])


def test_a_long_text_is_read_in_windows_by_one_part_and_cut_for_the_other(prepare):
    """The windows that are one part's alone have no loss and no record of the other."""
    rows = [{"tokens": row["tokens"] * 6, "slots": row["slots"] * 6, "intent": row["intent"]} for row in ROWS]
    predictor, data = prepare(IntentAndSlots(), rows=rows, max_length=32, stride=8, sharp=True)
    assert all(len(group) > 1 for group in data.features)
    model = predictor.model.double().eval()
    whole = [model.loss(model(batch), batch) for batch in predictor.batches(data, batch_size=100)]
    losses = [model.loss(model(batch), batch) for batch in predictor.batches(data, batch_size=1)]
    assert sum(loss.total for loss in losses).item() == pytest.approx(sum(loss.total for loss in whole).item())
    task = predictor.task
    tagged = sum(label != -100 for group in data.features for f in group for label in f.token_targets["slots.labels"])
    weights = task._label_weights
    assert float(sum(loss.count for loss in losses)) == pytest.approx(
        len(rows) * weights["intent"] + tagged * weights["slots"]
    )
    predictions = predictor.predict([tuple(row["tokens"]) for row in rows[:3]])
    alone, _ = prepare(IntentAndSlots(), rows=rows, max_length=32, stride=8, sharp=True)
    for row, prediction in zip(rows[:3], predictions, strict=True):
        assert set(prediction) == {"intent", "slots"}
        text = " ".join(row["tokens"])
        first = alone.task.tasks["intent"].encode(
            [alone.task.tasks["intent"].example_from_input(text)], predictor.tokenizer, max_length=32, stride=8
        )[0][0]
        inputs = {name: torch.tensor([values]) for name, values in first.inputs.items()}
        mean = model.network(**inputs).last_hidden_state[0].mean(0)
        scores = model.head.parts[0].layer(mean).softmax(-1).tolist()
        assert list(prediction["intent"]["scores"].values()) == pytest.approx(scores, abs=1e-5)


def test_a_frozen_encoder_is_run_once(tiny_bert):
    pack = intent_and_slots_pack(train=24, validation=8, test=8)
    kept, run = (
        reasoner.fine_tune(
            tiny_bert, pack, task="intent_and_slots", method="head", num_train_epochs=2, use_cpu=True, **more
        )
        for more in ({}, {"frozen_cache_mb": 0, "frozen_cache_disk_mb": 0})
    )
    assert any("computed once and kept" in notice for notice in kept.run.notices)
    assert kept.metrics["train"]["loss"] == pytest.approx(run.metrics["train"]["loss"], rel=1e-5)


def test_parts_with_infos_of_their_own_each_get_theirs(prepare, rows_of):
    task = SeveralTasks(parts={"one": NER(), "two": NER()}, columns={"two": {"ner_tags": "other"}})
    rows = [{**row, "other": ["O", *row["ner_tags"][1:]]} for row in rows_of("NER")]
    predictor, data = prepare(task, rows=rows)
    assert len(data.features[0]) == 1
    assert predictor.evaluate(data).metrics["one.support"] >= predictor.evaluate(data).metrics["two.support"]


def test_a_crf_and_weighted_classes_may_be_parts(prepare):
    parts = {"intent": Classification(class_weights="balanced"), "slots": NER(head="crf", class_weights={"O": 0.5})}
    with pytest.raises(ConfigError, match="does not take: class_weights"):
        prepare(IntentAndSlots(parts=parts), rows=ROWS)
    parts["slots"] = NER(class_weights={"O": 0.5})
    predictor, data = prepare(IntentAndSlots(parts=parts), rows=ROWS)
    (batch,) = predictor.batches(data, batch_size=100)
    # Each part counts alike: the mean weight of its labels in training is in `labels_a_row`.
    model = predictor.model.double().eval()
    loss = model.loss(model(batch), batch)
    assert float(loss.count) == pytest.approx(len(ROWS))


def test_withheld_is_each_part_s_own(prepare):
    predictor, _ = prepare(IntentAndSlots(), rows=ROWS)
    (prediction,) = predictor.predict(["play something"], min_confidence=1.0)
    assert prediction["intent"]["label"] is None and prediction["intent"]["abstained"] and prediction["slots"] == []


def test_what_cannot_be_a_part_is_refused(prepare, rows_of):
    for parts, message in (
        ({}, "has no parts"),
        ({"a.b": "ner"}, "'a.b' cannot name a part"),
        ({"a": 3}, "a is 3"),
        ({"a": "several_tasks"}, "has no parts"),
        ({"a": TWO}, "has parts itself"),
        ({"a": "multiple_choice"}, "needs batches of its own"),
        ({"a": "link_prediction"}, "needs batches of its own"),
        ({"a": NER(document_context=8)}, "document_context"),
    ):
        with pytest.raises(ConfigError, match=message):
            SeveralTasks(parts=parts)
    with pytest.raises(ConfigError, match=r"weights names the part 'slot'\. Did you mean 'slots'"):
        IntentAndSlots(weights={"slot": 1.0})
    with pytest.raises(ConfigError, match="the weight 0"):
        IntentAndSlots(weights={"slots": 0})
    with pytest.raises(ConfigError, match="give 'intent' and 'slots'"):
        IntentAndSlots(parts={"intent": "classification"})
    with pytest.raises(ConfigError, match="case_features change"):
        prepare(IntentAndSlots(parts={"intent": "classification", "slots": NER(case_features=True)}), rows=ROWS)
    with pytest.raises(ConfigError, match="QuestionAnsweringHead needs more of a network"):
        prepare(SeveralTasks(parts={"a": "qa"}), rows=rows_of("QuestionAnswering"))
    with pytest.raises(ConfigError, match="has no parts"):
        reasoner.fine_tune(None, {"train": ROWS}, task="several_tasks")
    with pytest.raises(ConfigError, match="rows of IntentAndSlots have no texts that can be edited"):
        reasoner.fine_tune(None, {"train": ROWS}, task="intent_and_slots", augmentation=1)


def test_what_is_wrong_with_a_row_is_told_with_the_part():
    rows = [{"tokens": ["a", "b"], "slots": ["O"], "intent": "x"}, {"tokens": ["a"], "slots": ["O"]}]
    schema = IntentAndSlots.schema({})
    with pytest.raises(DataError, match="row 1: slots: ner_tags has 1 items, tokens has 2"):
        examples_from_rows(read_splits({"train": rows[:1]}), schema)
    with pytest.raises(DataError, match="intent: column 'label' is missing"):
        examples_from_rows(read_splits({"train": rows[1:]}), schema)


def test_it_is_learned_saved_compared_and_checked(tiny_bert, tmp_path):
    pack = intent_and_slots_pack(train=120, validation=24, test=24)
    report = reasoner.check(tiny_bert, pack, task="intent_and_slots", use_cpu=True)
    assert not report.errors
    result = reasoner.fine_tune(
        tiny_bert, pack, task="intent_and_slots", output_dir=tmp_path / "out", num_train_epochs=10, learning_rate=3e-3,
        r_drop=0.5, per_device_train_batch_size=16, use_cpu=True,
    )  # fmt: skip
    scores = result.metrics["test"]
    assert scores["mean_primary"] > 0.3  # the guess below has 0.08
    assert result.run.intervals["test"]["lower"] <= scores["mean_primary"] <= result.run.intervals["test"]["upper"]
    assert "slots.by type" in str(result)
    loaded = reasoner.load(tmp_path / "out")
    asked = ["play something by maria silva", ("table", "for", "two")]
    assert loaded.predict(asked) == result.predict(asked)
    guess = result.predictor.task.baselines(*(_examples(pack[split]) for split in ("train", "test")))
    assert list(guess) == ["majority, no entity"]
    plain = result.predictor.task.score(next(iter(guess.values())), _examples(pack["test"]))
    assert plain["frame_accuracy"] == 0 and plain["mean_primary"] < scores["mean_primary"]
    other = reasoner.fine_tune(tiny_bert, pack, task="intent_and_slots", max_steps=1, method="lora", use_cpu=True)
    compared = result.compare(other, {"test": pack["test"]})
    assert compared.metric == "mean_primary" and np.isfinite(compared.p_value)


def _examples(rows):
    return examples_from_rows(read_splits({"train": rows}), IntentAndSlots.schema({}))["train"]
