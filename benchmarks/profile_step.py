"""Where does the time of a training step go? Trains a named-entity recogniser for a few steps under torch.profiler.

    python benchmarks/profile_step.py --data DATA/ner/wnut17/wnut17train.conll
    python benchmarks/profile_step.py --data ... --model FOLDER --dropout 0 --steps 20

Prints the operations by their own CPU time, in milliseconds a step, and the seconds of a step without the profiler.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from reasoner.base_model import embedded_model
from reasoner.data.examples import examples_from_rows
from reasoner.data.sources import read_splits
from reasoner.preparation import build_predictor, task_class_and_settings
from reasoner.training.callbacks import Callback
from reasoner.training.config import TrainingConfig
from reasoner.training.trainer import Trainer

SENTENCES = 640


class Clock(Callback):
    """Writes down when each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_begin(self, trainer: Trainer) -> None:
        """Start."""
        self.ends.append(time.perf_counter())

    def on_step_end(self, trainer: Trainer) -> None:
        """Note a step."""
        self.ends.append(time.perf_counter())

    @property
    def seconds(self) -> list[float]:
        """Of each step."""
        return [after - before for before, after in zip(self.ends, self.ends[1:], strict=False)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="CoNLL file; its first 640 sentences are used")
    parser.add_argument("--model", help="Hub id or folder; without it the embedded MiniLM")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dropout", type=float, help="of all layers; without it the checkpoint's own")
    parser.add_argument("--rows", type=int, default=20, help="lines of the table")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    clock = Clock()
    make_trainer(arguments, clock).train()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        make_trainer(arguments).train()
    show(profiler, arguments)
    seconds = sorted(clock.seconds)
    print(f"\nWithout the profiler: {statistics.median(seconds):.3f} s a step (median), {sum(seconds):.2f} s in all.")


def make_trainer(arguments: argparse.Namespace, *callbacks: Callback) -> Trainer:
    """Return a trainer with fresh weights and the same batches each time."""
    config = TrainingConfig(
        use_cpu=True, bf16=False, max_steps=arguments.steps, learning_rate=2e-4, max_length=256,
        dropout=arguments.dropout, disable_tqdm=True,
    )  # fmt: skip
    task_class, settings = task_class_and_settings("ner")
    rows = read_splits({"train": arguments.data})["train"][:SENTENCES]
    examples = examples_from_rows({"train": rows}, task_class.Example)
    task = task_class.from_examples(examples, **settings)
    predictor = build_predictor(arguments.model or embedded_model(), task, config=config)
    batches = predictor.batches(
        predictor.encode(examples["train"]), batch_size=config.per_device_train_batch_size, shuffle=True, seed=0
    )
    return Trainer(predictor.model, batches, config=config, callbacks=callbacks)


def show(profiler: profile, arguments: argparse.Namespace) -> None:
    """Print the operations that take most time of their own."""
    events = sorted(profiler.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    print(f"{total / 1e3 / arguments.steps:9.1f} ms a step under the profiler\n")
    print(f"{'ms a step':>9} {'share':>6} {'calls':>6}  operation")
    for event in events[: arguments.rows]:
        each = event.self_cpu_time_total / 1e3 / arguments.steps
        print(f"{each:9.2f} {event.self_cpu_time_total / total:6.1%} {event.count / arguments.steps:6.1f}  {event.key}")


if __name__ == "__main__":
    main()
