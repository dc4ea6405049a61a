"""Is the loss that of transformers without the padding, and are the best spans those of a search through all?"""

from __future__ import annotations

from types import SimpleNamespace

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoner.data.features import Batch
from reasoner.heads.question_answering import QuestionAnsweringHead
from reasoner.tasks.qa import QuestionAnswering

CONFIG = SimpleNamespace(hidden_size=8)


def test_the_loss_is_that_of_transformers_where_nothing_is_padded(prepare):
    predictor, data = prepare(QuestionAnswering())
    model = predictor.model.eval()
    for batch in predictor.batches(data, batch_size=1):
        positions = {name: batch.targets[name] for name in ("start_positions", "end_positions")}
        theirs = model.network(**batch.inputs, **positions).loss
        ours = model.loss(model(batch), batch)
        torch.testing.assert_close(ours.mean, theirs, rtol=1e-5, atol=1e-6)
        assert ours.count == 1


def test_the_loss_of_a_window_does_not_depend_on_its_batch(prepare):
    predictor, data = prepare(QuestionAnswering())
    model = predictor.model.eval()

    def total(size):
        with torch.no_grad():
            return sum(
                float(model.loss(model(batch), batch).total) for batch in predictor.batches(data, batch_size=size)
            )

    assert total(1) == pytest.approx(total(32), rel=1e-5)


def search(starts, ends, mask, longest, n_best):
    """Look at every span there is."""
    allowed = [i for i, inside in enumerate(mask) if inside == 1]
    spans = [(starts[i] + ends[j], i, j) for i in allowed for j in allowed if i <= j < i + longest]
    return sorted(spans, key=lambda span: -span[0])[:n_best]


@settings(max_examples=60)
@given(
    length=st.integers(1, 12),
    longest=st.integers(1, 15),
    n_best=st.integers(1, 25),
    seed=st.integers(0, 999),
    data=st.data(),
)
def test_the_best_spans(length, longest, n_best, seed, data):
    generator = torch.Generator().manual_seed(seed)
    outputs = {name: torch.randn(2, length, generator=generator) for name in ("start_logits", "end_logits")}
    masks = [data.draw(st.lists(st.sampled_from([0, 1, -100]), min_size=length, max_size=length)) for _ in range(2)]
    batch = Batch({}, {"context_mask": torch.tensor(masks)}, torch.arange(2), [0, 1], 0)
    head = QuestionAnsweringHead(CONFIG, max_answer_tokens=longest, n_best=n_best)
    records = head.predict(outputs, batch)
    for row, record in enumerate(records):
        starts, ends = outputs["start_logits"][row].tolist(), outputs["end_logits"][row].tolist()
        expected = search(starts, ends, masks[row], longest, n_best)
        assert list(zip(record.starts, record.ends, strict=True)) == [(i, j) for _, i, j in expected]
        numpy.testing.assert_allclose(record.scores, [score for score, _, _ in expected], rtol=1e-5, atol=1e-6)
        assert record.null_score == pytest.approx(starts[0] + ends[0], abs=1e-6)


def test_records_do_not_hold_the_batch():
    outputs = {name: torch.randn(1, 200) for name in ("start_logits", "end_logits")}
    batch = Batch({}, {"context_mask": torch.ones(1, 200, dtype=torch.long)}, torch.arange(1), [0], 0)
    (record,) = QuestionAnsweringHead(CONFIG).predict(outputs, batch)
    assert len(record.starts) == 20 and all(isinstance(part, numpy.ndarray) for part in record[:3])
    assert isinstance(record.null_score, float) and max(record.ends - record.starts) < 30
