"""What does each tuning method give and cost, with equal epochs on the same rows? The embedded MiniLM by default.

    python benchmarks/methods.py ner --data DATA/ner/wnut17 --epochs 4
    python benchmarks/methods.py nli --data DATA/nli/snli --epochs 2
    python benchmarks/methods.py ner --data DATA/ner/wnut17 --epochs 4 --options

With `--options`: what each option for more score gives, against plain full tuning (for nli without those of ner alone).
Every method has the learning rate of its own rule. Each finished run leaves a record in --output: started again, the
script makes those that are missing. It prints the table of `reasoner.compare` and, for each variant, its scores by seed
and its mean difference from full tuning with the standard error over seeds.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

import workload

import reasoner

METHODS = ("full", "top-k", "bitfit", "adapter", "lora", "ia3", "prefix", "prompt", "head")
OPTIONS: dict[str, dict[str, Any]] = {
    "slower lower layers": {"layer_decay": 0.9},
    "faster head": {"head_learning_rate": 1e-3},
    "new top layer": {"reinitialize_layers": 1},
    "average of weights": {"ema_decay": 0.99},
    "mean of the 3 best": {"average_checkpoints": 3},
    "two passes that agree": {"r_drop": 1.0},
    "attacked embeddings": {"adversarial_epsilon": 1.0},
    "validation rows too": {"refit": True},
    "bfloat16": {"bf16": True},
    "recipe best": {"recipe": "best"},
    "recipe fast": {"recipe": "fast"},
}
FOR_NER = {
    "crf": {"head": "crf"},
    "word shapes": {"case_features": True},
    "crf, word shapes": {"head": "crf", "case_features": True},
    "legal tags alone": {"constrained": True},
    "smoothed labels": {"label_smoothing": 0.1},
}
LENGTH = {"ner": 128, "nli": 128}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=sorted(LENGTH))
    parser.add_argument("--data", required=True, type=Path, help="folder of WNUT-17 or of the SNLI cut")
    parser.add_argument("--model", help="folder or Hub id; default: the embedded MiniLM")
    parser.add_argument("--options", action="store_true", help="compare the options for more score, not the methods")
    parser.add_argument("--only", nargs="+", help="some of the variants, by name; 'full' is always there")
    parser.add_argument("--rows", type=int, help="training rows, the first so many; default: all")
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("output") / "methods")
    arguments = parser.parse_args()

    import torch

    torch.set_num_threads(arguments.threads)
    splits = workload.read(arguments.task, arguments.data)
    splits["train"] = splits["train"][: arguments.rows]
    board = reasoner.compare(
        arguments.model,
        splits,
        task=arguments.task,
        variants=variants(arguments),
        seeds=arguments.seeds,
        output_dir=arguments.output,
        num_train_epochs=arguments.epochs,
        max_length=LENGTH[arguments.task],
        use_cpu=True,
        disable_tqdm=True,
    )
    print(f"\n{board}\n")
    report(board.runs, "full")


def variants(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return what is compared, by name."""
    found: dict[str, dict[str, Any]] = {"full": {"method": "full"}}
    if arguments.options:
        found |= OPTIONS | {"three times the epochs": {"num_train_epochs": 3 * arguments.epochs}}
        if arguments.task == "ner":
            found |= {name: {"task": reasoner.NER(**settings)} for name, settings in FOR_NER.items()}
    else:
        found |= {name: {"method": name} for name in METHODS}
    unknown = sorted(set(arguments.only or ()) - set(found))
    if unknown:
        raise SystemExit(f"There is no {', '.join(unknown)}. Take some of: {', '.join(found)}.")
    return {name: of for name, of in found.items() if not arguments.only or name in ("full", *arguments.only)}


def report(runs: list[dict[str, Any]], baseline: str) -> None:
    """Print the scores on test by seed, and the difference from the baseline with the same seed."""
    scores: dict[str, dict[int, float]] = {}
    for run in runs:
        if run["error"] is None:
            scores.setdefault(run["variant"], {})[run["seed"]] = run["scores"]["test"]
    known = scores.get(baseline, {})
    for name, by_seed in scores.items():
        listed = ", ".join(f"{score:.4f}" for score in by_seed.values())
        gains = [score - known[seed] for seed, score in by_seed.items() if seed in known and name != baseline]
        print(f"{name}: {listed}; mean {statistics.mean(by_seed.values()):.4f}{gained(gains, baseline)}")


def gained(gains: list[float], baseline: str) -> str:
    """Return the mean difference from the baseline, with its standard error over seeds."""
    if not gains:
        return ""
    error = f" ± {statistics.stdev(gains) / len(gains) ** 0.5:.4f} (standard error)" if len(gains) > 1 else ""
    return f"; minus {baseline} {statistics.mean(gains):+.4f}{error}"


if __name__ == "__main__":
    main()
