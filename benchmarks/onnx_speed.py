"""How much faster is a model as ONNX than the same one in PyTorch, row by row on the CPU, and what do 8 bits cost?

    python benchmarks/onnx_speed.py ner --data DATA/ner/wnut17 --model output/ner
    python benchmarks/onnx_speed.py nli --data DATA/nli/snli --model output/nli

Without --model a model is tuned first for --steps steps: the embedded MiniLM, or --base. Timed is the network alone
(the same padded tensors for each side, batch 1), and `predict` with its encoding and decoding, for the same --rows test
rows. Sides take turns in rounds, in one process, with the same number of threads. "PyTorch" is the eager model with the
attention that transformers chooses.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from alternating import machine, summary
from workload import read

import reasoner

SIDES = ("PyTorch", "model.onnx", "model_int8.onnx")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["ner", "nli", "qa"])
    parser.add_argument("--data", required=True, type=Path, help="folder of WNUT-17 or SNLI; for qa the SQuAD file")
    parser.add_argument("--model", type=Path, help="folder of a trained model; made there if it is not")
    parser.add_argument("--base", help="what is tuned: a folder or Hub id; default: the packaged MiniLM")
    parser.add_argument("--train-rows", type=int, default=3000)
    parser.add_argument("--steps", type=int, default=150, help="of training, where --model is not there yet")
    parser.add_argument("--rows", type=int, default=100, help="that are timed")
    parser.add_argument("--scored-rows", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("output/onnx_speed"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    splits = read(arguments.task, arguments.data)
    folder = arguments.model or arguments.output / arguments.task / "model"
    if not (folder / "reasoner_config.json").exists():
        data = {**splits, "train": splits["train"][: arguments.train_rows]}
        settings = {"max_steps": arguments.steps, "evaluate_before": False, "use_cpu": True}
        reasoner.fine_tune(arguments.base, data, task=arguments.task, output_dir=folder, **settings)
    result = reasoner.load(folder, use_cpu=True)
    onnx = arguments.output / arguments.task / "onnx"
    rows = splits["test"]
    print(reasoner.export_onnx(result, onnx, rows[: arguments.scored_rows], quantized=True), flush=True)
    results = {
        "PyTorch": result,
        "model.onnx": reasoner.load_onnx(onnx, threads=arguments.threads),
        "model_int8.onnx": reasoner.load_onnx(onnx, threads=arguments.threads, quantized=True),
    }
    timed = rows[: arguments.rows]
    print(table(times(results, timed, arguments.rounds), len(timed)))
    print(f"{arguments.threads} threads; {', '.join(f'{name} {value}' for name, value in machine().items())}")


def times(results: dict[str, Any], rows: list[Any], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return the milliseconds a row of the network and of `predict`, by side and round; a round before is not kept."""
    predictor = results["PyTorch"].predictor
    task = predictor.task
    inputs = [_input(row) for row in rows]
    examples = [task.example_from_input(value) for value in inputs]
    batches = list(predictor.batches(predictor.encode(examples), batch_size=1))
    found: dict[str, dict[str, list[float]]] = {side: {"network": [], "predict": []} for side in SIDES}
    for number in range(rounds + 1):
        for side, result in results.items():
            with torch.inference_mode():
                network = _milliseconds(lambda: [result.predictor.model(batch) for batch in batches], len(rows))  # noqa: B023
            predict = _milliseconds(lambda: [result.predict(value) for value in inputs], len(rows))  # noqa: B023
            if number:
                found[side]["network"].append(network)
                found[side]["predict"].append(predict)
    return found


def _input(row: dict[str, Any]) -> Any:
    """Return what `predict` takes of a row."""
    if "tokens" in row:
        return tuple(row["tokens"])
    return {name: row[name] for name in ("premise", "hypothesis", "question", "context") if name in row}


def _milliseconds(run: Callable[[], object], rows: int) -> float:
    started = time.perf_counter()
    run()
    return (time.perf_counter() - started) / rows * 1000


def table(found: dict[str, dict[str, list[float]]], rows: int) -> str:
    """Return a markdown table: median (least to greatest) over rounds, and how many times faster than PyTorch."""
    lines = ["| side | network, ms a row | times faster | predict, ms a row | times faster |", "| --- " * 5 + "|"]
    for side in SIDES:
        cells = []
        for what in ("network", "predict"):
            values, base = found[side][what], found["PyTorch"][what]
            ratio = statistics.median(one / other for one, other in zip(base, values, strict=True))
            cells += [summary(values, ".2f"), f"{ratio:.2f}"]
        lines.append(f"| {side} | {' | '.join(cells)} |")
    return "\n".join(["", f"Batch 1, {rows} rows:", "", *lines])


if __name__ == "__main__":
    main()
