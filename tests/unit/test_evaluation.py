"""Is the loss that of training, is every record at its place, and do scores come from predictions alone?"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy
import pytest
import torch
from torch.nn import functional

from reasoner.evaluation import Encoded, evaluate, infer
from reasoner.heads.question_answering import SpanRecord
from reasoner.heads.token_classification import TokenRecord
from reasoner.tasks.classification import Classification
from reasoner.tasks.multiple_choice import MultipleChoice
from reasoner.tasks.ner import NER
from reasoner.tasks.nli import NLI
from reasoner.tasks.qa import QuestionAnswering

CPU = torch.device("cpu")
TASKS = {
    "ner": NER(class_weights="balanced", label_smoothing=0.1),
    "nli": NLI(),
    "multi": Classification(kind="multi"),
    "number": Classification(kind="number"),
    "qa": QuestionAnswering(),
    "multiple_choice": MultipleChoice(),
}


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_the_loss_is_that_of_training(prepare, name, batch_size):
    """The mean over everything, not of the batches' means."""
    predictor, data = prepare(TASKS[name], sharp=True)
    model = predictor.model.eval()
    (whole,) = predictor.batches(data, batch_size=10_000)
    with torch.no_grad():
        expected = float(model.loss(model(whole), whole).mean)
    batches = partial(predictor.batches, batch_size=batch_size)
    evaluation = evaluate(model, predictor.task, [data], batches, device=CPU, bf16=False)
    assert evaluation.metrics["loss"] == pytest.approx(expected, rel=1e-5)
    assert evaluation.metrics["rows_per_second"] > 0
    assert len(evaluation.predictions) == len(data.examples)


def test_the_loss_is_pytorch_s(prepare):
    predictor, data = prepare(NLI())
    inputs = [{name: torch.tensor([value]) for name, value in group[0].inputs.items()} for group in data.features]
    with torch.no_grad():
        logits = torch.cat([predictor.model.eval().network(**one).logits for one in inputs])
    labels = torch.tensor([group[0].targets["labels"] for group in data.features])
    expected = float(functional.cross_entropy(logits, labels))
    assert predictor.evaluate(data).metrics["loss"] == pytest.approx(expected, rel=1e-5)


def fingerprint(record, length):
    """Return a record's numbers, without those of padding."""
    if isinstance(record, TokenRecord):
        return record.probabilities[:length]
    if isinstance(record, SpanRecord):
        return numpy.array([record.null_score, *record.scores])
    return numpy.atleast_1d(record)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("shuffle", [False, True])
def test_records_are_in_the_order_of_the_features(prepare, name, shuffle):
    predictor, data = prepare(TASKS[name], sharp=True)
    batches = predictor.batches(data, batch_size=5, shuffle=shuffle)
    records, _ = infer(predictor.model, batches, device=CPU)
    alone = []
    for example, group in zip(data.examples, data.features, strict=True):
        alone += infer(predictor.model, predictor.batches(Encoded([example], [group])), device=CPU)[0]
    lengths = [len(feature) for group in data.features for feature in group]
    ours = [fingerprint(record, length) for record, length in zip(records, lengths, strict=True)]
    theirs = [fingerprint(record, length) for record, length in zip(alone, lengths, strict=True)]
    for one, other in zip(ours, theirs, strict=True):
        numpy.testing.assert_allclose(one, other, rtol=0, atol=1e-5)
    apart = sum(not numpy.allclose(one[:1], other[:1], rtol=0, atol=1e-5) for one, other in pairwise(theirs))
    assert apart > len(lengths) / 2  # or another order would not be seen


def test_features_without_gold_have_no_loss(prepare):
    predictor, _ = prepare(QuestionAnswering())
    data = predictor.encode([predictor.task.example_from_input({"question": "Who?", "context": "Anna did."})])
    records, loss = infer(predictor.model, predictor.batches(data), device=CPU)
    assert loss is None and len(records) == 1


def test_scores_come_from_predictions_alone(prepare):
    """A task whose decode gives the gold scores 1, whatever the model says."""

    class Oracle(NLI):
        def decode(self, records, features, examples):
            return [{"label": example.label} for example in examples]

    predictor, data = prepare(NLI())
    oracle = Oracle(labels=predictor.task.labels)
    metrics = evaluate(predictor.model, oracle, [data], predictor.batches, device=CPU, bf16=False).metrics
    assert metrics["accuracy"] == 1.0 and metrics["loss"] > 0.5


def test_scores_of_numpy_become_plain_numbers(prepare):
    """What a task of somebody else's gives must fit into a file of JSON."""

    class Numpy(NLI):
        def score(self, predictions, examples):
            return {
                "accuracy": numpy.float32(0.5), "rows": numpy.int64(3), "all": numpy.bool_(True),
                "mean": torch.tensor(0.25), "note": "text",
                "by_label": {"x": {"f1": numpy.float64(0.1), 7: numpy.array([1, 2])}},
            }  # fmt: skip

    predictor, data = prepare(NLI())
    numbers = Numpy(labels=predictor.task.labels)
    metrics = evaluate(predictor.model, numbers, [data], predictor.batches, device=CPU, bf16=False).metrics
    del metrics["rows_per_second"], metrics["loss"]
    assert json.loads(json.dumps(metrics)) == {
        "accuracy": 0.5, "rows": 3, "all": True, "mean": 0.25, "note": "text",
        "by_label": {"x": {"f1": 0.1, "7": [1, 2]}},
    }  # fmt: skip
    assert type(metrics["accuracy"]) is float and type(metrics["rows"]) is int


def test_dropout_is_off_and_no_graph_is_kept(prepare):
    predictor, data = prepare(NLI(), dropout=0.5)
    predictor.model.train()
    first = predictor.evaluate(data)
    assert not predictor.model.training
    predictor.model.train()
    second = predictor.evaluate(data)
    assert first.predictions == second.predictions and first.metrics["loss"] == second.metrics["loss"]
    assert all(weight.grad is None for weight in predictor.model.parameters())


def test_evaluation_takes_nothing_from_the_random_state(prepare):
    predictor, data = prepare(NER())
    states = random.getstate(), torch.get_rng_state(), numpy.random.get_state()[1].tolist()
    predictor.evaluate(data)
    assert random.getstate() == states[0] and torch.equal(torch.get_rng_state(), states[1])
    assert numpy.random.get_state()[1].tolist() == states[2]


def test_bfloat16_is_used_when_asked_for(prepare):
    predictor, data = prepare(NLI())
    exact = predictor.evaluate(data).metrics["loss"]
    half = replace(predictor, bf16=True).evaluate(data).metrics["loss"]
    assert half != exact and half == pytest.approx(exact, rel=0.02)
