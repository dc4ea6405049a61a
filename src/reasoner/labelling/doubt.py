"""What does a model say of rows, and how sure is it of each?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from reasoner.errors import ConfigError
from reasoner.evaluation import infer
from reasoner.heads.token_classification import TokenRecord
from reasoner.inference import Predictor

MEASURES = ("least confidence", "margin", "entropy")


class Judged(NamedTuple):
    """What a model says of a row."""

    prediction: Any
    probability: float | None
    """That it gives to it, calibrated; where each word has a label of its own the geometric mean over words."""


def judged(predictor: Predictor, examples: Sequence[Any]) -> list[Judged]:
    """Return for each example what is predicted, and how probable that is to the model.

    Args:
        predictor: of a trained model.
        examples: of its task; gold plays no part.
    """
    task, found = predictor.task, []
    for part in predictor.encode(examples).parts():
        records, _ = infer(predictor.model, predictor.batches(part), device=predictor.device, bf16=predictor.bf16)
        read = task.read_records(records, predictor.tokenizer)
        predictions = task.decode(read, part.features, part.examples)
        remaining = iter(records)
        for prediction, group in zip(predictions, part.features, strict=True):
            of_row = [next(remaining) for _ in group]
            sure = _of_words(of_row, group) if isinstance(of_row[0], TokenRecord) else task.confidence(prediction)
            found.append(Judged(prediction, sure))
    return found


def doubts(predictor: Predictor, rows: Sequence[Judged], measure: str) -> list[float]:
    """Return how doubtful each row is: more means more.

    Args:
        predictor: that judged the rows.
        rows: what it says of them.
        measure: "least confidence": 1 less the probability of what is said (of a sentence with a label a word, 1 less
            the geometric mean over its words: the order of Shen et al.'s normalised log-probability, 2017,
            https://arxiv.org/abs/1707.05928); "margin": 1 less how far the likeliest label is before the next
            (Scheffer et al., 2001); "entropy": that of the labels, in nats.

    Raises:
        ConfigError: if the task gives no such probabilities.
    """
    name, found = type(predictor.task).__name__, []
    for row in rows:
        if measure == MEASURES[0]:
            if row.probability is None:
                raise ConfigError(f"{name} does not say of each row how sure it is. Take by='diversity' or 'random'.")
            found.append(1 - row.probability)
            continue
        labels = predictor.task.label_probabilities(row.prediction)
        if labels is None:
            raise ConfigError(f"doubt='{measure}' needs tasks that choose one of several labels, which {name} does not "
                              f"here. Take doubt='{MEASURES[0]}'.")  # fmt: skip
        found.append(_of_labels(labels, measure))
    return found


def _of_words(records: Sequence[TokenRecord], features: Sequence[Any]) -> float:
    """Return the geometric mean of the probabilities of the words' labels; 1 where no word has one."""
    sure = [float(record.probabilities[place.token]) for record, feature in zip(records, features, strict=True)
            for place in feature.info]  # fmt: skip
    smallest = float(np.finfo(np.float32).tiny)
    return math.exp(sum(math.log(max(one, smallest)) for one in sure) / len(sure)) if sure else 1.0


def _of_labels(labels: Mapping[Any, float], measure: str) -> float:
    first, second, *_ = sorted((*labels.values(), 0.0), reverse=True)
    if measure == "margin":
        return 1 - (first - second)
    return -sum(one * math.log(one) for one in labels.values() if one > 0)
