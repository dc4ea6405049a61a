"""Does cost grow in proportion to the rows, and what does a run cost besides its steps?

    python benchmarks/scaling.py --data DATA/nli/snli

Trains one epoch on 490 rows of the SNLI cut, on 4 and on 16 times as many (each in its own process, read from a file of
JSON lines) and gives seconds a row and peak memory; then the seconds that `import reasoner` takes in a fresh process;
then what a `fine_tune` call on 100 rows with the settings it has by itself spends outside its steps, for a first and a
second call in one process. Nothing that an earlier run has cached is used.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import alternating
import memory
import workload
from alternating import Column, summary

FACTORS = (1, 4, 16)
SIDES = (*(f"reasoner-{factor}x" for factor in FACTORS), "reasoner-import", "reasoner-100")
COLUMNS = (
    Column("rows", "rows", ",d"),
    Column("training, ms a row", "training_ms_a_row", ".3f"),
    Column("encoding, ms a row", "encoding_ms_a_row", ".4f"),
    Column("training, s", "training_seconds", ".1f"),
    Column("whole, s", "whole_seconds", ".1f"),
    Column("peak memory, MiB", "peak_mib", ".0f"),
    Column("without pages of files, MiB", "own_peak_mib", ".0f"),
)
IMPORT = """
import sys, time
started = time.perf_counter()
import reasoner
print(time.perf_counter() - started, "torch" in sys.modules)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="folder of SNLI")
    parser.add_argument("--rows", type=int, default=490, help="of the smallest run")
    parser.add_argument("--batch-size", type=int, default=32)
    alternating.add_arguments(parser, SIDES)
    arguments = parser.parse_args()
    if arguments.side:
        alternating.answer(arguments, run)
        return
    sides = arguments.sides or SIDES
    report(alternating.run_all(arguments, sides), sides, arguments)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure one of the things above."""
    if arguments.side == "reasoner-import":
        return import_time()
    with TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        if arguments.side == "reasoner-100":
            return call_on_100_rows(arguments)
        return trained(arguments, int(arguments.side.split("-")[1][:-1]), Path(folder))


def trained(arguments: argparse.Namespace, factor: int, folder: Path) -> dict[str, Any]:
    """Train one epoch on `factor` times the rows."""
    import reasoner
    from reasoner.inference import Predictor

    splits = workload.read("nli", arguments.data)
    number = factor * arguments.rows
    if number > len(splits["train"]):
        raise SystemExit(f"{factor} x {arguments.rows} rows are more than the {len(splits['train'])} that there are.")
    file = folder / "train.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in splits["train"][:number]), encoding="utf-8")
    validation = splits["validation"][: workload.VALIDATION_ROWS]
    del splits
    started = time.perf_counter()
    with memory.OwnPeak() as own, timed(Predictor, "encode", lambda named: named.get("name") == "train") as encoding:
        clock = make_clock()
        reasoner.fine_tune(
            None,
            {"train": file, "validation": validation},
            task="nli",
            num_train_epochs=1,
            per_device_train_batch_size=arguments.batch_size,
            learning_rate=1e-4,
            max_length=128,
            eval_steps=10**9,
            evaluate_before=False,
            use_cpu=True,
            disable_tqdm=True,
            seed=arguments.round,
            callbacks=[clock],
        )
    return {
        "rows": number,
        "training_seconds": clock.seconds,
        "training_ms_a_row": 1000 * clock.seconds / number,
        "encoding_ms_a_row": 1000 * encoding.seconds / number,
        "whole_seconds": time.perf_counter() - started,
        "peak_mib": memory.peak_mib(),
        "own_peak_mib": own.mib,
    }


def make_clock() -> Any:
    """Return a callback that times from the beginning of training to the end of the last step."""
    from reasoner import Callback

    class Clock(Callback):
        """See above."""

        begun = seconds = 0.0

        def on_train_begin(self, trainer: Any) -> None:
            self.begun = time.perf_counter()

        def on_step_end(self, trainer: Any) -> None:
            self.seconds = time.perf_counter() - self.begun

    return Clock()


class Timed:
    """How often something was called, and how long that took in all."""

    calls, seconds = 0, 0.0


@contextmanager
def timed(owner: Any, name: str, counts: Any = lambda named: True) -> Iterator[Timed]:
    """Time the calls of a function or method of `owner` inside the block."""
    original, found = getattr(owner, name), Timed()

    def wrapped(*arguments: Any, **named: Any) -> Any:
        started = time.perf_counter()
        given = original(*arguments, **named)
        if counts(named):
            found.calls, found.seconds = found.calls + 1, found.seconds + time.perf_counter() - started
        return given

    setattr(owner, name, wrapped)
    try:
        yield found
    finally:
        setattr(owner, name, original)


def import_time() -> dict[str, Any]:
    """Import the package in a fresh process."""
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
    seconds, torch_loaded = done.stdout.split()
    return {"seconds": float(seconds), "torch_loaded": torch_loaded == "True"}


def call_on_100_rows(arguments: argparse.Namespace) -> dict[str, Any]:
    """Call `fine_tune` twice on 100 rows; say where the time outside the steps goes."""
    import reasoner
    import reasoner.preparation
    from reasoner.inference import Predictor

    rows = workload.read("nli", arguments.data)["train"][:100]
    reasoner.preparation.load_tokenizer(workload.default_model())  # what transformers imports is no part of it
    values: dict[str, Any] = {}
    for call in ("first", "second"):
        with timed(reasoner.preparation, "build_predictor") as loading, timed(Predictor, "evaluate") as evaluating:
            started = time.perf_counter()
            result = reasoner.fine_tune(
                None, {"train": rows}, task="nli", use_cpu=True, disable_tqdm=True, seed=arguments.round
            )
            whole = time.perf_counter() - started
        steps = result.metrics["train"]["seconds"]
        if not loading.calls:
            raise SystemExit("The model was not loaded where this looks for it.")
        outside = whole - steps - loading.seconds
        values |= {f"{call}_{name}": value for name, value in {
            "whole": whole, "steps": steps, "loading": loading.seconds, "outside": outside,
            "evaluations": evaluating.seconds, "rest": outside - evaluating.seconds,
        }.items()}  # fmt: skip
    return values


def report(rows: Sequence[dict[str, Any]], sides: Sequence[str], arguments: argparse.Namespace) -> None:
    """Print what was measured."""
    print("\n" + alternating.machine_line(rows, arguments.threads))
    scaled = [side for side in sides if side.endswith("x")]
    if scaled:
        print("\n" + alternating.table(rows, COLUMNS, timed="training_seconds", sides=scaled, ours=scaled[0]) + "\n")
    for key, title in (("training_ms_a_row", "training"), ("encoding_ms_a_row", "encoding")):
        for side in scaled[1:]:
            shares = [ratio - 1 for ratio in alternating.ratios(rows, side, key, scaled[0])]
            print(f"{title}, {side}: {summary(shares, '+.1%')} from proportional to {scaled[0]}.")
    imports = [row for row in rows if row["side"] == "reasoner-import"]
    if imports:
        loaded = any(row["torch_loaded"] for row in imports)
        seconds = summary([row["seconds"] for row in imports], ".3f")
        print(f"import reasoner: {seconds} s, torch {'is loaded' if loaded else 'is not loaded'}.")
    calls = [row for row in rows if row["side"] == "reasoner-100"]
    for call in ("first", "second") if calls else ():
        parts = ("whole", "steps", "loading", "outside", "evaluations", "rest")
        found = {part: summary([row[f"{call}_{part}"] for row in calls], ".2f") for part in parts}
        print(
            f"fine_tune on 100 rows, {call} call: {found['whole']} s; steps {found['steps']}; model loading "
            f"{found['loading']}; all else {found['outside']}, of it evaluations {found['evaluations']}, "
            f"the rest {found['rest']}."
        )


if __name__ == "__main__":
    main()
