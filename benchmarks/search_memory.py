"""Does a search leave memory behind? Resident memory when a training begins, by how many trials are behind it.

    python benchmarks/search_memory.py

A BERT of random weights with 5 million parameters (20 MB, with gradients and AdamW's moments 80 MB) on a generated NLI
pack: one model that is not let go would be seen. `--kill` also ends a search in the middle (SIGKILL), starts it again,
and counts its trials.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import workload

import reasoner

BEHIND = (2, 20)
"""Trials after which the resident memory is compared."""


class Resident(reasoner.Callback):
    """Notes the resident memory at the first step of each training."""

    def __init__(self) -> None:
        self.mib: list[float] = []

    def on_train_begin(self, trainer: Any) -> None:
        """Look: the model is loaded, nothing is trained."""
        lines = Path("/proc/self/status").read_text().splitlines()
        self.mib.append(next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024)
        print(f"{len(self.mib) - 1} trials behind: {self.mib[-1]:.1f} MiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=BEHIND[1])
    parser.add_argument("--folder", type=Path, help="of the search; a temporary one if none is given")
    parser.add_argument("--kill", action="store_true", help="end a search in the middle, and start it again")
    parser.add_argument("--part", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        if arguments.part:
            run(folder, arguments.trials)
        elif arguments.kill:
            killed(folder, arguments.trials)
        else:
            measured(folder, arguments.trials)


def measured(folder: Path, trials: int) -> None:
    """Run one trial more than are compared, so that memory is looked at when the last is behind."""
    resident = Resident()
    run(folder, trials + 1, callbacks=[resident])
    first, last = BEHIND[0], trials
    growth = resident.mib[last] - resident.mib[first]
    print(f"From {first} to {last} trials the resident memory grew by {growth:.1f} MiB.")


def killed(folder: Path, trials: int) -> None:
    """Kill a search when it has made some trials, go on, and say how it ended."""
    command = [sys.executable, __file__, "--part", "--folder", str(folder), "--trials", str(trials)]
    program = subprocess.Popen(command)
    while len(finished(folder)) < trials // 2:
        time.sleep(0.2)
    time.sleep(1.0)  # into the next one
    program.kill()
    program.wait()
    print(f"Killed when {len(finished(folder))} trials were finished.", flush=True)
    started = time.perf_counter()
    subprocess.run(command, check=True)
    print(f"Started again, it took {time.perf_counter() - started:.0f} s; now {dict(Counter(states(folder)))}, "
          f"finished: {len(finished(folder))}.")  # fmt: skip


def states(folder: Path) -> list[str]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.load_study(study_name="search", storage=f"sqlite:///{folder.resolve() / 'study.db'}")
        return [trial.state.name.lower() for trial in study.get_trials()]
    except Exception:  # it was not made yet
        return []


def finished(folder: Path) -> list[str]:
    return [state for state in states(folder) if state in ("complete", "pruned")]


def run(folder: Path, trials: int, **more: Any) -> reasoner.SearchResult:
    """Search on a generated pack."""
    import transformers

    tokenizer = workload.load_tokenizer(workload.default_model())
    shape = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 512}
    transformers.set_seed(0)
    model = transformers.BertModel(transformers.BertConfig(vocab_size=len(tokenizer), **shape))
    pack = reasoner.synthetic.nli_pack(train=200, validation=60, test=0)
    return reasoner.search(
        model,
        {split: rows for split, rows in pack.items() if rows},
        task="nli",
        n_trials=trials,
        output_dir=folder,
        tokenizer=tokenizer,
        space={"learning_rate": (1e-5, 1e-3, "log"), "per_device_train_batch_size": [8, 16, 32]},
        num_train_epochs=2,
        max_length=64,
        use_cpu=True,
        disable_tqdm=True,
        **more,
    )


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
