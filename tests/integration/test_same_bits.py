"""Same seed, machine and versions: are the weights of two new processes equal bit for bit, for every task?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from hashlib import sha256
from pathlib import Path
import reasoner
from reasoner import NER, Classification
from task_cases import CASES, SIZES

TASKS = {name: (case.task, case.splits) for name, case in CASES.items()}
TASKS["several labels"] = Classification(kind="multi"), CASES["several labels"].splits
TASKS["a number"] = Classification(kind="number"), CASES["a number"].splits
TASKS["crf"] = NER(head="crf"), CASES["ner"].splits
TASKS["nested_ner"] = "nested_ner", reasoner.synthetic.nested_ner_pack(**SIZES)
for name, (task, splits) in TASKS.items():
    for full in (False, True):
        folder = Path(sys.argv[2]) / f"{name} {full}"
        reasoner.fine_tune(sys.argv[1], splits, task=task, output_dir=folder, use_cpu=True, num_train_epochs=2,
                           per_device_train_batch_size=4, dropout=0.1, learning_rate=1e-3, check=False,
                           evaluate_before=False, disable_tqdm=True, full_determinism=full)
        files = sorted(folder.glob("*.safetensors"))
        assert files
        print(name, full, *(sha256(path.read_bytes()).hexdigest() for path in files), sep="|")
"""


def test_two_processes_give_the_same_weights_for_every_task(lively_bert: Path, tmp_path: Path) -> None:
    """With `full_determinism` and, on the CPU, without it; whatever order sets and hashes have."""
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(lively_bert), str(tmp_path / seed)],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2")
    ]
    (one, said), (other, _) = [run.communicate() for run in runs]
    lines = one.splitlines()
    assert [run.returncode for run in runs] == [0, 0], said[-2000:]
    assert (
        len(lines) == 2 * 9 and len({line.split("|", 2)[2] for line in lines}) >= 9
    )  # tasks differ, or nothing is shown
    assert lines == other.splitlines()
