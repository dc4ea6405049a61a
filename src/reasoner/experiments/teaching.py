"""How is a model taught batch after batch in one call, and what is left of each batch after the next ones?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoner import fingerprints
from reasoner.base_model import model_source
from reasoner.checks.reading import ReadingRecord
from reasoner.continuing import previous_of
from reasoner.errors import ConfigError, raise_if_any
from reasoner.experiments.records import Records
from reasoner.methods.base import Method
from reasoner.notices import collect, tell
from reasoner.preparation import as_method, build_predictor, names_of_sources, read_examples, task_class_and_settings
from reasoner.protections import OwnAdapter, Protection, as_protection
from reasoner.registry import resolve
from reasoner.reports.teaching import Teaching
from reasoner.result import Result
from reasoner.storage import made_of_finished, remove_unfinished
from reasoner.tasks.base import Task
from reasoner.training.callbacks import Callback
from reasoner.training.config import TrainingConfig
from reasoner.training.lock import locked
from reasoner.training.memory import release_memory
from reasoner.training.ranks import refuse_several
from reasoner.tuning import train_on_examples

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ADDING = ("adapter", "lora", "ia3", "prefix", "prompt")
"""Methods that put weights of their own beside the base model's."""


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What all batches have in common."""

    model: Any
    batches: Mapping[str, Any]
    """The data of each, as they were given."""
    examples: Sequence[Mapping[str, Sequence[Any]]]
    readings: Sequence[ReadingRecord]
    task: str | Task[Any, Any]
    method: Method
    protection: Protection | None
    folder: Path
    config: TrainingConfig
    columns: Mapping[str, Any] | None
    tokenizer: Any
    callbacks: Sequence[Callback]
    check: bool

    @property
    def folders(self) -> list[Path]:
        """Where the model after each batch is kept."""
        return [self.folder / f"batch-{number}" for number in range(1, len(self.batches) + 1)]


def teach(
    model: str | Path | PreTrainedModel | None,
    batches: Mapping[str, Any] | Sequence[Any],
    *,
    task: str | Task[Any, Any],
    output_dir: str | Path,
    protection: str | Protection | None = None,
    method: str | Method = "full",
    columns: Mapping[str, Any] | None = None,
    tokenizer: Any = None,
    callbacks: Sequence[Callback] = (),
    check: bool = True,
    config: TrainingConfig | None = None,
    **overrides: Any,
) -> Teaching:
    """Teach a model several batches of data in the order of time, and say what is left of each after the next ones.

    Each batch is what `fine_tune(after=...)` does, and all earlier batches are what it protects. Called again with the
    same arguments it goes on where it was, even if it was killed, and ends with the same figures; with further batches
    behind those that were taught it teaches these.

    Args:
        model: as in `fine_tune`.
        batches: in the order of time, each data as in `fine_tune`; in a mapping they have names. A batch is scored on
            its test split, without one on validation.
        task: as in `fine_tune`; labels are those of the batches so far.
        output_dir: where the model after each batch is kept, in `batch-1`, `batch-2`, and the scores (`runs/*.json`).
        protection: as in `fine_tune`. With "adapters" each batch has a model of its own on the same base.
        method: as in `fine_tune`; with "adapters" one that adds weights, else one that adds none.
        columns: as in `fine_tune`.
        tokenizer: as in `fine_tune`.
        callbacks: as in `fine_tune`, for each batch.
        check: as in `fine_tune`.
        config: as in `fine_tune`; `evaluate_before` is off if none is given.
        overrides: fields of `TrainingConfig`. With `max_forgetting` all earlier batches are scored at each evaluation.

    Raises:
        ConfigError: if there are fewer than two batches, or as `fine_tune`.
        DataError: if the data cannot be used; all batches are read before the first is taught.

    Example:
        >>> import reasoner
        >>> packs = [reasoner.synthetic.ner_pack(train=40, validation=20, test=20, seed=seed) for seed in (0, 1)]
        >>> taught = reasoner.teach(None, packs, task="ner", output_dir="output")  # doctest: +SKIP
        >>> print(taught.transfer.forgetting)  # doctest: +SKIP
    """
    refuse_several("teach")
    config = TrainingConfig.from_overrides(config or TrainingConfig(evaluate_before=False), overrides)
    named, protection, method = _named(batches), as_protection(protection), as_method(method)
    _check(named, protection, method, config)
    folder = Path(output_dir)
    with collect(), ExitStack() as held:
        held.enter_context(locked(folder))
        task_class, settings = task_class_and_settings(task)
        schema, readings = task_class.schema(settings), [ReadingRecord() for _ in named]
        examples = [
            read_examples(data, schema, config=config, columns=columns, record=reading)
            for data, reading in zip(named.values(), readings, strict=True)
        ]
        plan = _Plan(
            model=model, batches=named, examples=examples, readings=readings, task=task, method=method,
            protection=protection, folder=folder, config=config, columns=columns, tokenizer=tokenizer,
            callbacks=callbacks, check=check,
        )  # fmt: skip
        return _taught(plan)


def _named(batches: Any) -> dict[str, Any]:
    if isinstance(batches, Mapping) and not set(batches) & {"train", "validation", "test"}:
        return {str(name): data for name, data in batches.items()}
    if isinstance(batches, (str, Path, Mapping)) or not isinstance(batches, Sequence):
        raise ConfigError(f"batches is {batches!r:.60}. Give a list of data sets, or a dict of them by name.")
    return {f"batch {number}": data for number, data in enumerate(batches, start=1)}


def _check(batches: Mapping[str, Any], protection: Protection | None, method: Method, config: TrainingConfig) -> None:
    """Refuse, before anything is read, what could not be taught to its end.

    Raises:
        ConfigError: with what to do instead.
    """
    if len(batches) < 2:
        raise ConfigError(f"There are {len(batches)} batches, and nothing can be forgotten. Give two, or fine_tune.")
    if config.refit:
        raise ConfigError("refit keeps no checkpoints, and a teaching must be able to go on. Leave refit out.")
    adds = isinstance(method, tuple(resolve("method", name) for name in ADDING))
    if adds and not isinstance(protection, OwnAdapter):
        raise ConfigError(f"{type(method).__name__} adds weights to a base model, and the next batch would need others "
                          "there. Give protection='adapters', or a method that adds none, such as 'full'.")  # fmt: skip
    if isinstance(protection, OwnAdapter) and config.max_forgetting is not None:
        raise ConfigError("protection='adapters' forgets nothing. Leave max_forgetting out.")
    if isinstance(protection, OwnAdapter) and not adds:
        raise ConfigError("protection='adapters' needs a method that adds weights: method='adapter' or 'lora'.")


def _taught(plan: _Plan) -> Teaching:
    """Teach each batch, score it on all, and put the scores together."""
    records, result = Records(plan.folder), None
    lines: list[list[float | None]] = []
    untrained: list[float | None] = [None] * len(plan.batches)
    stopped: list[bool] = []
    for number, name in enumerate(plan.batches):
        tell(f"Batch {number + 1} of {len(plan.batches)}: {name}.")
        with collect(apart=True):
            result = _one_batch(plan, number)
            record = _scored(plan, number, result, records, lines)
        lines.append(record["scores"])
        stopped.append(result.run.stopped_early)
        if number + 1 < len(plan.batches):
            untrained[number + 1] = record["untrained"]
        release_memory()
    assert result is not None
    return Teaching(
        task=result.run.task,
        metric=result.run.primary_metric,
        protection="none" if plan.protection is None else repr(plan.protection),
        method=repr(plan.method),
        batches=tuple(plan.batches),
        matrix=tuple(map(tuple, lines)),
        untrained=tuple(untrained),
        folders=tuple(plan.folders),
        stopped=tuple(stopped),
        told_apart=isinstance(plan.protection, OwnAdapter),
    )


def _one_batch(plan: _Plan, number: int) -> Result:
    """Teach one batch, go on with it, or load what came of it."""
    folder, data = plan.folders[number], list(plan.batches.values())
    needs_old = plan.config.max_forgetting is not None or (plan.protection is not None and plan.protection.needs_rows)
    config = plan.config
    if not number:  # there is no old model yet
        config = TrainingConfig.from_overrides(config, {"max_forgetting": None, "complete_labels": False})
    previous = None
    if number:
        previous = previous_of(plan.folders[number - 1], protect=data[:number] if needs_old else [],
                               protection=plan.protection, config=config, columns=plan.columns)  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    remove_unfinished(folder)
    return train_on_examples(
        None if number else plan.model,
        plan.examples[number],
        task=plan.task,
        method=plan.method,
        config=config,
        folder=folder,
        tokenizer=None if number else plan.tokenizer,
        callbacks=plan.callbacks,
        sources=names_of_sources(data[number], list(plan.examples[number])),
        record=plan.readings[number] if plan.check else None,
        resume=True,
        previous=previous,
    )


# --- the scores ------------------------------------------------------------------------------------------------------


def _scored(
    plan: _Plan, number: int, result: Result, records: Records, lines: Sequence[Sequence[float | None]]
) -> dict[str, Any]:
    """Return the scores of a model on all batches; what an earlier call worked out is read."""
    tests = [_test(examples) for examples in plan.examples]
    parts = {
        "run": made_of_finished(plan.folders[number]),
        "tests": [fingerprints.of_examples({"test": part}) for part in tests],
    }
    key = f"after-{number + 1}-{fingerprints.fingerprint(parts)}"
    found = records.find(key)
    if found is not None:
        return found
    own_alone = isinstance(plan.protection, OwnAdapter)  # what earlier models know stays as it is
    scores = [
        lines[place][place] if own_alone and place < number else _score(result, name, part)
        for place, (name, part) in enumerate(zip(plan.batches, tests, strict=True))
    ]
    following = number + 1
    untrained = None
    if following < len(tests) and scores[following] is not None:
        task, config = result.predictor.task, plan.config
        fresh = build_predictor(model_source(plan.model), task, config=config, tokenizer=plan.tokenizer)
        evaluated = fresh.evaluate_examples(tests[following], name="untrained").metrics
        untrained = float(evaluated[task.primary_metric])
    return records.keep(key, {"error": None, "scores": scores, "untrained": untrained})


def _test(examples: Mapping[str, Sequence[Any]]) -> Sequence[Any]:
    return examples["test"] if "test" in examples else examples["validation"]


def _score(result: Result, name: str, examples: Sequence[Any]) -> float | None:
    """Return the primary metric; None: the model has no output for some of the labels."""
    predictor = result.predictor
    problems = predictor.task.problems(examples)
    if problems and all(problem.code == "unseen_label" for problem in problems):
        return None
    raise_if_any(problems)
    return float(predictor.evaluate_examples(examples, name=name).metrics[predictor.task.primary_metric])
