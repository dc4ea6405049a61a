"""Is the temperature the likeliest, does it change no prediction, and is it kept only where it is worth something?"""

from __future__ import annotations

import json
from dataclasses import replace
from shutil import copytree

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import AutoConfig, AutoModelForMaskedLM

from reasoner.calibration import (
    MOST_SCORES,
    TEMPERATURES,
    _best_temperature,
    _evaluated,
    _thinned,
    calibrate,
    conformal_scores,
    reliability,
)
from reasoner.errors import CheckpointError, ConfigError
from reasoner.heads.base import TaskHead
from reasoner.losses import IGNORED, binary_cross_entropy
from reasoner.metrics import calibration_error, fit_temperature
from reasoner.metrics.calibration import threshold_at
from reasoner.notices import collect
from reasoner.registry import register_head
from reasoner.reports.run import Run
from reasoner.storage import CONFIG_FILE, load_folder, save_folder
from reasoner.tasks.classification import Classification
from reasoner.tasks.generation import Generation
from reasoner.tasks.multiple_choice import MultipleChoice
from reasoner.tasks.ner import NER, NERExample
from reasoner.tasks.nli import NLI
from reasoner.tasks.qa import QuestionAnswering
from tiny import CORPUS

TASKS = {
    "ner": NER(class_weights="balanced", label_smoothing=0.2),
    "nli": NLI(class_weights="balanced", label_smoothing=0.2),
    "multi": Classification(kind="multi", threshold=0.3, label_smoothing=0.2),
    "qa": QuestionAnswering(no_answer_threshold=0.2),
    "multiple_choice": MultipleChoice(),
}
SCORES = {"score", "scores", "no_answer_score"}


# ---------------------------------------------------------------- the fit


@torch.inference_mode()
def gold_drawn_from_the_model(predictor, data, temperature=1.7, seed=0):
    """Replace the targets by draws from the model's own probabilities at a temperature; return logits and labels.

    What is returned is (rows, labels), padded with -inf, and (rows,): a table for `metrics.fit_temperature`.
    """
    generator = torch.Generator().manual_seed(seed)
    features, table = [feature for group in data.features for feature in group], []

    def drawn(logits):
        label = int(torch.multinomial((logits.double() / temperature).softmax(-1), 1, generator=generator))
        table.append((logits.tolist(), label))
        return label

    for batch in predictor.batches(data):
        outputs = predictor.model.eval()(batch)
        groups = {}
        for row, index in enumerate(batch.feature_index):
            feature = features[index]
            if "start_logits" in outputs:
                for name in ("start", "end"):
                    feature.targets[f"{name}_positions"] = drawn(outputs[f"{name}_logits"][row, : len(feature)])
            elif predictor.task.keep_together:
                groups.setdefault(int(batch.group[row]), []).append(row)
            elif outputs["logits"].ndim == 3:
                labels = feature.token_targets["labels"]
                for token, label in enumerate(labels):
                    labels[token] = IGNORED if label == IGNORED else drawn(outputs["logits"][row, token])
            elif isinstance(feature.targets["labels"], list):
                pairs = torch.stack([torch.zeros_like(outputs["logits"][row]), outputs["logits"][row]], -1)
                feature.targets["labels"] = [float(drawn(pair)) for pair in pairs]
            else:
                feature.targets["labels"] = drawn(outputs["logits"][row])
        for rows in groups.values():
            right = drawn(outputs["logits"][rows, 0])
            for place, row in enumerate(rows):
                features[batch.feature_index[row]].targets["labels"] = float(place == right)
    width = max(len(logits) for logits, _ in table)
    padded = [logits + [-np.inf] * (width - len(logits)) for logits, _ in table]
    return np.array(padded), np.array([label for _, label in table])


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("batch_size", [3, 64])
def test_the_streamed_fit_is_that_of_all_logits_at_once(prepare, name, batch_size):
    predictor, data = prepare(TASKS[name], sharp=True)
    logits, labels = gold_drawn_from_the_model(predictor, data)
    expected = fit_temperature(logits, labels)
    assert 0.5 < expected < 6
    _, curve = _evaluated(replace(predictor, batch_size=batch_size), data)
    found = _best_temperature([50 * value for value in curve], all_right=False)  # as if there were 50 times the rows
    assert found == pytest.approx(expected, rel=0.002)


def test_the_fit_finds_the_temperature_that_the_gold_was_drawn_with(prepare):
    predictor, data = prepare(NER(), sharp=True)
    found = []
    for seed in range(8):
        gold_drawn_from_the_model(predictor, data, temperature=2.5, seed=seed)
        found.append(_best_temperature(_evaluated(predictor, data)[1], all_right=False))
    assert np.mean(found) == pytest.approx(2.5, rel=0.1)  # 300 words each; a single draw is off by 15%


@pytest.mark.parametrize("name", TASKS)
def test_scoring_is_not_changed_by_the_fit_beside_it(prepare, name):
    predictor, data = prepare(TASKS[name], sharp=True)
    expected = predictor.evaluate(data)
    found, curve = _evaluated(predictor, data)
    assert found.predictions == expected.predictions and len(curve) == len(TEMPERATURES)
    assert found.metrics["loss"] == expected.metrics["loss"]
    assert not predictor.model._forward_hooks


@pytest.mark.parametrize("name", ["nli", "multi"])
def test_the_likelihood_at_1_is_the_loss_without_weights_and_smoothing(prepare, name):
    predictor, data = prepare(Classification(kind="multi") if name == "multi" else NLI(), sharp=True)
    evaluation, curve = _evaluated(predictor, data)
    count = len(data.examples) * (len(predictor.task.labels) if name == "multi" else 1)
    assert curve[len(curve) // 2] / count == pytest.approx(evaluation.metrics["loss"], rel=1e-5)


# ---------------------------------------------------------------- no prediction changes


def decisions(value):
    """Return a prediction without its numbers."""
    if isinstance(value, dict):
        return {key: decisions(item) for key, item in value.items() if key not in SCORES}
    return [decisions(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("temperature", [0.2, 0.9, 1.3, 7.0])
def test_no_temperature_changes_a_prediction(prepare, name, temperature):
    predictor, data = prepare(TASKS[name], sharp=True)
    before = predictor.evaluate(data)
    predictor.model.head.temperature = temperature
    predictor = predictor.with_task(predictor.task.with_temperature(temperature))
    after = predictor.evaluate(data)
    assert [decisions(p) for p in after.predictions] == [decisions(p) for p in before.predictions]
    assert after.predictions != before.predictions
    assert after.metrics["loss"] == before.metrics["loss"]
    judged, as_before = (predictor.task.judged(each.predictions, data.examples) for each in (after, before))
    assert [right for _, right in judged] == [right for _, right in as_before]
    if name == "multi":  # a threshold that stayed would have changed some
        stayed = predictor.with_task(replace(predictor.task, threshold=0.3)).evaluate(data)
        assert [p["labels"] for p in stayed.predictions] != [p["labels"] for p in before.predictions]


@given(
    threshold=st.floats(0.01, 0.99),
    temperature=st.floats(0.5, 20),
    logits=st.lists(st.floats(-8, 8), min_size=1, max_size=8),
)
def test_a_moved_threshold_parts_the_same_logits(threshold, temperature, logits):
    moved = threshold_at(threshold, temperature)
    for logit in logits:
        if abs(logit - np.log(threshold / (1 - threshold))) > 1e-6:
            before, after = (1 / (1 + np.exp(-logit / each)) for each in (1, temperature))
            assert (after > moved) == (before > threshold)


def test_a_threshold_that_parts_nothing_stays():
    assert [threshold_at(each, 3.0) for each in (0.0, 1.0, -1.0, 2.0)] == [0.0, 1.0, -1.0, 2.0]
    assert threshold_at(0.5, 7.0) == 0.5 and threshold_at(1e-300, 0.05) == pytest.approx(0, abs=1e-300)
    task = QuestionAnswering()
    assert task.no_answer_threshold is None and task.with_temperature(2.0) is task


def test_a_number_has_no_temperature(prepare):
    predictor, data = prepare(Classification(kind="number"))
    calibrated = calibrate(predictor, data)
    assert calibrated.record == {} and predictor.model.head.temperature == 1
    assert reliability(predictor.task, calibrated.validation, data) == {}


# ---------------------------------------------------------------- when it is kept


def _nli(prepare, scale, seed=1, rows=400):
    """NLI rows whose logits are `scale` times those from which the labels were drawn: `scale` is the temperature."""
    labels = ("entailment", "neutral", "contradiction")
    made = [{"premise": CORPUS[i % 60], "hypothesis": CORPUS[(7 * i + i // 60) % 62], "label": labels[i % 3]}
            for i in range(rows)]  # fmt: skip
    predictor, data = prepare(NLI(), rows=made, sharp=True)
    _, drawn = gold_drawn_from_the_model(predictor, data, temperature=1.0, seed=seed)
    order = [feature for batch in predictor.batches(data) for feature in batch.feature_index]
    names = {index: predictor.task.labels[label] for index, label in zip(order, drawn, strict=True)}
    examples = [replace(example, label=names[index]) for index, example in enumerate(data.examples)]
    with torch.no_grad():
        for weight in predictor.model.network.classifier.parameters():
            weight.mul_(scale)
    return predictor, predictor.encode(examples)


def test_overconfidence_is_mended_and_said(prepare):
    predictor, data = _nli(prepare, scale=3.0)
    before = predictor.evaluate(data)
    with collect() as said:
        calibrated = calibrate(predictor, data)
    record = calibrated.record
    assert record["temperature"] == predictor.model.head.temperature == pytest.approx(3.0, rel=0.25)
    pairs = predictor.task.judged(before.predictions, data.examples)
    assert record["validation_ece_before"] == calibration_error(*zip(*pairs, strict=True))["ece"]
    assert record["validation_ece_after"] < 0.5 * record["validation_ece_before"]
    assert calibrated.validation.predictions == calibrated.predictor.evaluate(data).predictions
    (message,) = [text for text in said if "temperature" in text]
    assert message.startswith(f"Probabilities are calibrated with the temperature {record['temperature']:.3f}, ")
    assert f"{record['validation_ece_before']:.4f} to {record['validation_ece_after']:.4f}" in message
    assert json.loads(json.dumps(record)) == record


def test_it_costs_one_more_pass_when_there_is_a_temperature_and_none_when_there_is_not(prepare, monkeypatch):
    for scale, passes in ((3.0, 2), (1.0, 1)):
        predictor, data = _nli(prepare, scale)
        calls = []
        handle = predictor.model.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        calibrate(predictor, data)
        handle.remove()
        assert len(calls) == passes * len(predictor.batches(data))


ASKED = {
    "likelihood": (MultipleChoice(head="likelihood"), "llama"),
    "cloze": (Classification(head="cloze"), "bert"),
    "similarity": (Classification(head="similarity"), "bert"),
}
"""Heads that score choices and give no logits of labels, and an architecture for each."""


@pytest.mark.parametrize("name", ASKED)
def test_scores_of_choices_get_the_likeliest_temperature(prepare, name, tmp_path, tiny_models):
    task, architecture = ASKED[name]
    source = tiny_models(architecture)
    if name == "cloze":
        source = copytree(source, tmp_path / "filler")
        config = AutoConfig.from_pretrained(source, initializer_range=0.2)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            AutoModelForMaskedLM.from_config(config).save_pretrained(source)
    predictor, data = prepare(task, source=source, sharp=True)
    plain = predictor.evaluate(data).predictions * 16  # gold is drawn anew for each
    probabilities = [list(predictor.task.label_probabilities(prediction).values()) for prediction in plain]
    flatter = [np.power(row, 1 / 2) / np.power(row, 1 / 2).sum() for row in probabilities]
    random = np.random.default_rng(0)
    labels = [int(random.choice(len(row), p=row)) for row in flatter]
    names = [list(predictor.task.label_probabilities(one))[label] for one, label in zip(plain, labels, strict=True)]
    rows = zip(data.examples * 16, names, strict=True)
    drawn = predictor.encode([replace(example, label=name) for example, name in rows])
    logits = np.full((len(labels), max(map(len, probabilities))), -np.inf)
    for row, found in enumerate(probabilities):
        logits[row, : len(found)] = np.log(found)
    expected = fit_temperature(logits, labels)
    calibrated = calibrate(predictor, drawn)
    assert expected > 1
    assert calibrated.record["temperature"] == pytest.approx(expected, rel=0.01)
    assert calibrated.record["validation_ece_after"] < calibrated.record["validation_ece_before"]
    now = predictor.evaluate(data).predictions
    for before, after in zip(probabilities[: len(now)], now, strict=True):
        powers = np.power(before, 1 / predictor.model.head.temperature)
        told = list(predictor.task.label_probabilities(after).values())
        assert told == pytest.approx(list(powers / powers.sum()), rel=1e-4, abs=1e-6)
    save_folder(tmp_path / "saved", calibrated.predictor, a_run(calibration=calibrated.record))
    again, _ = load_folder(tmp_path / "saved")
    assert again.model.head.temperature == predictor.model.head.temperature
    assert again.predict_examples(data.examples) == now


def test_a_head_without_a_likelihood_is_not_asked_for_each_temperature(prepare, monkeypatch):
    predictor, data = prepare(Generation(max_new_tokens=2), architecture="llama", rows=[
        {"prompt": text[:9], "completion": text[9:]} for text in CORPUS[:4]])  # fmt: skip
    scaled = []
    monkeypatch.setattr(type(predictor.model.head), "scaled", lambda *given: scaled.append(given) or given[1])
    assert _evaluated(predictor, data)[1] == []
    assert scaled == []  # logits over a vocabulary are large, and would be divided 120 times


def test_a_gain_that_may_be_chance_is_left(prepare):
    predictor, data = _nli(prepare, scale=1.0)
    with collect() as said:
        calibrated = calibrate(predictor, data)
    assert predictor.model.head.temperature == calibrated.record["temperature"] == 1
    assert calibrated.record["validation_ece_before"] == calibrated.record["validation_ece_after"]
    assert any(text.startswith("The temperature stays at 1: ") and "chance" in text for text in said)


def test_a_temperature_fitted_before_is_forgotten(prepare):
    predictor, data = _nli(prepare, scale=3.0)
    first = calibrate(predictor, data).record
    predictor.model.head.temperature = 9.0
    assert calibrate(predictor, data).record == first


def test_rows_that_are_all_right_say_nothing(prepare):
    predictor, data = prepare(NLI(), sharp=True)
    found = predictor.evaluate(data).predictions
    examples = [replace(e, label=p["label"]) for e, p in zip(data.examples, found, strict=True)]
    with collect() as said:
        assert calibrate(predictor, predictor.encode(examples)).record["temperature"] == 1.0
    assert said == ["All of validation is predicted right, which cannot say how sure to be: "
                    "the temperature stays at 1."]  # fmt: skip


def test_what_is_said_at_the_edges(caplog):
    rising = [float(number) for number in range(len(TEMPERATURES))]
    with collect() as said:
        assert _best_temperature(rising, all_right=False) == TEMPERATURES[0]
        assert _best_temperature(rising[::-1], all_right=True) == TEMPERATURES[-1]
        assert _best_temperature([float("nan")] * len(rising), all_right=False) == 1
        assert _best_temperature([], all_right=False) == 1
    assert said[:2] == [f"The best temperature is the last that is tried, {edge}: be wary of the probabilities."
                        for edge in ("0.0498", "20.1")]  # fmt: skip
    assert said[2:] == ["The head gives no likelihood to fit a temperature to: its probabilities are not calibrated."]


def test_it_stays_at_1_when_the_calibration_error_would_rise(prepare, monkeypatch):
    predictor, data = _nli(prepare, scale=3.0)
    sharp = max(sure for sure, _ in predictor.task.judged(predictor.evaluate(data).predictions, data.examples))
    monkeypatch.setattr("reasoner.calibration._ece", lambda judged: 0.01 if max(judged)[0] == sharp else 0.05)
    plain = predictor.evaluate(data).predictions
    with collect() as said:
        calibrated = calibrate(predictor, data)
    assert predictor.model.head.temperature == calibrated.record["temperature"] == 1
    assert calibrated.validation.predictions == plain
    assert any("would raise the calibration error (ECE) on validation from 0.0100 to 0.0500" in text for text in said)


class Steps(TaskHead):
    """More than the first label? More than the second? Here a temperature changes which label is the likeliest."""

    def __init__(self, config, *, num_outputs):
        super().__init__(config, num_outputs=num_outputs)
        self.steps = nn.Linear(self.width, num_outputs - 1)

    def forward(self, hidden, batch):
        return {"logits": self.steps(hidden[:, 0]) * 8}

    def loss(self, outputs, batch):
        above = (batch.targets["labels"].unsqueeze(-1) > torch.arange(self.num_outputs - 1)).float()
        return binary_cross_entropy(outputs["logits"], above)

    def negative_log_likelihood(self, outputs, batch):
        return self.loss(outputs, batch)

    def predict(self, outputs, batch):
        above = outputs["logits"].sigmoid().cummin(-1).values
        ones, zeros = torch.ones_like(above[:, :1]), torch.zeros_like(above[:, :1])
        return list((torch.cat([ones, above], -1) - torch.cat([above, zeros], -1)).numpy())


class Silent(Steps):
    """The same without a likelihood."""

    def negative_log_likelihood(self, outputs, batch):
        return None


@pytest.mark.parametrize(("head", "said_of_it"), [(Steps, "would change what is predicted"), (Silent, "no likelihood")])
def test_a_head_of_ones_own_keeps_its_predictions(prepare, registry, head, said_of_it):
    register_head("steps", head)
    predictor, data = prepare(Classification(head="steps"), sharp=True)
    plain = predictor.evaluate(data).predictions
    with collect() as said:
        calibrated = calibrate(predictor, data)
    assert predictor.model.head.temperature == 1 and calibrated.validation.predictions == plain
    assert any(said_of_it in text for text in said)
    assert calibrated.record["validation_ece_before"] > 0  # what the probabilities are worth is measured all the same


class Unsure(Classification):
    """A task whose confidence is no probability."""

    def confidence(self, prediction):
        return 3.2


def test_a_confidence_that_is_no_probability_costs_no_result(prepare):
    predictor, data = prepare(Classification(), sharp=True)
    predictor = predictor.with_task(Unsure(**predictor.task.settings()))
    with collect() as said:
        assert calibrate(predictor, data).record == {}
    assert said == ["Some confidences are not in 0-1, so that they are not calibrated."]


# ---------------------------------------------------------------- what is recorded


def test_the_record_of_a_split(prepare):
    predictor, data = _nli(prepare, scale=2.0)
    evaluation = predictor.evaluate(data)
    record = reliability(predictor.task, evaluation, data)
    rows = [(p["score"], p["label"] == e.label) for p, e in zip(evaluation.predictions, data.examples, strict=True)]
    assert record["count"] == len(rows)
    assert {name: record[name] for name in ("ece", "mce", "bins")} == calibration_error(*zip(*rows, strict=True))
    points = record["risk_coverage"]
    assert len(points) == 50 and points[-1]["coverage"] == 1.0
    assert points[-1]["risk"] == pytest.approx(1 - evaluation.metrics["accuracy"])
    for point in points:  # each by hand
        answered = [right for sure, right in rows if sure >= point["threshold"]]
        assert point["coverage"] == pytest.approx(len(answered) / len(rows))
        assert point["risk"] == pytest.approx(answered.count(False) / len(answered))
    assert json.loads(json.dumps(record)) == record


@pytest.mark.parametrize("number", [1, 2, 49, 50, 51, 5000])
def test_points_are_thinned_evenly(number):
    kept = _thinned(list(range(number)))
    assert len(kept) == len(set(kept)) == min(number, 50) and kept[0] == 0 and kept[-1] == number - 1
    assert np.ptp(np.diff(kept)) <= 1 if number > 1 else True


def test_conformal_scores_are_rounded_up_and_sampled():
    task = NLI(labels=("entailment", "neutral"))
    example = task.Example(premise="a", hypothesis="b", label="neutral")
    predictions = [{"scores": {"entailment": 1 - p, "neutral": p}} for p in (0.25, 0.1234567, 1.0, 0.0)]
    assert conformal_scores(task, predictions, [example] * 4) == [0.0, 0.75, 0.876544, 1.0]
    many = [{"scores": {"entailment": 1 - p, "neutral": p}} for p in np.linspace(0, 1, MOST_SCORES + 1000).tolist()]
    with collect() as said:
        found = conformal_scores(task, many, [example] * len(many))
    assert len(found) == MOST_SCORES and found == sorted(found)
    assert found == conformal_scores(task, many, [example] * len(many))
    assert "Of 6000 validation rows a random 5000 are kept" in said[0]
    multi = Classification(kind="multi", labels=("a", "b"))
    assert conformal_scores(multi, [{"labels": [], "scores": {"a": 0.1, "b": 0.2}}], [example]) == []


def test_entities_are_judged_one_by_one(prepare):
    task = NER(labels=("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))
    example = NERExample.from_words(["Ann", "Berg", "left", "Oslo", "for", "Bergen"])
    tagged = replace(example, ner_tags=("B-PER", "I-PER", "O", "B-LOC", "O", IGNORED))

    def entity(kind, start, end, score):
        return {"entity_group": kind, "start_word": start, "end_word": end, "score": score}

    predicted = [
        entity("PER", 0, 2, 0.9),
        entity("PER", 3, 4, 0.6),  # of another type
        entity("LOC", 2, 4, 0.5),  # too long
        entity("LOC", 5, 6, 0.4),  # on a word that is not scored
    ]
    assert task.judged([predicted, []], [tagged, tagged]) == [(0.9, True), (0.6, False), (0.5, False)]
    assert task.withheld(predicted, 0.6) == predicted[:2]


def test_several_labels_are_as_sure_as_all_their_decisions_together():
    task = Classification(kind="multi", labels=("a", "b", "c"), threshold=0.7)
    prediction = task._prediction([0.9, 0.6, 0.1])  # a holds, b and c do not
    assert prediction["labels"] == ["a"]
    assert task.confidence(prediction) == pytest.approx(0.9 * 0.4 * 0.9)


# ---------------------------------------------------------------- prediction: abstaining and label sets

INPUTS = {
    "ner": list(CORPUS[:12]),
    "nli": [(CORPUS[i], CORPUS[i + 1]) for i in range(12)],
    "multi": list(CORPUS[:12]),
    "qa": [{"question": CORPUS[4], "context": text} for text in CORPUS[:12]],
    "multiple_choice": [{"question": CORPUS[i], "choices": list(CORPUS[i : i + 2 + i % 3])} for i in range(12)],
}


@pytest.mark.parametrize("name", ["nli", "multi", "qa", "multiple_choice"])
def test_what_is_not_sure_enough_is_left_unanswered(prepare, name):
    predictor = prepare(TASKS[name], sharp=True).predictor
    plain = predictor.predict(INPUTS[name])
    sure = [predictor.task.confidence(prediction) for prediction in plain]
    limit = sum(sorted(sure)[5:7]) / 2
    keys = {"nli": {"label"}, "multi": {"labels"}, "qa": {"answer", "start", "end"}}.get(name, {"choice", "answer"})
    found = predictor.predict(INPUTS[name], min_confidence=limit)
    for before, after, confidence in zip(plain, found, sure, strict=True):
        assert after.keys() == {*before, "abstained"}
        assert after["abstained"] is (confidence < limit)
        assert {key for key in before if after[key] != before[key]} == (keys if confidence < limit else set())
        assert all(after[key] is None for key in keys) or not after["abstained"]
    assert 0 < sum(p["abstained"] for p in found) < 12
    assert predictor.predict(INPUTS[name][0], min_confidence=limit)["abstained"] == found[0]["abstained"]
    assert not any(p["abstained"] for p in predictor.predict(INPUTS[name], min_confidence=0))


def test_unsure_entities_are_left_out(prepare):
    predictor = prepare(TASKS["ner"], sharp=True).predictor
    plain = predictor.predict(INPUTS["ner"])
    scores = sorted(entity["score"] for entities in plain for entity in entities)
    limit = scores[len(scores) // 2]
    found = predictor.predict(INPUTS["ner"], min_confidence=limit)
    assert found == [[entity for entity in entities if entity["score"] >= limit] for entities in plain]
    assert 0 < sum(map(len, found)) < len(scores)


@pytest.mark.parametrize("name", ["nli", "multiple_choice"])
def test_label_sets_hold_what_cannot_be_ruled_out(prepare, name):
    predictor, data = prepare(TASKS[name], sharp=True)
    predictor = calibrate(predictor, data).predictor
    assert len(predictor.conformal_scores) == len(data.examples) == 32
    for coverage, rank in ((0.9, 30), (0.5, 17), (0.2, 7)):  # ceil(33 * coverage)
        threshold = predictor.conformal_scores[rank - 1]
        for prediction in predictor.predict(INPUTS[name], coverage=coverage):
            scores = prediction["scores"]
            pairs = list(scores.items()) if name == "nli" else list(enumerate(scores))
            expected = [label for label, p in sorted(pairs, key=lambda pair: -pair[1]) if 1 - p <= threshold]
            assert prediction["label_set"] == expected
    sizes = [sum(len(p["label_set"]) for p in predictor.predict(INPUTS[name], coverage=c)) for c in (0.2, 0.9)]
    assert sizes[0] < sizes[1]
    with collect() as said:
        everything = predictor.predict(INPUTS[name], coverage=0.99)
    assert said == ["32 validation rows are too few for coverage=0.99: every label is in every set."]
    assert all(len(p["label_set"]) == len(p["scores"]) for p in everything)
    both = predictor.predict(INPUTS[name][0], coverage=0.99, min_confidence=1.0)
    assert both["abstained"] and both["label_set"] == everything[0]["label_set"]


def test_the_set_of_coverage_covers_the_rows_it_was_made_from(prepare):
    predictor, data = _nli(prepare, scale=1.5)
    predictor = calibrate(predictor, data).predictor
    inputs = [(example.premise, example.hypothesis) for example in data.examples]
    found = predictor.predict(inputs, coverage=0.9)
    covered = sum(e.label in p["label_set"] for e, p in zip(data.examples, found, strict=True))
    assert 361 <= covered <= 375  # the 361st of 400 scores; more where rows have the same score


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("nli", {"min_confidence": 1.2}, r"min_confidence is 1.2. Give a probability, from 0 to 1."),
        ("nli", {"min_confidence": float("nan")}, r"min_confidence is nan"),
        ("nli", {"min_confidence": "0.5"}, r"min_confidence is '0.5'"),
        ("number", {"min_confidence": 0.5}, r"min_confidence: Classification gives no confidence for this. Leave it"),
        ("nli", {"coverage": 0.9}, r"coverage: this model has no scores of validation rows.*train the model again"),
        ("ner", {"coverage": 0.9}, r"coverage: .*They are kept for classification with one label, nli and multiple"),
        ("calibrated", {"coverage": 1.0}, r"coverage is 1.0. Give a number between 0 and 1, such as 0.9."),
        ("calibrated", {"coverage": "0.9"}, r"coverage is '0.9'. Give a number between 0 and 1"),
        ("calibrated", {"coverage": 0}, r"coverage is 0\. Give"),
    ],
)
def test_what_cannot_be_is_refused(prepare, name, arguments, message):
    task = Classification(kind="number") if name == "number" else TASKS.get(name, NLI())
    predictor, data = prepare(task)
    if name == "calibrated":
        predictor = calibrate(predictor, data).predictor
    with pytest.raises(ConfigError, match=message):
        predictor.predict(INPUTS.get(name, INPUTS["nli"]) if name != "number" else list(CORPUS[:3]), **arguments)


# ---------------------------------------------------------------- the folder


def a_run(**changes):
    fields = {
        "task": "nli",
        "model": "tiny",
        "method": "Full()",
        "primary_metric": "accuracy",
        "compared_split": "test",
    }
    return Run(**{**fields, "metrics": {"test": {"accuracy": 0.5}}, **changes})


def test_the_temperature_is_stored_with_the_model(prepare, tmp_path):
    from transformers import AutoModelForSequenceClassification

    predictor, data = _nli(prepare, scale=3.0)
    predictor, _, record = calibrate(predictor, data)
    save_folder(tmp_path, predictor, a_run(calibration=record))
    loaded, run = load_folder(tmp_path)
    assert loaded.model.head.temperature == predictor.model.head.temperature != 1
    assert loaded.conformal_scores == predictor.conformal_scores and run.calibration == record
    for arguments in ({}, {"min_confidence": 0.6}, {"coverage": 0.8}):
        assert loaded.predict(INPUTS["nli"], **arguments) == predictor.predict(INPUTS["nli"], **arguments)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    (batch,) = predictor.batches(predictor.encode(data.examples[:8]))
    with torch.inference_mode():
        torch.testing.assert_close(plain(**batch.inputs).logits, predictor.model(batch)["logits"])


def test_an_older_folder_has_no_temperature(prepare, tmp_path):
    predictor = prepare(NLI()).predictor
    save_folder(tmp_path, predictor, a_run())
    record = json.loads((tmp_path / CONFIG_FILE).read_text("utf-8"))
    del record["temperature"], record["run"]["calibration"]
    (tmp_path / CONFIG_FILE).write_text(json.dumps(record))
    loaded, run = load_folder(tmp_path)
    assert loaded.model.head.temperature == 1 and loaded.conformal_scores == () and run.calibration == {}


@pytest.mark.parametrize("value", [0, -1, "hot", None, float("inf"), float("nan")])
def test_a_temperature_that_is_none_is_refused(prepare, tmp_path, value):
    save_folder(tmp_path, prepare(NLI()).predictor, a_run())
    record = json.loads((tmp_path / CONFIG_FILE).read_text("utf-8"))
    (tmp_path / CONFIG_FILE).write_text(json.dumps({**record, "temperature": value}))
    with pytest.raises(CheckpointError, match=r"is damaged"):
        load_folder(tmp_path)
