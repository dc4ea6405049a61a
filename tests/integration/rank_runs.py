"""What the tests of this folder share: several processes that train together, as a launcher would start them."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import torch

import reasoner
from reasoner.training import row_gradients

SETTINGS: dict[str, Any] = {
    "use_cpu": True,
    "bf16": False,
    "num_train_epochs": 2,
    "logging_steps": 1,
    "learning_rate": 2e-3,
    "dropout": 0.0,
    "disable_tqdm": True,
}
NUMBERS = ("seconds", "tokens_per_second", "peak_share", "peak_operations_per_second", "rows_per_second")
SPEEDS = (*NUMBERS, "evaluation_seconds", "peak_memory_mib", "threads")
"""What is no two times the same."""


class Ranks:
    """Processes that were started together, each of which leaves a record of how it ended in `folder`.

    Args:
        number: how many.
        folder: for the records; made if need be.
        model: a checkpoint.
        arguments: of `fine_tune`; `of_rank` changes them for a rank.
    """

    def __init__(
        self, number: int, folder: Path, model: Path, of_rank: Callable[[int], dict[str, Any]] | None = None,
        **arguments: Any,
    ) -> None:  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["reasoner.api", "transformers.models.bert.modeling_bert", "datasets", "peft"])
        self.folder, address = folder, {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
        self.processes: list[ForkServerProcess] = []
        for rank in range(number):
            place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(number), **address}
            own = {**arguments, **(of_rank(rank) if of_rank else {})}
            self.processes.append(context.Process(target=_run, args=(place, folder / f"{rank}.json", model, own)))
            self.processes[-1].start()

    def ended(self, seconds: float = 60) -> list[dict[str, Any]]:
        """Return how each one ended: its record; {} if it was killed.

        Raises:
            TimeoutError: if one is still there after so many seconds.
        """
        for process in self.processes:
            process.join(seconds)
        alive = [process for process in self.processes if process.is_alive()]
        for process in alive:
            process.kill()
        if alive:
            raise TimeoutError(f"{len(alive)} of {len(self.processes)} ranks hang.")
        return [_read(self.folder / f"{rank}.json") for rank in range(len(self.processes))]


def outcome(result: reasoner.Result) -> dict[str, Any]:
    """Return what must be the same on all ranks, and as one process has it."""
    run = result.run
    weights = {name: tensor.double().sum().item() for name, tensor in result.predictor.model.state_dict().items()}
    metrics = {split: _without_speeds(scores) for split, scores in run.metrics.items()}
    history = [_without_speeds(row) for row in result.history]
    record = result.label_record  # None: the rows were a stream
    review = [] if record is None else [float(margin) for margin in record.margin if margin == margin]
    return {"metrics": metrics, "history": history, "weights": weights, "review": review, "rows": run.rows}


def _without_speeds(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in SPEEDS}


def _run(place: dict[str, str], record: Path, model: Path, arguments: dict[str, Any]) -> None:
    os.environ.update(place, OMP_NUM_THREADS="1")
    log = os.open(record.with_suffix(".log"), os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.dup2(log, 1)
    os.dup2(log, 2)
    torch.set_num_threads(1)
    row_gradients.LARGE = 1  # tiny tables of embeddings keep their gradient as large ones do
    try:
        data = arguments.pop("data")
        result = reasoner.fine_tune(model, data, **{**SETTINGS, **arguments})
        told = {**outcome(result), "predictions": result.predict([row["text"] for row in data["test"][:2]])
                if "text" in data["test"][0] else []}  # fmt: skip
    except BaseException as error:
        traceback.print_exc()
        told = {"error": type(error).__name__, "message": str(error)}
    record.write_text(json.dumps(told), "utf-8")


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])
