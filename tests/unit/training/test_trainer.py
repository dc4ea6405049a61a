"""Does the loop evaluate when it should, stop when it should, and leave the best weights whatever happens?"""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from reasoner.errors import ConfigError, DivergedError
from reasoner.losses import LossSum, squared_error
from reasoner.notices import collect
from reasoner.training.callbacks import Callback
from reasoner.training.config import TrainingConfig
from reasoner.training.early_stopping import EarlyStopping
from reasoner.training.trainer import Trainer


class Line(nn.Module):
    """A linear model whose loss turns to NaN at a batch that says so."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)
        self.dropout = nn.Dropout(0.5)
        self.norm = nn.BatchNorm1d(3)
        self.modes = []

    def forward(self, batch):
        if torch.is_grad_enabled():
            self.modes.append(self.training and self.dropout.training)
        return self.layer(self.dropout(self.norm(batch.x))).squeeze(-1)

    def loss(self, outputs, batch):
        loss = squared_error(outputs, batch.y)
        return LossSum(loss.total * batch.factor, loss.count)


class Toys:
    """As many batches as asked for, each of four rows."""

    def __init__(self, number, *, bad=()):
        self.number, self.bad, self.epoch, self.epochs = number, bad, 0, []

    def __len__(self):
        return self.number

    def __iter__(self):
        self.epochs.append(self.epoch)
        for index in range(self.number):
            generator = torch.Generator().manual_seed(100 * self.epoch + index)
            x = torch.randn(4, 3, generator=generator)
            factor = float("nan") if self.epoch * self.number + index + 1 in self.bad else 1.0
            batch = SimpleNamespace(x=x, y=x.sum(-1), factor=factor, tokens=7)
            batch.to = lambda device, batch=batch: batch
            yield batch


class Witness(Callback):
    """Writes down each stage, with the weights at evaluations."""

    def __init__(self, model, *, fail_at=None, error=RuntimeError):
        self.model, self.fail_at, self.error = model, fail_at, error
        self.stages, self.at_best = [], {}

    def on_train_begin(self, trainer):
        self.stages.append("begin")

    def on_step_end(self, trainer):
        self.stages.append(trainer.step)
        if trainer.step == self.fail_at:
            raise self.error("in the middle")

    def on_log(self, trainer, row):
        self.stages.append(f"log {row['split']}")

    def on_evaluate(self, trainer, metrics):
        self.stages.append("evaluate")

    def on_best(self, trainer):
        self.stages.append("best")
        self.at_best = {name: value.clone() for name, value in self.model.state_dict().items()}

    def on_epoch_end(self, trainer):
        self.stages.append("epoch")

    def on_train_end(self, trainer):
        self.stages.append("end")


def made(scores=(), *, batches=4, bad=(), patience=None, min_delta=0.0, greater=True, fail_at=None, error=RuntimeError,
         callbacks=(), **settings):  # fmt: skip
    """Return a trainer whose evaluations give these scores one after the other, and its witness."""
    torch.manual_seed(0)
    model = Line()
    witness = Witness(model, fail_at=fail_at, error=error)
    remaining = iter(scores)
    config = TrainingConfig(**{"use_cpu": True, "learning_rate": 0.1, "warmup_steps": 0, **settings})
    trainer = Trainer(
        model,
        Toys(batches, bad=bad),
        config=config,
        evaluate=(lambda: {"score": next(remaining), "by_type": {}}) if scores else None,
        stopping=EarlyStopping("score", greater, patience, min_delta) if scores else None,
        callbacks=[witness, *callbacks],
    )
    return trainer, witness


def same(model, state):
    return all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("batches", "accumulation", "epochs", "max_steps", "steps", "epochs_seen"),
    [
        (4, 1, 3, None, 12, [0, 1, 2]),
        (4, 4, 3, None, 3, [0, 1, 2]),
        (5, 2, 2, None, 6, [0, 1]),  # the rest of an epoch is a step of its own
        (3, 8, 2, None, 2, [0, 1]),
        (4, 1, 3, 6, 6, [0, 1]),
        (4, 1, 1, 9, 9, [0, 1, 2]),
        (5, 2, 1, 4, 4, [0, 1]),
    ],
)
def test_the_number_of_steps(batches, accumulation, epochs, max_steps, steps, epochs_seen):
    trainer, _ = made(
        batches=batches, gradient_accumulation_steps=accumulation, num_train_epochs=epochs, max_steps=max_steps
    )
    history = trainer.train()
    assert trainer.total_steps == history.steps == steps
    assert trainer.batches.epochs == epochs_seen
    assert trainer.schedule.get_last_lr() == pytest.approx([0.0] * 2)  # linear, and down at the last step
    assert not history.stopped_early and history.best_step is None and history.seconds > 0
    assert history.rows[-1]["step"] == steps
    assert history.rows[-1]["epoch"] == pytest.approx(steps / math.ceil(batches / accumulation))


def test_tokens_are_counted():
    trainer, _ = made(batches=5, gradient_accumulation_steps=2, num_train_epochs=2)
    assert trainer.train().tokens == 2 * 5 * 7


def validations(history):
    return [row["step"] for row in history.rows if row["split"] == "validation"]


@pytest.mark.parametrize(
    ("settings", "evaluated"),
    [
        ({"num_train_epochs": 3}, [4, 8, 12]),
        ({"max_steps": 6}, [4, 6]),
        ({"max_steps": 8}, [4, 8]),
        ({"num_train_epochs": 2, "eval_steps": 3}, [3, 6, 8]),
        ({"num_train_epochs": 2, "eval_steps": 4}, [4, 8]),
        ({"num_train_epochs": 1, "eval_steps": 100}, [4]),
        ({"num_train_epochs": 1, "eval_steps": 1}, [1, 2, 3, 4]),
        ({"num_train_epochs": 2, "gradient_accumulation_steps": 3}, [2, 4]),
    ],
)
def test_when_it_evaluates_and_never_twice_at_a_step(settings, evaluated):
    trainer, witness = made([step / 10 for step in range(len(evaluated))], **settings)  # a further call would fail
    history = trainer.train()
    assert validations(history) == evaluated
    assert witness.stages.count("evaluate") == witness.stages.count("best") == len(evaluated)
    assert history.best_step == evaluated[-1]


@pytest.mark.parametrize(
    ("scores", "settings", "steps", "best"),
    [
        ([0.5, 0.4, 0.3, 0.9], {"patience": 2}, 12, 4),
        ([0.5, 0.4, 0.6, 0.5, 0.5], {"patience": 2}, 20, 12),
        ([0.5, 0.4], {"patience": 1}, 8, 4),
        ([3.0, 2.0, 2.5, 2.2], {"patience": 2, "greater": False}, 16, 8),
        ([0.5, 0.505, 0.509], {"patience": 2, "min_delta": 0.01}, 12, 12),
        ([float("nan"), 0.1, float("nan")], {"patience": 1}, 4, None),
        ([0.5, 0.4, 0.3], {"patience": 2, "eval_steps": 3}, 9, 3),
    ],
)
def test_it_stops_exactly_when_patience_is_out(scores, settings, steps, best):
    trainer, witness = made(scores, num_train_epochs=9, **settings)
    history = trainer.train()
    assert (history.steps, history.best_step, history.stopped_early) == (steps, best, True)
    if best is not None:
        assert same(trainer.model, witness.at_best)


def test_patience_that_ends_with_the_last_step_did_not_stop_anything():
    trainer, _ = made([0.5, 0.4, 0.3], num_train_epochs=3, patience=2)
    history = trainer.train()
    assert history.steps == 12 and not history.stopped_early


def test_the_best_weights_are_left_bit_for_bit():
    """Those of batch statistics as well, which no optimiser touches."""
    trainer, witness = made([0.2, 0.9, 0.5, 0.4], num_train_epochs=4)
    history = trainer.train()
    assert history.best_step == 8 and history.steps == 16
    assert witness.at_best.keys() >= {"norm.running_mean", "layer.weight"} and same(trainer.model, witness.at_best)
    assert not trainer.model.training


def test_without_evaluation_the_last_weights_are_left():
    trainer, witness = made(num_train_epochs=2)
    last = {}
    witness.on_epoch_end = lambda trainer: last.update({n: v.clone() for n, v in trainer.model.state_dict().items()})
    trainer.train()
    assert same(trainer.model, last)


def test_a_score_that_is_never_a_number_leaves_the_last_weights():
    trainer, witness = made([float("nan")] * 2, num_train_epochs=2)
    before = trainer.model.layer.weight.clone()
    history = trainer.train()
    assert history.best_step is None and "best" not in witness.stages
    assert not torch.equal(trainer.model.layer.weight, before)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("fail_at", [5, 7, 8, 9])
def test_after_an_error_the_best_weights_are_there(error, fail_at):
    trainer, witness = made([0.5, 0.1], num_train_epochs=3, fail_at=fail_at, error=error)
    with pytest.raises(error, match=r"in the middle"):
        trainer.train()
    assert trainer.history.best_step == 4 and same(trainer.model, witness.at_best)
    assert witness.stages[-1] == "end" and not trainer.model.training


def test_after_an_interrupt_within_a_step_the_best_weights_are_there():
    trainer, witness = made([0.5], num_train_epochs=3)

    def interrupted():
        if trainer.step == 4:  # the weights have moved, the step is not yet counted
            raise KeyboardInterrupt

    trainer.schedule.step = interrupted
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert trainer.history.best_step == trainer.step == 4 and same(trainer.model, witness.at_best)


def test_an_evaluation_that_fails_leaves_the_best_weights():
    trainer, witness = made([0.5], num_train_epochs=3)  # the second evaluation has no score left
    with pytest.raises(StopIteration):
        trainer.train()
    assert same(trainer.model, witness.at_best)


@pytest.mark.parametrize("bad", [[6], [6, 7, 8], [8]])
def test_a_loss_that_is_no_number_names_its_step(bad):
    trainer, witness = made([0.5, 0.6], num_train_epochs=2, bad=bad)
    with pytest.raises(DivergedError, match=rf"loss of step {bad[0]} is nan.*learning rate \(0.1\)"):
        trainer.train()
    assert same(trainer.model, witness.at_best)
    assert all(math.isfinite(row["loss"]) for row in trainer.history.rows if row["split"] == "train")


def test_a_loss_that_is_infinite_names_its_step():
    trainer, _ = made(num_train_epochs=2, learning_rate=1e30, optim="sgd", max_grad_norm=0, logging_steps=1)
    with pytest.raises(DivergedError, match=r"loss of step [2345] is (inf|nan)"):
        trainer.train()


def test_the_order_of_the_stages():
    trainer, witness = made([0.1, 0.2], batches=2, num_train_epochs=2, logging_steps=100)
    trainer.train()
    epoch = ["log train", "log validation", "evaluate", "best", "epoch"]
    assert witness.stages == ["begin", 1, 2, *epoch, 3, 4, *epoch, "end"]


@pytest.mark.parametrize("logging_steps", [1, 3, 5, 100])
def test_the_logged_loss_is_the_mean_since_the_row_before(logging_steps):
    trainer, _ = made(batches=8, num_train_epochs=1, logging_steps=logging_steps)
    losses, counts = [], []
    inner = trainer.backward

    def spied(batch):
        loss = inner(batch)
        losses.append(float(loss.total))
        counts.append(float(loss.count))
        return loss

    trainer.backward = spied
    rows = trainer.train().rows
    ends = [*range(logging_steps, 8, logging_steps), 8]
    assert [row["step"] for row in rows] == ends
    for start, end, row in zip([0, *ends], ends, rows, strict=False):
        assert row["loss"] == pytest.approx(sum(losses[start:end]) / sum(counts[start:end]))


@pytest.mark.parametrize("stage", ["on_step_end", "on_evaluate", "on_best"])
def test_dropout_is_active_in_training_though_a_callback_evaluates(stage):
    spy = Callback()
    setattr(spy, stage, lambda trainer, *arguments: trainer.model.eval())
    trainer, _ = made([0.1, 0.2, 0.3, 0.4], num_train_epochs=2, eval_steps=2, callbacks=[spy])
    trainer.train()
    assert trainer.model.modes == [True] * 8


def test_the_model_is_evaluated_without_dropout():
    modes = []
    trainer, _ = made([0.1], num_train_epochs=1)
    trainer.evaluate = lambda: modes.append(trainer.model.training) or {"score": 0.1}
    trainer.train()
    assert modes == [False]


def test_a_count_may_be_a_whole_number():
    """A head of somebody else's may well count with integers."""
    trainer, _ = made(num_train_epochs=1, optim="sgd", max_grad_norm=0)
    exact, _ = made(num_train_epochs=1, optim="sgd", max_grad_norm=0)
    loss = trainer.model.loss
    trainer.model.loss = lambda outputs, batch: LossSum(loss(outputs, batch).total, torch.tensor(len(batch.y)))
    assert trainer.train().rows[-1]["loss"] == pytest.approx(exact.train().rows[-1]["loss"])
    assert same(trainer.model, exact.model.state_dict())


def test_a_step_without_labels_changes_nothing():
    trainer, _ = made(num_train_epochs=1, max_grad_norm=1.0, weight_decay=0.0, optim="sgd")
    trainer.model.loss = lambda outputs, batch: LossSum(outputs.sum() * 0.0, torch.tensor(0.0))
    before = trainer.model.layer.weight.clone()
    assert trainer.train().rows[-1]["loss"] == 0.0
    assert torch.equal(trainer.model.layer.weight, before)


class Seer(Callback):
    """Writes down what it is shown of each batch, and whether there was a gradient already."""

    def __init__(self):
        self.seen = []

    def on_batch(self, trainer, batch, outputs):
        gradient = trainer.model.layer.weight.grad
        self.seen.append((batch, outputs, None if gradient is None else gradient.clone()))


def test_a_callback_sees_each_batch_with_its_outputs_before_its_gradient():
    seer = Seer()
    trainer, _ = made([0.5], batches=5, gradient_accumulation_steps=2, num_train_epochs=1, callbacks=[seer])
    given = []
    forward = trainer.model.forward
    trainer.model.forward = lambda batch: given.append((batch, forward(batch))) or given[-1][1]
    trainer.train()
    assert [(batch, outputs) for batch, outputs, _ in seer.seen] == given and len(given) == 5
    assert all(outputs.requires_grad for _, outputs, _ in seer.seen)
    assert [gradient is None for _, _, gradient in seer.seen] == [True, False, True, False, True]


def test_callbacks_that_do_not_look_at_batches_are_not_called_there(monkeypatch):
    monkeypatch.setattr(Callback, "on_batch", lambda *arguments: pytest.fail("called"))
    quiet, attached = Callback(), Callback()
    seen = []
    attached.on_batch = lambda trainer, batch, outputs: seen.append(batch)
    trainer, _ = made(num_train_epochs=1, callbacks=[quiet, attached])
    trainer.train()
    assert len(seen) == 4


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_an_evaluation_whose_loss_is_no_number_is_never_the_best(loss):
    """A model that gives NaN has a score too, and on uneven labels a good one."""
    trainer, witness = made([0.5] * 3, num_train_epochs=3)
    results = iter([{"score": 0.3, "loss": 1.0}, {"score": 0.9, "loss": loss}, {"score": 0.2, "loss": 1.0}])
    trainer.evaluate = lambda: next(results)
    with collect() as said:
        history = trainer.train()
    assert history.best_step == 4 and same(trainer.model, witness.at_best)
    assert [row["score"] for row in history.rows if row["split"] == "validation"] == [0.3, 0.9, 0.2]
    (text,) = said
    assert text.startswith(f"The loss of the evaluation at step 8 is {loss}: its scores do not count.")


def test_tables_and_other_numbers_among_the_scores():
    trainer, _ = made([0.5], num_train_epochs=1)
    trainer.evaluate = lambda: {"score": torch.tensor(0.5).numpy().item(), "by_type": {"PER": {}}, "note": "x"}
    (row,) = [row for row in trainer.train().rows if row["split"] == "validation"]
    assert row == {"step": 4, "epoch": 1.0, "split": "validation", "score": 0.5}


def test_what_is_missing_is_said_before_training():
    config, line = TrainingConfig(use_cpu=True, learning_rate=0.1), Line()
    with pytest.raises(ConfigError, match=r"no batches"):
        Trainer(line, Toys(0), config=config)
    with pytest.raises(ConfigError, match=r"learning rate: TrainingConfig\(learning_rate=...\)"):
        Trainer(line, Toys(2), config=TrainingConfig(use_cpu=True))
    with pytest.raises(ConfigError, match=r"stopping=EarlyStopping"):
        Trainer(line, Toys(2), config=config, evaluate=dict)
    with pytest.raises(ConfigError, match=r"froze them all"):
        Trainer(line.requires_grad_(False), Toys(2), config=config)


def test_an_evaluation_without_the_metric_says_what_it_gave():
    trainer, _ = made([0.5], num_train_epochs=1)
    trainer.evaluate = lambda: {"f1": 0.5, "loss": 1.0}
    with pytest.raises(ConfigError, match=r"gave no 'score', only f1, loss"):
        trainer.train()
