"""Is the moving average that of the formula, is it what is scored and kept, and is a mean of checkpoints their mean?"""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from reasoner.errors import ConfigError, DivergedError
from reasoner.losses import LossSum, squared_error
from reasoner.notices import collect
from reasoner.training.averaging import BestCheckpoints, Checkpoint, MovingAverage
from reasoner.training.callbacks import Callback
from reasoner.training.config import TrainingConfig
from reasoner.training.early_stopping import EarlyStopping
from reasoner.training.trainer import Trainer


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.norm = nn.Linear(3, 1), nn.BatchNorm1d(3)

    def forward(self, batch):
        return self.layer(self.norm(batch.x)).squeeze(-1)

    def loss(self, outputs, batch):
        loss = squared_error(outputs, batch.y)
        return LossSum(loss.total * batch.factor, loss.count)


class Toys:
    def __init__(self, bad=()):
        self.epoch, self.bad = 0, bad

    def __len__(self):
        return 4

    def __iter__(self):
        for index in range(4):
            x = torch.randn(4, 3, generator=torch.Generator().manual_seed(10 * self.epoch + index))
            factor = math.nan if 4 * self.epoch + index + 1 in self.bad else 1.0
            batch = SimpleNamespace(x=x, y=x.sum(-1), factor=factor, tokens=4)
            batch.to = lambda device, batch=batch: batch
            yield batch


class Witness(Callback):
    """Writes down the weights after each step, and what the model holds at evaluations."""

    def __init__(self):
        self.steps, self.scored, self.best = [], [], []

    def on_step_end(self, trainer):
        self.steps.append(weights_of(trainer))

    def on_evaluate(self, trainer, metrics):
        self.scored.append(weights_of(trainer))

    def on_best(self, trainer):
        self.best.append([tensor.clone() for tensor in trainer._learned()])


def weights_of(trainer):
    return [weight.detach().clone() for weight in trainer.weights]


def run(scores=(), *, greater=True, bad=(), **settings):
    """Train with evaluations that give these scores, and return trainer, witness, and what was said."""
    witness, remaining = Witness(), iter(scores)
    config = TrainingConfig(
        **{"use_cpu": True, "learning_rate": 0.1, "warmup_steps": 0, "num_train_epochs": 3, **settings}
    )
    trainer = Trainer(
        Line(),
        Toys(bad),
        config=config,
        evaluate=(lambda: {"score": next(remaining)}) if scores else None,
        stopping=EarlyStopping("score", greater) if scores else None,
        callbacks=[witness],
    )
    with collect() as said:
        trainer.train()
    return trainer, witness, said


def averaged(steps, decay):
    """The formula, in double precision."""
    factors = [(1 - decay) * decay ** (len(steps) - 1 - i) for i in range(len(steps))]
    parts = [sum(f * w.double() for f, w in zip(factors, values, strict=True)) for values in zip(*steps, strict=True)]
    return [part / (1 - decay ** len(steps)) for part in parts]


def close(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.double(), other.double(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999])
def test_evaluations_see_the_average_of_all_steps_so_far(decay):
    _, witness, _ = run([1.0, 2.0, 3.0], ema_decay=decay)
    assert len(witness.steps) == 12
    for number, seen in enumerate(witness.scored, start=1):
        close(seen, averaged(witness.steps[: 4 * number], decay))
    assert not torch.allclose(witness.scored[-1][0], witness.steps[-1][0])


def test_training_itself_goes_on_from_its_own_weights():
    with_average, plain = run([1.0, 2.0, 3.0], ema_decay=0.9)[1], run([1.0, 2.0, 3.0])[1]
    assert all(torch.equal(a, b) for one, other in zip(with_average.steps, plain.steps, strict=True)
               for a, b in zip(one, other, strict=True))  # fmt: skip


def test_the_average_of_the_best_evaluation_is_kept():
    trainer, witness, _ = run([1.0, 3.0, 2.0], ema_decay=0.9)
    assert trainer.history.best_step == 8
    close(weights_of(trainer), averaged(witness.steps[:8], 0.9))


def test_without_evaluation_the_last_average_is_kept():
    trainer, witness, _ = run(ema_decay=0.9)
    close(weights_of(trainer), averaged(witness.steps, 0.9))


def test_a_step_that_was_not_made_takes_no_part_and_going_back_forgets():
    trainer, witness, _ = run(ema_decay=0.9, bad=(6,), on_divergence="halve", logging_steps=1)
    assert [row["step"] for row in trainer.history.rollbacks] == [6]
    close(weights_of(trainer), averaged(witness.steps[6:], 0.9))


def test_after_an_error_the_average_of_the_best_evaluation_is_left():
    with pytest.raises(DivergedError):
        run([1.0], ema_decay=0.9, bad=(6,))
    weight = torch.zeros(2)
    average = MovingAverage([weight], 0.5)
    with pytest.raises(KeyError), average.in_place():
        raise KeyError
    assert weight.tolist() == [0, 0]


def test_one_step_is_its_own_average():
    weight = torch.zeros(2)
    average = MovingAverage([weight], 0.99)
    weight.fill_(3.0)
    average.update()
    weight.fill_(5.0)
    with average.in_place():
        assert weight.tolist() == [3.0, 3.0]
    assert weight.tolist() == [5.0, 5.0]


def mean_of(witness, places):
    return [sum(tensors[i].double() for i in places) / len(places) for tensors in zip(*witness.best, strict=True)]


@pytest.mark.parametrize(
    ("last", "kept"),
    [(4.0, True), (3.0, True), (2.9, False), (math.nan, False)],
)
def test_the_mean_is_kept_if_it_scores_no_worse(last, kept):
    trainer, witness, said = run([1.0, 2.0, 3.0, last], average_checkpoints=2)
    expected = mean_of(witness, [1, 2]) if kept else witness.best[2]
    for name, (ours, theirs) in enumerate(zip(trainer._learned(), expected, strict=True)):
        if ours.is_floating_point():
            torch.testing.assert_close(ours.double(), theirs.double(), rtol=1e-6, atol=1e-6, msg=str(name))
    assert trainer.history.best_step == 12 and len(witness.best) == 3 + kept
    assert [row["split"] for row in trainer.history.rows][-1] == "average"
    assert said == [
        f"The mean of the weights of the evaluations at steps 8, 12 has a score of {last:.4f} on validation, "
        f"the best of them 3.0000: {'the mean' if kept else 'the best'} is kept."
    ]


def test_lower_is_better_where_the_score_says_so():
    trainer, witness, _ = run([3.0, 1.0, 2.0, 0.5], greater=False, average_checkpoints=3)
    # the third evaluation was no best one: its weights are those after the last step
    values = [(a.double() + b.double() + c.double()) / 3
              for a, b, c in zip(*(witness.scored[i] for i in range(3)), strict=True)]  # fmt: skip
    close(weights_of(trainer), values)


def test_with_a_moving_average_the_averages_are_averaged():
    trainer, witness, _ = run([1.0, 2.0, 3.0, 4.0], ema_decay=0.9, average_checkpoints=2)
    values = [(one + other) / 2 for one, other in
              zip(averaged(witness.steps[:8], 0.9), averaged(witness.steps, 0.9), strict=True)]  # fmt: skip
    close(weights_of(trainer), values)


def test_too_few_evaluations_are_said():
    trainer, witness, said = run([1.0, math.nan], average_checkpoints=2, num_train_epochs=2)
    assert said == ["average_checkpoints: there is nothing to average (evaluations with a score: 1)."]
    close(weights_of(trainer), witness.steps[3])


def test_it_needs_evaluations():
    with pytest.raises(ConfigError, match="average_checkpoints needs evaluations"):
        run(average_checkpoints=2)


def test_the_best_are_kept_whatever_their_order():
    for scores in ([5, 1, 4, 2, 3], [1, 2, 3, 4, 5], [5, 4, 3, 2, 1]):
        kept = BestCheckpoints(3, greater_is_better=True)
        for step, score in enumerate(scores):
            if kept.wants(score):
                kept.add(Checkpoint(score, step, [torch.tensor([float(score)]), torch.tensor(score)]))
        assert [checkpoint.score for checkpoint in kept.kept] == [5, 4, 3]
        assert [tensor.item() for tensor in kept.mean()] == [4.0, 5]  # whole numbers: those of the best
        assert kept.steps == sorted(scores.index(score) for score in (5, 4, 3))
    assert not BestCheckpoints(3, greater_is_better=True).wants(math.nan)
