"""Does a run that is killed again and again, at any moment, end as one that never was?

SIGKILL leaves no time for anything: whatever is on the disk at that moment must be enough. With `--soak`, 500 kills.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest
from fault_runs import Slow, outcome, said_in, started

from reasoner import LoRA

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are forked and killed")

CASES = {
    "full": (50, {"ema_decay": 0.9, "average_checkpoints": 2, "gradient_accumulation_steps": 2, "num_train_epochs": 8}),
    "lora": (10, {"method": LoRA(rank=4), "num_train_epochs": 4}),
    "early stopping": (10, {"patience": 6, "eval_steps": 2, "num_train_epochs": 8}),
    "stream": (10, {"streamed": True, "max_steps": 40, "eval_steps": 8, "gradient_accumulation_steps": 2}),
}
"""How often each is killed, and its settings."""
SEED = 0
"""Of the moments."""
WHILE_WRITING = 3
"""Every third kill waits until a checkpoint is being written."""


def killed(process, folder: Path, delay: float, while_writing: bool) -> bool:
    """Kill a process after a time, or when it begins to write a checkpoint after that; return whether it was alive."""
    process.join(delay)
    if while_writing:
        while process.is_alive() and not being_written(folder):
            time.sleep(0.0005)
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    return process.exitcode == -signal.SIGKILL


def being_written(folder: Path) -> bool:
    """Whether a checkpoint is being written or removed; a run that ends meanwhile takes the folder of all away."""
    try:
        return any((folder / "checkpoints").glob(".step-*"))
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("case", CASES)
def test_killed_at_random_moments(case, tiny_bert, rows_of, tmp_path: Path, pytestconfig):
    number, settings = CASES[case]
    number *= 10 if pytestconfig.getoption("--soak") else 1
    rows = rows_of("Classification")
    started(tiny_bert, rows, tmp_path / "warm-up", max_steps=1).join()  # the server of forks has imported everything
    began = time.monotonic()
    process = started(tiny_bert, rows, tmp_path / "whole", **settings)
    process.join()
    seconds = time.monotonic() - began
    assert process.exitcode == 0, said_in(tmp_path / "whole")
    whole = outcome(tmp_path / "whole")
    assert whole[2]["stopped_early"] == (case == "early stopping")

    chance, kills, writing, runs = random.Random(SEED), 0, 0, 0
    while kills < number:
        folder = tmp_path / f"run-{runs}"
        runs += 1
        while True:  # until this run has ended
            process = started(tiny_bert, rows, folder, checkpoint_steps=chance.choice([1, 2, 5]), **settings)
            while_writing = kills % WHILE_WRITING == 0
            if not killed(process, folder, chance.uniform(0, seconds), while_writing):
                break
            kills += 1
            writing += being_written(folder)
        assert process.exitcode == 0, said_in(folder)
        assert outcome(folder) == whole, said_in(folder)
        assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == []
    print(f"{case}: {kills} kills, {writing} of them while a checkpoint was written or removed, in {runs} runs")
    assert writing >= number // 10


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 1)])
def test_a_signal_saves_and_ends(number, code, tiny_bert, rows_of, tmp_path: Path):
    rows, folder = rows_of("Classification"), tmp_path / "run"
    settings = {"checkpoint_steps": None}
    process = started(tiny_bert, rows, tmp_path / "whole", callbacks=[Slow()], **settings)
    process.join()
    process = started(tiny_bert, rows, folder, callbacks=[Slow(0.2)], **settings)
    wait_for_step(folder)
    os.kill(process.pid, number)
    process.join()
    assert process.exitcode == code
    (saved,) = (folder / "checkpoints").iterdir()
    step = int(saved.name.removeprefix("step-"))
    assert 2 <= step < 15
    assert f"Training was interrupted after step {step} of 15, and is saved." in said_in(folder)
    assert f"output_dir='{folder}' and resume=True" in said_in(folder)
    assert not (folder / ".lock").exists()
    process = started(tiny_bert, rows, folder, callbacks=[Slow()], **settings)
    process.join()
    assert f"Training goes on after step {step}" in said_in(folder)
    assert outcome(folder) == outcome(tmp_path / "whole")


def test_a_second_signal_ends_at_once(tiny_bert, rows_of, tmp_path: Path):
    folder = tmp_path / "run"
    process = started(tiny_bert, rows_of("Classification"), folder, callbacks=[Slow(60)], logging_steps=1)
    while not (folder / "history.jsonl").exists():
        time.sleep(0.05)
    time.sleep(1)  # it is in the long step now
    os.kill(process.pid, signal.SIGINT)
    time.sleep(0.5)
    assert process.is_alive()
    os.kill(process.pid, signal.SIGINT)
    process.join(20)
    assert process.exitcode == 1
    assert not (folder / ".lock").exists() and not (folder / "checkpoints").exists()


def wait_for_step(folder: Path) -> None:
    """Wait until the history has a row."""
    path = folder / "history.jsonl"
    while not path.exists() or not path.stat().st_size:
        time.sleep(0.02)
