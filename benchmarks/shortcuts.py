"""Run the shortcut meter on given data, or on the task's synthetic pack, and print its table.

    python benchmarks/shortcuts.py nli --data DATA/nli/snli --views "hypothesis only" --epochs 1 --max-length 128
    python benchmarks/shortcuts.py nli --pack 2000 --epochs 3
    python benchmarks/shortcuts.py ner --data DATA/ner/conll --views

--views without a name trains on the whole input alone.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import reasoner
from reasoner.meter import shortcuts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("--data", type=Path, help="folder with train, validation and test")
    parser.add_argument("--pack", type=int, help="training rows of the synthetic pack, in place of --data")
    parser.add_argument("--model", help="None: the embedded MiniLM")
    parser.add_argument("--views", nargs="*", help="None: all parts of the input")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--max-length", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, help="where to write the report as JSON")
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(arguments.threads)
    started = time.perf_counter()
    report = shortcuts(
        arguments.model,
        data_of(arguments),
        task=arguments.task,
        views=arguments.views,
        num_train_epochs=arguments.epochs,
        learning_rate=arguments.learning_rate,
        max_length=arguments.max_length,
    )
    print(report)
    print(f"\n{time.perf_counter() - started:.0f} s in all, {arguments.threads} threads")
    if arguments.output:
        arguments.output.write_text(json.dumps(report.to_dict(), indent=1))


def data_of(arguments: argparse.Namespace) -> object:
    if (arguments.data is None) == (arguments.pack is None):
        raise SystemExit("Give --data or --pack, one of them.")
    if arguments.data:
        return arguments.data
    pack = getattr(reasoner.synthetic, f"{arguments.task}_pack")
    return pack(train=arguments.pack, validation=arguments.pack // 10, test=arguments.pack // 2)


if __name__ == "__main__":
    main()
