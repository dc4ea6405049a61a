"""Ten trainings in one process, as in a notebook: what one leaves behind is given back."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from pathlib import Path
import reasoner

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024

pack = reasoner.synthetic.{task}_pack(train=200, validation=40, test=40)
for _ in range(10):
    reasoner.fine_tune(sys.argv[1], pack, task="{task}", method="{method}", num_train_epochs=1, use_cpu=True,
                       output_dir=sys.argv[2])
    print(resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the resident memory is read as Linux tells it")
@pytest.mark.parametrize(("task", "method"), [("ner", "full"), ("nli", "lora")])
def test_it_grows_by_less_than_30_mib_from_the_third_on(tiny_bert, tmp_path, task, method):
    program = PROGRAM.format(task=task, method=method)
    command = [sys.executable, "-c", program, str(tiny_bert), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    sizes = [float(line) for line in done.stdout.split()]
    assert len(sizes) == 10, done.stderr[-2000:]
    assert sizes[-1] - sizes[2] < 30
