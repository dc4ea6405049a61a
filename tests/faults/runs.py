"""What the tests of this folder share: a run that is long enough to be broken off, and how two runs are compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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


def tune(model: Path, rows: list[dict[str, Any]], folder: Path | None, **arguments: Any) -> Any:
    """Tune a tiny model on the first 20 rows; the others are for validation."""
    data = {"train": rows[:20], "validation": rows[20:]}
    return reasoner.fine_tune(
        model, data, output_dir=folder, **{"task": "classification", "check": False, **SETTINGS, **arguments}
    )


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
