"""Is the loss that of transformers' own token classifier, and are the records its best labels?"""

from __future__ import annotations

import numpy
import pytest
import torch

from reasoner.data.features import Batch
from reasoner.heads.token_classification import TokenClassificationHead
from reasoner.tasks.ner import NER


def batch_of(labels):
    return Batch({}, {"labels": torch.tensor(labels)}, torch.arange(len(labels)), list(range(len(labels))), 0)


@pytest.fixture(scope="module")
def head(tiny_bert):
    from transformers import AutoConfig

    return lambda **settings: TokenClassificationHead(AutoConfig.from_pretrained(tiny_bert), num_outputs=3, **settings)


def test_the_loss_is_that_of_transformers(prepare):
    predictor, data = prepare(NER())
    model = predictor.model.eval()
    for batch in predictor.batches(data, batch_size=8):
        theirs = model.network(**batch.inputs, labels=batch.targets["labels"]).loss
        ours = model.loss(model(batch), batch)
        torch.testing.assert_close(ours.mean, theirs, rtol=1e-5, atol=1e-6)
        assert ours.count == sum(len(data.examples[index].tokens) for index in batch.feature_index)


def test_weights_and_smoothing_reach_the_loss(head):
    logits, labels = (
        torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0)),
        [[0, 1, -100, 2], [2, 2, 0, -100]],
    )
    weights = [1.0, 2.0, 0.5]
    for settings in (
        {},
        {"class_weights": weights},
        {"label_smoothing": 0.3},
        {"class_weights": weights, "label_smoothing": 0.3},
    ):
        criterion = torch.nn.CrossEntropyLoss(
            weight=torch.tensor(weights) if "class_weights" in settings else None,
            label_smoothing=settings.get("label_smoothing", 0.0),
        )
        ours = head(**settings).loss({"logits": logits}, batch_of(labels))
        torch.testing.assert_close(ours.mean, criterion(logits.view(8, 3), torch.tensor(labels).view(8)))


def test_records_are_the_best_label_and_its_probability(head):
    logits = torch.tensor([[[2.0, 0.0, 0.0], [0.0, 0.0, 5.0]], [[0.0, 1.0, 0.0], [3.0, 3.0, 3.0]]])
    records = head().predict({"logits": logits}, batch_of([[0, 0], [0, 0]]))
    assert [record.labels.tolist() for record in records] == [[0, 2], [1, 0]]
    e = numpy.exp
    expected = [[e(2) / (e(2) + 2), e(5) / (e(5) + 2)], [e(1) / (e(1) + 2), 1 / 3]]
    numpy.testing.assert_allclose([record.probabilities for record in records], expected, rtol=1e-6)


def test_class_weights_follow_the_model_and_are_not_saved(head):
    made = head(class_weights=[1.0, 2.0, 3.0])
    assert made.double().class_weights.dtype == torch.float64
    assert made.state_dict() == {} and head().class_weights is None


def test_the_likelihood_is_free_of_weights_and_smoothing(head):
    outputs = {"logits": torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))}
    batch = batch_of([[0, 1, -100, 2], [2, 2, 0, -100]])
    weighted = head(class_weights=[1.0, 2.0, 0.5], label_smoothing=0.1)
    found, plain = weighted.negative_log_likelihood(outputs, batch), head().loss(outputs, batch)
    assert found == plain and found.count == 6 and weighted.loss(outputs, batch) != plain
