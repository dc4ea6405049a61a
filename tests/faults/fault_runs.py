"""What the tests of this folder share: a run that is long enough to be broken off, and how two runs are compared."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any
from unittest.mock import patch

import datasets
import torch

import reasoner
from reasoner.training.callbacks import Callback

TIMES = ("rows_per_second",)
"""Numbers of the history that are no two times the same."""
SETTINGS: dict[str, Any] = {
    "use_cpu": True,
    "bf16": False,
    "num_train_epochs": 3,
    "per_device_train_batch_size": 4,
    "logging_steps": 2,
    "learning_rate": 2e-3,
    "dropout": 0.1,
    "disable_tqdm": True,
    "checkpoint_steps": 2,
}


class Broken(Exception):
    """What breaks a run off in these tests."""


class Break(Callback):
    """Breaks training off when a stage comes for the n-th time."""

    def __init__(self, stage: str = "", number: int = 0) -> None:
        self.stage, self.left = stage, number

    def _come(self, stage: str) -> None:
        if stage == self.stage:
            self.left -= 1
            if not self.left:
                raise Broken

    def on_step_end(self, trainer: Any) -> None:
        self._come("step")

    def on_log(self, trainer: Any, row: dict[str, Any]) -> None:
        self._come("log")

    def on_evaluate(self, trainer: Any, metrics: dict[str, Any]) -> None:
        self._come("evaluate")

    def on_best(self, trainer: Any) -> None:
        self._come("best")

    def on_epoch_end(self, trainer: Any) -> None:
        self._come("epoch")


def tune(
    model: Path, rows: list[dict[str, Any]], folder: Path | None, *, streamed: bool = False, **arguments: Any
) -> Any:
    """Tune a tiny model on the first 20 rows; the others are for validation.

    With `streamed` the 20 come from three shards, shuffled anew in each pass, in buffers of 8.
    """
    data: dict[str, Any] = {"train": rows[:20], "validation": rows[20:]}
    if streamed:
        data["train"] = datasets.Dataset.from_list(rows[:20]).to_iterable_dataset(num_shards=3)
        data["train"] = data["train"].shuffle(seed=5, buffer_size=6)
    with patch.multiple("reasoner.streaming", BUFFER=8, LEAST_BATCHES=2):
        return reasoner.fine_tune(
            model, data, output_dir=folder, **{"task": "classification", "check": False, **SETTINGS, **arguments}
        )


class Slow(Callback):
    """Makes each step take so many seconds."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def on_step_end(self, trainer: Any) -> None:
        time.sleep(self.seconds)


class FullDisk(Callback):
    """Fills the disk when a step comes; the file is in the way until someone removes it."""

    def __init__(self, file: Path | None = None, step: int = 0) -> None:
        self.file, self.step = file, step

    def on_step_end(self, trainer: Any) -> None:
        if self.file is not None and trainer.step == self.step:
            fill(self.file)


def fill(path: Path) -> None:
    """Write zeros until the disk is full."""
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError as error:
                assert error.errno == errno.ENOSPC


def started(model: Path, rows: list[dict[str, Any]], folder: Path, **arguments: Any) -> ForkServerProcess:
    """Start a run in a process of its own, forked off from one that has everything imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["reasoner.api", "transformers.models.bert.modeling_bert", "datasets", "peft"])
    process = context.Process(target=_run, args=(model, rows, folder), kwargs=arguments)
    process.start()
    return process


def _run(model: Path, rows: list[dict[str, Any]], folder: Path, **arguments: Any) -> None:
    log = os.open(folder.with_suffix(".log"), os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.dup2(log, 1)
    os.dup2(log, 2)
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # programs in the background begin with it ignored
    tune(model, rows, folder, resume=True, **arguments)


def said_in(folder: Path) -> str:
    """Return what the runs in a folder have written to their terminal."""
    return folder.with_suffix(".log").read_text("utf-8")


def outcome(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
    """Return what a run that has ended left: the bytes of its weights, its history, and how it ended."""
    record = json.loads((folder / "reasoner_config.json").read_text("utf-8"))
    run = record["run"]
    weights = {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}
    assert weights and "finished" in record and not (folder / "checkpoints").exists()
    ended = {name: run[name] for name in ("best_step", "stopped_early")}
    ended |= {name: run["metrics"]["train"][name] for name in ("loss", "steps", "epochs", "positions", "evaluations")}
    return weights, history_of(run["history"]), ended


def history_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


def assert_same_run(run: Any, other: Any) -> None:
    """Assert that two results are those of the same training, to the last bit."""
    weights, others = (result.predictor.model.state_dict() for result in (run, other))
    assert weights.keys() == others.keys()
    assert [name for name, value in weights.items() if not torch.equal(value, others[name])] == []
    assert history_of(run.history) == history_of(other.history)
    assert (run.run.best_step, run.run.stopped_early) == (other.run.best_step, other.run.stopped_early)
    for name in ("loss", "steps", "epochs", "positions", "evaluations"):
        assert run.metrics["train"][name] == other.metrics["train"][name]


def rows_on_disk(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text("utf-8").splitlines()]
