"""How many wrong labels does the label review find? Flips some training labels by a seed, trains, and counts.

    python benchmarks/label_errors.py --data DATA/nli/snli

Prints a line of JSON for each seed: of the flipped rows, the share within the first 5% and 10% of the review (as many
rows as were flipped, and twice as many), and how many of the first 50 and 100 rows of the list are flipped ones.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from random import Random
from typing import Any

NAMES = ("entailment", "neutral", "contradiction")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="folder with train.jsonl and validation.jsonl")
    parser.add_argument("--model", help="None: the embedded default")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--share", type=float, default=0.05, help="of the training labels that are flipped")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        print(json.dumps(run(arguments, seed)), flush=True)


def run(arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Train on rows with flipped labels, and count them in the review."""
    import torch

    import reasoner

    torch.set_num_threads(arguments.threads)
    rows = [json.loads(line) for line in (arguments.data / "train.jsonl").read_text("utf-8").splitlines()]
    flipped = flip(rows, arguments.share, seed)
    result = reasoner.fine_tune(
        arguments.model,
        {"train": rows, "validation": arguments.data / "validation.jsonl"},
        task="nli",
        num_train_epochs=arguments.epochs,
        learning_rate=arguments.learning_rate,
        max_length=128,
        seed=seed,
        evaluate_before=False,
    )
    places = [entry["row"] for entry in result.review(len(rows))]
    number = len(flipped)
    return {
        "seed": seed,
        "rows": len(rows),
        "flipped": number,
        "in_the_first_5%": len(flipped & set(places[:number])) / number,
        "in_the_first_10%": len(flipped & set(places[: 2 * number])) / number,
        "of_50": len(flipped & set(places[:50])),
        "of_100": len(flipped & set(places[:100])),
        "validation_accuracy": result.metrics["validation"]["accuracy"],
        "seconds": result.metrics["train"]["seconds"],
    }


def flip(rows: list[dict[str, Any]], share: float, seed: int) -> set[int]:
    """Give a share of the rows another label, drawn evenly from the other two; return which rows."""
    random = Random(seed)
    flipped = sorted(random.sample(range(len(rows)), round(share * len(rows))))
    for place in flipped:
        others = [name for name in NAMES if name != rows[place]["label"]]
        rows[place] = {**rows[place], "label": random.choice(others)}
    return set(flipped)


if __name__ == "__main__":
    main()
