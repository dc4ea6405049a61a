"""The public functions: they wire the parts together and hold no logic of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoner.calibration import calibrate, reliability
from reasoner.checks.reading import ReadingRecord
from reasoner.checks.report import CheckReport
from reasoner.checks.run import run_checks
from reasoner.checks.subject import Subject
from reasoner.comparison import compare, score_interval
from reasoner.data.sources import read_rows
from reasoner.errors import ConfigError
from reasoner.evaluation import Encoded, Evaluation, plain
from reasoner.inference import Predictor
from reasoner.methods.base import Method
from reasoner.metrics import greater_is_better
from reasoner.notices import collect, say
from reasoner.preparation import (
    as_method,
    build_predictor,
    checked_subject,
    embedded_model,
    name_of_model,
    names_of_sources,
    read_examples,
    task_class_and_settings,
    versions,
)
from reasoner.registry import name_of
from reasoner.reports.run import Run
from reasoner.result import Result
from reasoner.review import LabelRecord, LabelRecorder
from reasoner.seeds import best_of, configs_of_seeds
from reasoner.storage import load_folder, save_folder
from reasoner.tasks.base import Task
from reasoner.training.callbacks import Callback, HistoryFile, Progress
from reasoner.training.config import TrainingConfig
from reasoner.training.early_stopping import EarlyStopping
from reasoner.training.engine import choose_device
from reasoner.training.guard import LossWatch
from reasoner.training.trainer import Trainer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["check", "fine_tune", "load", "read_rows"]

RECORDED_PLACES = 20
"""Rows of each finding that the record of a run names."""


def fine_tune(
    model: str | Path | PreTrainedModel | None,
    data: Any,
    *,
    task: str | Task[Any, Any],
    method: str | Method = "full",
    output_dir: str | Path | None = None,
    config: TrainingConfig | None = None,
    seeds: Sequence[int] | None = None,
    columns: Mapping[str, Any] | None = None,
    tokenizer: Any = None,
    callbacks: Sequence[Callback] = (),
    check: bool = True,
    **overrides: Any,
) -> Result:
    """Fine-tune a pretrained model on a task: read, check, train, score before and after, save.

    Args:
        model: a Hub id, a local folder, or a loaded model (it is copied); None: the embedded default.
        data: `{"train": ..., "validation": ..., "test": ...}`, each a path, list of dicts, DataFrame or Dataset; or a
            DatasetDict; or a folder with such files; or a Hub data set id. Without validation, some is cut off.
        task: a name ("ner", "nli", "classification", "qa", "multiple_choice", or one that was registered) or a `Task`.
        method: a name ("full", "head", "freeze") or a `Method`.
        output_dir: where the best model so far is kept, with the history; None: in memory only.
        config: the training settings; `overrides` change fields of it.
        seeds: such as `[0, 1, 2]`: train once with each, on the same rows (a cut validation split is that of the first
            seed), and return the model that is best on validation; `run.seeds` has the scores of all, and the report
            their mean and deviation. The others' weights are not kept.
        columns: our column name -> the name in the data (in CoNLL files: the column's number).
        tokenizer: for a loaded model that does not say where its tokenizer is.
        callbacks: see `reasoner.training.callbacks.Callback`.
        check: look at data and model first, as `check` does: errors stop, warnings are said, all is in `run.checks`.
        overrides: fields of `TrainingConfig`, such as `learning_rate=2e-5`.

    Raises:
        ConfigError: if a name or setting is unknown or makes no sense.
        DataError: if the data cannot be used; all problems of all splits are listed, before any training.
        DivergedError: if the loss becomes NaN or infinite.

    Example:
        >>> import reasoner
        >>> pack = reasoner.synthetic.ner_pack(train=40, validation=20, test=20)
        >>> result = reasoner.fine_tune(None, pack, task="ner", max_steps=1)  # doctest: +SKIP
    """
    with collect():
        configs = configs_of_seeds(TrainingConfig.from_overrides(config, overrides), seeds, overrides)
        method = as_method(method)
        task_class, _ = task_class_and_settings(task)
        folder = _checked_folder(output_dir)
        record = ReadingRecord()
        examples = read_examples(data, task_class.Example, config=configs[0], columns=columns, record=record)

        def train(config: TrainingConfig, folder: Path | None) -> Result:
            return train_on_examples(
                model,
                examples,
                task=task,
                method=method,
                config=config,
                folder=folder,
                tokenizer=tokenizer,
                callbacks=callbacks,
                sources=names_of_sources(data, list(examples)),
                record=record if check else None,
            )

        return train(configs[0], folder) if seeds is None else best_of(train, configs, folder)


def train_on_examples(
    model: str | Path | PreTrainedModel | None,
    examples: Mapping[str, Sequence[Any]],
    *,
    task: str | Task[Any, Any],
    method: Method,
    config: TrainingConfig,
    folder: Path | None = None,
    tokenizer: Any = None,
    callbacks: Sequence[Callback] = (),
    sources: Mapping[str, str] | None = None,
    record: ReadingRecord | None = None,
) -> Result:
    """Do what `fine_tune` does once the data was read: train, score before and after, save.

    Args:
        model: as in `fine_tune`.
        examples: by split; "train" and "validation" must be there.
        task: as in `fine_tune`.
        method: which weights learn.
        config: all training settings.
        folder: where the best model so far is kept; None: in memory only.
        tokenizer: as in `fine_tune`.
        callbacks: as in `fine_tune`.
        sources: for the record, where each split came from.
        record: what reading met; with it, data and model are checked first; None: they are not.
    """
    with collect():
        task_class, settings = task_class_and_settings(task)
        name = name_of("task", task_class)
        source = embedded_model() if model is None else model
        learned = task_class.from_examples(examples, **settings)
        predictor = build_predictor(source, learned, config=config, tokenizer=tokenizer)
        encoded = {split: predictor.encode(rows, name=split) for split, rows in examples.items()}
        method.apply(predictor.model)
        config = _with_learning_rate(config, method, predictor)
        run = _record(name, model, sources or {}, method, config, predictor, encoded)
        if record is not None:
            run.checks = _checked(
                Subject(
                    examples=examples,
                    record=record,
                    config=config,
                    source=source,
                    task_class=task_class,
                    learned=learned,
                    tokenizer=predictor.tokenizer,
                    predictor=predictor,
                    encoded=encoded,
                )
            )
        return _trained(predictor, encoded, run, config, folder, callbacks)


def check(
    model: str | Path | PreTrainedModel | None,
    data: Any,
    *,
    task: str | Task[Any, Any],
    method: str | Method = "full",
    config: TrainingConfig | None = None,
    columns: Mapping[str, Any] | None = None,
    tokenizer: Any = None,
    run_model: bool = True,
    **overrides: Any,
) -> CheckReport:
    """Say what is wrong with data and model, and what a run will take. Nothing is trained and nothing written.

    Args:
        model: as in `fine_tune`.
        data: as in `fine_tune`; what cannot be read is an error in the report, and what else there is is checked.
        task: as in `fine_tune`.
        method: as in `fine_tune`; for the estimate.
        config: as in `fine_tune`.
        columns: as in `fine_tune`.
        tokenizer: as in `fine_tune`.
        run_model: also run the longest batch, for the estimate, and ask an NLI head for the order of its labels.
        overrides: fields of `TrainingConfig`.

    Raises:
        ConfigError: if a name or setting is unknown or makes no sense, or the model cannot be loaded.

    Example:
        >>> import reasoner
        >>> pack = reasoner.synthetic.ner_pack(train=40, validation=20, test=20)
        >>> print(reasoner.check(None, pack, task="ner"))  # doctest: +SKIP
    """
    with collect():
        config = TrainingConfig.from_overrides(config, overrides)
        source = embedded_model() if model is None else model
        subject = checked_subject(
            source, data, task=task, method=method, config=config, columns=columns, tokenizer=tokenizer
        )
        return run_checks(subject, run_model=run_model)


def load(folder: str | Path, *, use_cpu: bool = False, batch_size: int = 64) -> Result:
    """Return the model that `fine_tune(output_dir=...)` or `Result.save` wrote, with the record of its training.

    Args:
        folder: where it is.
        use_cpu: stay on the CPU even if a CUDA device is there.
        batch_size: sequences a batch in prediction.

    Raises:
        CheckpointError: if the folder cannot be read, or needs a task or head that nobody registered.
    """
    predictor, run = load_folder(folder, batch_size=batch_size)
    predictor.model.to(choose_device(use_cpu))
    return Result(predictor, run)


def _checked(subject: Subject) -> dict[str, Any]:
    """Stop at what is wrong, say what is to be looked at, and return all that was found for the record of the run."""
    report = run_checks(subject)
    report.raise_errors()
    report.say_all()
    return report.to_dict(most_places=RECORDED_PLACES)


def _trained(
    predictor: Predictor,
    encoded: Mapping[str, Encoded],
    run: Run,
    config: TrainingConfig,
    folder: Path | None,
    callbacks: Sequence[Callback],
) -> Result:
    """Score, train, score again and compare, save."""
    with collect() as notices:
        before = _score_before(predictor, encoded, run) if config.evaluate_before else None
        doubted = _train(predictor, encoded, run, config, folder, callbacks)
        predictor = _score(predictor, encoded, run, before)
        run.notices = list(notices)
        if folder is not None:
            save_folder(folder, predictor, run)
        return Result(predictor, run, doubted)


def _train(
    predictor: Predictor,
    encoded: Mapping[str, Encoded],
    run: Run,
    config: TrainingConfig,
    folder: Path | None,
    callbacks: Sequence[Callback],
) -> LabelRecord:
    """Train, write what happened into `run`, and return what training said of each row's label."""
    metric = predictor.task.primary_metric
    recorder = LabelRecorder(encoded["train"], getattr(predictor.task, "labels", ()))
    own: list[Callback] = [Progress(disable=config.disable_tqdm), recorder]
    if folder is not None:
        own += [HistoryFile(folder / "history.jsonl"), _KeepBest(folder, predictor, run)]
    rows = encoded["train"]
    batches = predictor.batches(rows, batch_size=config.per_device_train_batch_size, shuffle=True, seed=config.seed)
    trainer = Trainer(
        predictor.model,
        batches,
        config=config,
        watch=LossWatch(
            folder, describe=lambda batch: [rows.examples[batches.example_of[i]].where for i in batch.feature_index]
        ),
        evaluate=lambda: predictor.evaluate(encoded["validation"]).metrics,
        stopping=EarlyStopping(metric, greater_is_better(metric), config.patience, config.min_delta),
        callbacks=[*own, *callbacks],
    )
    history = trainer.train()
    run.history, run.best_step, run.stopped_early = history.rows, history.best_step, history.stopped_early
    losses = [row["loss"] for row in history.rows if row["split"] == "train"]
    run.metrics["train"] = {
        "loss": losses[-1],
        "seconds": history.seconds,
        "tokens_per_second": history.tokens / max(history.seconds, 1e-9),
        "steps": history.steps,
        "epochs": history.steps / trainer.steps_per_epoch,
    }
    return recorder.record()


def _score(predictor: Predictor, encoded: Mapping[str, Encoded], run: Run, before: Evaluation | None) -> Predictor:
    """Fit temperature and decision thresholds on the validation split, then score what was not trained on."""
    predictor, validation, calibration = calibrate(predictor, encoded["validation"])
    tuned = predictor.task.tuned(validation.predictions, encoded["validation"].examples)
    if tuned is not predictor.task:
        predictor = predictor.with_task(tuned)
        validation = predictor.evaluate(encoded["validation"])
    scored = {"validation": validation}
    if "test" in encoded:
        scored["test"] = predictor.evaluate(encoded["test"])
    for split, evaluation in scored.items():
        _write_scores(run, split, predictor.task, evaluation, encoded, split)
    compared = run.compared_split
    if before is not None:
        run.comparison = compare(predictor.task, before, scored[compared], encoded[compared].examples).to_dict()
    run.calibration = {**calibration, **reliability(predictor.task, scored[compared], encoded[compared])}
    return predictor


def _score_before(predictor: Predictor, encoded: Mapping[str, Encoded], run: Run) -> Evaluation:
    evaluation = predictor.evaluate(encoded[run.compared_split])
    _write_scores(run, "before", predictor.task, evaluation, encoded, run.compared_split)
    return evaluation


def _write_scores(
    run: Run, name: str, task: Task[Any, Any], evaluation: Evaluation, encoded: Mapping[str, Encoded], split: str
) -> None:
    """Write the scores of a split into the record, with the slices that need the training rows, and the interval."""
    examples = encoded[split].examples
    slices = task.slices(evaluation.predictions, examples, encoded["train"].examples)
    run.metrics[name] = {**evaluation.metrics, **plain(slices)}
    interval = score_interval(task, evaluation, examples, name=name)
    if interval is not None:
        run.intervals[name] = interval


class _KeepBest(Callback):
    """Writes the model folder whenever a new best was found, so that an interrupted run leaves it behind."""

    def __init__(self, folder: Path, predictor: Predictor, run: Run) -> None:
        self.folder, self.predictor, self.run = folder, predictor, run

    def on_best(self, trainer: Trainer) -> None:
        """Write it."""
        self.run.history, self.run.best_step = trainer.history.rows, trainer.step
        save_folder(self.folder, self.predictor, self.run)


def _with_learning_rate(config: TrainingConfig, method: Method, predictor: Predictor) -> TrainingConfig:
    if config.learning_rate is not None:
        return config
    width = predictor.model.network.config.hidden_size
    rate = method.learning_rate(width)
    say(f"Learning rate {rate:.2g}, by the rule of {type(method).__name__} for a model of width {width}.")
    return TrainingConfig.from_overrides(config, {"learning_rate": rate})


def _record(
    name: str,
    model: Any,
    sources: Mapping[str, str],
    method: Method,
    config: TrainingConfig,
    predictor: Predictor,
    encoded: Mapping[str, Encoded],
) -> Run:
    weights = list(predictor.model.parameters())
    return Run(
        task=name,
        model=name_of_model(model),
        method=repr(method),
        primary_metric=predictor.task.primary_metric,
        compared_split="test" if "test" in encoded else "validation",
        labels=list(getattr(predictor.task, "labels", ())),
        rows={split: len(part.examples) for split, part in encoded.items()},
        sources=dict(sources),
        parameters=sum(weight.numel() for weight in weights),
        trainable_parameters=sum(weight.numel() for weight in weights if weight.requires_grad),
        config={**config.to_dict(), "max_length": predictor.max_length, "stride": predictor.stride},
        versions=versions(),
    )


def _checked_folder(output_dir: str | Path | None) -> Path | None:
    """Return the folder; refuse a path that is a file, and say what will be replaced."""
    if output_dir is None:
        return None
    folder = Path(output_dir)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"output_dir '{folder}' is a file. Give a folder.")
    if (folder / "reasoner_config.json").exists():
        say(f"'{folder.name}' holds an earlier model; it is replaced when this run has its first score.")
    return folder
