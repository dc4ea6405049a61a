"""From what the user named to the model that a training goes on from, with the old rows that it is held to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reasoner.added import PeftAdded
from reasoner.base_model import find_base, name_of_base
from reasoner.errors import CheckpointError, ConfigError
from reasoner.notices import say
from reasoner.preparation import read_examples
from reasoner.previous.known import Previous
from reasoner.protections import OwnAdapter, Protection, as_protection
from reasoner.result import Result, load_result
from reasoner.training.config import TrainingConfig


def previous_of(
    after: Result | str | Path | None,
    *,
    model: Any = None,
    protect: Sequence[Any],
    protection: str | Protection | None,
    config: TrainingConfig,
    columns: Mapping[str, Any] | None = None,
) -> Previous | None:
    """Return the old model, opened, with what protects it; None: there is none.

    Args:
        after: the folder of a model that this library tuned, or a `Result`.
        model: refused beside `after`.
        protect: a list of old data sets, each as `fine_tune` takes data.
        protection: a name or an object.
        config: for the device, and for what is cut off for validation.
        columns: as in `fine_tune`.

    Raises:
        ConfigError: if something is asked for that has no meaning without something else.
        DataError: if old rows cannot be used.
    """
    if model is not None and after is not None:
        raise ConfigError("Both model and after are given, and training can begin at one of them. Leave model None.")
    protection = as_protection(protection)
    if isinstance(protect, (str, Path, Mapping)) or not isinstance(protect, Sequence):
        raise ConfigError(f"protect is {protect!r:.60}. Give a list of old data sets, such as protect=['old.jsonl'].")
    if after is None:
        for name, given in (("protect", protect), ("protection", protection)):
            if given:
                raise ConfigError(f"{name} means nothing without after=, the model that is taught again.")
        return None
    if isinstance(protection, OwnAdapter) and protect:
        raise ConfigError("protection='adapters' leaves the old model as it is: there is nothing to protect. Leave "
                          "protect out.")  # fmt: skip
    if protection is not None and protection.needs_rows and not protect:
        raise ConfigError(f"{type(protection).__name__} works with old rows. Give protect=[old data], or take 'lwf', "
                          "which needs none.")  # fmt: skip
    result, name = _opened(after, config)
    task = result.predictor.task
    schema = task.schema(task.settings())
    protected = [read_examples(data, schema, config=config, columns=columns) for data in protect]
    result, source, base_name = _begun_with(result, after, protection)
    say(f"'{name}' is taught again: it was tuned from {result.run.model} by {result.run.method} on "
        f"{result.run.rows.get('train', 0):,} rows, and is protected by {protection or 'nothing'}.")  # fmt: skip
    return Previous(
        predictor=result.predictor, run=result.run, name=name, source=source, base_name=base_name, given=after,
        protection=protection, protected=protected,
    )  # fmt: skip


def _opened(after: Any, config: TrainingConfig) -> tuple[Result, str]:
    if isinstance(after, Result):
        return after, "a result in memory"
    if not isinstance(after, (str, Path)):
        raise ConfigError(f"after is {after!r:.60}. Give the folder of a model that this library tuned, or a Result.")
    try:
        opened = load_result(after, use_cpu=config.use_cpu, batch_size=config.per_device_eval_batch_size)
    except CheckpointError as error:
        raise ConfigError(f"after: {error}") from error
    return opened, Path(after).resolve().name


def _begun_with(result: Result, after: Any, protection: Protection | None) -> tuple[Result, Any, str]:
    """Return the old model as a plain one, where the new one's layers are from, and where its weights are.

    Raises:
        ConfigError: if what a method added cannot be folded in.
    """
    model = result.predictor.model
    base = model.base
    folder = "" if isinstance(after, Result) or base is not None else name_of_base(str(after))
    if isinstance(protection, OwnAdapter):
        source = find_base(base["name"]) if base is not None else folder or model.network
        return result, source, ""
    if model.added is None:
        return result, model.network, folder
    if not isinstance(model.added, PeftAdded) or model.added.virtual_tokens:
        raise ConfigError(f"after: what {result.run.method} added cannot be folded into the weights, which are to be "
                          "taught again. Take protection='adapters', which puts a new one beside it.")  # fmt: skip
    say(f"What {result.run.method} learned is folded into the weights first.")
    merged = result.merge()
    return merged, merged.predictor.model.network, ""
