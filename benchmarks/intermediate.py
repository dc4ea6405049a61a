"""Does a task with little data gain from a model that was tuned on a larger one first? MultiNLI, then RTE.

    python benchmarks/intermediate.py --first DATA/nli/mnli --then DATA/nli/rte

The way of Phang et al. (2018, https://arxiv.org/abs/1811.01088). The model is tuned on the first data once, with the
first seed; both sides then train on the second with equal settings and each seed. A part of the second's training rows
is cut off to choose the epoch, so that its own validation file is scored once, as test. Started again, the script makes
the runs that are missing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import methods

import reasoner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", required=True, type=Path, help="folder with train.jsonl and validation.jsonl")
    parser.add_argument("--then", required=True, type=Path, help="folder with train.jsonl and validation.jsonl")
    parser.add_argument("--model", help="folder or Hub id; default: the embedded MiniLM")
    parser.add_argument("--first-epochs", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--max-length", type=int, default=192)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("output") / "intermediate")
    arguments = parser.parse_args()

    import torch

    torch.set_num_threads(arguments.threads)
    settings = {"max_length": arguments.max_length, "use_cpu": True, "disable_tqdm": True}
    tuned = arguments.output / f"tuned-{arguments.first_epochs}-epochs"
    if not (tuned / "reasoner_config.json").exists():
        first = {split: arguments.first / f"{split}.jsonl" for split in ("train", "validation")}
        epochs = {"num_train_epochs": arguments.first_epochs, "seed": arguments.seeds[0]}
        print(reasoner.fine_tune(arguments.model, first, task="nli", output_dir=tuned, **epochs, **settings).report())
    board = reasoner.compare(
        arguments.model,
        {"train": arguments.then / "train.jsonl", "test": arguments.then / "validation.jsonl"},
        task="nli",
        variants={"direct": {}, f"after {arguments.first.name}": {"model": tuned}},
        seeds=arguments.seeds,
        output_dir=arguments.output,
        num_train_epochs=arguments.epochs,
        **settings,
    )
    print(f"\n{board}\n")
    methods.report(board.runs, "direct")


if __name__ == "__main__":
    main()
