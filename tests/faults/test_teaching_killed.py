"""Does a teaching that is killed in the middle of a batch, and started again, end with the same matrix and weights?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are killed")

PROGRAM = """
import json, sys, time
import torch
import reasoner
torch.set_num_threads(1)
model, rows, folder, delay, protection = sys.argv[1:]
class Slow(reasoner.Callback):
    def on_step_end(self, trainer):
        time.sleep(float(delay))
rows = json.loads(open(rows).read())
batches = [{"train": part[:16], "validation": part[16:20], "test": part[20:]} for part in rows]
found = reasoner.teach(model, batches, task="classification", output_dir=folder, protection=protection,
    callbacks=[Slow()], use_cpu=True, check=False, num_train_epochs=3, per_device_train_batch_size=4,
    learning_rate=2e-3, checkpoint_steps=2, dropout=0.1, disable_tqdm=True)
print(json.dumps(found.to_dict()))
"""


@pytest.mark.parametrize("protection", ["replay", "ewc"])
def test_killed_in_the_middle_of_each_batch(protection, tiny_bert, rows_of, tmp_path: Path):
    rows = rows_of("Classification")
    names = sorted({row["label"] for row in rows})
    batches = [
        [{**row, "label": (f"new {batch}", names[0])[n % 2]} for n, row in enumerate(rows)] for batch in range(3)
    ]
    (tmp_path / "rows.json").write_text(json.dumps(batches))

    def started(folder: str, delay: float) -> subprocess.Popen[str]:
        arguments = [str(tiny_bert), str(tmp_path / "rows.json"), str(tmp_path / folder), str(delay), protection]
        return subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], stdout=subprocess.PIPE, text=True)

    whole = started("whole", 0.0)
    kills = 0
    for batch in (1, 2, 3):  # each time until this batch has a checkpoint
        process = started("killed", 0.15)
        checkpoints = tmp_path / "killed" / f"batch-{batch}" / "checkpoints"
        until = time.monotonic() + 300
        while process.poll() is None and not list(checkpoints.glob("step-*")) and time.monotonic() < until:
            time.sleep(0.01)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills == 3
    last = started("killed", 0.0)
    printed = [json.loads(process.communicate(timeout=400)[0].splitlines()[-1]) for process in (whole, last)]
    assert printed[0] == printed[1]
    for number in (1, 2, 3):
        weights = [
            (tmp_path / name / f"batch-{number}" / "model.safetensors").read_bytes() for name in ("whole", "killed")
        ]
        assert weights[0] == weights[1]
