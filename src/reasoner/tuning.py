"""One training, from examples to a result: check, score, train, calibrate, score again, save."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoner import options
from reasoner.base_model import model_source
from reasoner.calibration import calibrate, reliability
from reasoner.checks.reading import ReadingRecord
from reasoner.checks.run import run_checks
from reasoner.checks.subject import Subject
from reasoner.comparison import compare, write_scores
from reasoner.data.streams import StreamedRows
from reasoner.debiasing import Train, biased
from reasoner.distillation import taught
from reasoner.edits.copies import with_copies
from reasoner.evaluation import Encoded, Evaluation, plain
from reasoner.frozen import keep_states
from reasoner.inference import Predictor
from reasoner.joint import TextLoss, text_loss
from reasoner.methods.base import Method
from reasoner.metrics import greater_is_better
from reasoner.notices import collect, say
from reasoner.origins import say_origin
from reasoner.preparation import prepared, task_class_and_settings
from reasoner.previous.known import Previous
from reasoner.previous.start import Start
from reasoner.recording import record_of, settings_of, training_metrics
from reasoner.refitting import Known, StopAt, refitted
from reasoner.reports.run import Run
from reasoner.result import Result, load_result
from reasoner.resuming import Resumption, resumption_of
from reasoner.review import LabelRecord, LabelRecorder
from reasoner.storage import save_folder
from reasoner.streaming import StreamBatches, StreamPlace, settings_for
from reasoner.tasks.base import Task
from reasoner.training.callbacks import Callback, HistoryFile, Progress
from reasoner.training.compiling import Compiler
from reasoner.training.config import TrainingConfig
from reasoner.training.determinism import deterministic
from reasoner.training.early_stopping import EarlyStopping
from reasoner.training.engine import matrix_peak
from reasoner.training.forecast import Forecast
from reasoner.training.guard import LossWatch
from reasoner.training.ranks import current
from reasoner.training.trainer import Trainer
from reasoner.whole_model import WholeModel, check_fsdp

if TYPE_CHECKING:
    from transformers import PreTrainedModel

RECORDED_PLACES = 20
"""Rows of each finding that the record of a run names."""


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
    resume: bool | None = None,
    previous: Previous | None = None,
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
        resume: with a folder, as in `fine_tune`; None: no checkpoints are written either.
        previous: the model that is taught again, in the place of `model`.
    """
    once = partial(_once, model, task=task, method=method, tokenizer=tokenizer, callbacks=callbacks, sources=sources)
    if config.refit:
        return refitted(once, examples, config=config, folder=folder, record=record, resume=bool(resume),
                        taught_again=previous is not None)  # fmt: skip
    return once(examples, config=config, folder=folder, record=record, resume=resume, previous=previous)


def _once(
    model: Any, examples: Mapping[str, Sequence[Any]], *, task: str | Task[Any, Any], method: Method,
    config: TrainingConfig, folder: Path | None = None, tokenizer: Any = None, callbacks: Sequence[Callback] = (),
    sources: Mapping[str, str] | None = None, record: ReadingRecord | None = None, resume: bool | None = None,
    known: Known | None = None, previous: Previous | None = None,
) -> Result:  # fmt: skip
    """Train one model; `known` is what an earlier training found on validation: then nothing is chosen there."""
    with collect(), deterministic(config.full_determinism):
        task_class, settings = task_class_and_settings(task)
        start = Start(previous, named=isinstance(task, str))
        source = model_source(model) if previous is None else previous.source
        say_origin(source)
        config = start.config_for(settings_for(config, examples["train"]), method, examples["train"])
        config = _with_dropout(config, method)
        learned = start.task(task_class, settings, examples, method)
        examples = start.examples(learned, examples, config)
        options.check_options(learned, config)
        check_fsdp(config, method)
        predictor, encoded = prepared(
            source, learned, examples, method=method, config=config, tokenizer=start.tokenizer(tokenizer),
            begin=start.begin, replayed=start.replayed,
        )  # fmt: skip
        start.look_at(predictor, method, encoded["train"], config)
        options.check_head(predictor, encoded["train"], config)
        config = _with_learning_rate(config, method, predictor)
        run = record_of(start.model(model), predictor, examples, method=repr(method), sources=sources or {},
                        config=settings_of(config, predictor))  # fmt: skip
        if record is not None:
            run.checks = _checked(
                Subject(examples=examples, record=record, config=config, source=source, task_class=task_class,
                        learned=learned, tokenizer=predictor.tokenizer, predictor=predictor, encoded=encoded)
            )  # fmt: skip
        beside, callbacks = text_loss(predictor, source, config), [_Epochs(method), *callbacks]
        part = partial(train_on_examples, model if previous is None else source, task=learned, method=method,
                       tokenizer=start.tokenizer(tokenizer))  # fmt: skip
        return _trained(predictor, encoded, run, config, folder, callbacks, beside, resume, known, part, start)


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
    beside: TextLoss | None,
    resume: bool | None,
    known: Known | None,
    part: Train,
    start: Start,
) -> Result:
    """Score, train, score again and compare, save; or go on with it, or load what came of it."""
    if folder is not None:
        _ = predictor.model.base  # refuses now what could not be saved later
    run.continued = start.told(run.labels)
    with collect() as notices:
        resumption = resumption_of(predictor, encoded, run, config, folder if resume is not None else None, callbacks,
                                   start.made_of())  # fmt: skip
        if folder is not None and resumption is not None and not resumption.begin(bool(resume)):
            return load_result(folder, use_cpu=config.use_cpu, batch_size=config.per_device_eval_batch_size)
        encoded = _with_others(predictor, encoded, run, config, part, fewer_labels=start.teaches)
        encoded = keep_states(predictor, encoded, config)
        before = _score_before(predictor, encoded, run) if config.evaluate_before else None
        start.score_old(predictor)
        doubted = _train(predictor, encoded, run, config, folder, callbacks, beside, resumption, known, start)
        predictor = _score(predictor, encoded, run, before, known)
        run.continued |= start.compared(predictor)
        run.notices = list(notices)
        if folder is not None:
            _save(folder, predictor, run, finished=None if resumption is None else resumption.made_of)
        if resumption is not None:
            resumption.end()
        return Result(predictor, run, doubted)


def _with_others(
    predictor: Predictor,
    encoded: Mapping[str, Encoded],
    run: Run,
    config: TrainingConfig,
    part: Train,
    *,
    fewer_labels: bool,
) -> Mapping[str, Encoded]:
    """Return the splits, the training rows with what a teacher and a shortcut tell of them, or with edited copies.

    The record says who these are.
    """
    if config.teacher is not None:
        rows, told = taught(predictor, encoded["train"], config, fewer_labels=fewer_labels)
        run.config.update(told)
        encoded = {**encoded, "train": rows}
    if config.debias is not None:
        rows, told = biased(predictor, encoded, config, part)
        run.config.update(told)
        encoded = {**encoded, "train": rows}
    if config.consistency:
        encoded = {**encoded, "train": with_copies(predictor, encoded["train"], config)}
    return encoded


def _train(
    predictor: Predictor,
    encoded: Mapping[str, Encoded],
    run: Run,
    config: TrainingConfig,
    folder: Path | None,
    callbacks: Sequence[Callback],
    beside: TextLoss | None,
    resumption: Resumption | None,
    known: Known | None,
    start: Start,
) -> LabelRecord | None:
    """Train, write what happened into `run`, and return what training said of each row's label, if rows are kept."""
    metric = predictor.task.primary_metric
    rows = encoded["train"]
    kept = rows.states is not None  # the frozen weights do not multiply in every step
    peak = None if kept else matrix_peak(predictor.device, config.bf16)
    batches, describe = options.training_batches(predictor, rows, config, start.replay)
    watcher: StreamPlace | LabelRecorder
    if isinstance(batches, StreamBatches):
        watcher = StreamPlace(batches, run)
    else:
        watcher = LabelRecorder(rows, getattr(predictor.task, "labels", ()))
    own = _callbacks(predictor, encoded, run, config, folder, peak) + ([StopAt(known.share)] if known else [])
    whole = WholeModel(predictor, config)
    trainer = Trainer(
        whole.trained,
        batches,
        config=config,
        watch=LossWatch(folder, describe=describe),
        evaluate=None if known else lambda: whole.scored(lambda: start.scores(predictor, encoded["validation"])),
        stopping=EarlyStopping(metric, greater_is_better(metric), config.patience, config.min_delta, start.limits),
        callbacks=[watcher, *own, *callbacks],
        rate_factors=options.factors(predictor.model, config),
        extras=start.extras(options.extras(whole.trained, config, rows, beside)),
    )
    history = trainer.train() if resumption is None else resumption.train(trainer)
    whole.bring()
    run.history, run.best_step, run.stopped_early = history.rows, history.best_step, history.stopped_early
    run.metrics["train"] = training_metrics(history, predictor, encoded["validation"], peak)
    return watcher.record() if isinstance(watcher, LabelRecorder) else None


def _callbacks(
    predictor: Predictor,
    encoded: Mapping[str, Encoded],
    run: Run,
    config: TrainingConfig,
    folder: Path | None,
    peak: float | None,
) -> list[Callback]:
    """Return what goes beside every training."""
    forecast = Forecast(
        peak=None if config.fsdp else peak, evaluation_tokens=sum(predictor.batches(encoded["validation"]).lengths)
    )
    own: list[Callback] = [Progress(disable=config.disable_tqdm or not current().main, forecast=forecast)]
    kept = encoded["train"].states is not None
    if not (kept or config.adversarial_epsilon or config.language_modeling_weight or config.fsdp):
        own.append(Compiler(predictor.model.network, config.torch_compile))
    elif config.torch_compile:
        changed = "adversarial training" if config.adversarial_epsilon else "language modelling"
        reason = "what its frozen layers give is kept" if kept else f"{changed} changes what is inside it"
        say(f"torch_compile: the network is not compiled, since {reason}.")
    if folder is not None:
        own += [HistoryFile(folder / "history.jsonl")] * current().main
        own += [_KeepBest(folder, predictor, run)]
    return own


def _score(
    predictor: Predictor, encoded: Mapping[str, Encoded], run: Run, before: Evaluation | None, known: Known | None
) -> Predictor:
    """Fit temperature and decision thresholds on the validation split, then score what was not trained on."""
    if known:
        predictor, scored, calibration = known.put_into(predictor, run), {}, known.calibration
    else:
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
    judged = reliability(predictor.task, scored[compared], encoded[compared]) if compared in scored else {}
    run.calibration = {**calibration, **judged}
    return predictor


def _score_before(predictor: Predictor, encoded: Mapping[str, Encoded], run: Run) -> Evaluation:
    evaluation = predictor.evaluate(encoded[run.compared_split])
    _write_scores(run, "before", predictor.task, evaluation, encoded, run.compared_split)
    return evaluation


def _write_scores(
    run: Run, name: str, task: Task[Any, Any], evaluation: Evaluation, encoded: Mapping[str, Encoded], split: str
) -> None:
    """Write the scores of a split into the record, with the slices that need the training rows, and the interval."""
    examples, training = encoded[split].examples, encoded["train"].examples
    streamed = isinstance(training, StreamedRows)  # they are not all that training showed
    slices = {} if streamed else task.slices(evaluation.predictions, examples, training)
    write_scores(run, name, task, evaluation, examples, **plain(slices))


class _Epochs(Callback):
    """Lets the method say anew with each epoch what learns."""

    def __init__(self, method: Method) -> None:
        self.method = method

    def on_train_begin(self, trainer: Trainer) -> None:
        """Say it for the first one."""
        self.method.begin_epoch(trainer.model, trainer.epoch)

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Say it for the next one."""
        self.method.begin_epoch(trainer.model, trainer.epoch)


class _KeepBest(Callback):
    """Writes the model folder whenever a new best was found, so that an interrupted run leaves it behind."""

    def __init__(self, folder: Path, predictor: Predictor, run: Run) -> None:
        self.folder, self.predictor, self.run = folder, predictor, run

    def on_best(self, trainer: Trainer) -> None:
        """Write it."""
        self.run.history, self.run.best_step = trainer.history.rows, trainer.step
        _save(self.folder, self.predictor, self.run)


def _save(folder: Path, predictor: Predictor, run: Run, *, finished: Mapping[str, Any] | None = None) -> None:
    """Write the model folder; of several ranks the main one does, and the others wait."""

    def write() -> int:
        save_folder(folder, predictor, run, finished=finished)
        return run.bytes_on_disk

    run.bytes_on_disk = current().on_main(write)


def _with_dropout(config: TrainingConfig, method: Method) -> TrainingConfig:
    if config.dropout is not None or method.model_dropout is None or config.r_drop:  # R-Drop lives on dropout
        return config
    say(f"Dropout {method.model_dropout:g}, by the rule of {type(method).__name__}.")
    return TrainingConfig.from_overrides(config, {"dropout": method.model_dropout})


def _with_learning_rate(config: TrainingConfig, method: Method, predictor: Predictor) -> TrainingConfig:
    if config.learning_rate is not None:
        return config
    width = predictor.model.network.config.hidden_size
    rate = method.learning_rate(width)
    say(f"Learning rate {rate:.2g}, by the rule of {type(method).__name__} for a model of width {width}.")
    return TrainingConfig.from_overrides(config, {"learning_rate": rate})
