"""What is checked: the examples, and as many of the parts of a run as could be made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from reasoner.checks.reading import ReadingRecord
from reasoner.evaluation import Encoded
from reasoner.inference import Predictor
from reasoner.tasks.base import Task
from reasoner.training.config import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What the checks look at. Where the data has errors, parts may be missing, and what needs them is not checked."""

    examples: Mapping[str, Sequence[Any]]
    """By split."""
    record: ReadingRecord
    """What reading refused, dropped and repaired."""
    config: TrainingConfig
    source: Any
    """The checkpoint, as `TaskModel.from_pretrained` takes it."""
    task_class: type[Task[Any, Any]]
    learned: Task[Any, Any] | None = None
    """The task with the labels of the data, in the data's order; None: they could not be learned."""
    tokenizer: Any = None
    predictor: Predictor | None = None
    encoded: Mapping[str, Encoded] = field(default_factory=dict)
    """By split, as the predictor encodes it."""

    @property
    def task(self) -> Task[Any, Any] | None:
        """The task with its labels in the model's order; None: it could not be made."""
        return self.learned if self.predictor is None else self.predictor.task

    @cached_property
    def gold(self) -> dict[str, list[tuple[str, ...]]]:
        """What is gold in each example, by name; nothing where there is no task."""
        task = self.task
        return {
            split: [task.gold_names(example) if task else () for example in examples]
            for split, examples in self.examples.items()
        }
