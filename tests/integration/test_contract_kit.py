"""Do our tasks and heads pass the contract kit, and does the kit catch every kind of broken one?"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from task_cases import CASES
from torch import nn

from reasoner import NER, Classification, LossSum, TaskHead
from reasoner.losses import cross_entropy
from reasoner.registry import TABLES
from reasoner.testing import check_head, check_task


@pytest.mark.parametrize("name", CASES)
def test_our_tasks_keep_the_contract(name: str, lively_bert: Path) -> None:
    case = CASES[name]
    check_task(case.task, case.splits["train"], model=lively_bert, inputs=case.inputs, perfect=case.perfect)


@pytest.mark.parametrize("name", CASES)
def test_our_heads_keep_the_contract(name: str, lively_bert: Path) -> None:
    check_head(None, task=CASES[name].task, rows=CASES[name].splits["train"], model=lively_bert)


@pytest.mark.parametrize("settings", [{"class_weights": "balanced"}, {"label_smoothing": 0.1}])
@pytest.mark.parametrize(("name", "task"), [("ner", NER), ("classification", Classification)])
def test_weighted_and_smoothed_losses_keep_the_contract(name: str, task: Any, settings: Any, lively_bert: Path) -> None:
    check_head(None, task=task(**settings), rows=CASES[name].splits["train"], model=lively_bert)


# ---------------------------------------------------------------- heads: one that is right, and broken ones


class GoodHead(TaskHead):
    """A label for each text, from the mean of the hidden states."""

    def __init__(self, config: Any, *, num_outputs: int, problem_type: str = "") -> None:
        super().__init__(config, num_outputs=num_outputs)
        self.out = nn.Linear(self.width, num_outputs)

    def pooled(self, hidden: torch.Tensor, batch: Any) -> torch.Tensor:
        mask = batch.inputs["attention_mask"].unsqueeze(-1)
        return (hidden * mask).sum(1) / mask.sum(1)

    def forward(self, hidden: torch.Tensor, batch: Any) -> dict[str, torch.Tensor]:
        return {"logits": self.out(self.pooled(hidden, batch))}

    def loss(self, outputs: dict[str, torch.Tensor], batch: Any) -> LossSum:
        return cross_entropy(outputs["logits"], batch.targets["labels"])

    def predict(self, outputs: dict[str, torch.Tensor], batch: Any) -> list[Any]:
        return list(outputs["logits"].softmax(-1).cpu().numpy())


class OutputsNoTensors(GoodHead):
    def forward(self, hidden: Any, batch: Any) -> Any:
        return {**super().forward(hidden, batch), "labels": ["a", "b"]}


class MeanLoss(GoodHead):
    def loss(self, outputs: Any, batch: Any) -> LossSum:
        right = super().loss(outputs, batch)
        return LossSum(right.total / right.count, right.count)


class CountOfOne(GoodHead):
    def loss(self, outputs: Any, batch: Any) -> LossSum:
        total = super().loss(outputs, batch).total
        return LossSum(total, torch.ones_like(total, requires_grad=False))


class CountsPadding(GoodHead):
    def loss(self, outputs: Any, batch: Any) -> LossSum:
        total = super().loss(outputs, batch).total
        return LossSum(total, torch.tensor(float(batch.inputs["input_ids"].numel())))


class LossPerRow(GoodHead):
    def loss(self, outputs: Any, batch: Any) -> LossSum:
        total = nn.functional.cross_entropy(outputs["logits"], batch.targets["labels"], reduction="none")
        return LossSum(total, torch.ones_like(total))


class LossWithoutGradient(GoodHead):
    def loss(self, outputs: Any, batch: Any) -> LossSum:
        right = super().loss(outputs, batch)
        return LossSum(right.total.detach(), right.count)


class PaddingLeaks(GoodHead):
    def pooled(self, hidden: Any, batch: Any) -> torch.Tensor:
        return hidden.mean(1)


class PaddingLeaksIntoPredictions(GoodHead):
    def forward(self, hidden: Any, batch: Any) -> Any:
        return {**super().forward(hidden, batch), "leaked": self.out(50 * hidden.mean(1))}

    def predict(self, outputs: Any, batch: Any) -> list[Any]:
        return super().predict({"logits": outputs["leaked"]}, batch)


class UnusedWeight(GoodHead):
    def __init__(self, config: Any, **settings: Any) -> None:
        super().__init__(config, **settings)
        self.forgotten = nn.Linear(2, 2)


class CutsTheBackboneOff(GoodHead):
    def pooled(self, hidden: Any, batch: Any) -> torch.Tensor:
        return super().pooled(hidden.detach(), batch)


class TensorRecords(GoodHead):
    def predict(self, outputs: Any, batch: Any) -> list[Any]:
        return list(outputs["logits"].softmax(-1))


class TensorsInsideRecords(GoodHead):
    def predict(self, outputs: Any, batch: Any) -> list[Any]:
        return [{"row": (row,)} for row in outputs["logits"].softmax(-1)]


class RecordLost(GoodHead):
    def predict(self, outputs: Any, batch: Any) -> list[Any]:
        return super().predict(outputs, batch)[:-1]


class WeightNotSaved(GoodHead):
    """Its shift is drawn anew in each process and is not in the state dict."""

    def __init__(self, config: Any, **settings: Any) -> None:
        super().__init__(config, **settings)
        self.register_buffer("shift", torch.randn(self.num_outputs), persistent=False)

    def forward(self, hidden: Any, batch: Any) -> Any:
        return {"logits": super().forward(hidden, batch)["logits"] + self.shift}


BROKEN_HEADS = {
    OutputsNoTensors: "outputs are named tensors",
    MeanLoss: "a doubled batch doubles the loss",
    CountOfOne: "a doubled batch doubles the loss",
    CountsPadding: "padding is not counted",
    LossPerRow: "a loss is two scalars",
    LossWithoutGradient: "total has a gradient and count has none",
    PaddingLeaks: "padding changes no loss",
    PaddingLeaksIntoPredictions: "padding changes no prediction",
    UnusedWeight: r"every trainable weight of the head gets a gradient \(head.forgotten.weight, head.forgotten.bias do",
    CutsTheBackboneOff: "the backbone gets a gradient",
    TensorRecords: "records are no tensors",
    TensorsInsideRecords: "records are no tensors",
    RecordLost: "there is one record a feature",
    WeightNotSaved: "a saved and loaded model predicts the same",
}


def _check_head(head: type[TaskHead], model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TABLES["head"], "under_test", head)
    check_head("under_test", task="classification", rows=CASES["classification"].splits["train"], model=model)


def test_a_right_head_passes(lively_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _check_head(GoodHead, lively_bert, monkeypatch)


@pytest.mark.parametrize("head", BROKEN_HEADS, ids=lambda head: head.__name__)
def test_a_broken_head_is_caught(head: type[TaskHead], lively_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match=f"Broken promise: .*{BROKEN_HEADS[head]}"):
        _check_head(head, lively_bert, monkeypatch)


# ---------------------------------------------------------------- tasks


@dataclass(frozen=True, kw_only=True)
class GoodTask(Classification):
    """A subclass that changes nothing."""


class SettingForgotten(GoodTask):
    def settings(self) -> dict[str, Any]:
        return {name: value for name, value in super().settings().items() if name != "labels"}


class SettingNoJson(GoodTask):
    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "labels": set(self.labels)}


class SettingUnknown(GoodTask):
    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "another": 1}


class ExampleLost(GoodTask):
    def encode(self, examples: Any, tokenizer: Any, **limits: Any) -> Any:
        return super().encode(examples, tokenizer, **limits)[1:]


class ExampleWithoutFeature(GoodTask):
    def encode(self, examples: Any, tokenizer: Any, **limits: Any) -> Any:
        return [[], *super().encode(examples, tokenizer, **limits)[1:]]


class TooLong(GoodTask):
    def encode(self, examples: Any, tokenizer: Any, *, max_length: int, stride: int) -> Any:
        longer = [replace(example, text=" ".join([example.text] * 20)) for example in examples]
        return super().encode(longer, tokenizer, max_length=1000, stride=0)


class OtherFeaturesEachTime(GoodTask):
    def encode(self, examples: Any, tokenizer: Any, **limits: Any) -> Any:
        changed = [replace(example, text=f"{random.random()} {example.text}") for example in examples]
        return super().encode(changed, tokenizer, **limits)


class NoTargets(GoodTask):
    def encode(self, examples: Any, tokenizer: Any, **limits: Any) -> Any:
        return super().encode([replace(example, label=None) for example in examples], tokenizer, **limits)


class UnevenTargets(NER):
    def encode(self, examples: Any, tokenizer: Any, **limits: Any) -> Any:
        features = super().encode(examples, tokenizer, **limits)
        features[0][0].token_targets["labels"].pop()
        return features


class PredictionLost(GoodTask):
    def decode(self, records: Any, features: Any, examples: Any) -> Any:
        return super().decode(records, features, examples)[:-1]

    def score(self, predictions: Any, examples: Any) -> Any:
        return {"macro_f1": 0.0}


class MetricMissing(GoodTask):
    def score(self, predictions: Any, examples: Any) -> Any:
        return {"accuracy": super().score(predictions, examples)["accuracy"]}


class PerfectIsNotBest(GoodTask):
    def score(self, predictions: Any, examples: Any) -> Any:
        return {name: 0.9 * value for name, value in super().score(predictions, examples).items() if name != "by_label"}


class DependsOnTheOthers(GoodTask):
    def decode(self, records: Any, features: Any, examples: Any) -> Any:
        highest = max(float(max(record)) for record in records)
        return super().decode([record / (1 + len(records)) / highest for record in records], features, examples)


BROKEN_TASKS: dict[Callable[..., Any], str] = {
    SettingForgotten: r"settings\(\) rebuilds an equal task through JSON \(labels came back otherwise\)",
    SettingNoJson: r"settings\(\) rebuilds an equal task through JSON",
    SettingUnknown: r"settings\(\) rebuilds an equal task through JSON",
    ExampleLost: "encode gives one list of features an example",
    ExampleWithoutFeature: "every example has at least one feature",
    TooLong: "no feature is longer than max_length",
    OtherFeaturesEachTime: "encode gives the same features twice",
    NoTargets: "labelled examples have targets",
    UnevenTargets: "inputs and token targets of a feature are equally long",
    PredictionLost: "decode gives one prediction an example",
    MetricMissing: "score gives the primary metric 'macro_f1' as a number",
    PerfectIsNotBest: "perfect predictions score best",
    DependsOnTheOthers: "does not depend on the other inputs",
}


def _check_task(task: Any, model: Path) -> None:
    case = CASES["ner" if issubclass(task, NER) else "classification"]
    check_task(task(), case.splits["train"], model=model, inputs=case.inputs, perfect=case.perfect)


def test_a_right_task_passes(lively_bert: Path) -> None:
    _check_task(GoodTask, lively_bert)


@pytest.mark.parametrize("task", BROKEN_TASKS, ids=lambda task: task.__name__)
def test_a_broken_task_is_caught(task: Any, lively_bert: Path) -> None:
    with pytest.raises(AssertionError, match=f"Broken promise: .*{BROKEN_TASKS[task]}"):
        _check_task(task, lively_bert)


def test_too_few_rows_are_no_check(lively_bert: Path) -> None:
    with pytest.raises(AssertionError, match="at least four labelled rows"):
        check_task("classification", CASES["classification"].splits["train"][:3], model=lively_bert)
