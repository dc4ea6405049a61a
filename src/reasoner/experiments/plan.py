"""What is compared: which model, task, method and settings does each variant have, and which runs are made?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from itertools import product
from typing import Any, NamedTuple

from reasoner.asking import Asking, asking
from reasoner.errors import ConfigError
from reasoner.methods.base import Method
from reasoner.preparation import as_method, name_of_model, task_class_and_settings
from reasoner.recipes import resolve_recipe
from reasoner.seeds import configs_of_seeds
from reasoner.tasks.base import Task
from reasoner.training.config import TrainingConfig

UNTRAINED = ("zero_shot", "few_shot")
"""Keys of variants of which nothing is trained."""


class Variant(NamedTuple):
    """One of the things that are compared: what `fine_tune` is given."""

    name: str
    model: Any
    task: str | Task[Any, Any]
    method: Method
    tokenizer: Any
    config: TrainingConfig
    asking: Asking | None = None
    """Nothing is trained: the model is asked."""


def variants_of(
    base: Variant,
    variants: Mapping[str, Mapping[str, Any]] | None,
    lists: Mapping[str, Sequence[Any]],
    method: str | Method | None,
) -> Iterator[Variant]:
    """Yield the base with what each variant changes; the method is that of variants that name none.

    Raises:
        ConfigError: if both forms or none are given, or a variant cannot be made.
    """
    if (variants is None) == (not lists):
        raise ConfigError("Give what is to be compared: variants={name: {...}}, or methods, models or heads as lists.")
    if variants is None:
        variants = _combinations(base, lists)
    for name, changes in variants.items():
        if any(kind in changes for kind in UNTRAINED):
            yield _untrained(base, str(name), changes)
            continue
        own = {key: changes[key] for key in ("model", "method", "task", "tokenizer") if key in changes}
        settings = {key: value for key, value in changes.items() if key not in (*own, "recipe")}
        if "seed" in settings:
            raise ConfigError(f"Variant '{name}' sets seed, which is the same for all. Give seeds=[...].")
        try:
            resolved = resolve_recipe(
                changes.get("recipe"),
                task=own.pop("task", base.task),
                method=own.pop("method", method),
                config=base.config,
                overrides=settings,
            )
        except ConfigError as error:
            raise ConfigError(f"Variant '{name}': {error}") from error
        yield base._replace(**own, **resolved._asdict(), name=str(name))


def _untrained(base: Variant, name: str, changes: Mapping[str, Any]) -> Variant:
    """Return a variant of which nothing is trained.

    Raises:
        ConfigError: if it names what is for training, or a setting is unknown.
    """
    kind = next(kind for kind in UNTRAINED if kind in changes)
    own = {key: changes[key] for key in ("model", "task", "tokenizer") if key in changes}
    if others := [key for key in changes if key not in (*own, kind)]:
        raise ConfigError(f"Variant '{name}' is {kind} and sets {others[0]}. It takes model, task and tokenizer "
                          f"beside {kind}; its own settings stand in there.")  # fmt: skip
    if not isinstance(given := changes[kind], Mapping):
        raise ConfigError(f"Variant '{name}': {kind} is {given!r:.40}. Give its settings: "
                          f'{{"{kind}": {{"by": "likelihood"}}}}.')  # fmt: skip
    try:
        asked = asking(kind, given, seed=base.config.seed, use_cpu=base.config.use_cpu)
    except ConfigError as error:
        raise ConfigError(f"Variant '{name}': {error}") from error
    return base._replace(**own, name=name, asking=asked)


def _combinations(base: Variant, lists: Mapping[str, Sequence[Any]]) -> dict[str, dict[str, Any]]:
    """Return a variant for each combination of the lists' members, named by them."""
    task_class, settings = task_class_and_settings(base.task)
    fields_of: dict[str, Callable[[Any], tuple[str, dict[str, Any]]]] = {
        "methods": lambda method: (_short(as_method(method)), {"method": method}),
        "models": lambda model: (name_of_model(model), {"model": model}),
        "heads": lambda head: (head, {"task": task_class(**{**settings, "head": head})}),
    }
    made: dict[str, dict[str, Any]] = {}
    for members in product(*([fields_of[name](member) for member in of] for name, of in lists.items())):
        name = ", ".join(label for label, _ in members)
        if name in made:
            raise ConfigError(f"'{name}' is there twice. Give each once, or name them: variants={{name: {{...}}}}.")
        made[name] = {key: value for _, changes in members for key, value in changes.items()}
    return made


def _short(method: Method) -> str:
    """Return a method with the settings that are not its defaults."""
    changed = (
        f"{item.name}={value!r}" for item in fields(method) if (value := getattr(method, item.name)) != item.default
    )
    return f"{type(method).__name__}({', '.join(changed)})"


def planned(variants: Sequence[Variant], seeds: Sequence[int], overrides: Mapping[str, Any]) -> list[Variant]:
    """Return the runs: all variants with the first seed, then with the next; zero-shot, which knows no seed, once."""
    configs = [configs_of_seeds(variant.config, seeds, overrides) for variant in variants]
    return [
        variant._replace(config=config, asking=variant.asking and replace(variant.asking, seed=config.seed))
        for number, of_seed in enumerate(zip(*configs, strict=True))
        for variant, config in zip(variants, of_seed, strict=True)
        if number == 0 or variant.asking is None or variant.asking.few
    ]
