"""The public functions: they wire the parts together and hold no logic of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoner.base_model import model_source
from reasoner.checks.reading import ReadingRecord
from reasoner.checks.report import CheckReport
from reasoner.checks.run import run_checks
from reasoner.continuing import previous_of
from reasoner.data.sources import read_rows
from reasoner.errors import ConfigError
from reasoner.methods.base import Method
from reasoner.networks import share_weights
from reasoner.notices import collect, say
from reasoner.preparation import (
    checked_subject,
    names_of_sources,
    read_examples,
    task_class_and_settings,
)
from reasoner.protections import Protection
from reasoner.recipes import resolve_recipe
from reasoner.reports.layout import mebibytes
from reasoner.result import Result, load_result
from reasoner.seeds import best_of, configs_of_seeds
from reasoner.storage import CONFIG_FILE, remove_unfinished
from reasoner.tasks.base import Task
from reasoner.training.callbacks import Callback
from reasoner.training.config import TrainingConfig
from reasoner.training.lock import locked
from reasoner.training.ranks import together
from reasoner.tuning import train_on_examples

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["check", "fine_tune", "load", "load_together", "read_rows"]


def fine_tune(
    model: str | Path | PreTrainedModel | None,
    data: Any,
    *,
    task: str | Task[Any, Any],
    method: str | Method | None = None,
    recipe: str | None = None,
    output_dir: str | Path | None = None,
    config: TrainingConfig | None = None,
    seeds: Sequence[int] | None = None,
    columns: Mapping[str, Any] | None = None,
    tokenizer: Any = None,
    callbacks: Sequence[Callback] = (),
    check: bool = True,
    resume: bool = False,
    after: Result | str | Path | None = None,
    protect: Sequence[Any] = (),
    protection: str | Protection | None = None,
    **overrides: Any,
) -> Result:
    """Fine-tune a pretrained model on a task: read, check, train, score before and after, save.

    Started by `torchrun` or `accelerate launch`, all processes call it alike and train one model: see docs/ranks.md.

    Args:
        model: a Hub id, a local folder, a GGUF file (its weights are made float32, once), or a loaded model (it is
            copied); None: the embedded default.
        data: `{"train": ..., "validation": ..., "test": ...}`, each a path, list of dicts, DataFrame or Dataset; or a
            DatasetDict; or a folder with such files; or a Hub data set id. Without validation, some is cut off. The
            training rows may be a stream (a `datasets.IterableDataset`, or PyTorch's, of dicts) that is larger than
            memory, with `max_steps` and a validation split.
        task: a name ("ner", "nli", "classification", "qa", "multiple_choice", "generation", or one that was
            registered) or a `Task`.
        method: a name ("full", "head", "top-k", "freeze", "gradual", "bitfit", "adapter", "lora", "ia3", "prefix",
            "prompt") or a `Method`, such as `LoRA(rank=16)`; None: the recipe's, or "full".
        recipe: "fast" or "best": settings that were measured to go well together (docs/more_score.md). What you set
            yourself stays; what it sets is said.
        output_dir: where the best model so far is kept, with the history; None: in memory only.
        config: the training settings; `overrides` change fields of it.
        seeds: such as `[0, 1, 2]`: train once with each, on the same rows (a cut validation split is that of the first
            seed), and return the model that is best on validation; `run.seeds` has the scores of all, and the report
            their mean and deviation. The others' weights are not kept.
        columns: our column name -> the name in the data (in CoNLL files: the column's number).
        tokenizer: for a loaded model that does not say where its tokenizer is.
        callbacks: see `reasoner.training.callbacks.Callback`.
        check: look at data and model first, as `check` does: errors stop, warnings are said, all is in `run.checks`.
        resume: go on from the newest whole checkpoint in `output_dir` (see `checkpoint_steps`) as if the run had never
            been interrupted; where there is none begin, and after its end load what it wrote. Not with `seeds`.
        after: in place of `model` (None then): a model that this library tuned for this task, by its folder or as a
            `Result`, which is taught again. New labels are added to its head. See docs/teaching_again.md.
        protect: a list of old data sets, each like `data`: the model is scored on their validation rows, and protected
            by their training rows.
        protection: how what it knows is kept: "replay", "ewc", "lwf", "adapters", or an object, such as
            `Replay(share=0.3)`; None: in no way.
        overrides: fields of `TrainingConfig`, such as `learning_rate=2e-5`.

    Raises:
        ConfigError: if a name or setting is unknown or makes no sense; another run is at work in `output_dir`; or
            `resume` finds a run of other data, model, task, method or settings, with all differences.
        CheckpointError: if `output_dir` cannot be written, or none of its checkpoints is whole.
        DataError: if the data cannot be used; all problems of all splits are listed, before any training.
        DivergedError: if the loss becomes NaN or infinite.
        RankError: if one of several processes that train together is gone, or has stopped with an error.
        KeyboardInterrupt: after Ctrl-C; with `output_dir` the step is finished and saved, and SIGTERM does the same.

    Examples:
        >>> import reasoner
        >>> pack = reasoner.synthetic.ner_pack(train=40, validation=20, test=20)
        >>> result = reasoner.fine_tune(None, pack, task="ner", max_steps=1)  # doctest: +SKIP
    """
    folder = _checked_folder(output_dir, resume, seeds)
    config = TrainingConfig.from_overrides(config, overrides)
    with collect(), together(use_cpu=config.use_cpu) as ranks, ExitStack() as held:
        task, method, config = resolve_recipe(recipe, task=task, method=method, config=config, overrides=overrides)
        configs, record = configs_of_seeds(config, seeds, overrides), ReadingRecord()
        ranks.on_main(lambda: held.enter_context(_at_work_in(folder, resume)))
        task_class, settings = task_class_and_settings(task)
        examples = read_examples(data, task_class.schema(settings), config=configs[0], columns=columns, record=record,
                                 streams=True)  # fmt: skip
        previous = previous_of(after, model=model, protect=protect, protection=protection, config=configs[0],
                               columns=columns)  # fmt: skip

        def train(config: TrainingConfig, folder: Path | None) -> Result:
            return train_on_examples(
                model, examples, task=task, method=method, config=config, folder=folder, tokenizer=tokenizer,
                callbacks=callbacks, sources=names_of_sources(data, list(examples)),
                record=record if check else None, resume=resume if seeds is None else None, previous=previous,
            )  # fmt: skip

        return train(configs[0], folder) if seeds is None else best_of(train, configs, folder)


def check(
    model: str | Path | PreTrainedModel | None,
    data: Any,
    *,
    task: str | Task[Any, Any],
    method: str | Method | None = None,
    recipe: str | None = None,
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
        recipe: as in `fine_tune`.
        config: as in `fine_tune`.
        columns: as in `fine_tune`.
        tokenizer: as in `fine_tune`.
        run_model: also run the longest batch, for the estimate, and ask an NLI head for the order of its labels.
        overrides: fields of `TrainingConfig`.

    Raises:
        ConfigError: if a name or setting is unknown or makes no sense, or the model cannot be loaded.

    Examples:
        >>> import reasoner
        >>> pack = reasoner.synthetic.ner_pack(train=40, validation=20, test=20)
        >>> print(reasoner.check(None, pack, task="ner"))  # doctest: +SKIP
    """
    with collect():
        task, method, config = resolve_recipe(recipe, task=task, method=method, config=config, overrides=overrides)
        source = model_source(model)
        subject = checked_subject(
            source, data, task=task, method=method, config=config, columns=columns, tokenizer=tokenizer
        )
        return run_checks(subject, run_model=run_model)


def load(
    folder: str | Path, *, use_cpu: bool = False, batch_size: int = 64, base_model: str | Path | None = None
) -> Result:
    """Return the model that `fine_tune(output_dir=...)` or `Result.save` wrote, with the record of its training.

    Args:
        folder: where it is.
        use_cpu: stay on the CPU even if a CUDA device is there.
        batch_size: sequences a batch in prediction.
        base_model: a folder or Hub id: where the base model is, if the method saved its own weights alone and the base
            is no longer where it was.

    Raises:
        CheckpointError: if the folder cannot be read, needs a task or head that nobody registered, or the base model
            is not there or has other weights.
    """
    return load_result(folder, use_cpu=use_cpu, batch_size=batch_size, base_model=base_model)


def load_together(
    folders: Mapping[str, str | Path], *, use_cpu: bool = False, batch_size: int = 64
) -> dict[str, Result]:
    """Return several models by name, with the weights that they have in common in memory once.

    Made for what `lora`, `adapter` and other small methods saved beside one base model: each further task costs only
    what was added for it. Which one predicts is chosen by name. Weights are shared where they are equal bit for bit.

    Args:
        folders: a name for each, and the folder that `fine_tune(output_dir=...)` or `Result.save` wrote.
        use_cpu: as in `load`.
        batch_size: as in `load`.

    Raises:
        CheckpointError: as in `load`.
        ConfigError: if no folder is given.

    Examples:
        >>> models = reasoner.load_together({"names": "output/ner", "inference": "output/nli"})  # doctest: +SKIP
        >>> models["names"].predict("Ada Lovelace lived in London.")  # doctest: +SKIP
    """
    if not folders:
        raise ConfigError("load_together was given no folder. Give a name and a folder for each model.")
    with collect():
        loaded: dict[str, Result] = {}
        shared = 0
        for name, folder in folders.items():
            result = load(folder, use_cpu=use_cpu, batch_size=batch_size)
            network = result.predictor.model.network
            shared += sum(share_weights(network, earlier.predictor.model.network) for earlier in loaded.values())
            loaded[name] = result
        say(f"{len(loaded)} models are loaded; {mebibytes(shared)} of weights that are equal are held once.")
        return loaded


def _checked_folder(output_dir: str | Path | None, resume: bool, seeds: Sequence[int] | None) -> Path | None:
    """Return the folder; refuse a path that is a file, and `resume` where it means nothing."""
    if resume and output_dir is None:
        raise ConfigError("resume=True needs output_dir, where the checkpoints are.")
    if resume and seeds is not None:
        raise ConfigError("resume=True does not go with seeds. Train once with each seed, in a folder of its own.")
    if output_dir is None:
        return None
    folder = Path(output_dir)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"output_dir '{folder}' is a file. Give a folder.")
    return folder


@contextmanager
def _at_work_in(folder: Path | None, resume: bool) -> Iterator[None]:
    """Keep other runs out of a folder inside the block; clear it of what a killed one left, say what is replaced."""
    if folder is None:
        yield
        return
    with locked(folder):
        remove_unfinished(folder)
        if not resume and (folder / CONFIG_FILE).exists():
            say(f"'{folder.name}' holds an earlier model; it is replaced when this run has its first score.")
        yield
