"""Is every span scored and chosen by itself, whatever the padding, and are entities inside of others learned?"""

from __future__ import annotations

import math

import pytest
import torch

from reasoner.data.features import Batch
from reasoner.heads.span import FIRST_SCORE, SpanHead
from reasoner.losses import several_of_many
from reasoner.synthetic import nested_ner_pack
from reasoner.tasks.nested_ner import NestedNER
from reasoner.testing import check_head

ROWS = nested_ner_pack(train=24, validation=0, test=0)["train"]


def batch_of(words, gold=()):
    """Gold: (row, start, end, label) each."""
    shape = (len(words), len(words[0]))
    lists = {name: torch.full(shape, -100) for name in ("span_starts", "span_ends", "span_labels")}
    for number, (row, *span) in enumerate(gold):
        for name, value in zip(lists, span, strict=True):
            lists[name][row, number] = value
    return Batch({}, {"words": torch.tensor(words), **lists}, torch.arange(shape[0]), list(range(shape[0])), 0)


@pytest.fixture(scope="module")
def head(tiny_bert):
    from transformers import AutoConfig

    torch.manual_seed(0)
    return SpanHead(AutoConfig.from_pretrained(tiny_bert), num_outputs=2, size=8)


def test_it_keeps_the_contract(tiny_bert):
    check_head(None, task=NestedNER(), rows=ROWS, model=tiny_bert)


def test_the_loss_is_that_of_its_formula(head):
    """Two labels over the spans of two rows; the second row has two words, of which only the first may begin a span."""
    logits = torch.randn(2, 2, 3, 3, generator=torch.Generator().manual_seed(1))
    batch = batch_of([[0, 2, 2, 2], [2, 0, 1, 0]], [(0, 0, 2, 0), (0, 0, 0, 0), (0, 1, 1, 1), (1, 0, 1, 1)])
    gold = {(0, 0, 0, 2), (0, 0, 0, 0), (0, 1, 1, 1), (1, 1, 0, 1)}  # row, label, start, end
    possible = {0: [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)], 1: [(0, 0), (0, 1)]}
    expected = 0.0
    for row, spans in possible.items():
        for label in (0, 1):
            wrong, right = 1.0, 1.0
            for start, end in spans:
                score = logits[row, label, start, end].item()
                if (row, label, start, end) in gold:
                    right += math.exp(-score)
                else:
                    wrong += math.exp(score)
            expected += math.log(wrong) + math.log(right)
    loss = head.loss({"logits": logits}, batch)
    assert loss.total.item() == pytest.approx(expected, rel=1e-5) and loss.count.item() == 4


def test_a_row_without_a_word_counts_for_nothing():
    logits, none = torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.bool)
    loss = several_of_many(logits, none, torch.tensor([[True] * 3, [False] * 3]))
    assert loss.count.item() == 1 and loss.total.item() == pytest.approx(math.log(4))


def test_records_are_the_spans_above_zero_nested_and_crossing(head):
    logits = torch.full((2, 2, 3, 3), -1.0)
    for label, start, end in ((0, 0, 2), (0, 0, 0), (1, 0, 1), (0, 1, 2)):  # (0, 1) and (1, 2) cross
        logits[0, label, start, end] = 2.0
    logits[0, 0, 2, 1] = 9.0  # ends before it begins
    logits[1, 0, 1, 1] = 9.0  # may not begin there
    first, second = head.predict({"logits": logits}, batch_of([[2, 2, 2], [2, 1, 0]]))
    found = set(zip(first.labels.tolist(), first.starts.tolist(), first.ends.tolist(), strict=True))
    assert found == {(0, 0, 2), (0, 0, 0), (1, 0, 1), (0, 1, 2)} and len(second.starts) == 0
    assert first.probabilities == pytest.approx([1 / (1 + math.exp(-2))] * 4)


def test_before_training_nothing_is_an_entity(head):
    batch = batch_of([[0, 2, 2, 2, 0]])
    outputs = head(0.1 * torch.randn(1, 5, head.width, generator=torch.Generator().manual_seed(0)), batch)
    assert outputs["logits"].shape == (1, 2, 3, 3)
    assert outputs["logits"].mean().item() == pytest.approx(FIRST_SCORE, abs=1)
    assert len(head.predict(outputs, batch)[0].starts) == 0


def test_the_order_and_distance_of_words_count(head):
    hidden = torch.randn(1, 1, head.width, generator=torch.Generator().manual_seed(0)).expand(1, 4, -1)
    logits = head(hidden, batch_of([[2, 2, 2, 2]]))["logits"][0, 0]
    assert logits[0, 1].item() == pytest.approx(logits[2, 3].item(), abs=1e-5)  # the same distance
    assert abs(logits[0, 1] - logits[0, 3]).item() > 1e-4


def test_the_likelihood_is_of_what_is_predicted_and_a_temperature_changes_no_span(head):
    logits = 3 * torch.randn(2, 2, 3, 3, generator=torch.Generator().manual_seed(2))
    batch = batch_of([[2, 2, 2], [2, 2, 2]], [(0, 0, 2, 0), (1, 1, 1, 1)])
    loss = head.negative_log_likelihood({"logits": logits}, batch)
    records = head.predict({"logits": logits}, batch)
    assert loss.count.item() == sum(len(record.starts) for record in records) > 0
    hotter = head.predict(head.scaled({"logits": logits}, 3.0), batch)
    for one, other in zip(records, hotter, strict=True):
        assert one.starts.tolist() == other.starts.tolist() and one.labels.tolist() == other.labels.tolist()
        assert (other.probabilities < one.probabilities).all()


def test_it_learns_entities_inside_of_entities(prepare):
    predictor, data = prepare(NestedNER(), rows=ROWS, dropout=0.0)
    model = predictor.model.train()
    (batch,) = predictor.batches(data, batch_size=100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(80):
        model.loss(model(batch), batch).mean.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    nested = sum(
        any(a != b and b["start"] <= a["start"] and a["end"] <= b["end"] for b in row["entities"])
        for row in ROWS
        for a in row["entities"]
    )
    evaluation = predictor.evaluate(data)
    assert nested >= 15 and evaluation.metrics["f1"] >= 0.95


def test_the_divergence_is_over_spans_that_can_be(head):
    batch = batch_of([[0, 2, 2, 2], [2, 0, 1, 0]])
    possible = torch.zeros(2, 2, 3, 3, dtype=torch.bool)
    for row, spans in {0: [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)], 1: [(0, 0), (0, 1)]}.items():
        for first, last in spans:
            possible[row, :, first, last] = True
    one, two = ({"logits": torch.randn(2, 2, 3, 3, generator=torch.Generator().manual_seed(seed))} for seed in (1, 2))
    p, q = (torch.distributions.Bernoulli(logits=each["logits"][possible].double()) for each in (one, two))
    kl = torch.distributions.kl_divergence
    expected = (kl(p, q) + kl(q, p)).sum().item() / 2
    assert head.divergence(one, two, batch).item() == pytest.approx(expected, rel=1e-5)
    elsewhere = {"logits": one["logits"] + 5 * ~possible}
    assert head.divergence(one, elsewhere, batch).item() == 0
