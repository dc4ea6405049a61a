"""Is a step on several batches the step on one large batch, and a whole run that of a loop written by hand?"""

from __future__ import annotations

import random
from copy import deepcopy
from types import SimpleNamespace

import numpy
import pytest
import torch
from torch.nn import functional
from transformers import get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

from reasoner.evaluation import Encoded
from reasoner.losses import LossSum
from reasoner.registry import TABLES, name_of
from reasoner.synthetic import generation_pack, intent_and_slots_pack, ner_pack, nested_ner_pack
from reasoner.synthetic.relations import relation_pack
from reasoner.tasks.classification import Classification
from reasoner.tasks.generation import Generation
from reasoner.tasks.intent_and_slots import IntentAndSlots
from reasoner.tasks.multiple_choice import MultipleChoice
from reasoner.tasks.ner import NER
from reasoner.tasks.nested_ner import NestedNER
from reasoner.tasks.nli import NLI
from reasoner.tasks.qa import QuestionAnswering
from reasoner.tasks.relation import Relation
from reasoner.tasks.several import SeveralTasks
from reasoner.training.config import TrainingConfig
from reasoner.training.trainer import Trainer

PARTS = {"1x32": [32], "4x8": [8] * 4, "32x1": [1] * 32, "uneven": [3, 24, 5]}
TASKS = {
    "ner": NER(),
    "ner_weighted": NER(class_weights="balanced", label_smoothing=0.1),
    "ner_crf": NER(head="crf"),
    "nested_ner": NestedNER(),
    "nli": NLI(class_weights={"entailment": 1.0, "neutral": 3.0, "contradiction": 0.5}),
    "one_label": Classification(class_weights="balanced", label_smoothing=0.2),
    "several_labels": Classification(kind="multi", class_weights="balanced"),
    "number": Classification(kind="number"),
    "qa": QuestionAnswering(),
    "multiple_choice": MultipleChoice(),
    "relation": Relation(),
    "generation": Generation(max_new_tokens=64),
    "intent_and_slots": IntentAndSlots(weights={"slots": 3.0}),
    "several": SeveralTasks(
        parts={"names": NER(class_weights="balanced"), "tags": NER(head="crf"), "spans": "nested_ner"}
    ),
}
ROWS = {
    "nested_ner": nested_ner_pack(train=32, validation=0, test=0)["train"],
    "relation": relation_pack(train=32, validation=0, test=0)["train"],
    "generation": generation_pack(train=32, validation=0, test=0)["train"],
    "intent_and_slots": intent_and_slots_pack(train=32, validation=0, test=0)["train"],
    "several": [
        {**row, "text": " ".join(row["tokens"]), "entities": [{"start": 0, "end": len(row["tokens"][0]), "label": "X"}]}
        for row in ner_pack(train=32, validation=0, test=0)["train"]
    ],
}
DECODERS = {"generation": {"architecture": "gpt2"}}


def in_float64(batch):
    batch.targets = {name: t.double() if t.is_floating_point() else t for name, t in batch.targets.items()}
    return batch


def batches_of(predictor, data, sizes):
    """Return batches of as many examples as `sizes` says."""
    batches, start = [], 0
    for size in sizes:
        part = Encoded(data.examples[start : start + size], data.features[start : start + size])
        batches += [in_float64(batch) for batch in predictor.batches(part, batch_size=10_000)]
        start += size
    assert start == len(data.examples)
    return batches


class Fixed(list):
    """Batches that are the same each epoch."""

    epoch = 0


def gradient(model, batches, **settings):
    config = TrainingConfig(use_cpu=True, bf16=False, learning_rate=1e-9, optim="sgd", **settings)
    trainer = Trainer(model, Fixed(batches), config=config)
    trainer.train_step(batches)
    return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


def assert_equal(ours, theirs, tolerance):
    assert ours.keys() == theirs.keys() and ours
    for name, value in ours.items():
        torch.testing.assert_close(
            value, theirs[name], rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("name", TASKS)
def test_accumulation_gives_the_gradient_of_one_large_batch(prepare, name):
    """Each way of accumulating to the gradient of PyTorch's own pass over all rows: transformers#37766."""
    predictor, data = prepare(TASKS[name], rows=ROWS.get(name), dropout=0.0, sharp=True, **DECODERS.get(name, {}))
    model = predictor.model.double()
    assert len({len(feature) for group in data.features for feature in group}) > 5  # or padding would not be tested
    (whole,) = batches_of(predictor, data, [32])
    plain = deepcopy(model).train()
    plain.loss(plain(whole), whole).mean.backward()
    expected = {name: weight.grad for name, weight in plain.named_parameters() if weight.grad is not None}
    assert max(float(value.abs().max()) for value in expected.values()) > 1e-5
    for sizes in PARTS.values():
        batches = batches_of(predictor, data, sizes)
        assert len(batches) == len(sizes)
        assert_equal(gradient(deepcopy(model), batches, max_grad_norm=0), expected, 1e-11)


def test_no_task_is_left_out():
    by_batch = {
        "link_prediction",
        "response_ranking",
    }  # the wrong answers are those of the batch: another batch is another loss
    assert {name_of("task", type(task)) for task in TASKS.values()} == set(TABLES["task"]) - by_batch


@pytest.mark.parametrize("weighted", [False, True])
def test_token_gradients_are_those_of_pytorch_s_mean(prepare, weighted):
    """The mean over all tokens of the step, not the mean of the batches' means."""
    predictor, data = prepare(TASKS["ner_weighted" if weighted else "ner"], dropout=0.0, sharp=True)
    model = predictor.model.double()
    ours = gradient(deepcopy(model), batches_of(predictor, data, PARTS["uneven"]), max_grad_norm=0)
    logits, labels = [], []
    for group in data.features:
        for feature in group:
            inputs = {key: torch.tensor([value]) for key, value in feature.inputs.items()}
            logits.append(model.network(**inputs).logits[0])
            labels.append(torch.tensor(feature.token_targets["labels"]))
    weights = model.head.class_weights
    assert (weights is not None) == weighted
    loss = functional.cross_entropy(torch.cat(logits), torch.cat(labels), weights, label_smoothing=0.1 * weighted)
    loss.backward()
    assert_equal(ours, {n: w.grad for n, w in model.named_parameters() if w.grad is not None}, 1e-9)


@pytest.mark.parametrize("norm", [0.01, 0.5, 1e6])
def test_clipping_is_that_of_pytorch_on_the_mean_gradient(prepare, norm):
    predictor, data = prepare(TASKS["ner"], dropout=0.0, sharp=True)
    model = predictor.model.double()
    batches = batches_of(predictor, data, PARTS["4x8"])
    ours = gradient(deepcopy(model), batches, max_grad_norm=norm)
    (whole,) = batches_of(predictor, data, [32])
    model.loss(model(whole), whole).mean.backward()
    before = torch.nn.utils.clip_grad_norm_(model.parameters(), norm)
    assert (before > norm) == (norm < 1)  # one of the norms clips nothing
    assert_equal(ours, {n: w.grad for n, w in model.named_parameters() if w.grad is not None}, 1e-9)


class InFloat64:
    """Batches with targets in float64."""

    def __init__(self, batches):
        self.batches = batches

    @property
    def epoch(self):
        return self.batches.epoch

    @epoch.setter
    def epoch(self, epoch):
        self.batches.epoch = epoch

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        return map(in_float64, self.batches)


def by_hand(network, batches, loss_of, *, steps, seed, rate, accumulation, cosine, warmup):
    """Train with PyTorch and transformers alone: what somebody would write without this library."""
    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)
    decays = [w for n, w in network.named_parameters() if not (n.endswith(".bias") or "norm" in n.lower())]
    spared = [w for n, w in network.named_parameters() if n.endswith(".bias") or "norm" in n.lower()]
    groups = [{"params": decays, "weight_decay": 0.1}, {"params": spared, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), eps=1e-7, foreach=False, fused=False)
    make = get_cosine_schedule_with_warmup if cosine else get_linear_schedule_with_warmup
    schedule = make(optimizer, warmup, steps)
    network.train()
    step, epoch, seen = 0, 0, 0
    while step < steps:
        batches.epoch = epoch
        listed = list(batches)
        for start in range(0, len(listed), accumulation):
            if step == steps:
                break
            group = listed[start : start + accumulation]
            seen += sum(int((batch.targets["labels"] != -100).sum()) for batch in group)
            mean_labels = seen / (step + 1)  # of the steps so far
            optimizer.zero_grad()
            for batch in group:
                (loss_of(network(**batch.inputs).logits, batch.targets["labels"]) / mean_labels).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)
            optimizer.step()
            schedule.step()
            step += 1
        epoch += 1


def summed(logits, labels):
    return functional.cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=-100, reduction="sum")


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-5)])
@pytest.mark.parametrize(("name", "cosine"), [("ner", False), ("one_label", True)])
def test_a_whole_run_is_that_of_a_loop_by_hand(prepare, name, cosine, dtype, tolerance):
    """With dropout, shuffling, accumulation with a rest, warm-up, decay and clipping: weight for weight."""
    task = NER() if name == "ner" else Classification()
    predictor, data = prepare(task, dropout=0.1, packing=False)
    model = predictor.model.to(dtype)
    network = deepcopy(model.network)
    made = InFloat64(predictor.batches(data, batch_size=5, shuffle=True, seed=3))
    assert len(made) == 7
    by_hand(network, made, summed, steps=7, seed=3, rate=2e-3, accumulation=3, cosine=cosine, warmup=2)
    start = {name: weight.clone() for name, weight in model.network.state_dict().items()}
    config = TrainingConfig(
        use_cpu=True, bf16=False, seed=3, learning_rate=2e-3, gradient_accumulation_steps=3, max_steps=7,
        weight_decay=0.1, adam_beta2=0.98, adam_epsilon=1e-7, warmup_steps=2, max_grad_norm=0.5,
        lr_scheduler_type="cosine" if cosine else "linear", fast_dropout=False,
    )  # fmt: skip
    history = Trainer(model, made, config=config).train()
    assert history.steps == 7
    trained = model.network.state_dict()
    assert_equal(trained, network.state_dict(), tolerance)
    assert max(float((trained[name] - start[name]).abs().max()) for name in start) > 1e-3


def test_a_token_weighs_the_same_in_a_batch_of_short_rows_as_in_one_of_long_rows():
    """One weight, SGD, loss = weight x rows: each step moves it by the rows over the mean rows of the steps so far."""

    class Weight(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def forward(self, batch):
            return self.weight

        def loss(self, outputs, batch):
            return LossSum(outputs * batch.rows, torch.tensor(batch.rows))

    class Sized:
        epoch = 0

        def __len__(self):
            return 3

        def __iter__(self):
            for rows in (10.0, 30.0, 5.0):
                batch = SimpleNamespace(rows=rows, tokens=int(rows))
                batch.to = lambda device, batch=batch: batch
                yield batch

    config = TrainingConfig(
        use_cpu=True, bf16=False, optim="sgd", sgd_momentum=0.0, learning_rate=1.0, warmup_steps=0,
        lr_scheduler_type="constant", weight_decay=0.0, max_grad_norm=0, max_steps=3, logging_steps=3,
    )  # fmt: skip
    model = Weight()
    history = Trainer(model, Sized(), config=config).train()
    assert model.weight.item() == pytest.approx(-(10 / 10 + 30 / 20 + 5 / 15))
    total = 0 * 10 - 1 * 30 - 2.5 * 5
    assert history.rows[-1]["loss"] == pytest.approx(total / 45)


def trained_weights(prepare, seed):
    predictor, data = prepare(NER(), seed=seed, dropout=0.1)
    batches = predictor.batches(data, batch_size=8, shuffle=True, seed=seed)
    config = TrainingConfig(use_cpu=True, seed=seed, learning_rate=1e-3, num_train_epochs=2)
    Trainer(predictor.model, batches, config=config).train()
    return torch.cat([weight.detach().flatten() for weight in predictor.model.parameters()])


def test_a_seed_gives_the_same_weights_bit_for_bit_whatever_ran_before(prepare):
    first = trained_weights(prepare, 5)
    torch.rand(17), random.random(), numpy.random.rand()
    assert torch.equal(trained_weights(prepare, 5), first)
    assert not torch.equal(trained_weights(prepare, 6), first)
