"""Is the CRF's loss that of its sequences, in windows and padded batches too, and does it survive the folder?"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from reasoner.chains import ILLEGAL, chain_of, log_partition, path_score
from reasoner.data.features import Batch
from reasoner.data.tag_schemes import ill_formed, legal_steps
from reasoner.errors import ConfigError
from reasoner.heads.crf import RATE, CRFHead
from reasoner.tasks.ner import NER
from reasoner.testing import check_head

TAGS = ("O", "B-A", "I-A", "B-B", "I-B")


@pytest.fixture(scope="module")
def head(tiny_bert):
    from transformers import AutoConfig

    made = CRFHead(AutoConfig.from_pretrained(tiny_bert), num_outputs=5, legal_steps=legal_steps(TAGS))
    with torch.no_grad():
        made.weight.normal_(std=1 / RATE, generator=torch.Generator().manual_seed(0))
    return made


def batch_of(words, labels=None):
    targets = {"words": torch.tensor(words)} | ({} if labels is None else {"labels": torch.tensor(labels)})
    return Batch({}, targets, torch.arange(len(words)), list(range(len(words))), 0)


def logits(rows, length, seed=0):
    return {"logits": 2 * torch.randn(rows, length, 5, generator=torch.Generator().manual_seed(seed))}


def test_it_keeps_the_contract(tiny_bert, rows_of):
    check_head("crf", task=NER(), rows=rows_of("NER"), model=tiny_bert)


def test_the_loss_is_over_words_alone(head):
    outputs = logits(2, 5)
    batch = batch_of([[0, 1, 0, 1, 0], [0, 1, 1, 1, 0]], [[-100, 1, -100, 2, -100], [-100, 0, 3, 0, -100]])
    loss = head.loss(outputs, batch)
    expected = 0.0
    for row, places in ((0, [1, 3]), (1, [1, 2, 3])):
        alone = {"logits": outputs["logits"][row : row + 1, places]}
        chain, _ = chain_of(alone["logits"], torch.ones(1, len(places), dtype=torch.long))
        gold = batch.targets["labels"][row : row + 1, places]
        expected += (log_partition(chain, head.transitions) - path_score(chain, head.transitions, gold)).item()
    assert loss.total.item() == pytest.approx(expected, rel=1e-5) and loss.count.item() == 5


def test_a_later_window_may_begin_inside_an_entity(head):
    outputs = {"logits": torch.zeros(2, 1, 5)}
    outputs["logits"][:, 0, 2] = 9.0  # I-A
    first, later = head.predict(outputs, batch_of([[1], [2]]))
    assert first.labels[0] != 2 and later.labels[0] == 2
    gold = [[2], [2]]
    alone = head.loss({"logits": outputs["logits"][1:]}, batch_of([[2]], gold[:1]))
    assert alone.total.item() == pytest.approx(-torch.tensor([0, 0, 9.0, 0, 0]).log_softmax(0)[2].item(), abs=1e-5)


def test_a_gold_step_that_is_not_legal_parts_the_sequence(head):
    """The gold of a word between was not shown: neither infinity nor a step that cannot be."""
    outputs = logits(1, 2)
    loss = head.loss(outputs, batch_of([[1, 1]], [[0, 4]]))  # O, I-B
    start = (outputs["logits"][0, 0] + head.transitions[-1]).log_softmax(0)[0]
    expected = -(start + outputs["logits"][0, 1].log_softmax(0)[4])
    torch.testing.assert_close(loss.total, expected)
    assert loss.total < -ILLEGAL / 100


def test_a_sequence_is_predicted_as_a_whole_and_never_illegal(head):
    torch.manual_seed(0)
    words = torch.randint(0, 2, (20, 12))
    outputs = logits(20, 12, seed=1)
    for row, record in enumerate(head.predict(outputs, batch_of(words.tolist()))):
        tags = [TAGS[label] for label, word in zip(record.labels, words[row], strict=True) if word]
        assert ill_formed(tags, "IOB2") == []
        sure = record.probabilities[words[row] == 1]
        assert (sure > 0).all() and (sure <= 1).all()


def test_the_review_sees_each_label_beside_the_others(head):
    batch = batch_of([[1, 0, 1]], [[1, -100, 2]])
    found = head.gold_probabilities(logits(1, 3), batch)
    assert found.gold.tolist() == [[1, -100, 2]] and found.probability.shape == (1, 3)
    for place, label in ((0, 1), (2, 2)):
        assert found.other[0, place] != label
        assert (
            0 < found.probability[0, place] < 1 and found.probability[0, place] + found.other_probability[0, place] <= 1
        )


@pytest.mark.parametrize("settings", [{"class_weights": "balanced"}, {"label_smoothing": 0.1}, {"constrained": True}])
def test_settings_that_it_has_not_are_refused(prepare, settings):
    with pytest.raises(ConfigError, match=f"'crf' does not take: {next(iter(settings))}"):
        prepare(NER(head="crf", **settings))


def test_training_lowers_the_loss_and_moves_the_transitions(prepare):
    predictor, data = prepare(NER(head="crf"))
    model = predictor.model.train()
    (batch,) = predictor.batches(data, batch_size=100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(15):
        loss = model.loss(model(batch), batch).mean
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    legal = model.head.legal
    assert model.head.transitions[legal].abs().max() > 0.5
    assert (model.head.transitions[~legal] == ILLEGAL).all()


def test_windows_give_each_word_one_place_in_one_chain(prepare):
    predictor, data = prepare(NER(head="crf"), max_length=10, stride=2)
    assert any(len(group) > 1 for group in data.features)
    for group, example in zip(data.features, data.examples, strict=True):
        words = [[word for word in feature.token_targets["words"] if word] for feature in group]
        assert [row[0] for row in words if row] == [1] + [2] * (sum(map(bool, words)) - 1)
        assert sum(map(len, words)) == len(example.tokens)
    evaluation = predictor.evaluate(data)
    assert 0 < evaluation.metrics["loss"] < 10
    shorter = replace(predictor, batch_size=1).evaluate(data)
    assert shorter.metrics["loss"] == pytest.approx(evaluation.metrics["loss"], rel=1e-4)
    for alone, together in zip(shorter.predictions, evaluation.predictions, strict=True):
        assert [(e["entity_group"], e["start"], e["end"]) for e in alone] == [
            (e["entity_group"], e["start"], e["end"]) for e in together
        ]


def test_a_word_without_gold_is_no_part_of_the_trained_sequence(head):
    outputs = logits(1, 3)
    with_gap = head.loss(outputs, batch_of([[1, 1, 1]], [[1, -100, 2]]))
    without = head.loss({"logits": outputs["logits"][:, [0, 2]]}, batch_of([[1, 1]], [[1, 2]]))
    assert with_gap.count.item() == 2
    torch.testing.assert_close(with_gap.total, without.total)


def test_the_divergence_is_that_of_all_sequences(head):
    """Against the Kullback-Leibler divergences of two lists of every legal sequence, in float64."""
    head = head.double()
    one, two = ({"logits": logits(2, 4, seed)["logits"].double().requires_grad_()} for seed in (3, 4))
    batch = batch_of([[0, 1, 1, 1], [0, 1, 0, 1]], [[-100, 1, 2, 0], [-100, 0, -100, 3]])
    expected = 0.0
    for row, places in ((0, [1, 2, 3]), (1, [1, 3])):
        paths = torch.cartesian_prod(*[torch.arange(5)] * len(places))
        held = torch.ones(len(paths), len(places), dtype=torch.long)
        scores = []
        for outputs in (one, two):
            chain, _ = chain_of(outputs["logits"][row, places].expand(len(paths), -1, -1), held)
            scores.append(path_score(chain, head.transitions, paths).log_softmax(0))
        p, q = scores
        expected = expected + ((p.exp() - q.exp()) * (p - q)).clamp(min=-1e6).sum() / 2
    found = head.divergence(one, two, batch)
    assert found.item() == pytest.approx(expected.item(), rel=1e-9) and found.item() > 0
    names = (one["logits"], two["logits"])
    for ours, theirs in zip(torch.autograd.grad(found, names), torch.autograd.grad(expected, names), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-9)
    assert head.divergence(one, one, batch).item() == 0
    head.float()
