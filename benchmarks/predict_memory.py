"""Does memory stay flat when there is more to predict or to evaluate? 1,000 rows against 100,000, in fresh processes.

    python benchmarks/predict_memory.py --data DATA/nli/snli

A tiny BERT of random weights makes it a matter of a minute or two. `predict` gets a generator and its predictions are
counted and dropped; `evaluate` gets a file of JSON lines. The rows are those of the test split, over and over.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import alternating
import memory
import workload
from alternating import Column

WARM_UP = 256
COLUMNS = (
    Column("seconds", "seconds", ".1f"),
    Column("peak, MiB", "peak_mib", ".1f"),
    Column("peak without pages of files, MiB", "own_peak_mib", ".1f"),
    Column("the same before, MiB", "own_before_mib", ".1f"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="folder of SNLI")
    parser.add_argument("--numbers", type=int, nargs=2, default=[1_000, 100_000], help="of rows, few and many")
    alternating.add_arguments(parser, ("predict", "evaluate"), rounds=3)
    arguments = parser.parse_args()
    folder = arguments.output.parent / arguments.output.stem
    if arguments.side == "reasoner-prepare":
        prepare(arguments, folder)
    elif arguments.side:
        alternating.answer(arguments, lambda given: run(given, folder))
    else:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "model" / "reasoner_config.json").exists():
            alternating.start("reasoner-prepare", 0, arguments.threads)
        kinds = arguments.sides or ("predict", "evaluate")
        sides = [f"reasoner-{kind}-{number}" for kind in kinds for number in arguments.numbers]
        report(alternating.run_all(arguments, sides), kinds, arguments)


def prepare(arguments: argparse.Namespace, folder: Path) -> None:
    """Make the model that is loaded by all."""
    import transformers

    import reasoner

    tokenizer = workload.load_tokenizer(workload.default_model())
    config = transformers.BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
    )
    splits = workload.read("nli", arguments.data)
    reasoner.fine_tune(
        transformers.BertModel(config),
        {"train": splits["train"][:128], "validation": splits["validation"][:64]},
        task="nli",
        tokenizer=tokenizer,
        output_dir=folder / "model",
        max_steps=2,
        max_length=128,
        use_cpu=True,
        seed=0,
    )
    print("{}")


def run(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Predict for, or evaluate on, a number of rows."""
    import reasoner

    _, kind, text = arguments.side.split("-")
    number = int(text)
    rows = workload.read("nli", arguments.data)["test"]
    file = folder / f"{number}.jsonl"
    if kind == "evaluate":
        write(file, islice(cycle(rows), number))
    result = reasoner.load(folder / "model", use_cpu=True)
    result.predict(rows[:WARM_UP])
    before, started = memory.own_mib(), time.perf_counter()
    with memory.OwnPeak() as own:
        if kind == "evaluate":
            result.evaluate(file)
            done = number
        else:
            done = sum(1 for _ in result.predict(generated(rows, number)))
    return {
        "rows": done,
        "seconds": time.perf_counter() - started,
        "peak_mib": memory.peak_mib(),
        "own_peak_mib": own.mib,
        "own_before_mib": before,
    }


def generated(rows: Sequence[dict[str, Any]], number: int) -> Iterator[dict[str, Any]]:
    """Give rows one by one, each a new object."""
    for row in islice(cycle(rows), number):
        yield {"premise": row["premise"], "hypothesis": row["hypothesis"]}


def write(file: Path, rows: Iterator[dict[str, Any]]) -> None:
    with file.open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in rows)


def report(rows: Sequence[dict[str, Any]], kinds: Sequence[str], arguments: argparse.Namespace) -> None:
    """Print the table and the growth."""
    few, many = (str(number) for number in arguments.numbers)
    sides = [f"reasoner-{kind}-{number}" for kind in kinds for number in (few, many)]
    print("\n" + alternating.machine_line(rows, arguments.threads) + "\n")
    print(alternating.table(rows, COLUMNS, timed="seconds", sides=sides, ours=sides[0]) + "\n")
    for kind in kinds:
        for title, key in (("peak", "peak_mib"), ("peak without pages of files", "own_peak_mib")):
            small, large = (
                median(row[key] for row in rows if row["side"] == f"reasoner-{kind}-{number}") for number in (few, many)
            )
            print(f"{kind}: from {few} to {many} rows the {title} grows by {large - small:.1f} MiB.")


if __name__ == "__main__":
    main()
