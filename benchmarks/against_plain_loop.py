"""Train with this library and with the plain loop of benchmarks/reference/, same rows, budget and seeds; print both.

    python benchmarks/against_plain_loop.py ner --data DATA/ner/wnut17 --seeds 0 1 2
    python benchmarks/against_plain_loop.py nli --data DATA/nli/snli --seeds 0 1 2
    python benchmarks/against_plain_loop.py qa --data DATA/qa/squad2/half-dev-v2.0.json --seeds 0 1 2

Every run is a process of its own. The two sides alternate; with --together the two of a seed run at the same time, one
thread each (same scores, half the wait, but then their times are only comparable with each other). Finished runs are
kept in --output as JSON lines, and are not run again.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHOWN = {
    "ner": ["f1", "precision", "recall"],
    "nli": ["accuracy"],
    "qa": ["exact_match", "f1", "has_answer_exact_match", "has_answer_f1", "no_answer_f1"],
}
PLAIN_NAMES = {
    "exact": "exact_match",
    "HasAns_exact": "has_answer_exact_match",
    "HasAns_f1": "has_answer_f1",
    "NoAns_f1": "no_answer_f1",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=SHOWN)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--together", action="store_true")
    parser.add_argument("--epochs", type=int, help="of both sides; None: 4 for ner, 2 for nli and qa")
    parser.add_argument("--max-length", type=int, help="of both sides; None: 256 for ner, 128 for nli, 384 for qa")
    parser.add_argument("--stride", type=int, help="of both sides, qa alone; None: 128")
    parser.add_argument("--output", type=Path, default=Path("output/against_plain_loop.jsonl"))
    parser.add_argument("--ours", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ours is not None:
        print(json.dumps(run_ours(arguments)))
        return
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    for seed in arguments.seeds:
        run_both(arguments, seed)
    report(arguments.task, read_done(arguments.output))


def run_ours(arguments: argparse.Namespace) -> dict:
    """Train with the example script's function, as a user would."""
    import torch

    task, data = arguments.task, arguments.data
    torch.set_num_threads(arguments.threads)
    sys.path.insert(0, str(ROOT / "examples"))
    settings = {name: value for name, value in budget(arguments).items() if value is not None}
    settings["num_train_epochs"] = settings.pop("epochs", 4 if task == "ner" else 2)
    started = time.perf_counter()
    if task == "ner":
        from ner_conll import train

        names = {"train": "wnut17train.conll", "validation": "emerging.dev.conll", "test": "emerging.test.annotated"}
        splits = {split: data / name for split, name in names.items()}
        settings = {"max_length": 256, "patience": None, **settings}
    elif task == "nli":
        from nli import train

        splits = {split: data / f"{split}.jsonl" for split in ("train", "validation", "test")}
        settings = {"max_length": 128, **settings}
    else:
        from qa import split_by_article, train

        splits = split_by_article(str(data), 13, 3)
        settings = {"max_length": 384, "stride": 128, "validation_share": 0.05, **settings}
    result = train(splits, seed=arguments.ours, **settings)
    return {
        "test": {name: result.metrics["test"][name] for name in SHOWN[task]},
        "seconds": time.perf_counter() - started,
        "training_seconds": result.metrics["train"]["seconds"],
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def budget(arguments: argparse.Namespace) -> dict[str, int | None]:
    """Return the settings that both sides are given alike."""
    return {name: getattr(arguments, name) for name in ("epochs", "max_length", "stride")}


def run_both(arguments: argparse.Namespace, seed: int) -> None:
    """Run what is not done yet of the two sides of one seed, and keep what came out."""
    threads = str(1 if arguments.together else arguments.threads)
    data = ["--data", str(arguments.data), "--threads", threads]
    for name, value in budget(arguments).items():
        data += ["--" + name.replace("_", "-"), str(value)] if value is not None else []
    plain = ROOT / "benchmarks" / "reference" / f"{arguments.task}_loop.py"
    commands = {
        "reasoner": [sys.executable, __file__, arguments.task, *data, "--ours", str(seed)],
        "plain loop": [sys.executable, str(plain), *data, "--seed", str(seed)],
    }
    done = {(row["task"], row["side"], row["seed"]) for row in read_done(arguments.output)}
    running = []
    for side, command in commands.items():
        if (arguments.task, side, seed) in done:
            continue
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        running.append((side, process))
        if not arguments.together:
            keep(arguments, seed, side, process)
    for side, process in running if arguments.together else []:
        keep(arguments, seed, side, process)


def keep(arguments: argparse.Namespace, seed: int, side: str, process: subprocess.Popen) -> None:
    """Wait for a run, and write its scores down."""
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{side}, seed {seed}: exit code {process.returncode}")
    values = json.loads(output.strip().splitlines()[-1])
    values["test"] = {PLAIN_NAMES.get(name, name): score for name, score in values["test"].items()}
    row = {"task": arguments.task, "side": side, "seed": seed, **values}
    with arguments.output.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(f"{side}, seed {seed}: {values['test']}", flush=True)


def read_done(path: Path) -> list[dict]:
    """Return the runs that were finished."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def report(task: str, rows: list[dict]) -> None:
    """Print the means and deviations over seeds as a markdown table."""
    print("\n| side | seeds | " + " | ".join(SHOWN[task]) + " | seconds | peak memory, MiB |")
    print("|---" * (len(SHOWN[task]) + 4) + "|")
    for side in ("reasoner", "plain loop"):
        runs = [row for row in rows if row["side"] == side and row["task"] == task]
        if not runs:
            continue
        cells = [spread([run["test"][name] for run in runs]) for name in SHOWN[task]]
        seconds = statistics.mean(run["seconds"] for run in runs)
        memory = max(run["peak_memory_mib"] for run in runs)
        print(f"| {side} | {len(runs)} | " + " | ".join(cells) + f" | {seconds:.0f} | {memory:.0f} |")


def spread(values: list[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{deviation}"


if __name__ == "__main__":
    main()
