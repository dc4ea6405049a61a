"""A recipe: which method, settings of the training and settings of the task were found to go well together?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, NamedTuple

from reasoner.errors import ConfigError, suggestion
from reasoner.methods.base import Method
from reasoner.notices import say
from reasoner.preparation import as_method, task_class_and_settings
from reasoner.registry import name_of
from reasoner.tasks.base import Task
from reasoner.training.config import TrainingConfig


class Resolved(NamedTuple):
    """What is trained, and how."""

    task: str | Task[Any, Any]
    method: Method
    config: TrainingConfig


def resolve_recipe(
    recipe: str | None,
    *,
    task: str | Task[Any, Any],
    method: str | Method | None,
    config: TrainingConfig | None,
    overrides: Mapping[str, Any],
) -> Resolved:
    """Return task, method and settings under a recipe of the task (`Task.recipes`), and say what it sets.

    What the user has set stays: all of `overrides`, a method that is named, and what differs from its default in
    `config` and in a task that is given as an object.

    Args:
        recipe: its name; None: nothing is changed.
        task: as in `fine_tune`.
        method: as in `fine_tune`; None: that of the recipe, or "full".
        config: as in `fine_tune`.
        overrides: fields of `TrainingConfig`.

    Raises:
        ConfigError: if the task has no such recipe, or an override is unknown or makes no sense.
    """
    config = TrainingConfig.from_overrides(config, dict(overrides))
    if recipe is None:
        return Resolved(task, as_method(method), config)
    task_class, settings = task_class_and_settings(task)
    name = name_of("task", task_class)
    if recipe not in task_class.recipes:
        raise ConfigError(f"recipe is {recipe!r:.60}, which '{name}' does not have. "
                          f"{suggestion(str(recipe), task_class.recipes)}")  # fmt: skip
    wanted = dict(task_class.recipes[recipe])
    kept = _set_by_user(task_class, settings, config, overrides) | ({"method"} if method is not None else set())
    taken = {key: value for key, value in wanted.items() if key not in kept}
    _tell(recipe, name, taken, sorted(wanted.keys() & kept))
    method = taken.pop("method", None) if method is None else method
    of_training = {item.name for item in fields(TrainingConfig)}
    changes = {key: value for key, value in taken.items() if key in of_training}
    own = {key: value for key, value in taken.items() if key not in of_training}
    return Resolved(
        task_class(**{**settings, **own}) if own else task,
        as_method(method),
        TrainingConfig.from_overrides(config, changes),
    )


def _set_by_user(
    task_class: type[Task[Any, Any]],
    settings: Mapping[str, Any],
    config: TrainingConfig,
    overrides: Mapping[str, Any],
) -> set[str]:
    """Return the names of what the user has set."""
    changed = {name for name, usual in _defaults(TrainingConfig).items() if getattr(config, name) != usual}
    of_task = _defaults(task_class)
    return changed | set(overrides) | {name for name, value in settings.items() if value != of_task.get(name, MISSING)}


def _defaults(of: type[Any]) -> dict[str, Any]:
    made = {item.name: item.default_factory() for item in fields(of) if item.default_factory is not MISSING}
    return made | {item.name: item.default for item in fields(of) if item.default is not MISSING}


def _tell(recipe: str, task: str, taken: Mapping[str, Any], kept: list[str]) -> None:
    listed = ", ".join(f"{key}={value!r}" for key, value in taken.items()) or "nothing"
    as_set = f" Kept as you set it: {', '.join(kept)}." if kept else ""
    say(f"recipe='{recipe}' for {task} sets {listed}.{as_set}")
