"""The contract kit: does a task or a head of yours keep what the rest of the library relies on?

    from reasoner.testing import check_head, check_task
    check_task(MyTask(), rows, model="folder-of-a-small-model")
    check_head("my_head", task=MyTask(), rows=rows, model="folder-of-a-small-model")

Each check that fails raises an AssertionError that says which promise was broken.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from reasoner.data.examples import examples_from_rows
from reasoner.data.features import Batch
from reasoner.data.sources import read_splits
from reasoner.errors import CheckpointError
from reasoner.evaluation import Encoded
from reasoner.inference import Predictor
from reasoner.losses import IGNORED, LossSum
from reasoner.metrics import greater_is_better
from reasoner.model import TaskModel
from reasoner.preparation import build_predictor, task_class_and_settings
from reasoner.reports.run import Run
from reasoner.storage import load_folder, save_folder
from reasoner.tasks.base import Task
from reasoner.training.config import TrainingConfig

EXTRA_PADDING = 3
"""Positions added to a batch, to see that padding changes nothing."""

Rows = Sequence[Mapping[str, Any]]


def check_task(
    task: str | Task[Any, Any],
    rows: Rows,
    *,
    model: str | Path,
    inputs: Sequence[Any] = (),
    perfect: Callable[[Any], Any] | None = None,
) -> None:
    """Check that a task keeps the contract of `reasoner.Task`.

    Args:
        task: a registered name, or a task object of a registered class.
        rows: at least four labelled rows, as its schema has them.
        model: folder or name of a small model.
        inputs: what people may give to `predict`; each is predicted alone and with the others.
        perfect: gives for an example the prediction that is wholly right; its score must be the best there is.

    Raises:
        AssertionError: that says which promise was broken.
    """
    if isinstance(task, Task):
        _check_settings(task)
    predictor, data = _prepared(task, rows, model)
    task = predictor.task
    _check_settings(task)
    _check_features(predictor, data)
    evaluation = predictor.evaluate(data)
    _require(len(evaluation.predictions) == len(data.examples), "decode gives one prediction an example")
    score = evaluation.metrics.get(task.primary_metric)
    _require(isinstance(score, (int, float)), f"score gives the primary metric '{task.primary_metric}' as a number")
    better = greater_is_better(task.primary_metric)
    if perfect is not None:
        best = task.score([perfect(example) for example in data.examples], data.examples)[task.primary_metric]
        _require(abs(best - (1.0 if better else 0.0)) < 1e-9, f"perfect predictions score best, not {best}")
    predictor.model.double()  # so that no rounding hides a difference
    together = predictor.predict(list(inputs))
    for value, prediction in zip(inputs, together, strict=True):
        alone = predictor.predict([value])[0]
        _require(_close(alone, prediction), f"the prediction for {value!r:.60} does not depend on the other inputs")


def check_head(head: str | None, *, task: str | Task[Any, Any], rows: Rows, model: str | Path) -> None:
    """Check that a head keeps the contract of `reasoner.TaskHead`.

    Args:
        head: its registered name; None: the task's own head.
        task: a registered name, or a task object of a registered class, that can use the head.
        rows: at least four labelled rows, as the task's schema has them.
        model: folder or name of a small model.

    Raises:
        AssertionError: that says which promise was broken.
    """
    task_class, settings = task_class_and_settings(task)
    predictor, data = _prepared(replace(task_class(**settings), head=head), rows, model)
    task_model = predictor.model.double().eval()
    (batch,) = list(predictor.batches(data, batch_size=10_000))
    batch = _in_float64(batch)
    outputs = task_model(batch)
    _require(
        bool(outputs) and all(isinstance(value, Tensor) for value in outputs.values()), "outputs are named tensors"
    )
    loss = task_model.loss(outputs, batch)
    _check_loss(loss)
    doubled = _doubled(batch)
    twice = task_model.loss(task_model(doubled), doubled)
    _require(
        _near(twice.total, 2 * loss.total) and _near(twice.count, 2 * loss.count), "a doubled batch doubles the loss"
    )
    padded = _padded(batch, predictor)
    wider = task_model.loss(task_model(padded), padded)
    _require(_near(wider.total, loss.total), f"padding changes no loss ({wider.total:g}, not {loss.total:g})")
    _require(_near(wider.count, loss.count), f"padding is not counted ({wider.count:g}, not {loss.count:g})")
    _check_gradients(task_model, loss)
    _check_records(predictor, data, batch, padded)
    _check_saved(predictor, data)


def _prepared(task: str | Task[Any, Any], rows: Rows, model: str | Path) -> tuple[Predictor, Encoded]:
    task_class, settings = task_class_and_settings(task)
    splits = read_splits({"train": list(rows)})
    examples = examples_from_rows(splits, task_class.schema(settings))
    _require(len(examples["train"]) >= 4, "there are at least four labelled rows to check with")
    made = task_class.from_examples(examples, **settings)
    predictor = build_predictor(model, made, config=TrainingConfig(use_cpu=True, bf16=False))
    predictor = replace(predictor, max_length=predictor.max_length - EXTRA_PADDING)
    return predictor, predictor.encode(examples["train"])


def _check_settings(task: Task[Any, Any]) -> None:
    promise = "settings() rebuilds an equal task through JSON"
    try:
        rebuilt = type(task)(**_plain(task.settings()))
        one, other = (
            {item.name: _plain(getattr(each, item.name)) for item in fields(task)} for each in (task, rebuilt)
        )
    except (TypeError, ValueError) as error:
        raise AssertionError(f"Broken promise: {promise} ({error}).") from error
    different = [name for name in one if one[name] != other[name]]
    _require(not different, f"{promise} ({', '.join(different)} came back otherwise)")


def _check_features(predictor: Predictor, data: Encoded) -> None:
    _require(len(data.features) == len(data.examples), "encode gives one list of features an example")
    for group in data.features:
        _require(len(group) > 0, "every example has at least one feature")
        for feature in group:
            _require(len(feature) <= predictor.max_length, "no feature is longer than max_length")
            for values in (*feature.inputs.values(), *feature.token_targets.values()):
                _require(len(values) == len(feature), "inputs and token targets of a feature are equally long")
            _require(bool(feature.targets or feature.token_targets), "labelled examples have targets")
    again = predictor.encode(data.examples).features
    same = all(
        one.inputs == other.inputs and one.targets == other.targets and one.token_targets == other.token_targets
        for first, second in zip(data.features, again, strict=True)
        for one, other in zip(first, second, strict=True)
    )
    _require(same, "encode gives the same features twice")


def _check_loss(loss: LossSum) -> None:
    _require(loss.total.dim() == 0 and loss.count.dim() == 0, "a loss is two scalars, total and count")
    _require(bool(torch.isfinite(loss.total)) and float(loss.count) > 0, "total is finite and count above 0")
    _require(loss.total.requires_grad and not loss.count.requires_grad, "total has a gradient and count has none")


def _check_gradients(model: TaskModel, loss: LossSum) -> None:
    loss.total.backward()  # type: ignore[no-untyped-call]
    backbone = list(model.backbone.parameters())
    _require(any(weight.grad is not None for weight in backbone), "the backbone gets a gradient")
    in_backbone = {id(weight) for weight in backbone}
    idle = [
        name
        for name, weight in model.named_parameters()
        if id(weight) not in in_backbone and weight.requires_grad and weight.grad is None
    ]
    _require(not idle, f"every trainable weight of the head gets a gradient ({', '.join(idle)} do not)")


@torch.inference_mode()
def _check_records(predictor: Predictor, data: Encoded, batch: Batch, padded: Batch) -> None:
    predictions = []
    for each in (batch, padded):
        found = predictor.model.head.infer(predictor.model, each)
        _require(len(found) == len(batch.feature_index), "there is one record a feature")
        _require(not any(map(_holds_tensor, found)), "records are no tensors: they would hold the batch")
        order = sorted(range(len(found)), key=batch.feature_index.__getitem__)
        records = [found[position] for position in order]
        read = predictor.task.read_records(records, predictor.tokenizer)
        predictions.append(predictor.task.decode(read, data.features, data.examples))
    _require(_close(*predictions), "padding changes no prediction")


def _check_saved(predictor: Predictor, data: Encoded) -> None:
    predictor.model.float().eval()
    before = predictor.evaluate(data).predictions
    with tempfile.TemporaryDirectory() as folder:
        try:
            save_folder(folder, predictor, Run(task="", model="", method="", primary_metric="", compared_split=""))
        except CheckpointError as error:
            _require(False, f"a saved and loaded model predicts the same ({error})")
        loaded, _ = load_folder(folder)
    _require(_close(loaded.evaluate(data).predictions, before), "a saved and loaded model predicts the same")


def _in_float64(batch: Batch) -> Batch:
    targets = {name: value.double() if value.is_floating_point() else value for name, value in batch.targets.items()}
    return replace(batch, targets=targets)


def _doubled(batch: Batch) -> Batch:
    return Batch(
        {name: torch.cat([value, value]) for name, value in batch.inputs.items()},
        {name: torch.cat([value, value]) for name, value in batch.targets.items()},
        torch.cat([batch.group, batch.group + batch.group.max() + 1]),
        batch.feature_index * 2,
        batch.tokens * 2,
    )


def _padded(batch: Batch, predictor: Predictor) -> Batch:
    """Return the batch with more padding on the right."""
    from reasoner.data.batching import padding_of

    padding, length = padding_of(predictor.tokenizer), batch.inputs["input_ids"].shape[1]

    def wider(value: Tensor, filler: int) -> Tensor:
        return torch.nn.functional.pad(value, (0, EXTRA_PADDING), value=filler)

    inputs = {name: wider(value, padding[name]) for name, value in batch.inputs.items()}
    per_token = {name for name, value in batch.targets.items() if value.dim() == 2 and value.shape[1] == length}
    targets = {name: wider(value, IGNORED) if name in per_token else value for name, value in batch.targets.items()}
    return replace(batch, inputs=inputs, targets=targets)


def _near(one: Tensor, other: Tensor) -> bool:
    return bool(torch.isclose(one.double(), other.double(), rtol=1e-6, atol=1e-8))


def _holds_tensor(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_tensor, value.values()))
    return isinstance(value, Tensor) or (isinstance(value, (list, tuple)) and any(map(_holds_tensor, value)))


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _close(one: Any, other: Any) -> bool:
    """Compare predictions: numbers to 1e-6, all else exactly."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_close(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(_close(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, numpy.ndarray) and isinstance(other, numpy.ndarray):
        return _close(one.tolist(), other.tolist())
    if isinstance(one, (float, numpy.floating)) and isinstance(other, (float, numpy.floating)):
        return math.isclose(float(one), float(other), rel_tol=1e-6, abs_tol=1e-6)
    return bool(one == other)


def _require(holds: bool, promise: str) -> None:
    if not holds:
        raise AssertionError(f"Broken promise: {promise}.")
