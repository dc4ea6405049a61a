"""How fast is training, and how good is what comes out, against others who do the same work?

    python benchmarks/train_speed.py ner --data DATA/ner/wnut17
    python benchmarks/train_speed.py nli --data DATA/nli/snli
    python benchmarks/train_speed.py qa --data DATA/qa/squad2/half-dev-v2.0.json

The first 640 sentences (1,280 pairs, 240 questions), one epoch, float32 on the CPU, the packaged MiniLM; rows, batch
size, learning rate, linear schedule with warm-up, weight decay, clipping and dropout are equal. A round is a seed. All
models are scored by one function on the same test rows. What is timed is said in sides.py; "whole" is from rows to the
trained model, of this library with its checks and an evaluation on 64 rows, which the others do not make.

Scores after three epochs on all rows, three seeds (with `--sides reasoner trainer`; no weights
are chosen on validation, on either side):

    python benchmarks/train_speed.py ner --data DATA/ner/wnut17 --rows all --test-rows all --epochs 3 --rounds 3

The head alone, on a frozen backbone. The Trainer runs the backbone with dropout, this library without it:

    python benchmarks/train_speed.py nli --data DATA/nli/snli --method head --epochs 5
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import alternating
import memory
import workload
from alternating import Column

SIDES = (
    "reasoner",
    "trainer",
    "trainer-by-length",
    "trainer-padded",
    "by-hand",
    "simpletransformers",
    "skorch",
    "cross-encoder",
)
NEEDS = {
    "simpletransformers": "simpletransformers",
    "skorch": "skorch",
    "cross-encoder": "sentence-transformers",
}
PEERS = {"ner": {"simpletransformers", "skorch"}, "nli": set(NEEDS), "qa": set()}
"""Other libraries that do the same work."""
COLUMNS = (
    Column("training, s", "training_seconds"),
    Column("whole, s", "whole_seconds", ".1f"),
    Column("tokens a second", "tokens_per_second", ",.0f"),
    Column("share of matrix peak", "peak_share"),
    Column("padding", "padding_share", ".1%"),
    Column("score", "score", ".4f", mean=True),
    Column("steps", "steps", "d"),
    Column("tokens", "tokens", ",d"),
    Column("peak memory, MiB", "peak_mib", ".0f"),
)
EQUAL = ("steps", "tokens", "trainable_weights", "rows")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=PEERS)
    workload.add_arguments(parser)
    alternating.add_arguments(parser, SIDES)
    arguments = parser.parse_args()
    if arguments.side:
        alternating.answer(arguments, lambda given: run(given.side, workload.make_work(given, given.task)))
        return
    sides = [side for side in arguments.sides or SIDES if does_the_work(side, arguments)]
    rows = alternating.run_all(arguments, sides, needs=NEEDS)
    report(rows, sides, arguments)


def does_the_work(side: str, arguments: argparse.Namespace) -> bool:
    """Return whether a side does this work; where it does not, say so."""
    fits = side not in NEEDS or (side in PEERS[arguments.task] and arguments.method == "full" and not arguments.steps)
    if not fits:
        print(f"{side}: left out, it does not do this work (see peers.py).")
    return fits


def report(rows: Sequence[dict[str, Any]], sides: Sequence[str], arguments: argparse.Namespace) -> None:
    """Print the table, where work was not equal, and how scores differ."""
    print("\n" + alternating.machine_line(rows, arguments.threads))
    print("Median (least to greatest) of the rounds; scores mean ± standard deviation over seeds.\n")
    print(alternating.table(rows, COLUMNS, timed="training_seconds", sides=sides))
    own = [row.get("own_peak_share") for row in rows if row["side"] == alternating.OURS]
    print(f"\n`peak_share` as the result of this library says it: {alternating.summary(own, '.2f')}.")
    print(*(line for key in EQUAL for line in alternating.unequal(rows, key)), sep="\n")
    for side in sides:
        differences(rows, side)


def differences(rows: Sequence[dict[str, Any]], side: str) -> None:
    """Print our score minus a side's, seed by seed."""
    ours = {row["round"]: row["score"] for row in rows if row["side"] == alternating.OURS}
    found = [ours[row["round"]] - row["score"] for row in rows if row["side"] == side and row["round"] in ours]
    if side == alternating.OURS or not found:
        return
    error = f" ± {statistics.stdev(found) / len(found) ** 0.5:.4f} (standard error)" if len(found) > 1 else ""
    listed = ", ".join(f"{value:+.4f}" for value in found)
    print(f"Score of reasoner minus {side}, by seed: {listed}; mean {statistics.mean(found):+.4f}{error}.")


def run(side: str, work: workload.Work) -> dict[str, Any]:
    """Train as one side does, and return what it took and what came out."""
    import torch

    for module in ("transformers", "datasets", "reasoner.api"):  # imports are no part of the time, on any side
        import_module(module)
    train = trainers()[side]
    started = time.perf_counter()
    trained = train(work)
    whole, peak = time.perf_counter() - started, memory.peak_mib()
    return {
        "training_seconds": trained.seconds,
        "whole_seconds": whole,
        "steps": trained.steps,
        "tokens": trained.tokens,
        "rows": len(work.train),
        "tokens_per_second": trained.tokens / trained.seconds,
        "padding_share": 1 - trained.tokens / trained.positions,
        "trainable_weights": sum(w.numel() for w in trained.network.parameters() if w.requires_grad),
        "peak_share": None if work.frozen else peak_share(trained, work),
        "score": workload.score(work, trained.network, trained.names),
        "peak_mib": peak,
        "device": "cpu" if work.use_cpu else torch.cuda.get_device_name(),
        **trained.extra,
    }


def trainers() -> dict[str, Callable[[workload.Work], Any]]:
    """Return the function of each side."""
    import peers
    import sides

    return {
        "reasoner": sides.train_reasoner,
        "trainer": sides.train_with_trainer,
        "trainer-by-length": lambda work: sides.train_with_trainer(work, strategy="group_by_length"),
        "trainer-padded": lambda work: sides.train_with_trainer(work, pad_to=work.max_length),
        "by-hand": sides.train_by_hand,
        "simpletransformers": peers.train_simpletransformers,
        "skorch": peers.train_skorch,
        "cross-encoder": peers.train_cross_encoder,
    }


def peak_share(trained: Any, work: workload.Work) -> float:
    """Return which share of the machine's matrix products training did, counted alike for all sides."""
    from reasoner.training.engine import choose_device, matrix_peak, training_operations

    peak = matrix_peak(choose_device(work.use_cpu), work.bf16)
    return trained.tokens / trained.seconds * training_operations(trained.network) / peak


if __name__ == "__main__":
    main()
