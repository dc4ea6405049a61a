"""Scores on two sets of dialogues: intents and slots of SNIPS by one model, responses of dialog bAbI 1 by ranking.

    python benchmarks/dialogue.py snips --data DATA/dialogue/snips --epochs 2
    python benchmarks/dialogue.py babi --data DATA/dialogue/babi_dialog --epochs 3 --train 300

DATA/dialogue/snips holds train, dev and test, each with seq.in, seq.out and label; DATA/dialogue/babi_dialog the files
of task 1 and the candidates, all of which are ranked. The embedded MiniLM by default.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import reasoner

FIGURES = {
    "snips": ("intent.accuracy", "slots.f1", "frame_accuracy", "intent.macro_f1"),
    "babi": ("accuracy", "dialogue_accuracy", "mrr", "hits_at_10"),
}


def snips(arguments: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """Return task and data; `--train` and `--test` are requests."""
    rows = {split: reasoner.read_rows(arguments.data / split) for split in ("train", "dev", "test")}
    data = {split: [row.columns for row in part] for split, part in rows.items()}
    return "intent_and_slots", cut(data, arguments, lambda number, row: number)


def babi(arguments: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """Return task and data; `--train`, `--validation` and `--test` are dialogues."""
    files = {"train": "trn", "dev": "dev", "test": "tst"}
    data = {
        split: [row.columns for row in reasoner.read_rows(arguments.data / f"dialog-babi-task1-API-calls-{name}.txt")]
        for split, name in files.items()
    }
    task = reasoner.ResponseRanking(candidates=str(arguments.data / "dialog-babi-candidates.txt"))
    return task, cut(data, arguments, lambda number, row: row["dialogue"])


def cut(data: dict[str, Any], arguments: argparse.Namespace, number_of: Any) -> dict[str, Any]:
    """Return the first of each split."""
    most = {"train": arguments.train, "dev": arguments.validation, "test": arguments.test}
    return {
        split: [
            row for number, row in enumerate(rows, 1) if most[split] is None or number_of(number, row) <= most[split]
        ]
        for split, rows in data.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=sorted(FIGURES))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", help="None: the embedded MiniLM")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--train", type=int, help="the first so many requests, or dialogues")
    parser.add_argument("--validation", type=int)
    parser.add_argument("--test", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(arguments.threads)
    task, data = {"snips": snips, "babi": babi}[arguments.what](arguments)
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
        **({"eval_steps": 10_000} if arguments.what == "babi" else {}),  # once, at the end: each runs 4,212 candidates
    )
    learned = result.predictor.task
    if arguments.what == "babi":
        examples = {split: [learned.Example(**row) for row in data[split]] for split in ("train", "test")}
        guess = learned.baselines(examples["train"], examples["test"])["frequency"]
        scores = learned.score(guess, examples["test"])
        print("the most frequent response, test", *(f"{figure} {scores[figure]:.4f}" for figure in FIGURES["babi"]))
    for split in ("validation", "test"):
        print(split, *(f"{figure} {result.metrics[split][figure]:.4f}" for figure in FIGURES[arguments.what]))
    rows = ", ".join(f"{name} {len(part):,}" for name, part in data.items())
    minutes = (time.process_time() - began) / 60
    print(f"{rows} rows; {minutes:.1f} core-minutes, {result.metrics['train']['seconds']:.0f} s of them training steps")


if __name__ == "__main__":
    main()
