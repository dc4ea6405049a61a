"""Is the loss that of transformers' own token classifier, and are the records its best labels?"""

from __future__ import annotations

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoner.data.features import Batch
from reasoner.data.tag_schemes import ill_formed, legal_steps
from reasoner.errors import ConfigError
from reasoner.heads.token_classification import TokenClassificationHead
from reasoner.tasks.ner import NER
from reasoner.testing import check_head


def batch_of(labels):
    return Batch({}, {"labels": torch.tensor(labels)}, torch.arange(len(labels)), list(range(len(labels))), 0)


@pytest.fixture(scope="module")
def head(tiny_bert):
    from transformers import AutoConfig

    return lambda **options: TokenClassificationHead(AutoConfig.from_pretrained(tiny_bert), num_outputs=3, **options)


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
    for options in (
        {},
        {"class_weights": weights},
        {"label_smoothing": 0.3},
        {"class_weights": weights, "label_smoothing": 0.3},
    ):
        criterion = torch.nn.CrossEntropyLoss(
            weight=torch.tensor(weights) if "class_weights" in options else None,
            label_smoothing=options.get("label_smoothing", 0.0),
        )
        ours = head(**options).loss({"logits": logits}, batch_of(labels))
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


TAGS = ("O", "B-A", "I-A")


@settings(max_examples=60)
@given(
    rows=st.lists(st.lists(st.floats(-50, 50, width=32), min_size=18, max_size=18), min_size=1, max_size=3),
    words=st.lists(st.lists(st.sampled_from([0, 1]), min_size=6, max_size=6), min_size=3, max_size=3),
)
def test_constrained_no_path_is_illegal_and_a_legal_one_is_kept(head, rows, words):
    logits = torch.tensor(rows).view(len(rows), 6, 3)
    batch = Batch({}, {"words": torch.tensor(words[: len(rows)])}, torch.arange(len(rows)), [], 0)
    plain = head().predict({"logits": logits}, batch)
    found = head(constrained=True, legal_steps=legal_steps(TAGS)).predict({"logits": logits}, batch)
    for row, (free, bound) in enumerate(zip(plain, found, strict=True)):
        places = [place for place, word in enumerate(words[row]) if word]
        tags = [TAGS[bound.labels[place]] for place in places]
        free_tags = [TAGS[free.labels[place]] for place in places]
        assert ill_formed(tags, "IOB2") == []
        probabilities = logits[row].softmax(-1)
        assert all(bound.probabilities[p] == probabilities[p, bound.labels[p]] for p in places)
        if not ill_formed(free_tags, "IOB2"):
            best = probabilities[places, [bound.labels[p] for p in places]].double().log().sum()
            assert best == pytest.approx(float(probabilities[places].max(-1).values.double().log().sum()), abs=1e-4)


def test_constrained_the_whole_sequence_decides(head):
    logits = torch.tensor([[[0.4, 0.3, 0.3], [0.1, 0.0, 0.9]]]).log()  # O I: illegal; B I beats O O
    batch = Batch({}, {"words": torch.ones(1, 2, dtype=torch.long)}, torch.arange(1), [0], 0)
    assert head().predict({"logits": logits}, batch)[0].labels.tolist() == [0, 2]
    (record,) = head(constrained=True, legal_steps=legal_steps(TAGS)).predict({"logits": logits}, batch)
    assert record.labels.tolist() == [1, 2]
    numpy.testing.assert_allclose(record.probabilities, [0.3, 0.9], rtol=1e-5)


def test_constrained_keeps_the_contract_and_needs_legal_steps(head, tiny_bert, rows_of):
    check_head(None, task=NER(constrained=True), rows=rows_of("NER"), model=tiny_bert)
    with pytest.raises(ConfigError, match="constrained: this task does not say which label may follow which"):
        head(constrained=True)
