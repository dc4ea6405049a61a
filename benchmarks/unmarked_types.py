"""What is left of old entity types when new rows hold their names, and nobody marked them there?

    python benchmarks/unmarked_types.py --data DATA/ner/wikiann-en

A model learns PER and ORG from rows where LOC is not marked; then it is taught LOC by other rows, where PER and ORG are
not marked. It is scored on test rows that are marked in whole. Beside it one model is trained on all these rows, marked
in whole. WikiANN names the files train, dev and test.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import reasoner
from reasoner.data.sentences import spans_of
from reasoner.data.tag_schemes import Span, read_spans
from reasoner.metrics.counting import f1_from_sums, set_counts
from reasoner.reports.layout import Table, table_lines

OLD, NEW = ("PER", "ORG"), ("LOC",)
SIDES: dict[str, dict[str, Any]] = {
    "plain": {},
    "lwf": {"protection": "lwf"},
    "replay": {"protection": "replay"},
    "complete": {"complete_labels": True},
    "complete, replay": {"complete_labels": True, "protection": "replay"},
}
FIGURES = ("all", *OLD, *NEW)
Rows = list[dict[str, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="folder of WikiANN")
    parser.add_argument("--model", help="folder or Hub id; default: the embedded MiniLM")
    parser.add_argument("--rows", type=int, default=1500, help="training rows of the old types, and as many of the new")
    parser.add_argument("--validation-rows", type=int, default=300)
    parser.add_argument("--test-rows", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(arguments.threads)
    sizes = {"train": arguments.rows, "dev": arguments.validation_rows}
    read = {name: [row.columns for row in reasoner.read_rows(arguments.data / name)] for name in (*sizes, "test")}
    test = read["test"][: arguments.test_rows]
    old = {name: marked(read[name][:number], OLD) for name, number in sizes.items()}
    new = {name: marked(read[name][number : 2 * number], NEW) for name, number in sizes.items()}
    whole = {name: read[name][: 2 * number] for name, number in sizes.items()}
    scores: dict[str, list[dict[str, float]]] = {}
    for seed in arguments.seeds:
        settings = {"task": "ner", "num_train_epochs": arguments.epochs, "seed": seed, "use_cpu": True,
                    "disable_tqdm": True, "evaluate_before": False}  # fmt: skip
        first = reasoner.fine_tune(arguments.model, splits(old), **settings)
        note("old types alone", first, test, seed, scores)
        for name, side in SIDES.items():
            protect = {"protect": [splits(old)]} if side.get("protection") == "replay" else {}
            taught = reasoner.fine_tune(None, splits(new), after=first, **settings, **protect, **side)
            note(name, taught, test, seed, scores)
        note("marked in whole", reasoner.fine_tune(arguments.model, splits(whole), **settings), test, seed, scores)
    columns = [(name, *(_shown([run[figure] for run in runs]) for figure in FIGURES)) for name, runs in scores.items()]
    print("\n" + "\n".join(table_lines(Table("", ("side", *(f"F1, {name}" for name in FIGURES)), columns), 110)))


def marked(rows: Rows, types: tuple[str, ...]) -> Rows:
    """Return the rows with the tags of some types alone."""
    return [{**row, "ner_tags": [tag if tag[2:] in types else "O" for tag in row["ner_tags"]]} for row in rows]


def splits(parts: dict[str, Rows]) -> dict[str, Rows]:
    """Return them by the names that `fine_tune` takes."""
    return {"train": parts["train"], "validation": parts["dev"]}


def note(name: str, result: Any, test: Rows, seed: int, scores: dict[str, list[dict[str, float]]]) -> None:
    """Score a model on rows that are marked in whole; of types that it does not know it finds nothing."""
    found = [spans_of(row) for row in result.predict([row["tokens"] for row in test])]
    gold = [read_spans(row["ner_tags"]) for row in test]
    kinds = {"all": (*OLD, *NEW), **{kind: (kind,) for kind in (*OLD, *NEW)}}
    scores.setdefault(name, []).append({figure: f1(found, gold, types) for figure, types in kinds.items()})
    shown = ", ".join(f"{figure} {score:.4f}" for figure, score in scores[name][-1].items())
    print(f"seed {seed}, {name}: {shown}", flush=True)


def f1(found: list[list[Span]], gold: list[list[Span]], types: tuple[str, ...]) -> float:
    """Return the F1 of whole entities of some types."""
    mine, true = ([[span for span in row if span[2] in types] for row in rows] for rows in (found, gold))
    return float(f1_from_sums(set_counts(true, mine).sum(axis=0)))


def _shown(numbers: list[float]) -> str:
    return f"{mean(numbers):.4f}" + (f" ({stdev(numbers):.4f})" if len(numbers) > 1 else "")


if __name__ == "__main__":
    main()
