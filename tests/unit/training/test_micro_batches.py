"""Is a step whose batches do not fit into the memory the step of the whole batches, and is each row seen once?"""

from __future__ import annotations

from contextlib import contextmanager
from copy import deepcopy

import pytest
import torch
from torch import nn

from reasoner.errors import DivergedError, NotEnoughMemoryError
from reasoner.notices import collect
from reasoner.tasks.multiple_choice import MultipleChoice
from reasoner.tasks.ner import NER
from reasoner.tasks.nli import NLI
from reasoner.tasks.qa import QuestionAnswering
from reasoner.tasks.response_ranking import ResponseRanking
from reasoner.training import parts, row_gradients
from reasoner.training.callbacks import Callback
from reasoner.training.config import TrainingConfig
from reasoner.training.guard import LossWatch
from reasoner.training.parts import can_cut, cut
from reasoner.training.trainer import Trainer

TASKS = {"ner": NER(), "nli": NLI(), "qa": QuestionAnswering(), "multiple_choice": MultipleChoice()}


class Seer(Callback):
    """Writes down the features that are shown, and those of each step."""

    def __init__(self):
        self.shown, self.tokens, self.steps = [], 0, []

    def on_batch(self, trainer, batch, outputs):
        assert len(next(iter(outputs.values()))) == len(batch.feature_index)
        self.shown += batch.feature_index
        self.tokens += batch.tokens

    def on_step_end(self, trainer):
        self.steps.append(self.shown)
        self.shown = []


@contextmanager
def small_memory(model, positions, *, where="backward", error=torch.OutOfMemoryError):
    """Let the model fail for larger batches: before anything is computed, or with half of the gradients added."""
    sizes, forward = [], model.forward

    def no_room(*_):
        raise error("CUDA out of memory. Tried to allocate 2 TiB")

    def fail_after_the_layers_above(module, inputs, outputs):
        hidden = outputs[0] if isinstance(outputs, tuple) else outputs
        if where == "backward" and hidden.requires_grad and sizes[-1] > positions:
            hidden.register_hook(no_room)

    def failing_forward(batch):
        sizes.append(batch.positions)
        if where == "forward" and batch.positions > positions:
            no_room()
        return forward(batch)

    handle = model.network.base_model.encoder.layer[0].register_forward_hook(fail_after_the_layers_above)
    model.forward = failing_forward
    try:
        yield sizes
    finally:
        del model.forward
        handle.remove()


def trained(predictor, data, *, callbacks=(), watch=None, batch_size=8, **settings):
    batches = predictor.batches(data, batch_size=batch_size, shuffle=True, seed=3)
    config = TrainingConfig(**{"use_cpu": True, "bf16": False, "learning_rate": 1e-3, "warmup_steps": 0, "optim": "sgd",
                               "num_train_epochs": 2, **settings})  # fmt: skip
    trainer = Trainer(predictor.model, batches, config=config, callbacks=callbacks, watch=watch)
    trainer.train()
    return trainer


def weights_of(model):
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize("name", TASKS)
def test_weights_are_those_of_a_run_that_fits(prepare, monkeypatch, name, accumulation, where):
    monkeypatch.setattr(row_gradients, "LARGE", 1)  # gradient arrays that stay from step to step
    predictor, data = prepare(TASKS[name], dropout=0.0, sharp=True)
    start = weights_of(predictor.model)
    plain, seer = Seer(), Seer()
    whole = deepcopy(predictor)
    settings = {"gradient_accumulation_steps": accumulation, "learning_rate": 0.05}
    expected = trained(whole, data, callbacks=[plain], **settings)
    room = (6 if name == "multiple_choice" else 2.5) * max(len(row) for group in data.features for row in group)
    with small_memory(predictor.model, room, where=where) as sizes, collect() as said:
        ours = trained(predictor, data, callbacks=[seer], **settings)
    assert max(float((ours_ - start[n]).abs().max()) for n, ours_ in weights_of(whole.model).items()) > 1e-3
    for name_, weight in weights_of(predictor.model).items():
        torch.testing.assert_close(weight, dict(whole.model.named_parameters())[name_], rtol=1e-6, atol=1e-6)
    assert [sorted(step) for step in seer.steps] == [sorted(step) for step in plain.steps]  # each row once, in its step
    assert seer.tokens == plain.tokens == ours.history.tokens == expected.history.tokens
    assert ours.history.positions == expected.history.positions and ours.history.steps == expected.history.steps
    ours_losses, losses = ([row["loss"] for row in run.history.rows] for run in (ours, expected))
    assert ours_losses == pytest.approx(losses, rel=1e-5)
    assert sum("did not fit into the memory" in sentence for sentence in said) >= 1
    assert max(sizes) > room  # or nothing was tried


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("what", ["CACHED", "KEPT"])
def test_on_the_cpu_a_large_batch_runs_in_parts(prepare, monkeypatch, name, what):
    predictor, data = prepare(TASKS[name], dropout=0.0, sharp=True)
    whole, plain, seer, sizes = deepcopy(predictor), Seer(), Seer(), []
    trained(whole, data, callbacks=[plain], learning_rate=0.05)
    config = predictor.model.network.config
    many = {"CACHED": 2_000, "KEPT": 60 * config.num_hidden_layers * config.hidden_size}
    monkeypatch.setattr(parts, what, many[what])
    forward = predictor.model.forward
    predictor.model.forward = lambda batch: sizes.append(batch.inputs["input_ids"].shape) or forward(batch)
    with collect() as said:
        trained(predictor, data, callbacks=[seer], learning_rate=0.05)
    assert len(sizes) > 2 * len(plain.steps) and not said
    if name != "multiple_choice":  # its choices stay together
        most = {"CACHED": lambda length: 3_000 / length**2, "KEPT": lambda length: 90 / length}[what]
        assert all(rows == 1 or rows <= most(length) for rows, length in sizes)
    assert [sorted(step) for step in seer.steps] == [
        sorted(step) for step in plain.steps
    ] and seer.tokens == plain.tokens
    for name_, weight in weights_of(predictor.model).items():
        torch.testing.assert_close(weight, dict(whole.model.named_parameters())[name_], rtol=1e-5, atol=1e-5)


def test_rows_that_are_wrong_answers_for_each_other_stay_in_one_batch(prepare, monkeypatch):
    rows = [{"turns": [f"hello {number}"], "response": f"good day {number}"} for number in range(16)]
    predictor, data = prepare(ResponseRanking(), rows=rows, dropout=0.0)
    monkeypatch.setattr(parts, "CACHED", 100)
    sizes, forward = [], predictor.model.forward
    predictor.model.forward = lambda batch: sizes.append(len(set(batch.group.tolist()))) or forward(batch)
    trained(predictor, data, num_train_epochs=1)
    assert sizes == [8, 8]


def test_where_rows_are_normalised_together_a_batch_is_not_cut_for_speed(prepare):
    predictor, _ = prepare(NLI())
    cpu = torch.device("cpu")
    assert parts.part_limit(predictor.model, cpu) and parts.part_limit(predictor.model, torch.device("cuda")) is None
    predictor.model.head.normal = nn.BatchNorm1d(4)
    assert parts.part_limit(predictor.model, cpu) is None


def test_the_size_that_was_found_is_kept_and_said(prepare):
    predictor, data = prepare(NLI(), dropout=0.0)
    with small_memory(predictor.model, 150) as sizes, collect() as said:
        trainer = trained(predictor, data, num_train_epochs=3)
    limit = trainer._micro_batches.largest
    assert limit <= 150 and f"Batches of more than {limit:,} positions" in said[-1]
    failed = [number for number, size in enumerate(sizes) if size > 150]
    assert 1 <= len(failed) <= 4 and all(size <= limit for size in sizes[failed[-1] + 1 :])


def test_choices_of_a_question_stay_together(prepare):
    predictor, data = prepare(MultipleChoice(), dropout=0.0)
    batches = predictor.batches(data, batch_size=8)
    assert batches.keep_together
    seen = []
    longest = max(len(feature) for group in data.features for feature in group)
    with small_memory(predictor.model, 6 * longest):
        inner = predictor.model.forward
        predictor.model.forward = lambda batch: seen.append(batch) or inner(batch)
        trained(predictor, data, num_train_epochs=1)
    choices = {number: len(group) for number, group in enumerate(data.features)}
    assert len(seen) > len(batches)
    for batch in seen:
        for position, index in enumerate(batch.feature_index):
            example = batches.example_of[index]
            assert sum(batches.example_of[other] == example for other in batch.feature_index) == choices[example]
            assert int(batch.group[position]) < len({batches.example_of[i] for i in batch.feature_index})


def test_windows_of_a_text_may_be_parted(prepare):
    predictor, data = prepare(QuestionAnswering(), dropout=0.0, max_length=24, stride=4)
    assert max(map(len, data.features)) > 1
    assert not predictor.batches(data, batch_size=8).keep_together
    with small_memory(predictor.model, 24) as sizes:  # each window alone
        trained(predictor, data, num_train_epochs=1)
    assert 24 in sizes


def test_a_row_that_does_not_fit_is_an_error_that_says_what_to_do(prepare):
    predictor, data = prepare(NLI(), dropout=0.0)
    with small_memory(predictor.model, 5), pytest.raises(NotEnoughMemoryError, match="single training row") as caught:
        trained(predictor, data)
    for remedy in ("max_length", "gradient_checkpointing", "smaller model"):
        assert remedy in str(caught.value)
    assert caught.value.__context__ is None  # or its frames would hold on to the memory


def test_batches_that_cannot_be_cut_are_said_to_be_so():
    class Full(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(1, 1)

        def forward(self, batch):
            raise MemoryError

    class Whole:
        tokens = 1

        def to(self, device):
            return self

    class One(list):
        epoch = 0

    trainer = Trainer(Full(), One([Whole()]), config=TrainingConfig(learning_rate=1e-3, use_cpu=True))
    with pytest.raises(NotEnoughMemoryError, match="cannot be cut"):
        trainer.train()


def test_other_errors_are_left_alone(prepare):
    predictor, data = prepare(NLI(), dropout=0.0)
    with small_memory(predictor.model, 5, error=ZeroDivisionError), pytest.raises(ZeroDivisionError):
        trained(predictor, data)


def test_the_watch_names_the_right_rows(prepare):
    """A loss that is not finite in a batch that was run in parts."""
    predictor, data = prepare(NLI(), dropout=0.0)
    bad = 11
    inner = predictor.model.loss

    def spoiled(outputs, batch):
        found = inner(outputs, batch)
        return found._replace(total=found.total * (float("nan") if bad in batch.feature_index else 1.0))

    predictor.model.loss = spoiled
    places = [f"row {index}" for index in range(len(data.examples))]
    watch = LossWatch(describe=lambda batch: [places[i] for i in batch.feature_index])
    with small_memory(predictor.model, 100) as sizes, pytest.raises(DivergedError) as caught:
        trained(predictor, data, watch=watch)
    assert sizes[0] > 100
    assert caught.value.rows == ("row 11",)


def test_what_can_be_cut(prepare):
    predictor, data = prepare(NLI())
    (batch,) = predictor.batches(data, batch_size=100)
    assert can_cut(batch) and not can_cut(object())
    part = cut(batch, [3, 5])
    assert part.feature_index == [batch.feature_index[3], batch.feature_index[5]] and len(batch.feature_index) == 32
    batch.feature_index = batch.feature_index[:-1]  # as if two features were in one row
    assert not can_cut(batch)
