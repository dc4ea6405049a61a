"""How fast are prediction and evaluation, against `Trainer.predict` and transformers' `pipeline`?

    python benchmarks/predict_speed.py ner --data DATA/ner/wnut17
    python benchmarks/predict_speed.py nli --data DATA/nli/snli

One model, trained once by this library and kept beside --output, is loaded by all sides as they load it. Timed is the
way from a list of texts or pairs to a list of entities (with character offsets) or of labels with their probabilities;
tokenising is inside, loading and a first call on 64 rows are outside. The Trainer runs with our batch size (64) and
with its own (8), the pipeline with four sizes, of which the fastest counts. Evaluation is timed beside it: from rows
with gold to scores. There is no line for qa: transformers 5 has no pipeline for it.
"""

from __future__ import annotations

import argparse
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import alternating
import memory
import workload
from alternating import Column

WARM_UP = 64
PIPELINES = ("pipeline-1", "pipeline-8", "pipeline-32", "pipeline-64")
SIDES = ("reasoner", "trainer", "trainer-8", *PIPELINES)
COLUMNS = (
    Column("prediction, s", "seconds"),
    Column("rows a second", "rows_per_second", ",.0f"),
    Column("evaluation, s", "evaluation_seconds"),
    Column("score", "score", ".4f"),
    Column("peak memory, MiB", "peak_mib", ".0f"),
)
Rows = list[dict[str, Any]]


class Side(NamedTuple):
    """One way to predict: from inputs to one hashable value a row; and to evaluate: from rows with gold to a score."""

    predict: Callable[[list[Any]], list[Any]]
    evaluate: Callable[[Rows], float] | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["ner", "nli"])
    parser.add_argument("--data", required=True, type=Path, help="folder of WNUT-17 or SNLI")
    parser.add_argument("--rows", type=int, default=1000, help="test rows, the first so many")
    parser.add_argument("--train-rows", type=int, default=1280, help="of the model, if it is not there yet")
    parser.add_argument("--epochs", type=int, default=3, help="of the model, if it is not there yet")
    alternating.add_arguments(parser, SIDES)
    arguments = parser.parse_args()
    folder = arguments.output.parent / f"{arguments.output.stem}_{arguments.task}_{arguments.train_rows}"
    if arguments.side == "reasoner-prepare":
        prepare(arguments, folder)
    elif arguments.side:
        alternating.answer(arguments, lambda given: run(given, folder))
    else:
        if not (folder / "reasoner_config.json").exists():
            alternating.start("reasoner-prepare", 0, arguments.threads)
        sides = arguments.sides or SIDES
        report(alternating.run_all(arguments, sides), sides, arguments)


def prepare(arguments: argparse.Namespace, folder: Path) -> None:
    """Train the model that all sides use."""
    import reasoner

    splits = workload.read(arguments.task, arguments.data)
    reasoner.fine_tune(
        None,
        {"train": splits["train"][: arguments.train_rows], "validation": splits["validation"][:200]},
        task=arguments.task,
        output_dir=folder,
        num_train_epochs=arguments.epochs,
        per_device_train_batch_size=workload.BATCH_SIZE[arguments.task],
        learning_rate=workload.LEARNING_RATE[arguments.task],
        max_length=workload.MAX_LENGTH[arguments.task],
        use_cpu=True,
        seed=0,
    )
    print("{}")


def run(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Predict and evaluate as one side does."""
    rows = workload.read(arguments.task, arguments.data)["test"][: arguments.rows]
    inputs = [" ".join(row["tokens"]) if arguments.task == "ner" else row for row in rows]
    side = make_side(arguments.side, arguments.task, folder)
    side.predict(inputs[:WARM_UP])
    started = time.perf_counter()
    predictions = side.predict(inputs)
    seconds, evaluation, score = time.perf_counter() - started, None, None
    if side.evaluate is not None:
        side.evaluate(rows[:WARM_UP])
        started = time.perf_counter()
        score = side.evaluate(rows)
        evaluation = time.perf_counter() - started
    return {
        "seconds": seconds,
        "rows": len(rows),
        "rows_per_second": len(rows) / seconds,
        "evaluation_seconds": evaluation,
        "score": score,
        "found": sum(map(len, predictions)) if arguments.task == "ner" else len(set(predictions)),
        "digests": [zlib.crc32(repr(prediction).encode()) for prediction in predictions],
        "peak_mib": memory.peak_mib(),
    }


def make_side(name: str, task: str, folder: Path) -> Side:
    """Load the model as one side does."""
    if name == alternating.OURS:
        return ours(task, folder)
    kind, _, size = name.partition("-")
    if kind == "pipeline":
        return Side(pipeline_predict(task, folder, int(size)))
    from trainer_predict import Predicting  # only where torch is loaded anyway

    trainer = Predicting(task, folder, batch_size=int(size or 64))
    return Side(trainer.predict, trainer.evaluate)


def ours(task: str, folder: Path) -> Side:
    import reasoner

    result = reasoner.load(folder, use_cpu=True)

    def predict(inputs: list[Any]) -> list[Any]:
        found = result.predict(inputs)
        return [entities(row) for row in found] if task == "ner" else [row["label"] for row in found]

    return Side(predict, lambda rows: result.evaluate(rows)[workload.SCORE[task]])


def pipeline_predict(task: str, folder: Path, batch_size: int) -> Callable[[list[Any]], list[Any]]:
    import transformers

    if task == "ner":
        tagger = transformers.pipeline(
            "token-classification", str(folder), aggregation_strategy="first", batch_size=batch_size, device="cpu"
        )
        return lambda texts: [entities(row) for row in tagger(texts)]
    classifier = transformers.pipeline(
        "text-classification", str(folder), top_k=None, batch_size=batch_size, device="cpu"
    )

    def predict(rows: list[Any]) -> list[Any]:
        pairs = [{"text": row["premise"], "text_pair": row["hypothesis"]} for row in rows]
        return [max(scores, key=lambda item: item["score"])["label"] for scores in classifier(pairs)]

    return predict


def entities(row: Sequence[dict[str, Any]]) -> tuple[tuple[str, int, int], ...]:
    """Return what of a row's entities is compared: type, first and last character."""
    return tuple((item["entity_group"], int(item["start"]), int(item["end"])) for item in row)


def report(rows: Sequence[dict[str, Any]], sides: Sequence[str], arguments: argparse.Namespace) -> None:
    """Print the table, the ratio to the fastest pipeline, and how many predictions are equal."""
    print("\n" + alternating.machine_line(rows, arguments.threads) + "\n")
    print(alternating.table(rows, COLUMNS, timed="seconds", sides=sides) + "\n")
    times = {side: [row["seconds"] for row in rows if row["side"] == side] for side in sides}
    pipelines = [side for side in PIPELINES if times.get(side)]
    for side in ("trainer", "trainer-8", *pipelines):
        evaluations = alternating.ratios(rows, side, "evaluation_seconds")
        if side in sides and not side.startswith("pipeline") and evaluations:
            print(f"Evaluation with {side}: {alternating.summary(evaluations, '.2f')} times our time.")
    if pipelines:
        best = min(pipelines, key=lambda side: median(times[side]))
        print(
            f"The fastest pipeline is {best}: {alternating.summary(alternating.ratios(rows, best, 'seconds'), '.2f')}."
        )
    own = {row["round"]: row for row in rows if row["side"] == alternating.OURS}
    for side in sides:
        shares = [equal_share(own[row["round"]], row) for row in rows if row["side"] == side and row["round"] in own]
        if side != alternating.OURS and shares:
            print(f"Equal predictions, reasoner and {side}: {alternating.summary(shares, '.2%')} of the rows.")
    for row in list(own.values())[:1]:
        print(f"Found by reasoner: {row['found']} {'entities' if arguments.task == 'ner' else 'different labels'}.")


def equal_share(one: dict[str, Any], other: dict[str, Any]) -> float:
    pairs = zip(one["digests"], other["digests"], strict=True)
    return sum(left == right for left, right in pairs) / len(one["digests"])


if __name__ == "__main__":
    main()
