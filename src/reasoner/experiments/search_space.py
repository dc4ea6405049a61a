"""Among which settings does a search look: what the user names, or good defaults for a method, as distributions?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from reasoner.errors import ConfigError
from reasoner.experiments.settings import check_fields
from reasoner.methods.base import Method
from reasoner.registry import resolve
from reasoner.training.config import TrainingConfig

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution

RATE_FACTOR = 5.0
"""The learning rate is looked for between a fifth of the method's rule and five times it: for `Full` and BERT-base
6e-6 to 1.5e-4, well beyond the 2e-5 to 5e-5 of Devlin et al. (2019)."""
OF_METHOD = "method."
"""Before a name in a space: it is a setting of the method, such as "method.layers"."""

Space = dict[str, "BaseDistribution"]


def default_space(method: Method, width: int, config: TrainingConfig) -> dict[str, Any]:
    """Return where to look for a method on a model of this hidden width.

    What method and `config` set to something other than its default stays as it is set. What has no effect there is
    left out.
    """
    rate = method.learning_rate(width)
    space: dict[str, Any] = {
        "learning_rate": (rate / RATE_FACTOR, rate * RATE_FACTOR, "log"),
        "per_device_train_batch_size": [8, 16, 32],
        "num_train_epochs": (2, 5),
        "weight_decay": (1e-3, 0.3, "log"),
        "warmup_steps": (0.0, 0.2),
    }
    own = {item.name: item.default for item in fields(method)}
    space |= {OF_METHOD + name: where for name, where in method.searched.items() if getattr(method, name) == own[name]}
    fixed = {item.name for item in fields(config) if getattr(config, item.name) != item.default}
    if config.max_steps is not None:
        fixed.add("num_train_epochs")
    if config.tokens_per_batch is not None:
        fixed.add("per_device_train_batch_size")
    return {name: values for name, values in space.items() if name not in fixed}


def make_space(space: Mapping[str, Any], method: Method, config: TrainingConfig) -> Space:
    """Return the distribution of each setting.

    Args:
        space: name -> `(low, high)`, `(low, high, "log")`, a list to choose from, or a distribution of optuna. Two
            whole numbers give whole numbers. Names are fields of `TrainingConfig`, "method" (a list of registered
            names), or settings of the method with "method." before them.
        method: that is searched for.
        config: what is not searched.

    Raises:
        ConfigError: if a name is unknown, or an end of a range or a choice makes no sense there.
    """
    if not space:
        raise ConfigError("There is nothing to search: the space is empty.")
    if "method" in space and any(name.startswith(OF_METHOD) for name in space):
        raise ConfigError("The space has 'method' and settings of one method. Search them one after the other.")
    made = {name: _distribution(name, values) for name, values in space.items()}
    for name, distribution in made.items():
        for value in _ends(distribution):
            with_values(method, config, {name: value})
    return made


def with_values(method: Method, config: TrainingConfig, values: Mapping[str, Any]) -> tuple[Method, TrainingConfig]:
    """Return method and config with the values of a trial.

    Raises:
        ConfigError: if a name is unknown or a value makes no sense.
    """
    if "method" in values:
        method = resolve("method", values["method"])()
    own = {name.removeprefix(OF_METHOD): value for name, value in values.items() if name.startswith(OF_METHOD)}
    check_fields(type(method), own)
    rest = {name: value for name, value in values.items() if name != "method" and not name.startswith(OF_METHOD)}
    return replace(method, **own), TrainingConfig.from_overrides(config, rest)


def draw(trial: Trial, space: Space) -> dict[str, Any]:
    """Return a value for each setting, chosen by the trial's sampler."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    values: dict[str, Any] = {}
    for name, item in space.items():
        if isinstance(item, CategoricalDistribution):
            values[name] = trial.suggest_categorical(name, item.choices)
        elif isinstance(item, IntDistribution):
            values[name] = trial.suggest_int(name, item.low, item.high, step=item.step, log=item.log)
        elif isinstance(item, FloatDistribution):
            values[name] = trial.suggest_float(name, item.low, item.high, step=item.step, log=item.log)
    return values


def described(space: Space) -> dict[str, Any]:
    """Return the space as JSON values, in the order of the names."""
    from optuna.distributions import distribution_to_json

    return {name: json.loads(distribution_to_json(space[name])) for name in sorted(space)}


def _distribution(name: str, values: Any) -> BaseDistribution:
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(values, BaseDistribution):
        return values
    try:
        if isinstance(values, list):
            return CategoricalDistribution(values)
        low, high, *log = values if isinstance(values, tuple) else ()
        if not set(log) <= {"log"} or len(log) > 1:
            raise ValueError(f"{log[0]!r} is not 'log'")
        kind = IntDistribution if isinstance(low, int) and isinstance(high, int) else FloatDistribution
        return kind(low, high, log=bool(log))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"space: {name} is {values!r:.60} ({error}). Give (low, high), (low, high, 'log'), a list of plain values, "
            "or a distribution of optuna."
        ) from error


def _ends(distribution: Any) -> tuple[Any, ...]:
    """Return the values that show whether all of them make sense."""
    return getattr(distribution, "choices", None) or (distribution.low, distribution.high)
