"""What is the model that a training goes on from, which labels does it know, and what may be done to it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from reasoner import fingerprints
from reasoner.data.streams import StreamedRows
from reasoner.errors import ConfigError, DataError, raise_if_any
from reasoner.inference import Predictor
from reasoner.methods.base import Method
from reasoner.model import length_limit
from reasoner.notices import say
from reasoner.previous.growth import take_over
from reasoner.protections import EWC, LwF, OwnAdapter, Protection, Replay
from reasoner.reports.run import Run
from reasoner.streaming import task_from
from reasoner.tasks.base import Task
from reasoner.training.config import TrainingConfig

Examples = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, kw_only=True)
class Previous:
    """The old model, and what was asked for to keep what it knows."""

    predictor: Predictor
    """A plain network: what LoRA had learned is folded in."""
    run: Run
    name: str
    source: Any
    """Where the new model's layers are from: a folder, a Hub id or a network."""
    base_name: str
    """Where its weights are; empty: in no folder."""
    given: Any
    """The folder or `Result` as it was named."""
    protection: Protection | None
    protected: Sequence[Examples] = ()
    """The examples of each old data set, by split."""

    @property
    def keeps_labels(self) -> bool:
        """Whether one model is to know old and new labels."""
        return not isinstance(self.protection, OwnAdapter)

    @property
    def rows(self) -> list[Any]:
        """All old training rows."""
        return [example for old in self.protected for example in old["train"]]

    def check(self, config: TrainingConfig, method: Method, rows: Sequence[Any]) -> None:
        """Refuse what does not go together.

        Args:
            config: all settings.
            method: which weights learn.
            rows: the new training rows.

        Raises:
            ConfigError: with what to do instead.
            DataError: if old rows hold what the old model does not know.
        """
        name = type(self.protection).__name__
        if isinstance(self.protection, LwF) and config.teacher is not None:
            raise ConfigError("protection='lwf' makes the old model the teacher, and teacher= names another. "
                              "Leave one of them out.")  # fmt: skip
        refused = {
            "reinitialize_layers": bool(config.reinitialize_layers) and self.keeps_labels,
            "balanced_sampling": config.balanced_sampling and isinstance(self.protection, Replay),
            "fsdp": config.fsdp and isinstance(self.protection, EWC),
            "a stream of training rows": isinstance(rows, StreamedRows) and isinstance(self.protection, (Replay, LwF)),
            "complete_labels": config.complete_labels and not self.keeps_labels,
        }
        if wrong := [what for what, is_on in refused.items() if is_on]:
            raise ConfigError(f"{' and '.join(wrong)} cannot be combined with "
                              f"{name if self.protection else 'after'}. Leave one of them out.")  # fmt: skip
        if config.complete_labels and isinstance(rows, StreamedRows):
            raise ConfigError("complete_labels looks at all new rows before training, and these are a stream. Leave it "
                              "out, or give the rows as a list.")  # fmt: skip
        if config.max_forgetting is not None and not self.protected:
            raise ConfigError("max_forgetting needs old rows to score: give protect=[old data].")
        for old in self.protected:
            raise_if_any(problem for part in old.values() for problem in self.predictor.task.problems(part))

    def check_method(self, predictor: Predictor, method: Method) -> None:
        """Refuse a protection that has nothing to do with what the method trains.

        Raises:
            ConfigError: with what to do instead.
        """
        adds, name = predictor.model.added is not None, type(method).__name__
        if isinstance(self.protection, OwnAdapter) and not adds:
            raise ConfigError(f"protection='adapters' leaves the old model as it is, and {name} would change it. Give "
                              "a method that adds weights: method='adapter' or 'lora'.")  # fmt: skip
        if isinstance(self.protection, EWC) and adds:
            raise ConfigError(f"protection='ewc' holds the old model's weights, and {name} leaves these as they are. "
                              "Give another method, such as 'full', or another protection.")  # fmt: skip

    def config_for(self, config: TrainingConfig, method: Method) -> TrainingConfig:
        """Return the settings with the old model's limits, where no others are given, and as teacher if it is one.

        A method that puts virtual tokens before a text leaves it less room than the old one may have had.
        """
        changes: dict[str, Any] = {}
        if config.max_length is None:
            old = self.predictor
            room = length_limit(old.model.network, old.tokenizer) - method.reserved_positions
            changes["max_length"] = min(old.max_length, room)
            changes["stride"] = min(old.stride, room // 4) if config.stride is None else config.stride
        if isinstance(self.protection, LwF):
            changes |= {
                "teacher": self.given,
                "distillation_weight": self.protection.weight,
                "distillation_temperature": self.protection.temperature,
            }
        return replace(config, **changes)

    def task_for(
        self,
        task_class: type[Task[Any, Any]],
        settings: Mapping[str, Any] | None,
        examples: Examples,
        *,
        method: Method,
    ) -> Task[Any, Any]:
        """Return the task: the old labels in their order, and behind them those that the new rows bring.

        Args:
            task_class: that was asked for.
            settings: of a task that was given as an object; None: a name was given, and the old task's settings stay.
            examples: the new ones.
            method: which weights learn.

        Raises:
            ConfigError: if the old model is for another task, kind or head.
            LabelError: if the labels cannot be used.
        """
        old = self.predictor.task
        if type(old) is not task_class:
            raise ConfigError(f"after: '{self.name}' was tuned for {type(old).__name__}, and the task is "
                              f"{task_class.__name__}. A model is taught again in its own task; to begin another from "
                              "its layers, give its folder as model.")  # fmt: skip
        kept = {**old.settings()} if settings is None else {**settings}
        for name in ("kind", "head"):
            was, now = getattr(old, name, None), kept.get(name)
            if now is None and was is not None and name == "kind":
                kept[name] = was
            elif (now or was) != was:
                raise ConfigError(f"after: the old model's {name} is {was!r}, and the task's {now!r}. Give the same.")
        if "labels" in {item.name for item in fields(task_class)} and getattr(old, "labels", None):
            given: Sequence[str] = () if settings is None else settings["labels"]
            kept["labels"] = self._labels(task_class, kept, given, examples)
        return task_from(task_class, kept, examples, method=method)

    def _labels(
        self, task_class: type[Task[Any, Any]], settings: dict[str, Any], given: Sequence[str], examples: Examples
    ) -> tuple[str, ...]:
        """Return the names; with an adapter of its own a model has those of its own rows alone."""
        old: tuple[str, ...] = tuple(getattr(self.predictor.task, "labels", ()))
        if not self.keeps_labels:
            return tuple(given)
        found: Sequence[str] = given
        if not given:
            rows = [example for part in examples.values() for example in part]
            known = task_class(**{**settings, "labels": old})
            problems = known.problems(rows)
            raise_if_any(problem for problem in problems if problem.code != "unseen_label")
            found = self._found(task_class, settings, examples) if problems else ()
        new = tuple(name for name in found if name not in old)
        if new:
            say(f"New labels are added to the old head: {', '.join(new)}. The outputs of the {len(old)} old ones "
                f"begin as they were ({', '.join(old)}).")  # fmt: skip
        return (*old, *new)

    def _found(self, task_class: type[Task[Any, Any]], settings: dict[str, Any], examples: Examples) -> tuple[str, ...]:
        """Return the labels of new and old rows together."""
        together = {**examples, "train": [*examples["train"], *self.rows]}
        anew = {**settings, "labels": (), **({"class_weights": None} if "class_weights" in settings else {})}
        try:
            return tuple(getattr(task_class.from_examples(together, **anew), "labels", ()))
        except DataError as error:
            if {problem.code for problem in error.problems} != {"too_few_labels"}:
                raise
            raise ConfigError(
                "after: the new rows have one label alone, and it is a new one. Give old rows beside them "
                "(protect=[...]), or name all labels in the task (labels=[...])."
            ) from error

    def begin(self, predictor: Predictor) -> None:
        """Let a new predictor begin with the old model's weights.

        Raises:
            ConfigError: if its layers are others.
        """
        take_over(predictor.model, self.predictor.model)
        predictor.model.base_name = self.base_name

    def made_of(self) -> dict[str, Any]:
        """Return what a run that goes on from this is made of, as JSON values."""
        return {
            "protection": repr(self.protection),
            "after": fingerprints.of_model(self.predictor.model),
            "protected": [fingerprints.of_examples(old) for old in self.protected],
        }

    def told(self, labels: Sequence[str]) -> dict[str, Any]:
        """Return what the record says of it; `labels` are those of the new task."""
        old = list(getattr(self.predictor.task, "labels", ()))
        return {
            "after": f"{self.name} ({self.run.model}, {self.run.method})",
            "protection": None if self.protection is None else repr(self.protection),
            "protected_rows": [{split: len(part) for split, part in old.items()} for old in self.protected],
            "labels_added": [name for name in labels if name not in old] if self.keeps_labels else [],
        }
