"""A second training, on the rows of validation too, once the first has used them to choose: what does it take over?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoner.checks.reading import ReadingRecord
from reasoner.data.streams import StreamedRows
from reasoner.errors import ConfigError
from reasoner.inference import Predictor
from reasoner.notices import collect, say, tell
from reasoner.reports.run import Run
from reasoner.storage import save_folder
from reasoner.tasks.base import Task
from reasoner.training.callbacks import Callback
from reasoner.training.config import TrainingConfig
from reasoner.training.ranks import current
from reasoner.training.trainer import Trainer

if TYPE_CHECKING:
    from reasoner.result import Result

OF_THE_REFIT = ("ece", "mce", "bins", "count", "risk_coverage", "risk_coverage_area")
"""What `Run.calibration` says of the compared split."""


@dataclass(frozen=True)
class Known:
    """What the first training found on validation."""

    run: Run
    task: Task[Any, Any]
    """With its thresholds and temperature."""
    temperature: float
    conformal_scores: tuple[float, ...]

    @property
    def share(self) -> float:
        """The share of the planned steps after which the weights were the best."""
        train, config = self.run.metrics["train"], self.run.config
        planned = config["max_steps"] or train["steps"] / train["epochs"] * config["num_train_epochs"]
        return min(1.0, float((self.run.best_step or train["steps"]) / planned))

    @property
    def calibration(self) -> dict[str, Any]:
        """What calibration fitted; where there is no test split, also what it was worth."""
        known = self.run.calibration
        return {key: value for key, value in known.items() if self.no_test or key not in OF_THE_REFIT}

    @property
    def no_test(self) -> bool:
        """Whether validation is all that was scored."""
        return self.run.compared_split == "validation"

    def put_into(self, predictor: Predictor, run: Run) -> Predictor:
        """Take over what was chosen on validation, and write into the record what was scored there."""
        predictor.model.head.temperature = self.temperature
        run.metrics["validation"] = self.run.metrics["validation"]
        splits = ["validation", "before"] if self.no_test else ["validation"]
        run.metrics |= {split: self.run.metrics[split] for split in splits if split in self.run.metrics}
        run.intervals |= {split: self.run.intervals[split] for split in splits if split in self.run.intervals}
        if self.no_test:
            run.comparison = self.run.comparison
        return replace(predictor, conformal_scores=self.conformal_scores).with_task(self.task)


class StopAt(Callback):
    """Ends a training after a share of its steps, at the learning rate that it then has."""

    def __init__(self, share: float) -> None:
        self.share = share

    def on_step_end(self, trainer: Trainer) -> None:
        """Look whether it is time."""
        if trainer.step >= round(self.share * trainer.total_steps):
            trainer.history.stopped_early = trainer.step < trainer.total_steps


def refitted(
    train: Callable[..., Result],
    examples: Mapping[str, Sequence[Any]],
    *,
    config: TrainingConfig,
    folder: Path | None,
    record: ReadingRecord | None,
    resume: bool,
    taught_again: bool = False,
) -> Result:
    """Train, choosing on validation; then once more from the start on its rows too, and return that model.

    The second training takes over what the first chose: after which share of the steps the weights were the best,
    temperature and thresholds. Scores on validation remain those of the first; on test they are of what is returned.

    Args:
        train: `tuning.train_on_examples` with all that is the same for both.
        examples: by split.
        config: the settings.
        folder: where the first model is kept until the second takes its place.
        record: what reading met, for the checks of the first.
        resume: refused: of two trainings in a row no checkpoints are kept.
        taught_again: refused: an old model is taught once.

    Raises:
        ConfigError: if the training rows are a stream, weights of several evaluations are averaged, `resume`,
            or `taught_again`.
    """
    _check(examples, config, resume)
    if taught_again:
        raise ConfigError("refit does not go with after: an old model is taught once, not twice. Leave refit out.")
    has_test = "test" in examples
    once = replace(config, refit=False)
    first = train(examples, config=replace(once, evaluate_before=once.evaluate_before and not has_test), folder=folder,
                  record=record)  # fmt: skip
    predictor = first.predictor
    known = Known(first.run, predictor.task, float(predictor.model.head.temperature), predictor.conformal_scores)
    del first, predictor  # its weights are needed no more
    rows = [*examples["train"], *examples["validation"]]
    tell(f"Refit: once more on the {len(rows):,} rows of train and validation.")
    with collect(apart=True):
        say(f"refit: the model was trained on the {len(rows):,} rows of train and validation, up to {known.share:.0%} "
            "of the steps, where the scores of a first one were the best. Scores on validation, temperature and "
            "thresholds are those of the first.")  # fmt: skip
        again = replace(once, evaluate_before=once.evaluate_before and has_test)
        result = train({**examples, "train": rows}, config=again, known=known)
    _write_both(result.run, known.run)
    if folder is not None:
        current().on_main(lambda: save_folder(folder, result.predictor, result.run))
    return result


def _check(examples: Mapping[str, Sequence[Any]], config: TrainingConfig, resume: bool) -> None:
    if resume:
        raise ConfigError("resume=True does not go with refit. Train without refit to go on, or begin anew.")
    if isinstance(examples["train"], StreamedRows):
        raise ConfigError("refit: the training rows are a stream, which ends nowhere that validation could follow. "
                          "Leave refit out.")  # fmt: skip
    if config.average_checkpoints is not None:
        raise ConfigError("refit does not go with average_checkpoints: the second training has no evaluations to "
                          "average. Take ema_decay, or leave one of them out.")  # fmt: skip


def _write_both(run: Run, first: Run) -> None:
    """Write into the record of the second training what belongs to both: notices, checks, time, the curve."""
    run.config["refit"] = True
    run.notices = list(dict.fromkeys([*first.notices, *run.notices]))
    run.checks, run.rows["train"] = first.checks, first.rows["train"]
    run.history, run.best_step, run.stopped_early = first.history, first.best_step, first.stopped_early
    train, earlier = run.metrics["train"], first.metrics["train"]
    for name in ("seconds", "evaluation_seconds", "evaluations", "steps", "positions"):
        train[name] += earlier[name]
