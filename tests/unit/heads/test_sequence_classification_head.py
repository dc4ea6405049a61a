"""Are the losses of one label, several and a number those of transformers, and the records probabilities?"""

from __future__ import annotations

import numpy
import pytest
import torch

from reasoner.data.features import Batch
from reasoner.errors import ConfigError
from reasoner.heads.sequence_classification import SequenceClassificationHead
from reasoner.tasks.classification import Classification
from reasoner.tasks.nli import NLI


@pytest.fixture(scope="module")
def config(tiny_bert):
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(tiny_bert)


@pytest.mark.parametrize("task", [NLI(), Classification(), Classification(kind="multi"), Classification(kind="number")])
@pytest.mark.parametrize("architecture", ["bert", "deberta-v2"])
def test_the_loss_is_that_of_transformers(prepare, task, architecture):
    predictor, data = prepare(task, architecture=architecture)
    model = predictor.model.eval()
    for batch in predictor.batches(data, batch_size=8):
        theirs = model.network(**batch.inputs, labels=batch.targets["labels"]).loss
        ours = model.loss(model(batch), batch)
        torch.testing.assert_close(ours.mean, theirs, rtol=1e-5, atol=1e-6)


def test_a_problem_type_that_is_unknown(config):
    with pytest.raises(ConfigError, match=r"'regresion' is unknown. Did you mean 'regression'?"):
        SequenceClassificationHead(config, num_outputs=1, problem_type="regresion")


@pytest.mark.parametrize("kind", ["single_label_classification", "multi_label_classification", "regression"])
def test_records(config, kind):
    logits = torch.tensor([[2.0, -1.0], [0.5, 0.5]])
    records = SequenceClassificationHead(config, num_outputs=2, problem_type=kind).predict({"logits": logits}, None)
    values = logits.numpy()
    expected = {
        "single_label_classification": numpy.exp(values) / numpy.exp(values).sum(1, keepdims=True),
        "multi_label_classification": 1 / (1 + numpy.exp(-values)),
        "regression": values,
    }[kind]
    assert len(records) == 2 and all(isinstance(record, numpy.ndarray) for record in records)
    numpy.testing.assert_allclose(numpy.stack(records), expected, rtol=1e-6)


def test_records_in_half_precision_are_float32(config):
    records = SequenceClassificationHead(config, num_outputs=2).predict({"logits": torch.ones(1, 2).bfloat16()}, None)
    assert records[0].dtype == numpy.float32 and records[0].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_weights_by_name_reach_the_loss(prepare, kind):
    weights = {"question": 5.0, "long": 0.5} | ({"short": 2.0} if kind == "single" else {})
    plain, data = prepare(Classification(kind=kind))
    weighted, _ = prepare(Classification(kind=kind, class_weights=weights))
    (batch,) = plain.batches(data, batch_size=100)
    outputs = {"logits": torch.randn(32, len(weights), generator=torch.Generator().manual_seed(0))}
    ordered = torch.tensor([weights[label] for label in weighted.task.labels])
    labels = batch.targets["labels"]
    if kind == "single":
        each = torch.nn.functional.cross_entropy(outputs["logits"], labels, reduction="none") * ordered[labels]
        over = ordered[labels].sum()
    else:
        each = (
            torch.nn.functional.binary_cross_entropy_with_logits(outputs["logits"], labels, reduction="none") * ordered
        )
        over = ordered.sum() * 32
    loss = weighted.model.head.loss(outputs, batch)
    torch.testing.assert_close(loss.mean, each.sum() / over)
    assert not torch.isclose(loss.mean, plain.model.head.loss(outputs, batch).mean)


@pytest.mark.parametrize("kind", ["single_label_classification", "multi_label_classification", "regression"])
def test_the_likelihood_is_free_of_weights_and_smoothing(config, kind):
    labels = {"single_label_classification": [2, 0], "multi_label_classification": [[1.0, 0, 1], [0, 0, 1]]}
    batch = Batch({}, {"labels": torch.tensor(labels.get(kind, [0.5, 1.0]))}, torch.arange(2), [0, 1], 0)
    outputs = {"logits": torch.tensor([[0.1, -2.0, 1.5], [0.4, 0.2, 0.9]])}
    settings = {"num_outputs": 3, "problem_type": kind}
    weighted = SequenceClassificationHead(config, class_weights=[1.0, 2.0, 0.5], label_smoothing=0.1, **settings)
    found = weighted.negative_log_likelihood(outputs, batch)
    if kind == "regression":
        assert found is None
    else:
        assert found == SequenceClassificationHead(config, **settings).loss(outputs, batch)
        assert found != weighted.loss(outputs, batch)
