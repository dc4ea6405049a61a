"""The predictor behind every `predict` and every score: one encode, one decode, for training, evaluation and use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from reasoner.data.batching import Batches, padding_of
from reasoner.errors import DataError, raise_if_any
from reasoner.evaluation import Encoded, Evaluation, evaluate, infer
from reasoner.model import TaskModel
from reasoner.notices import counting
from reasoner.tasks.base import Task


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """A model with its task and tokenizer, and the limits that it was trained with."""

    model: TaskModel
    tokenizer: Any
    task: Task[Any, Any]
    max_length: int
    stride: int
    batch_size: int = 64
    bf16: bool | None = None

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def encode(self, examples: Sequence[Any], *, name: str = "") -> Encoded:
        """Make features of examples; what was cut is said, with the split's `name` before it."""
        with counting(f"{name}: " if name else ""):
            features = self.task.encode(examples, self.tokenizer, max_length=self.max_length, stride=self.stride)
        return Encoded(examples, features)

    def batches(self, data: Encoded, *, batch_size: int | None = None, shuffle: bool = False, seed: int = 0) -> Batches:
        """Return padded batches of features."""
        return Batches(
            data.features,
            batch_size or self.batch_size,
            padding=padding_of(self.tokenizer),
            keep_together=self.task.keep_together,
            shuffle=shuffle,
            seed=seed,
            padding_side=self.tokenizer.padding_side,
        )

    def evaluate(self, data: Encoded) -> Evaluation:
        """Score the model on examples with gold."""
        return evaluate(self.model, self.task, data, self.batches(data), device=self.device, bf16=self.bf16)

    def evaluate_examples(self, examples: Sequence[Any], *, name: str = "") -> Evaluation:
        """Check, encode and score examples with gold.

        Raises:
            LabelError: if a label is not one of the task's.
        """
        raise_if_any(self.task.problems(examples))
        return self.evaluate(self.encode(examples, name=name))

    def predict(self, inputs: Any) -> Any:
        """Return the prediction for one input, or for a list of inputs a list of predictions.

        A list is a list of inputs; one input is anything else: a string, a dict, or a tuple (a pair, or words).

        Raises:
            DataError: if an input has a form that the task does not know; its position is said.
        """
        if not isinstance(inputs, list):
            return self._predict([self.task.example_from_input(inputs)])[0]
        examples = []
        for position, value in enumerate(inputs):
            try:
                examples.append(self.task.example_from_input(value))
            except DataError as error:
                raise DataError(f"input {position}: {error}") from None
        return self._predict(examples)

    def with_task(self, task: Task[Any, Any]) -> Predictor:
        """Return the same predictor with other decision thresholds."""
        return replace(self, task=task)

    def _predict(self, examples: list[Any]) -> list[Any]:
        if not examples:
            return []
        data = self.encode(examples)
        records, _ = infer(self.model, self.batches(data), device=self.device, bf16=self.bf16)
        return self.task.decode(records, data.features, examples)
