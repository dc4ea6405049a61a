"""The predictor behind every `predict` and every score: one encode, one decode, for training, evaluation and use."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf
from numbers import Real
from pathlib import Path
from typing import Any

import torch

from reasoner.data.batching import Batches, padding_of
from reasoner.data.feature_file import Ints
from reasoner.encoding import encode
from reasoner.errors import ConfigError, DataError, raise_if_any
from reasoner.evaluation import Encoded, Evaluation, evaluate, in_parts, predictions_of
from reasoner.metrics import conformal_sets, conformal_threshold
from reasoner.model import TaskModel
from reasoner.notices import adding_to, say, say_totals
from reasoner.tasks.base import Task

MOST_PADDING = 0.05
"""The share of a batch of evaluation from which on it ends early; see `Batches`."""


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """A model with its task and tokenizer, and the limits that it was trained with."""

    model: TaskModel
    tokenizer: Any
    task: Task[Any, Any]
    max_length: int
    stride: int
    batch_size: int = 64
    tokens_per_batch: int | None = None
    """Instead of `batch_size`; see `TrainingConfig`."""
    bf16: bool | None = None
    conformal_scores: tuple[float, ...] = ()
    """1 - the probability of the right label, of validation rows; empty for a task that chooses no label."""

    @property
    def device(self) -> torch.device:
        """Where the model is; one without weights of PyTorch's, of an ONNX file, is on the CPU."""
        return next((weight.device for weight in self.model.parameters()), torch.device("cpu"))

    def encode(self, examples: Sequence[Any], *, name: str = "", cache: str | Path | None = None) -> Encoded:
        """Make features of examples; what was cut is said, with the split's `name` before it; see `encoding.encode`."""
        limits = {"max_length": self.max_length, "stride": self.stride}
        read = list(self.task.in_context(examples, whole=True))
        return Encoded(examples, encode(self.task, read, self.tokenizer, name=name, cache=cache, **limits))

    def batches(
        self,
        data: Encoded,
        *,
        batch_size: int | None = None,
        tokens_per_batch: int | None = None,
        shuffle: bool = False,
        seed: int = 0,
        strata: Ints | None = None,
        replay: tuple[int, int] | None = None,
    ) -> Batches:
        """Return padded batches of features; where no `batch_size` is given, as large as those of evaluation."""
        most_padding = 1.0
        if batch_size is None:
            batch_size, tokens_per_batch = self.batch_size, self.tokens_per_batch
            most_padding = MOST_PADDING
        return Batches(
            data.features,
            batch_size,
            tokens_per_batch=tokens_per_batch,
            most_padding=most_padding,
            padding=padding_of(self.tokenizer),
            keep_together=self.task.keep_together,
            shuffle=shuffle,
            seed=seed,
            padding_side=self.task.padding_side or self.tokenizer.padding_side,
            states=data.states,
            strata=strata,
            replay=replay,
            compares_rows=self.task.compares_rows,
        )

    def evaluate(self, data: Encoded) -> Evaluation:
        """Score the model on examples with gold."""
        return self._evaluate(data.parts())

    def padding_share(self, data: Encoded) -> float:
        """Return the share of the positions that are padding when these examples are evaluated, from 0 to 1."""
        parts = [self.batches(part) for part in data.parts()]
        positions = sum(batches.positions for batches in parts)
        return 1 - sum(int(batches.lengths.sum()) for batches in parts) / positions if positions else 0.0

    def evaluate_examples(self, examples: Sequence[Any], *, name: str = "") -> Evaluation:
        """Check, encode and score examples with gold; features are made part by part and not kept.

        Raises:
            LabelError: if a label is not one of the task's.
        """
        raise_if_any(self.task.problems(examples))
        return self._evaluate(self._parts(self.task.in_context(examples, whole=True), name=name))

    def predict(self, inputs: Any, *, min_confidence: float | None = None, coverage: float | None = None) -> Any:
        """Return the prediction for one input, for a list of inputs a list, for an iterator of inputs an iterator.

        A list is a list of inputs, and so is an iterator (a generator, say); one input is anything else: a string, a
        dict, or a tuple (a pair, or words). All inputs of a list are checked before the model runs. An iterator is read
        part by part, `evaluation.PART` inputs at a time, as its predictions are asked for, and so may be endless.
        Probabilities are calibrated: the head divides its logits by the temperature that was fitted on validation.

        Args:
            inputs: one, a list, or an iterator.
            min_confidence: leave unanswered what the model is less sure of; see `Result.predict`.
            coverage: add `label_set`; see `Result.predict`.

        Raises:
            DataError: if an input has a form that the task does not know; its position is said.
            ConfigError: if `min_confidence` or `coverage` is out of range, or the task has no such thing.
        """
        finished = self.finisher(min_confidence=min_confidence, coverage=coverage)
        if isinstance(inputs, Iterator):
            return map(finished, self._predictions(self.task.in_context(self.examples(inputs), whole=False)))
        if not isinstance(inputs, list):
            (prediction,) = self._predictions([self.task.example_from_input(inputs)])
            return finished(prediction)
        deque(self.examples(inputs), maxlen=0)  # refuses a wrong one; to keep the examples would take more memory
        examples = self.task.in_context(self.examples(inputs), whole=True)
        return [finished(prediction) for prediction in self._predictions(examples)]

    def finisher(self, *, min_confidence: float | None, coverage: float | None) -> Callable[[Any], Any]:
        """Return what makes a prediction a finished one, with abstaining and label sets; see `predict`.

        Raises:
            ConfigError: if one of them is out of range, or the model has no scores for label sets.
        """
        if min_confidence is not None and not (isinstance(min_confidence, Real) and 0 <= min_confidence <= 1):
            raise ConfigError(f"min_confidence is {min_confidence!r}. Give a probability, from 0 to 1.")
        threshold = None if coverage is None else self._conformal_threshold(coverage)

        def finished(prediction: Any) -> Any:
            if threshold is not None:
                prediction = self._with_label_set(prediction, threshold)
            return prediction if min_confidence is None else self.task.withheld(prediction, min_confidence)

        return finished

    def examples(self, inputs: Iterable[Any]) -> Iterator[Any]:
        """Make examples of what `predict` takes, one by one as they are asked for.

        Raises:
            DataError: if an input has a form that the task does not know; its position is said.
        """
        for position, value in enumerate(inputs):
            try:
                yield self.task.example_from_input(value)
            except DataError as error:
                raise DataError(f"input {position}: {error}") from None

    def predict_encoded(self, data: Encoded) -> list[Any]:
        """Return one prediction an example, unfinished; the examples may be of several calls of `encode`."""
        settings: dict[str, Any] = {"device": self.device, "bf16": self.bf16, "tokenizer": self.tokenizer}
        return predictions_of(self.model, self.task, data, self.batches(data), **settings)[0]

    def predict_examples(self, examples: Sequence[Any]) -> list[Any]:
        """Return the predictions for examples of the task, which need no gold."""
        return list(self._predictions(self.task.in_context(examples, whole=True)))

    def with_task(self, task: Task[Any, Any]) -> Predictor:
        """Return the same predictor with other decision thresholds."""
        return replace(self, task=task)

    def _evaluate(self, parts: Iterable[Encoded]) -> Evaluation:
        settings: dict[str, Any] = {"device": self.device, "bf16": self.bf16, "tokenizer": self.tokenizer}
        return evaluate(self.model, self.task, parts, self.batches, **settings)

    def _predictions(self, examples: Iterable[Any]) -> Iterator[Any]:
        for part in self._parts(examples):
            found = self.predict_encoded(part)
            del part  # before the next one is made
            yield from found

    def _parts(self, examples: Iterable[Any], *, name: str = "") -> Iterator[Encoded]:
        """Encode the examples part by part; what was cut in all of them is said at the end."""
        total: Counter[str] = Counter()
        try:
            for part in in_parts(examples):
                yield self._part(part, total)
        finally:
            say_totals(total, f"{name}: " if name else "")

    def _part(self, examples: list[Any], total: Counter[str]) -> Encoded:
        with adding_to(total):
            features = self.task.encode(examples, self.tokenizer, max_length=self.max_length, stride=self.stride)
        return Encoded(examples, features)

    def _conformal_threshold(self, coverage: float) -> float:
        """Return how improbable a label may be and still belong to the set; inf when there are too few scores."""
        if not isinstance(coverage, Real):
            raise ConfigError(f"coverage is {coverage!r}. Give a number between 0 and 1, such as 0.9.")
        if not self.conformal_scores:
            raise ConfigError(
                "coverage: this model has no scores of validation rows to make label sets from. They are kept for "
                "classification with one label, nli and multiple_choice. Leave coverage out, or train the model again."
            )
        threshold = conformal_threshold(self.conformal_scores, coverage=coverage)
        if threshold == inf:
            rows = len(self.conformal_scores)
            say(f"{rows} validation rows are too few for coverage={coverage}: every label is in every set.")
        return threshold

    def _with_label_set(self, prediction: Any, threshold: float) -> Any:
        probabilities = dict(self.task.label_probabilities(prediction) or {})
        labels = list(probabilities)
        (found,) = conformal_sets([list(probabilities.values())], threshold)
        return {**prediction, "label_set": [labels[index] for index in found]}
