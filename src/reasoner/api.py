"""The public functions: they wire the parts together and hold no logic of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoner.data.sources import read_rows
from reasoner.errors import ConfigError
from reasoner.evaluation import Encoded
from reasoner.inference import Predictor
from reasoner.methods.base import Method
from reasoner.metrics import greater_is_better
from reasoner.notices import collect, say
from reasoner.preparation import (
    as_method,
    build_predictor,
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
from reasoner.storage import load_folder, save_folder
from reasoner.tasks.base import Task
from reasoner.training.callbacks import Callback, HistoryFile, Progress
from reasoner.training.config import TrainingConfig
from reasoner.training.early_stopping import EarlyStopping
from reasoner.training.engine import choose_device
from reasoner.training.trainer import Trainer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["fine_tune", "load", "read_rows"]


def fine_tune(
    model: str | Path | PreTrainedModel | None,
    data: Any,
    *,
    task: str | Task[Any, Any],
    method: str | Method = "full",
    output_dir: str | Path | None = None,
    config: TrainingConfig | None = None,
    columns: Mapping[str, Any] | None = None,
    tokenizer: Any = None,
    callbacks: Sequence[Callback] = (),
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
        columns: our column name -> the name in the data (in CoNLL files: the column's number).
        tokenizer: for a loaded model that does not say where its tokenizer is.
        callbacks: see `reasoner.training.callbacks.Callback`.
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
    with collect() as notices:
        config = TrainingConfig.from_overrides(config, overrides)
        method = as_method(method)
        task_class, settings = task_class_and_settings(task)
        name = name_of("task", task_class)
        folder = _checked_folder(output_dir)
        examples = read_examples(data, task_class.Example, config=config, columns=columns)
        source = embedded_model() if model is None else model
        predictor = build_predictor(
            source, task_class.from_examples(examples, **settings), config=config, tokenizer=tokenizer
        )
        encoded = {split: predictor.encode(rows, name=split) for split, rows in examples.items()}
        method.apply(predictor.model)
        config = _with_learning_rate(config, method, predictor)
        run = _record(name, model, data, method, config, predictor, encoded)
        if config.evaluate_before:
            run.metrics["before"] = predictor.evaluate(encoded[run.compared_split]).metrics
        _train(predictor, encoded, run, config, folder, callbacks)
        predictor = _score(predictor, encoded, run)
        run.notices = list(notices)
        if folder is not None:
            save_folder(folder, predictor, run)
        return Result(predictor, run)


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


def _train(
    predictor: Predictor,
    encoded: Mapping[str, Encoded],
    run: Run,
    config: TrainingConfig,
    folder: Path | None,
    callbacks: Sequence[Callback],
) -> None:
    """Train, and write what happened into `run`."""
    metric = predictor.task.primary_metric
    own: list[Callback] = [Progress(disable=config.disable_tqdm)]
    if folder is not None:
        own += [HistoryFile(folder / "history.jsonl"), _KeepBest(folder, predictor, run)]
    trainer = Trainer(
        predictor.model,
        predictor.batches(
            encoded["train"], batch_size=config.per_device_train_batch_size, shuffle=True, seed=config.seed
        ),
        config=config,
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


def _score(predictor: Predictor, encoded: Mapping[str, Encoded], run: Run) -> Predictor:
    """Fit decision thresholds on the validation split, then score the splits that were not trained on."""
    validation = predictor.evaluate(encoded["validation"])
    tuned = predictor.task.tuned(validation.predictions, encoded["validation"].examples)
    if tuned is not predictor.task:
        predictor = predictor.with_task(tuned)
        validation = predictor.evaluate(encoded["validation"])
    run.metrics["validation"] = validation.metrics
    if "test" in encoded:
        run.metrics["test"] = predictor.evaluate(encoded["test"]).metrics
    return predictor


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
    data: Any,
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
        sources=names_of_sources(data, list(encoded)),
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
