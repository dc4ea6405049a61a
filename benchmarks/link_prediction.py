"""Filtered MRR and Hits@k of link prediction by text, beside the guess by frequency.

    python benchmarks/link_prediction.py --data DATA/kg/umls --epochs 5

DATA/kg/umls holds train.txt, valid.txt and test.txt, a line `head<TAB>relation<TAB>tail` each. Names are read as texts,
with spaces for underscores. The embedded MiniLM by default.
"""

from __future__ import annotations

import argparse
import resource
from pathlib import Path

import reasoner

FIGURES = ("mrr", "hits_at_1", "hits_at_3", "hits_at_10", "mean_rank")


def triples(path: Path, limit: int | None) -> list[dict[str, str]]:
    lines = path.read_text("utf-8").splitlines()[:limit]
    parts = (line.replace("_", " ").split("\t") for line in lines)
    return [{name: text.strip() for name, text in zip(("head", "relation", "tail"), row, strict=True)} for row in parts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", help="None: the embedded MiniLM")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=64, help="triples; each asks for its tail and for its head")
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--train-rows", type=int)
    parser.add_argument("--test-rows", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(arguments.threads)
    limits = {"train": arguments.train_rows, "valid": arguments.test_rows, "test": arguments.test_rows}
    train, validation, test = (triples(arguments.data / f"{name}.txt", limit) for name, limit in limits.items())
    result = reasoner.fine_tune(
        arguments.model,
        {"train": train, "validation": validation, "test": test},
        task="link_prediction",
        num_train_epochs=arguments.epochs,
        per_device_train_batch_size=arguments.batch_size,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
        evaluate_before=False,
    )
    task = result.predictor.task
    examples = {name: [task.Example(**row) for row in rows] for name, rows in (("train", train), ("test", test))}
    guess = task.score(task.baselines(examples["train"], examples["test"])["frequency"], examples["test"])
    for name, scores in (("frequency", guess), ("bi-encoder", result.metrics["test"])):
        print(name, *(f"{figure} {scores[figure]:.4f}" for figure in FIGURES))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"trained in {result.metrics['train']['seconds']:.0f} s, {peak:.0f} MiB at most")


if __name__ == "__main__":
    main()
