"""Does an ONNX file give what the network gives that it was made of?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import inf
from typing import Any

import torch
from torch import Tensor

from reasoner.data.features import Batch
from reasoner.inference import Predictor
from reasoner.model import TaskModel
from reasoner.notices import muted

ROWS = 24
"""Rows that are compared: from the shortest to the longest, in even steps."""
SIZES = (1, 5, ROWS)
"""In batches of so many rows."""


def trial_batches(predictor: Predictor, examples: Sequence[Any]) -> list[Batch]:
    """Return rows of several lengths in batches of several sizes, the largest last."""
    ordered = sorted(examples, key=lambda example: sum(map(len, example.texts.values())))
    steps = max(1, min(ROWS, len(ordered)) - 1)
    chosen = [ordered[place * (len(ordered) - 1) // steps] for place in range(min(ROWS, len(ordered)))]
    with muted():
        data = predictor.encode(chosen)
    return [batch for size in SIZES for batch in predictor.batches(data, batch_size=size)]


@torch.inference_mode()
def largest_difference(model: TaskModel, other: TaskModel, batches: Iterable[Batch]) -> float:
    """Return how far the outputs of two models are apart at most; infinite where one is no number.

    Compared is what the network gives for tokens (of padding it may give anything), and what a head with own layers
    makes of it for batches without padding.
    """
    pairs = (pair for batch in batches for pair in _pairs(model, other, batch))
    return max((_apart(*pair) for pair in pairs), default=0.0)


def _pairs(model: TaskModel, other: TaskModel, batch: Batch) -> Iterator[tuple[Tensor, Tensor]]:
    inputs = model.head.model_inputs(batch)
    expected, found = model.run(dict(inputs)), other.run(dict(inputs))
    mask = batch.inputs["attention_mask"].bool()  # (features, length)
    for name, value in found.items():
        of_tokens = value.shape[:2] == mask.shape
        yield (expected[name][mask], value[mask]) if of_tokens else (expected[name], value)
    if model.head.auto_class is None and batch.tokens == batch.positions:
        outputs = model(batch), other(batch)
        yield from ((value, outputs[1][name]) for name, value in outputs[0].items())


def _apart(one: Tensor, other: Tensor) -> float:
    """Return the largest difference."""
    if one.shape != other.shape:
        return inf
    apart = torch.where(one == other, 0.0, (one - other).abs()).nan_to_num(nan=inf)
    return float(apart.max()) if apart.numel() else 0.0
