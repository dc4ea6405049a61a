"""Intent accuracy, slot F1 and frame accuracy on SNIPS, by one model for both.

    python benchmarks/dialogue.py snips --data DATA/dialogue/snips --epochs 2

DATA/dialogue/snips holds train, dev and test, each with seq.in, seq.out and label. The embedded MiniLM by default.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import reasoner

FIGURES = {
    "snips": ("intent.accuracy", "slots.f1", "frame_accuracy", "intent.macro_f1"),
}


def snips(folder: Path, limit: int | None) -> tuple[Any, dict[str, Any]]:
    """Return task and data."""
    rows = {split: [row.columns for row in reasoner.read_rows(folder / split)] for split in ("train", "dev", "test")}
    return "intent_and_slots", {**rows, "train": rows["train"][:limit]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=sorted(FIGURES))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", help="None: the embedded MiniLM")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--train-rows", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(arguments.threads)
    task, data = {"snips": snips}[arguments.what](arguments.data, arguments.train_rows)
    began = time.process_time()
    result = reasoner.fine_tune(
        arguments.model,
        data,
        task=task,
        num_train_epochs=arguments.epochs,
        per_device_train_batch_size=arguments.batch_size,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
        evaluate_before=False,
    )
    for split in ("validation", "test"):
        print(split, *(f"{figure} {result.metrics[split][figure]:.4f}" for figure in FIGURES[arguments.what]))
    minutes = (time.process_time() - began) / 60
    print(f"{len(data['train'])} training rows, {minutes:.1f} core-minutes, {result.metrics['train']['seconds']:.0f} s "
          "of training steps")  # fmt: skip


if __name__ == "__main__":
    main()
