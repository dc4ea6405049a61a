"""What are the probabilities of a saved model worth: calibration with and without its temperature, and label sets.

    python benchmarks/calibration.py output/nli --validation validation.jsonl --test test.jsonl

The model chooses one label (nli, classification, multiple_choice), and neither file was trained on. Label sets are made
over ten random splits of both files' rows, one half for the threshold and one half to count on; and once as `predict`
makes them, with the scores that are stored with the model.
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Sequence
from math import log
from typing import Any

import reasoner
from reasoner.calibration import conformal_scores
from reasoner.data.examples import examples_from_rows
from reasoner.data.sources import read_splits
from reasoner.metrics import calibration_error, conformal_threshold

SPLITS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="what fine_tune or Result.save wrote")
    parser.add_argument("--validation", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--coverage", type=float, default=0.9)
    arguments = parser.parse_args()

    result = reasoner.load(arguments.folder)
    files = {"validation": arguments.validation, "test": arguments.test}
    splits = examples_from_rows(read_splits(files), result.predictor.task.Example)
    compare_calibration(result, splits)
    compare_sets(result, splits["validation"], splits["test"], arguments.coverage)


def compare_calibration(result: reasoner.Result, splits: dict[str, Sequence[Any]]) -> None:
    """Print figures at temperature 1 and at the model's own, and how many predictions differ."""
    head, task = result.predictor.model.head, result.predictor.task
    stored = head.temperature
    print(f"{'split':<12}{'temperature':>12}{'ECE':>9}{'ECE, equal mass':>17}{'-log p':>12}{'accuracy':>10}")
    for name, examples in splits.items():
        data, labels = result.predictor.encode(examples), []
        for temperature in (1.0, stored):
            head.temperature = temperature
            predictions = result.predictor.evaluate(data).predictions
            labels.append([p.get("label", p.get("choice")) for p in predictions])
            sure, right = zip(*task.judged(predictions, examples), strict=True)
            errors = [calibration_error(sure, right, equal_mass=equal)["ece"] for equal in (False, True)]
            gold = [
                task.label_probabilities(p)[task.right_label(e)] for p, e in zip(predictions, examples, strict=True)
            ]
            likelihood, accuracy = -statistics.fmean(map(log, gold)), statistics.fmean(right)
            row = f"{name:<12}{temperature:>12.4f}{errors[0]:>9.4f}{errors[1]:>17.4f}"
            print(f"{row}{likelihood:>12.4f}{accuracy:>10.4f}")
        changed = sum(one != other for one, other in zip(*labels, strict=True))
        print(f"{name:<12}{changed} of {len(examples)} predictions changed")
    head.temperature = stored


def compare_sets(
    result: reasoner.Result, validation: Sequence[Any], test: Sequence[Any], coverage: float
) -> list[float]:
    """Print and return which share of the label sets holds the right label, for ten splits."""
    predictor = result.predictor
    predictions, examples = [], [*validation, *test]
    for part in (validation, test):
        predictions += predictor.evaluate(predictor.encode(part)).predictions
    pairs, found = list(zip(predictions, examples, strict=True)), []
    for seed in range(SPLITS):
        random.Random(seed).shuffle(pairs)
        half = len(pairs) // 2
        scores = conformal_scores(predictor.task, *zip(*pairs[:half], strict=True))
        found.append(counted(result, pairs[half:], conformal_threshold(scores, coverage=coverage), f"split {seed}"))
    print(f"mean over {SPLITS} splits: {statistics.fmean(found):.4f}, {min(found):.4f} to {max(found):.4f}")
    stored = conformal_threshold(predictor.conformal_scores, coverage=coverage)
    counted(result, list(zip(predictions, examples, strict=True))[len(validation) :], stored, "as predict")
    return found


def counted(result: reasoner.Result, pairs: Sequence[tuple[Any, Any]], threshold: float, name: str) -> float:
    """Print and return the share of the sets that holds the right label; print their sizes too."""
    task, covered, sizes = result.predictor.task, 0, []
    for prediction, example in pairs:
        probabilities = task.label_probabilities(prediction)
        labels = [label for label, p in probabilities.items() if 1 - p <= threshold]
        covered += task.right_label(example) in labels
        sizes.append(len(labels))
    share, empty = covered / len(pairs), sizes.count(0)
    print(f"{name}: {share:.4f} of {len(pairs)} covered, {statistics.fmean(sizes):.2f} labels a set, {empty} empty")
    return share


if __name__ == "__main__":
    main()
