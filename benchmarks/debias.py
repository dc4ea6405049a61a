"""HANS by heuristic, and the score in domain, of inference models trained with and without a shortcut against them.

    python benchmarks/debias.py --data DATA/nli/mnli --hans DATA/nli/hans --seeds 0 1 2
    python benchmarks/debias.py --data DATA/nli/mnli --hans DATA/nli/hans --sides plain "half overlap" --rows 3000

All sides have the same rows, settings and seed, and begin from the same weights; which weights are kept is decided by
the score on validation, in domain. The label of HANS is compared as its paper has it: neutral and contradiction are not
entailment. A run that has ended leaves a line in --output, and is not made again: started anew, the script goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import reasoner
from reasoner.reports.layout import Table, table_lines

LENGTH = 128
SIDES: dict[str, dict[str, Any]] = {
    "plain": {},
    "overlap": {"debias": "word overlap"},
    "half overlap": {"debias": "word overlap", "debias_strength": 0.5},
    "quarter overlap": {"debias": "word overlap", "debias_strength": 0.25},
    "overlap focal": {"debias": "word overlap", "debias_form": "focal"},
    "overlap and negation": {"debias": "word overlap and negation"},
    "half overlap and negation": {"debias": "word overlap and negation", "debias_strength": 0.5},
    "hypothesis": {"debias": "hypothesis only"},
    "hypothesis focal": {"debias": "hypothesis only", "debias_form": "focal"},
}
FIGURES = ("in domain", "not entailed", "entailed", "HANS", "said entailed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="folder of the MNLI cut")
    parser.add_argument("--hans", required=True, type=Path, help="folder or file of HANS")
    parser.add_argument("--model", help="folder or Hub id; default: the embedded MiniLM")
    parser.add_argument("--sides", nargs="+", choices=list(SIDES), default=["plain", "half overlap", "overlap"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--rows", type=int, help="the first so many training rows; default: all")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("output") / "debias" / "runs.jsonl")
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(arguments.threads)
    splits = {name: [row.columns for row in reasoner.read_rows(arguments.data / f"{name}.jsonl")]
              for name in ("train", "validation", "test")}  # fmt: skip
    splits["train"] = splits["train"][: arguments.rows]
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    done = [json.loads(line) for line in arguments.output.read_text().splitlines()] if arguments.output.exists() else []
    runs = []
    for seed in arguments.seeds:
        for side in arguments.sides:
            made = {"side": side, "seed": seed, "rows": len(splits["train"]), "epochs": arguments.epochs,
                    "learning_rate": arguments.learning_rate, "model": arguments.model}  # fmt: skip
            found = next((run for run in done if made.items() <= run.items()), None)
            if found is None:
                found = {**made, **figures(splits, side, seed, arguments)}
                with arguments.output.open("a") as file:
                    file.write(json.dumps(found) + "\n")
            runs.append(found)
            print(f"seed {seed}, {side}: {', '.join(f'{name} {found[name]:.4f}' for name in FIGURES)}", flush=True)
    print("\n" + "\n".join(table_lines(table(runs, arguments.sides), 100)))


def figures(splits: dict[str, Any], side: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train a side, and return its scores."""
    started = time.perf_counter()
    result = reasoner.fine_tune(
        arguments.model,
        splits,
        task="nli",
        num_train_epochs=arguments.epochs,
        per_device_train_batch_size=32,
        learning_rate=arguments.learning_rate,
        max_length=LENGTH,
        seed=seed,
        evaluate_before=False,
        use_cpu=True,
        disable_tqdm=True,
        **SIDES[side],
    )
    report = reasoner.heuristics(result, arguments.hans)
    return {
        "in domain": result.metrics["test"]["accuracy"],
        "validation": result.metrics["validation"]["accuracy"],
        "not entailed": report.not_entailed.rate,
        "entailed": report.entailed.rate,
        "HANS": report.accuracy,
        "said entailed": report.said_entailed.rate,
        "shortcut alone": result.run.config.get("debias_accuracy"),
        "heuristics": report.to_dict(),
        "minutes": (time.perf_counter() - started) / 60,
    }


def table(runs: list[dict[str, Any]], sides: list[str]) -> Table:
    """Return the mean of each side over seeds, with its deviation, and the differences from the first side."""
    rows = []
    for side in sides:
        own = [run for run in runs if run["side"] == side]
        values = {name: [100 * run[name] for run in own] for name in FIGURES}
        rows.append((side, *(_shown(numbers) for numbers in values.values())))
        if side != sides[0]:
            first = [run for run in runs if run["side"] == sides[0]]
            gains = {name: [100 * (a[name] - b[name]) for a, b in zip(own, first, strict=True)] for name in FIGURES}
            rows.append((f"  against {sides[0]}", *(_shown(numbers, "+") for numbers in gains.values())))
    return Table("", ("side", *FIGURES), rows)


def _shown(numbers: list[float], sign: str = "") -> str:
    spread = f" ({stdev(numbers):.1f})" if len(numbers) > 1 else ""
    return f"{mean(numbers):{sign}.1f}{spread}"


if __name__ == "__main__":
    main()
