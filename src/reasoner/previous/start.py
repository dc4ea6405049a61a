"""What does a training do otherwise when it goes on from an old model? At each of its stages; without one, nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from reasoner.data.streams import StreamedRows
from reasoner.errors import ConfigError
from reasoner.evaluation import Encoded
from reasoner.inference import Predictor
from reasoner.methods.base import Method
from reasoner.notices import say
from reasoner.previous.fisher import weight_penalty
from reasoner.previous.known import Examples, Previous
from reasoner.previous.scores import FORGETTING, OldScores
from reasoner.previous.unmarked import completed, say_unmarked
from reasoner.protections import EWC, LwF, Replay
from reasoner.streaming import task_from
from reasoner.tasks.base import Task
from reasoner.training.config import TrainingConfig
from reasoner.training.objective import Extras


class Start:
    """Where a training begins: at a pretrained model, or at one that is taught again.

    Args:
        previous: the old model; None: there is none, and each method gives back what it is given.
        named: whether the task was given by name, so that the old task's settings stay.
    """

    def __init__(self, previous: Previous | None, *, named: bool) -> None:
        self.previous, self.named = previous, named
        self.replay: tuple[int, int] | None = None
        """The number of the first old training row, and how many of them an epoch shows."""
        self.limits: dict[str, float] = {}
        """What scores may be at most."""
        self._old: OldScores | None = None
        self._penalty: Callable[[], Any] | None = None

    @property
    def teaches(self) -> bool:
        """Whether the old model is the teacher, which may know fewer labels."""
        return self.previous is not None and isinstance(self.previous.protection, LwF)

    @property
    def begin(self) -> Callable[[Predictor], None] | None:
        """What gives a new predictor the old weights."""
        return self.previous.begin if self.previous is not None and self.previous.keeps_labels else None

    def model(self, model: Any) -> Any:
        """Return what the record names as the model."""
        return model if self.previous is None else self.previous.run.model

    def tokenizer(self, given: Any) -> Any:
        """Return the tokenizer: the old model's.

        Raises:
            ConfigError: if another one is given.
        """
        if self.previous is None:
            return given
        if given is not None:
            raise ConfigError("tokenizer is given, and the old model has its own. Leave it out.")
        return self.previous.predictor.tokenizer

    def config_for(self, config: TrainingConfig, method: Method, rows: Sequence[Any]) -> TrainingConfig:
        """Return the settings; see `Previous.check` and `Previous.config_for`.

        Raises:
            ConfigError: as `Previous.check`, or if there is no old model that could forget.
        """
        if self.previous is None:
            given = {"max_forgetting": config.max_forgetting is not None, "complete_labels": config.complete_labels}
            if unused := [name for name, is_given in given.items() if is_given]:
                raise ConfigError(f"{unused[0]} means nothing without after=, the model that is taught again.")
            return config
        self.previous.check(config, method, rows)
        self.limits = {} if config.max_forgetting is None else {FORGETTING: config.max_forgetting}
        return self.previous.config_for(config, method)

    def task(
        self, task_class: type[Task[Any, Any]], settings: Mapping[str, Any], examples: Examples, method: Method
    ) -> Task[Any, Any]:
        """Return the task with its labels; see `Previous.task_for`."""
        if self.previous is None:
            return task_from(task_class, settings, examples, method=method)
        return self.previous.task_for(task_class, None if self.named else settings, examples, method=method)

    def examples(self, task: Task[Any, Any], examples: Examples, config: TrainingConfig) -> Examples:
        """Return the new examples, with what the old model finds there, if that was asked for."""
        if self.previous is None or not self.previous.keeps_labels or isinstance(examples["train"], StreamedRows):
            return examples
        return completed(self.previous.predictor, task, examples, asked=config.complete_labels)

    @property
    def replayed(self) -> Sequence[Any]:
        """The old rows that come behind the new ones."""
        if self.previous is None or not isinstance(self.previous.protection, Replay):
            return ()
        return self.previous.rows

    def look_at(self, predictor: Predictor, method: Method, training: Encoded, config: TrainingConfig) -> None:
        """Refuse what protects nothing, and make what protects."""
        if self.previous is None:
            return
        self.previous.check_method(predictor, method)
        protection, old = self.previous.protection, self.previous.rows
        if isinstance(protection, Replay):
            first = len(training.examples) - len(old)
            drawn = min(protection.drawn(first), len(old))
            self.replay = first, drawn
            say_unmarked(self.previous.predictor.task, predictor.task, old)
            say(f"Each epoch shows {drawn:,} of {len(old):,} old rows among {first:,} new ones, drawn anew by the seed "
                f"({drawn / (first + drawn):.0%} of its rows; {protection.share:.0%} were asked for).")  # fmt: skip
        elif isinstance(protection, EWC):
            given = self.previous.predictor
            data = given.encode(old, name="old rows")
            self._penalty = weight_penalty(predictor, given, data, protection, seed=config.seed)

    def told(self, labels: Sequence[str]) -> dict[str, Any]:
        """Return what the record says."""
        return {} if self.previous is None else self.previous.told(labels)

    def made_of(self) -> dict[str, Any] | None:
        """Return what the run is made of beside the rest."""
        return None if self.previous is None else self.previous.made_of()

    def score_old(self, predictor: Predictor) -> None:
        """Score the old model on the old rows, if there are any."""
        if self.previous is not None and self.previous.protected:
            self._old = OldScores(self.previous, predictor)

    def scores(self, predictor: Predictor, validation: Encoded) -> dict[str, Any]:
        """Return the scores on validation, and those on old rows."""
        metrics = predictor.evaluate(validation).metrics
        return metrics if self._old is None else {**metrics, **self._old.now(predictor)}

    def compared(self, predictor: Predictor) -> dict[str, Any]:
        """Return for the record how the old rows went."""
        return {} if self._old is None else {"old": self._old.compared(predictor)}

    def extras(self, extras: Extras) -> Extras:
        """Return what the objective needs, the penalty among it."""
        return extras if self._penalty is None else replace(extras, penalty=self._penalty)
