"""With how many labels is a model as good as with all, if it says which rows to label? Random selection beside it.

    python benchmarks/active_learning.py --seeds 0 1 2

The pool is unbalanced and repeats itself, as pools do: hypotheses of the synthetic NLI pack, six phenomena, of which
one has 45% of the rows and one 3%, all made by few templates. What is learned is a linear layer on the frozen embedded
MiniLM. Each way begins with the same rows, drawn at random; it then trains, chooses the next rows, is given their
labels, and trains anew. The score is macro F1 on other rows by the same templates, equally many of each phenomenon.
With `--balanced` all trainings, that on all rows too, see each label alike often, so that the gain is not one that
other sampling would give as well. Started again, the script makes the trainings that are missing.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from random import Random
from statistics import fmean, stdev
from typing import Any

import torch

import reasoner

SHARES = {"negation": 0.45, "quantifier": 0.30, "conjunction": 0.12, "number": 0.06, "monotonicity": 0.04,
          "passive": 0.03}  # fmt: skip
WAYS = ("random", "uncertainty", "diversity", "both")
TEST_ROWS, VALIDATION_ROWS = 100, 20
"""Of each phenomenon."""


def data(rows: int, seed: int) -> dict[str, list[dict[str, str]]]:
    """Return the pool, and balanced validation and test splits."""
    pack = reasoner.synthetic.nli_pack(train=8 * rows, validation=0, test=0, seed=seed)
    by_label: dict[str, dict[str, dict[str, str]]] = {name: {} for name in SHARES}
    for row in pack["train"]:
        by_label[row["phenomenon"]][row["hypothesis"]] = {"text": row["hypothesis"], "label": row["phenomenon"]}
    pool, validation, test = [], [], []
    for name, share in SHARES.items():
        of_label = list(by_label[name].values())
        test += of_label[:TEST_ROWS]
        validation += of_label[TEST_ROWS : TEST_ROWS + VALIDATION_ROWS]
        drawn = of_label[TEST_ROWS + VALIDATION_ROWS :][: round(share * rows)]
        assert len(drawn) == round(share * rows), f"{name}: {len(drawn)}"
        pool += drawn
    Random(f"pool {seed}").shuffle(pool)
    return {"pool": pool, "validation": validation, "test": test}


def trained(
    splits: dict[str, list[dict[str, str]]], rows: list[int], seed: int, arguments: argparse.Namespace
) -> reasoner.Result:
    """Train on these rows of the pool."""
    return reasoner.fine_tune(
        None,
        {"train": [splits["pool"][row] for row in rows], "validation": splits["validation"], "test": splits["test"]},
        task=reasoner.Classification(head="sentence", labels=sorted(SHARES)),
        method="head",
        learning_rate=3e-2,
        max_steps=arguments.steps,
        eval_steps=arguments.steps // 2,
        balanced_sampling=arguments.balanced,
        per_device_train_batch_size=32,
        seed=seed,
        use_cpu=True,
        evaluate_before=False,
        check=False,
        disable_tqdm=True,
    )


class Kept:
    """Scores and the rows that were chosen next, by seed, way and number of rows, in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        self.found = {tuple(known["key"]): known for known in map(json.loads, lines)}

    def get(self, *key: Any, make: Any) -> dict[str, Any]:
        """Return what is kept by a key; where there is nothing, make it and keep it."""
        if key not in self.found:
            self.found[key] = {"key": list(key), **make()}
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(self.found[key]) + "\n")
            print(key, f"{self.found[key]['score']:.4f}", flush=True)
        return self.found[key]


def run(arguments: argparse.Namespace, kept: Kept) -> dict[str, dict[int, list[float]]]:
    """Return the scores by way and number of rows, one a seed."""
    scores: dict[str, dict[int, list[float]]] = {way: {} for way in (*arguments.ways, "all rows")}
    for seed in arguments.seeds:
        splits = data(arguments.pool, seed)
        everything = list(range(len(splits["pool"])))
        place_of = {row["text"]: place for place, row in enumerate(splits["pool"])}
        start = everything[: arguments.start]  # the pool is shuffled
        whole = kept.get(seed, "all rows", len(everything), make=lambda splits=splits, rows=everything, seed=seed: {
            "score": trained(splits, rows, seed, arguments).metrics["test"]["macro_f1"]})  # fmt: skip
        scores["all rows"].setdefault(len(everything), []).append(whole["score"])
        for way in arguments.ways:
            rows = list(start)
            while len(rows) <= arguments.until:

                def make(splits=splits, places=place_of, rows=rows, seed=seed, way=way) -> Any:
                    result = trained(splits, rows, seed, arguments)
                    chosen = reasoner.to_label(result, splits["pool"], number=arguments.step, by=way, seed=seed)
                    told = [places[one.columns["text"]] for one in chosen]
                    return {"score": result.metrics["test"]["macro_f1"], "next": told}

                found = kept.get(seed, way, len(rows), make=make)
                scores[way].setdefault(len(rows), []).append(found["score"])
                rows = [*rows, *found["next"]]
    return scores


def report(scores: dict[str, dict[int, list[float]]]) -> None:
    ((total, whole),) = scores.pop("all rows").items()
    print(f"\nAll {total} rows: macro F1 {_said(whole)}. The mean less 1 point is {fmean(whole) - 0.01:.4f}.\n")
    sizes = sorted({size for of_way in scores.values() for size in of_way})
    print("| rows | " + " | ".join(scores) + " |\n|---|" + "---|" * len(scores))
    for size in sizes:
        print(f"| {size} | " + " | ".join(_said(of_way[size]) for of_way in scores.values()) + " |")
    for way, of_way in scores.items():
        enough = [size for size in sizes if fmean(of_way[size]) >= fmean(whole) - 0.01]
        print(f"{way}: " + (f"within 1 point with {enough[0]} rows" if enough else "not within 1 point") + ".")


def _said(values: list[float]) -> str:
    return f"{fmean(values):.4f}" + (f" ± {stdev(values):.4f}" if len(values) > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=int, default=800, help="rows of the pool")
    parser.add_argument("--start", type=int, default=80, help="rows drawn at random to begin with")
    parser.add_argument("--step", type=int, default=80, help="rows that are labelled at a time")
    parser.add_argument("--until", type=int, default=400, help="the most rows")
    parser.add_argument("--steps", type=int, default=200, help="of each training")
    parser.add_argument("--balanced", action="store_true", help="let each training see all labels alike often")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("output") / "active_learning")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    logging.getLogger("reasoner").setLevel(logging.WARNING)
    balanced = "-balanced" if arguments.balanced else ""
    name = f"{arguments.pool}-{arguments.start}-{arguments.step}-{arguments.steps}{balanced}.jsonl"
    report(run(arguments, Kept(arguments.output / name)))


if __name__ == "__main__":
    main()
