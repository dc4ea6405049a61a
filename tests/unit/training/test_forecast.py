"""Is the time left that of the steps and evaluations that really follow, and is the peak of memory one?"""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy
import pytest
import torch
from torch import nn

from reasoner.losses import squared_error
from reasoner.training.callbacks import Callback
from reasoner.training.config import TrainingConfig
from reasoner.training.early_stopping import EarlyStopping
from reasoner.training.forecast import Forecast, evaluations_left, peak_memory_mib
from reasoner.training.history import History
from reasoner.training.trainer import Trainer

CPU = torch.device("cpu")


def training(**changes):
    state = {"step": 0, "total_steps": 100, "steps_per_epoch": 25, "evaluate": dict, "history": History(),
             "device": CPU, "config": TrainingConfig(num_train_epochs=4), "model": nn.Linear(10, 5)}  # fmt: skip
    return SimpleNamespace(**{**state, **changes})


def made(forecast, trainer, seconds):
    forecast.begin(trainer)
    for each in seconds:
        trainer.step += 1
        trainer.history.seconds += each
        trainer.history.tokens += 100
        forecast.note_step(trainer)


def test_the_first_step_is_not_counted_and_four_others_are_waited_for():
    forecast, trainer = Forecast(), training(evaluate=None)
    made(forecast, trainer, [9.0, 1.0, 2.0, 3.0])
    assert not forecast.ready
    made(forecast, trainer := training(evaluate=None), [9.0, 1.0, 2.0, 3.0, 2.0])
    assert forecast.ready
    assert forecast.seconds_left(trainer) == pytest.approx(95 * 2.0)


def test_an_evaluation_is_estimated_until_one_was_timed():
    forecast, trainer = Forecast(evaluation_tokens=3000), training()
    made(forecast, trainer, [1.0] * 5)
    assert forecast.seconds_left(trainer) == pytest.approx(95 + 4 * 3000 / 3 / 100)
    trainer.history.evaluation_seconds += [99.0, 7.0]  # the first may fill a cache
    assert forecast.seconds_left(trainer) == pytest.approx(95 + 2 * 7.0)


@pytest.mark.parametrize(("seconds", "text"), [(0.01, "0:01"), (0.65, "1:02"), (38.0, "1:00:10")])
def test_it_is_written_as_a_clock_would(seconds, text):
    forecast, trainer = Forecast(), training(evaluate=None)
    made(forecast, trainer, [seconds] * 5)
    assert forecast.left(trainer) == text


def test_before_any_step_there_is_nothing_to_say():
    forecast, trainer = Forecast(), training()
    forecast.begin(trainer)
    assert forecast.seconds_left(trainer) == 0.0


def test_a_second_training_starts_anew():
    forecast = Forecast()
    made(forecast, training(), [5.0] * 9)
    made(forecast, trainer := training(evaluate=None), [1.0] * 5)
    assert forecast.seconds_left(trainer) == pytest.approx(95.0)


class Count(Callback):
    """Writes down, after each step, how many evaluations are said to be left."""

    def __init__(self):
        self.left, self.evaluated = {}, []

    def on_step_end(self, trainer):
        self.left[trainer.step] = evaluations_left(trainer)

    def on_evaluate(self, trainer, metrics):
        self.evaluated.append(trainer.step)


class Toys:
    epoch = 0

    def __len__(self):
        return 4

    def __iter__(self):
        for _ in range(4):
            batch = SimpleNamespace(x=torch.ones(2, 1), y=torch.ones(2), tokens=2)
            batch.to = lambda device, batch=batch: batch
            yield batch


class Line(nn.Linear):
    def forward(self, batch):
        return super().forward(batch.x).squeeze(-1)

    def loss(self, outputs, batch):
        return squared_error(outputs, batch.y)


@pytest.mark.parametrize(
    "settings", [{}, {"eval_steps": 3}, {"eval_steps": 5, "max_steps": 11}, {"max_steps": 6}, {"eval_steps": 12},
                 {"eval_steps": 50}, {"gradient_accumulation_steps": 3}],
)  # fmt: skip
def test_evaluations_that_are_left_are_those_that_come(settings):
    count = Count()
    config = TrainingConfig(use_cpu=True, learning_rate=1e-3, **settings)
    scores = {"evaluate": lambda: {"score": 1.0}, "stopping": EarlyStopping("score", True)}
    trainer = Trainer(Line(1, 1), Toys(), config=config, callbacks=[count], **scores)
    history = trainer.train()
    assert count.left == {step: sum(at >= step for at in count.evaluated) for step in range(1, history.steps + 1)}
    assert len(history.evaluation_seconds) == len(count.evaluated) > 0


def test_the_peak_of_memory_is_that_of_the_process():
    before = peak_memory_mib(CPU)
    if sys.platform == "win32":
        assert before is None
        return
    assert 10 < before < 1e6
    held = numpy.ones(40 * 2**20)  # 320 MiB
    peak = peak_memory_mib(CPU)
    assert peak >= before and peak > 320
    del held
    assert peak_memory_mib(CPU) > peak - 1  # the system counts in batches of pages


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_the_peak_of_a_cuda_device_is_that_of_this_training():
    device = torch.device("cuda")
    del (earlier := [torch.ones(64 * 2**20, device=device)])[:]
    Forecast().begin(training(device=device))
    torch.ones(16 * 2**20, device=device)
    assert not earlier and 64 <= peak_memory_mib(device) < 256
