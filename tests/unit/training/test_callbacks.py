"""Is the history on disk line by line while training runs, and is progress shown with loss and score?"""

from __future__ import annotations

import json
import logging
import sys
from types import SimpleNamespace

import pytest
import torch
import tqdm.auto
from torch import nn

from reasoner.training.callbacks import Callback, HistoryFile, Progress
from reasoner.training.config import TrainingConfig
from reasoner.training.early_stopping import EarlyStopping
from reasoner.training.forecast import Forecast
from reasoner.training.history import History

ROWS = [
    {"step": 5, "epoch": 0.5, "split": "train", "loss": 0.75, "learning_rate": 1e-4},
    {"step": 10, "epoch": 1.0, "split": "validation", "f1": 0.5, "loss": 0.25},
]


@pytest.fixture
def trainer():
    history = History(tokens=6000, seconds=0.0)
    config = TrainingConfig(eval_steps=10)
    return SimpleNamespace(
        total_steps=20, step=0, steps_per_epoch=10, stopping=EarlyStopping("f1", True), history=history,
        model=nn.Linear(10, 5), config=config, evaluate=dict, device=torch.device("cpu"),
    )  # fmt: skip


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_callbacks_do_nothing_by_default(trainer):
    callback = Callback()
    stages = [name for name in vars(Callback) if name.startswith("on_")]
    assert len(stages) == 8
    for stage in stages:
        arguments = {"on_log": ({},), "on_evaluate": ({},), "on_batch": (None, {})}.get(stage, ())
        assert getattr(callback, stage)(trainer, *arguments) is None
    assert not vars(callback)


def test_each_row_is_on_disk_at_once(trainer, tmp_path):
    path = tmp_path / "new" / "folder" / "history.jsonl"
    file = HistoryFile(path)
    file.on_train_begin(trainer)
    assert path.read_text() == ""
    for number, row in enumerate(ROWS, 1):
        file.on_log(trainer, row)
        assert lines(path) == ROWS[:number]


def test_an_earlier_history_is_kept_beside(trainer, tmp_path):
    path = tmp_path / "history.jsonl"
    for row in ROWS:
        file = HistoryFile(path)
        file.on_train_begin(trainer)
        file.on_log(trainer, row)
    assert lines(path) == [ROWS[1]] and lines(tmp_path / "history.previous.jsonl") == [ROWS[0]]


@pytest.fixture
def bars(monkeypatch):
    """Bars that take the output for a terminal, and a list of them."""
    made = []

    class Bar(tqdm.auto.tqdm):
        def __init__(self, *arguments, **settings):
            self.settings = settings
            super().__init__(*arguments, **{**settings, "disable": bool(settings["disable"])})
            made.append(self)

    monkeypatch.setattr("tqdm.auto.tqdm", Bar)
    return made


@pytest.fixture(autouse=True)
def memory(monkeypatch):
    monkeypatch.setattr("reasoner.training.callbacks.peak_memory_mib", lambda device: 1234.4)


def follow(progress, trainer):
    progress.on_train_begin(trainer)
    for _ in range(10):
        trainer.step += 1
        trainer.history.seconds += 0.2
        progress.on_step_end(trainer)
    for row in ROWS:
        progress.on_log(trainer, row)


def test_the_bar_shows_loss_and_score(trainer, bars, capsys):
    progress = Progress()
    follow(progress, trainer)
    (bar,) = bars
    assert bar.settings["disable"] is None  # tqdm then shows it where there is a terminal
    assert (bar.n, bar.total) == (10, 20)
    shown = "left=0:02, loss=0.7500, tokens/s=3,000, memory=1,234 MiB, validation loss=0.2500, validation f1=0.5000"
    assert bar.postfix == shown
    progress.on_train_end(trainer)
    assert bar.disable  # closed
    assert "training" in capsys.readouterr().err


def test_the_bar_shows_the_share_of_the_peak(trainer, bars):
    follow(Progress(forecast=Forecast(peak=2.0e6)), trainer)
    assert "tokens/s=3,000 (45% of peak)" in bars[0].postfix  # 6 x 50 weights x 3000 tokens a second, of 2 million


def test_where_no_bar_is_shown_each_evaluation_is_a_line(trainer, caplog, capsys):
    caplog.set_level(logging.INFO, logger="reasoner")
    assert not sys.stderr.isatty()
    follow(Progress(), trainer)
    assert caplog.messages == [
        "step 5 of 20: 0:03 left, with 2 evaluations; tokens/s 6,000; memory 1,234 MiB",
        "step 10 of 20 (epoch 1.00): left 0:02, loss 0.7500, tokens/s 3,000, memory 1,234 MiB, "
        "validation loss 0.2500, validation f1 0.5000",
    ]
    assert capsys.readouterr().err == ""


def test_a_bar_that_is_not_wanted_is_not_shown(trainer, bars, capsys):
    follow(Progress(disable=True), trainer)
    assert bars[0].settings["disable"] is True and "training" not in capsys.readouterr().err
