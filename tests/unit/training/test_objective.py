"""Are R-Drop's and the adversarial gradient those of the formulas, however a batch is packed, cut or cached?"""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn import functional

import reasoner
from gradients import collected, first_gradient, same
from reasoner.errors import ConfigError
from reasoner.losses import binary_divergence, divergence, grouped_divergence
from reasoner.notices import collect
from reasoner.tasks.classification import Classification
from reasoner.tasks.multiple_choice import MultipleChoice
from reasoner.tasks.ner import NER
from reasoner.tasks.nli import NLI
from reasoner.tasks.qa import QuestionAnswering
from reasoner.training import parts
from reasoner.training.callbacks import Callback
from reasoner.training.config import TrainingConfig
from reasoner.training.objective import Extras
from reasoner.training.trainer import Trainer

TASKS = {"nli": NLI(), "ner": NER(), "qa": QuestionAnswering(), "multiple_choice": MultipleChoice(),
         "multi": Classification(kind="multi")}  # fmt: skip


def gradients(predictor, data, *, batch_size=8, seed=5, callbacks=(), **settings):
    """Return the gradient of the first batch's objective as the trainer computes it, and the loss it returns."""
    config = TrainingConfig(use_cpu=True, bf16=False, learning_rate=1e-3, fast_dropout=False, **settings)
    batches = predictor.batches(data, batch_size=batch_size)
    embeddings = predictor.model.network.get_input_embeddings()
    extras = Extras(embeddings)
    return first_gradient(predictor, batches, config=config, extras=extras, seed=seed, callbacks=callbacks)


# --- R-Drop ---------------------------------------------------------------------------------------------------------


def by_hand(name, one, two, batch):
    """The mean of both losses, and half of KL(p, q) + KL(q, p), label by label, as the paper writes them."""

    def kl(p, q):
        return (p * (p.log() - q.log())).sum()

    def both(x, y, gold):
        p, q = x.softmax(-1), y.softmax(-1)
        return -(p[gold].log() + q[gold].log()) / 2, (kl(p, q) + kl(q, p)) / 2

    targets, terms = batch.targets, []
    if name in ("nli", "ner"):
        labels = targets["labels"].reshape(-1)
        rows = zip(one["logits"].reshape(len(labels), -1), two["logits"].reshape(len(labels), -1), labels, strict=True)
        terms = [both(x, y, gold) for x, y, gold in rows if gold != -100]
    elif name == "qa":
        for row, padded in enumerate(targets["context_mask"] == -100):
            for side in ("start", "end"):
                x, y = (outputs[f"{side}_logits"][row][~padded] for outputs in (one, two))
                loss, kl_both = both(x, y, targets[f"{side}_positions"][row])
                terms.append((loss / 2, kl_both / 2))
    elif name == "multiple_choice":
        for group in batch.group.unique():
            x, y = (outputs["logits"].squeeze(-1)[batch.group == group] for outputs in (one, two))
            terms.append(both(x, y, targets["labels"][batch.group == group].argmax()))
    else:
        for x, y, gold in zip(
            one["logits"].flatten(), two["logits"].flatten(), targets["labels"].flatten(), strict=True
        ):
            pair = (torch.stack([torch.zeros_like(x), x]), torch.stack([torch.zeros_like(y), y]))
            terms.append(both(*pair, int(gold)))
    losses, divergences = zip(*terms, strict=True)
    return sum(losses), sum(divergences)


@pytest.mark.parametrize("name", TASKS)
def test_r_drop_is_the_formula(prepare, name):
    predictor, data = prepare(TASKS[name], dropout=0.3, sharp=True, packing=False)
    predictor.model.double()
    reference = deepcopy(predictor.model).train()
    ours, loss, batch = gradients(predictor, data, r_drop=0.7)
    torch.manual_seed(5)
    losses, divergences = by_hand(name, reference(batch), reference(batch), batch)
    assert divergences.item() > 1e-3
    same(ours, collected(reference, losses + 0.7 * divergences))
    torch.testing.assert_close(loss.total, losses.detach(), rtol=1e-9, atol=1e-9)  # the task's own
    plain = reference.loss(reference(batch), batch)
    assert loss.count.item() == plain.count.item()


@pytest.mark.parametrize("settings", [{"r_drop": 0.0}, {"adversarial_epsilon": 0.0}])
def test_a_weight_of_nothing_is_plain_training(prepare, settings):
    predictor, data = prepare(NLI(), dropout=0.3, sharp=True)
    reference = deepcopy(predictor.model).train()
    ours, loss, batch = gradients(predictor, data, **settings)
    torch.manual_seed(5)
    plain = reference.loss(reference(batch), batch)
    same(ours, collected(reference, plain.total), 1e-6)
    assert loss.total.item() == pytest.approx(plain.total.item())


def test_a_batch_in_parts_and_packed_is_the_same(prepare, monkeypatch):
    """Without dropout both passes are alike, so only what does not depend on chance is compared; and it is said."""
    predictor, data = prepare(NER(), dropout=0.0, sharp=True)
    plain, _, _ = gradients(deepcopy(predictor), data)
    with collect() as said:
        ours, _, _ = gradients(deepcopy(predictor), data, r_drop=2.0)
    same(ours, plain, 1e-5)
    assert len(said) == 1 and "no dropout is active" in said[0]


def test_each_divergence_is_a_sum_over_probabilities():
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(5, 4, dtype=torch.float64, generator=generator) * 3 for _ in range(2))
    p, q = x.log_softmax(-1), y.log_softmax(-1)
    kls = functional.kl_div(q, p, log_target=True, reduction="none").sum(-1)
    kls = (kls + functional.kl_div(p, q, log_target=True, reduction="none").sum(-1)) / 2
    torch.testing.assert_close(divergence(x, y), kls)
    group = torch.arange(5).repeat_interleave(4)
    order = torch.randperm(20, generator=generator)
    torch.testing.assert_close(grouped_divergence(x.flatten()[order], y.flatten()[order], group[order]), kls.sum())
    pair = torch.stack([torch.zeros(3, dtype=torch.float64), torch.tensor([1.0, -2.0, 0.3], dtype=torch.float64)], -1)
    torch.testing.assert_close(
        binary_divergence(pair[:, 1], pair[:, 1] + 1), divergence(pair, pair + torch.tensor([0, 1]))
    )


@pytest.mark.parametrize("name", ["number", "own"])
def test_a_head_without_a_divergence_is_refused_before_anything_is_scored(tiny_bert, rows_of, registry, name):
    from own_head import OwnLayers

    reasoner.register_head("own", OwnLayers)
    task = Classification(kind="number") if name == "number" else NLI(head="own")
    rows = rows_of(type(task).__name__, getattr(task, "kind", None))
    with pytest.raises(ConfigError, match="has no divergence"):
        reasoner.fine_tune(tiny_bert, {"train": rows, "validation": rows[:8]}, task=task, r_drop=1.0, use_cpu=True)


def test_callbacks_see_a_batch_once(prepare):
    class Seer(Callback):
        seen = 0

        def on_batch(self, trainer, batch, outputs):
            self.seen += len(batch.feature_index)

    seer = Seer()
    predictor, data = prepare(NLI(), dropout=0.1)
    gradients(predictor, data, r_drop=1.0, adversarial_epsilon=0.5, callbacks=[seer])
    assert seer.seen == 8


# --- adversarial training -------------------------------------------------------------------------------------------


def attacked_by_hand(predictor, batch, epsilon):
    """Row by row, without padding, on embeddings that are given to the network: loss, then loss on moved embeddings.

    Equations 4 to 6 of the paper; the gradient of the move itself is not followed.
    """
    model = predictor.model
    table = model.network.get_input_embeddings().weight
    total = 0.0
    for row, mask in enumerate(batch.inputs["attention_mask"].bool()):
        inputs = {name: tensor[row : row + 1, mask] for name, tensor in batch.inputs.items()}
        targets = {n: t[row : row + 1, mask] if t.ndim > 1 else t[row : row + 1] for n, t in batch.targets.items()}
        embedded = table[inputs.pop("input_ids")]

        def loss(embedded, inputs=inputs, targets=targets):
            logits = model.network(inputs_embeds=embedded, **inputs).logits
            return functional.cross_entropy(logits.flatten(0, -2), targets["labels"].flatten(), reduction="sum")

        plain = loss(embedded)
        (gradient,) = torch.autograd.grad(plain, embedded, retain_graph=True)
        total = total + plain + loss(embedded + epsilon * gradient / gradient.norm())
    return total


@pytest.mark.parametrize("task", ["nli", "ner"])
@pytest.mark.parametrize("architecture", ["bert", "distilbert", "electra", "deberta-v2", "modernbert"])
def test_the_attack_is_the_formula(prepare, architecture, task):
    predictor, data = prepare(TASKS[task], architecture=architecture, dropout=0.0, sharp=True, packing=False)
    predictor.model.double()
    reference = deepcopy(predictor)
    ours, loss, batch = gradients(predictor, data, adversarial_epsilon=0.4)
    assert batch.tokens < batch.positions  # padding, or it would not be tested
    expected = collected(reference.model, attacked_by_hand(reference, batch, 0.4))
    same(ours, expected, 1e-7)
    plain = reference.model.loss(reference.model(batch), batch)
    torch.testing.assert_close(loss.total, plain.total.detach())  # the task's own loss is what is reported
    unattacked = collected(reference.model, 2 * plain.total)
    assert max((ours[name] - unattacked[name]).abs().max().item() for name in ours) > 1e-3


def test_packed_cut_and_whole_give_the_same(prepare, monkeypatch):
    predictor, data = prepare(NER(), dropout=0.0, sharp=True)
    assert predictor.model.packs
    padded = deepcopy(predictor)
    padded.model.pack(False)
    settings = {"adversarial_epsilon": 0.4, "r_drop": 0.5}
    whole, loss, batch = gradients(padded, data, **settings)
    assert batch.positions - batch.tokens > 0.05 * batch.positions
    packed, packed_loss, _ = gradients(deepcopy(predictor), data, **settings)
    same(packed, whole, 1e-5)
    monkeypatch.setattr(parts, "CACHED", 2_000)
    sizes, forward = [], predictor.model.forward
    predictor.model.forward = lambda batch: sizes.append(len(batch.feature_index)) or forward(batch)
    cut, cut_loss, _ = gradients(predictor, data, **settings)
    assert len(sizes) > 3 and max(sizes) < 8
    same(cut, whole, 1e-5)
    assert loss.total.item() == pytest.approx(packed_loss.total.item()) == pytest.approx(cut_loss.total.item())


def test_a_batch_that_does_not_fit_is_halved_with_all_its_passes(prepare):
    predictor, data = prepare(NER(), dropout=0.0, sharp=True)
    settings = {"adversarial_epsilon": 0.4, "r_drop": 0.5}
    whole, _, _ = gradients(deepcopy(predictor), data, **settings)
    forward, calls = predictor.model.forward, []

    def small(batch):
        calls.append(len(batch.feature_index))
        if len(batch.feature_index) > 4 and len(calls) == 3:  # the attack's pass, after the first gradient was added
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(batch)

    predictor.model.forward = small
    ours, _, _ = gradients(predictor, data, **settings)
    assert calls == [8, 8, 8] + [4] * 6
    same(ours, whole, 1e-5)


def test_frozen_embeddings_are_attacked_as_well(prepare):
    predictor, data = prepare(NLI(), dropout=0.0, sharp=True)
    free = deepcopy(predictor)
    predictor.model.network.bert.embeddings.requires_grad_(False)
    ours, _, _ = gradients(predictor, data, adversarial_epsilon=0.4)
    theirs, _, _ = gradients(free, data, adversarial_epsilon=0.4)
    assert not any("embeddings" in name for name in ours)
    same(ours, {name: theirs[name] for name in ours}, 1e-6)


def test_nothing_is_left_on_the_module(prepare):
    predictor, data = prepare(NLI(), dropout=0.1)
    gradients(predictor, data, adversarial_epsilon=0.4, r_drop=1.0)
    assert not predictor.model.network.get_input_embeddings()._forward_hooks


def test_the_trainer_must_know_what_to_attack():
    class One(list):
        epoch = 0

    with pytest.raises(ConfigError, match=r"Give Extras\(embeddings"):
        Trainer(nn.Linear(1, 1), One([1]), config=TrainingConfig(learning_rate=1.0, adversarial_epsilon=1.0))


def test_what_frozen_layers_give_is_not_kept_where_they_are_attacked(tiny_bert, rows_of):
    rows = rows_of("NLI")
    result = reasoner.fine_tune(
        tiny_bert, {"train": rows, "validation": rows[:8]}, task="nli", method="head", use_cpu=True, check=False,
        num_train_epochs=2, adversarial_epsilon=0.5, r_drop=0.5, torch_compile=True, dropout=0.1,
    )  # fmt: skip
    said = " ".join(result.run.notices)
    assert "adversarial training changes what it sees" in said and "computed once" not in said
    assert "not compiled, since adversarial training" in said
    assert result.run.config["r_drop"] == 0.5
