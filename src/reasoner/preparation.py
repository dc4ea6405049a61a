"""From what the user named (a model, data, a task, a method) to parts that can be trained."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import nn

import reasoner
from reasoner.checks.reading import ReadingRecord, Recorder
from reasoner.checks.subject import Subject
from reasoner.data.batching import padding_of
from reasoner.data.examples import Example, examples_from_rows
from reasoner.data.rows import Row
from reasoner.data.sources import read_splits
from reasoner.data.splits import cut_validation
from reasoner.data.streams import Stream, StreamedRows, stream_taken_out
from reasoner.edits.changing import with_counterfactuals
from reasoner.edits.rows import augmented
from reasoner.errors import ConfigError, DataError, Problem, raise_if_any
from reasoner.evaluation import Encoded
from reasoner.inference import Predictor
from reasoner.layerwise import check_reinitialized, reinitialize
from reasoner.methods.base import Method, check_learns
from reasoner.model import LONGEST_DEFAULT, TaskModel, length_limit, read_config
from reasoner.networks import check_max_length, token_type_embeddings
from reasoner.notices import say
from reasoner.registry import resolve
from reasoner.streaming import check_stream, settings_for, task_from
from reasoner.tasks.base import Task
from reasoner.training.config import TrainingConfig
from reasoner.training.engine import choose_device, seed_everything


def task_class_and_settings(task: str | Task[Any, Any]) -> tuple[type[Task[Any, Any]], dict[str, Any]]:
    """Return the class of a task given by name or as an object, and its settings."""
    if isinstance(task, str):
        return resolve("task", task), {}
    if isinstance(task, Task):
        return type(task), task.settings()
    raise ConfigError(f"task is {task!r:.60}. Give a name such as 'ner', or a Task object such as NER().")


def as_method(method: str | Method | None) -> Method:
    """Return the method given by name (with its default settings) or as an object; None: "full"."""
    if isinstance(method, Method):
        return method
    if method is None or isinstance(method, str):
        made: Method = resolve("method", "full" if method is None else method)()
        return made
    raise ConfigError(f"method is {method!r:.60}. Give a name such as 'full', or an object such as Freeze(layers=4).")


def read_examples(
    data: Any,
    example: type[Example],
    *,
    config: TrainingConfig,
    columns: Mapping[str, Any] | None = None,
    record: ReadingRecord | None = None,
    streams: bool = False,
) -> dict[str, Any]:
    """Read all splits, check every row, and cut off a validation split if there is none.

    Args:
        data: as in `fine_tune`.
        example: the task's schema.
        config: for the share of validation rows and the seed.
        columns: as in `fine_tune`.
        record: takes what is met in each row.
        streams: whether the training rows may be a stream; of one the first rows are read, see `StreamedRows`.

    Raises:
        DataError: with all problems of all splits.
        ConfigError: if the training rows are a stream, and may be none, or see `check_stream`.
    """
    record = ReadingRecord() if record is None else record
    splits = _readable(data, example, columns, record, config, streams=streams)
    raise_if_any(record.problems)
    return _with_validation(splits, config)


def readable_examples(
    data: Any,
    example: type[Example],
    *,
    config: TrainingConfig,
    columns: Mapping[str, Any] | None = None,
    record: ReadingRecord,
) -> dict[str, Any]:
    """Do as `read_examples` does, but leave out what cannot be used: its problems go into the `record`."""
    splits = _readable(data, example, columns, record, config, streams=True)
    try:
        return splits if record.problems else _with_validation(splits, config)
    except DataError as error:
        record.add(error)
        return splits


def _readable(
    data: Any,
    example: type[Example],
    columns: Mapping[str, Any] | None,
    record: ReadingRecord,
    config: TrainingConfig,
    *,
    streams: bool,
) -> dict[str, Any]:
    """Return the examples of the splits that have any, in the order in which splits are told."""
    source, others = stream_taken_out(data)
    stream = None if source is None else Stream(source, example, columns=columns)
    if stream is not None and not streams:
        raise ConfigError("train is a stream, which fine_tune and check alone can read. Give a part of it as rows, "
                          "such as list(stream.take(10_000)).")  # fmt: skip
    if stream is not None:
        check_stream(others, config)
    try:
        rows = {"train": stream.first()} if stream is not None else {}
        rows |= read_splits(others, columns=columns, problems=record.problems)
    except DataError as error:
        record.add(error)
        return {}
    record.problems += _split_problems(rows)
    splits: dict[str, Any] = {split: _readable_rows(split, part, example, record) for split, part in rows.items()}
    if not record.problems:
        record.problems += _split_problems(splits)
    splits = {split: part for split, part in splits.items() if part}
    if stream is not None and "train" in splits:
        splits["train"] = StreamedRows(splits["train"], stream)
    return splits


def _readable_rows(split: str, rows: Sequence[Row], example: type[Example], record: ReadingRecord) -> list[Any]:
    """Return the examples of a split's rows, those left out that cannot be used."""
    recorder: Any = Recorder(example, split, record)  # stands in for the example class
    try:
        return examples_from_rows({split: rows}, recorder)[split]
    except DataError as error:
        record.add(error)
    usable = [row for row in rows if (split, row.where) not in record.refused]
    try:
        return examples_from_rows({split: usable}, example)[split]
    except DataError:  # all others were dropped
        return []


def _with_validation(splits: dict[str, list[Any]], config: TrainingConfig) -> dict[str, list[Any]]:
    """Return the splits, with some of the training examples as the validation split if there is none.

    Raises:
        DataError: if none can be spared.
    """
    if "train" not in splits or "validation" in splits:
        return splits
    whole = splits["train"]
    strata = [item.stratum for item in whole]
    if len(set(strata)) > len(strata) / 2:  # numbers, or sets of labels, that hardly ever repeat: no classes
        strata = [None] * len(strata)
    groups = [item.group for item in whole]
    kept, cut = cut_validation(groups, strata, share=config.validation_share, seed=config.seed)
    say(f"No validation split was given: {len(cut)} of {len(whole)} training rows were cut off for it "
        f"(seed {config.seed}, {whole[0].kept_together} on one side).")  # fmt: skip
    splits = {**splits, "train": [whole[index] for index in kept], "validation": [whole[index] for index in cut]}
    return {name: splits[name] for name in ("train", "validation", "test") if name in splits}


def _split_problems(splits: Mapping[str, Sequence[Any]]) -> list[Problem]:
    problems = []
    if "train" not in splits:
        what = f"there is no train split, only {', '.join(splits)}"
        problems.append(Problem("data", what, "Give {'train': ...}.", code="empty_split"))
    what, remedy = "holds one row, and nothing can be learned or scored on one", "Give more, or leave it out."
    return problems + [
        Problem(name, what, remedy, code="empty_split") for name, rows in splits.items() if len(rows) == 1
    ]


def build_predictor(
    source: Any, task: Task[Any, Any], *, config: TrainingConfig, tokenizer: Any = None, reserved: int = 0,
    taken_over: bool = False,
) -> Predictor:  # fmt: skip
    """Load model and tokenizer for a task, on the device where it will run, seeded.

    Args:
        source: the checkpoint.
        task: see `TaskModel`.
        config: all settings.
        tokenizer: as in `fine_tune`.
        reserved: positions of the model that no text gets; see `Method`.
        taken_over: see `TaskModel.from_pretrained`.

    Raises:
        ConfigError: if they cannot be loaded, the tokenizer gives no offsets, or the architecture has no checkpointing
            of gradients and it is asked for.
    """
    known = read_config(source)
    task = task.matched_to(known)
    tokenizer = load_tokenizer(source, given=tokenizer)
    task = task.fitted_to(known, tokenizer)
    seed_everything(config.seed)
    model = TaskModel.from_pretrained(source, task, dropout=config.dropout, taken_over=taken_over)
    if config.reinitialize_layers:
        reinitialize(model.network, config.reinitialize_layers)
    if config.gradient_checkpointing:
        _compute_again(model.network)
    if getattr(model.network.config, "pad_token_id", None) is None:  # decoders that classify a text look for its end
        model.network.config.pad_token_id = padding_of(tokenizer)["input_ids"]
    limit = length_limit(model.network, tokenizer) - reserved
    check_max_length(config.max_length, limit)
    max_length = config.max_length or min(limit, LONGEST_DEFAULT)
    stride = config.stride if config.stride is not None else max_length // 4
    model.to(choose_device(config.use_cpu))
    model.pack(config.packing, padding_side=tokenizer.padding_side)
    return Predictor(
        model=model,
        tokenizer=tokenizer,
        task=task,
        max_length=max_length,
        stride=stride,
        batch_size=config.per_device_eval_batch_size,
        tokens_per_batch=config.tokens_per_batch,
        bf16=config.bf16,
    )


def _compute_again(network: Any) -> None:
    """Let the network compute activations again in the backward pass (Chen et al., https://arxiv.org/abs/1604.06174)."""
    if not network.supports_gradient_checkpointing:
        raise ConfigError(f"{type(network).__name__} has no gradient_checkpointing. Leave it out, and give a smaller "
                          "per_device_train_batch_size with more gradient_accumulation_steps.")  # fmt: skip
    # transformers is about to change the name
    enable = getattr(network, "activation_checkpointing_enable", None) or network.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def prepared(
    source: Any,
    task: Task[Any, Any],
    examples: Mapping[str, Sequence[Any]],
    *,
    method: Method,
    config: TrainingConfig,
    tokenizer: Any,
    begin: Callable[[Predictor], None] | None = None,
    replayed: Sequence[Any] = (),
) -> tuple[Predictor, dict[str, Encoded]]:
    """Return a predictor whose weights the method has marked, and the examples of each split as it encodes them.

    Args:
        source: as in `build_predictor`, like `task`, `config` and `tokenizer`.
        task: see there.
        examples: by split.
        method: marks the weights.
        config: see there.
        tokenizer: see there.
        begin: gives the predictor other weights to begin with.
        replayed: old examples, which come behind the training rows.

    Raises:
        ConfigError: see `build_predictor`.
    """
    predictor = build_predictor(source, task, config=config, tokenizer=tokenizer, reserved=method.reserved_positions,
                                taken_over=begin is not None)  # fmt: skip
    if begin is not None:
        begin(predictor)
    rows = augmented(predictor, with_counterfactuals(predictor.task, examples, config), config)
    if replayed:
        rows = {**rows, "train": [*rows["train"], *replayed]}
    encoded = {split: predictor.encode(part, name=split, cache=config.feature_cache) for split, part in rows.items()}
    method.apply(predictor.model)
    check_learns(predictor.model, method)
    if predictor.task.token_types and predictor.model.added is not None:
        raise ConfigError(
            f"case_features learn in the embeddings of token types, which {type(method).__name__} neither trains nor "
            "saves. Take a method that trains them, such as full, or leave case_features out."
        )
    if predictor.task.token_types and not token_type_embeddings(predictor.model.network).weight.requires_grad:
        say("The method freezes the embeddings of token types: what they tell of word shapes is not learned.")
    if config.reinitialize_layers:
        check_reinitialized(predictor.model, config.reinitialize_layers)
    return predictor, encoded


def checked_subject(
    source: Any,
    data: Any,
    *,
    task: str | Task[Any, Any],
    method: str | Method,
    config: TrainingConfig,
    columns: Mapping[str, Any] | None,
    tokenizer: Any,
) -> Subject:
    """Make all that the checks look at; what the data's errors leave no way to make is left out.

    Args:
        source: the checkpoint.
        data: as in `fine_tune`, like all that follows.
        task: see there.
        method: see there.
        config: all settings.
        columns: see there.
        tokenizer: see there.

    Raises:
        ConfigError: as `fine_tune` does.
    """
    method = as_method(method)
    task_class, settings = task_class_and_settings(task)
    record = ReadingRecord()
    read = readable_examples(data, task_class.schema(settings), config=config, columns=columns, record=record)
    config = settings_for(config, read.get("train", ()))
    learned, examples = _learned(task_class, settings, read, record)
    if learned is None:
        parts: dict[str, Any] = {"tokenizer": load_tokenizer(source, given=tokenizer)}
    else:
        predictor, encoded = prepared(source, learned, examples, method=method, config=config, tokenizer=tokenizer)
        parts = {"tokenizer": predictor.tokenizer, "predictor": predictor, "encoded": encoded}
    return Subject(
        examples=examples, record=record, config=config, source=source, task_class=task_class, learned=learned, **parts
    )


def _learned(
    task_class: type[Task[Any, Any]], settings: Mapping[str, Any], splits: dict[str, list[Any]], record: ReadingRecord
) -> tuple[Task[Any, Any] | None, dict[str, list[Any]]]:
    """Return the task, if it can be made, and the examples that it was made of: those that it refuses are left out."""
    while splits.get("train"):
        try:
            return task_from(task_class, settings, splits), splits
        except DataError as error:
            record.add(error)
            refused = {problem.where for problem in error.problems}
        kept = {split: [item for item in part if item.where not in refused] for split, part in splits.items()}
        if sum(map(len, kept.values())) == sum(map(len, splits.values())):
            break
        splits = {split: part for split, part in kept.items() if part}
    return None, splits


def load_tokenizer(source: Any, *, given: Any = None) -> Any:
    """Return the model's fast tokenizer, or a copy of the one given, with no truncation or padding of its own.

    Raises:
        ConfigError: if there is none, or it gives no offsets.
    """
    tokenizer = deepcopy(given) if given is not None else _tokenizer_of(source)
    if not tokenizer.is_fast:
        raise ConfigError(f"The tokenizer of '{tokenizer.name_or_path}' gives no character offsets. "
                          "A fast one (tokenizer.json) is needed.")  # fmt: skip
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer


def _tokenizer_of(source: Any) -> Any:
    from transformers import AutoTokenizer

    name = read_config(source)._name_or_path if isinstance(source, nn.Module) else source
    if not name:
        raise ConfigError("The model object does not say where its tokenizer is. "
                          "Give it: fine_tune(..., tokenizer=...).")  # fmt: skip
    try:
        return AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ConfigError(f"The tokenizer of '{name}' cannot be loaded: {error}") from error


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    packages = {name: version(name) for name in ("torch", "transformers")}
    return {"reasoner": reasoner.__version__, "python": platform.python_version(), **packages}


def name_of_model(model: Any) -> str:
    """Return for the record what was tuned, without the folders of this machine."""
    if model is None:
        return "all-MiniLM-L6-v2 (embedded)"
    return _name_of_source(model)


def names_of_sources(data: Any, splits: Sequence[str]) -> dict[str, str]:
    """Return for the record where each split came from, without the folders of this machine."""
    named = data if isinstance(data, Mapping) else dict.fromkeys(splits, data)
    return {str(split): _name_of_source(source) for split, source in named.items()}


def _name_of_source(source: Any) -> str:
    if isinstance(source, (str, Path)):
        return Path(source).name if Path(source).exists() else str(source)
    return type(source).__name__
