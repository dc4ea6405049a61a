"""The one evaluation loop: batches -> head.infer -> records -> task.decode -> predictions -> task.score."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from reasoner.data.batching import Batches
from reasoner.data.features import Batch, Feature
from reasoner.data.states import States
from reasoner.heads.base import Outputs
from reasoner.losses import LossSum
from reasoner.model import TaskModel
from reasoner.tasks.base import Task
from reasoner.training.engine import autocast


class Encoded(NamedTuple):
    """Examples and their features, one list of features an example."""

    examples: Sequence[Any]
    features: list[list[Feature]]
    states: States | None = None
    """Of a frozen part of the network, one entry a feature."""


class Evaluation(NamedTuple):
    """Scores, and the predictions they were computed from, one an example."""

    metrics: dict[str, Any]
    predictions: list[Any]


class _Remembering:
    """The model as the head's `infer` sees it; remembers its outputs so that the loss costs no second pass."""

    def __init__(self, model: TaskModel) -> None:
        self.model = model
        self.outputs: Outputs | None = None

    def __call__(self, batch: Batch) -> Outputs:
        self.outputs = self.model(batch)
        return self.outputs


@torch.inference_mode()
def infer(
    model: TaskModel, batches: Batches, *, device: torch.device, bf16: bool | None = None
) -> tuple[list[Any], LossSum | None]:
    """Run the model over batches; one batch of outputs is held at a time.

    Returns:
        The head's records in the order of the features, and the summed loss if the features have targets.
    """
    model.eval()
    records: list[Any] = [None] * len(batches.features)
    totals: list[LossSum] = []
    labelled = _has_gold(batches.features)
    for batch in batches:
        placed = batch.to(device)
        remembering = _Remembering(model)
        with autocast(device, bf16):
            found = model.head.infer(remembering, placed)
            if labelled and remembering.outputs is not None:
                totals.append(model.loss(remembering.outputs, placed))
        for index, record in zip(batch.feature_index, found, strict=True):
            records[index] = record
    if not totals:
        return records, None
    return records, LossSum(sum(loss.total for loss in totals), sum(loss.count for loss in totals))  # type: ignore[arg-type]


def evaluate(
    model: TaskModel, task: Task[Any, Any], data: Encoded, batches: Batches, *, device: torch.device, bf16: bool | None
) -> Evaluation:
    """Score the model on examples with gold.

    Returns:
        The task's scores with the mean `loss` and `rows_per_second` beside them (not where the states of a frozen
        backbone are kept: it would be no speed of the model), and the predictions. Where there are
        any, also `gold_lost`: entities or answers of the gold that no prediction can give; they count as missed.
    """
    started = time.perf_counter()
    records, loss = infer(model, batches, device=device, bf16=bf16)
    predictions = task.decode(records, data.features, data.examples)
    metrics: dict[str, Any] = plain(task.score(predictions, data.examples))
    lost = sum(task.gold_lost(example, group) for example, group in zip(data.examples, data.features, strict=True))
    if lost:
        metrics["gold_lost"] = lost
    if loss is not None:
        metrics["loss"] = float(loss.mean)
    if data.states is None:
        metrics["rows_per_second"] = len(data.examples) / (time.perf_counter() - started)
    return Evaluation(metrics, predictions)


def plain(value: Any) -> Any:
    """Return scores as JSON values: NumPy's and PyTorch's numbers and arrays become Python's."""
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


def _has_gold(features: Sequence[Feature]) -> bool:
    return all(feature.targets or "labels" in feature.token_targets for feature in features)
