"""How is a setting, a method and a config, written to a file, and read back for `fine_tune`?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from reasoner.errors import ConfigError, suggestion
from reasoner.experiments.records import write_json
from reasoner.methods.base import Method
from reasoner.registry import name_of, resolve
from reasoner.training.config import TrainingConfig


def write_settings(path: Path, method: Method, config: TrainingConfig, **more: Any) -> None:
    """Write a method and a config into a JSON file, which `read_settings` reads.

    Args:
        path: of the file.
        method: registered.
        config: all its fields are written.
        more: what else to keep beside them, JSON values.

    Raises:
        ConfigError: if the method is not registered, so that no one could read the file again.
    """
    named = {"name": name_of("method", type(method)), "settings": asdict(method)}
    write_json(path, {"method": named, "config": config.to_dict(), **more})


def read_settings(path: str | Path) -> dict[str, Any]:
    """Return what `search` wrote as arguments for `fine_tune`: `method` and `config`.

    Args:
        path: a file such as `best_settings.json`.

    Raises:
        ConfigError: if it cannot be read, or names a method or setting that is not known here.

    Examples:
        >>> import reasoner
        >>> best = reasoner.read_settings("search/best_settings.json")  # doctest: +SKIP
        >>> result = reasoner.fine_tune(None, data, task="ner", **best)  # doctest: +SKIP
    """
    try:
        values = json.loads(Path(path).read_text("utf-8"))
        named, config = values["method"], dict(values["config"])
        name, settings = named["name"], dict(named["settings"])
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise ConfigError(
            f"'{path}' holds no settings ({type(error).__name__}: {error}). Give a file that search wrote."
        ) from error
    method_class = resolve("method", name)
    check_fields(method_class, settings)
    return {"method": method_class(**settings), "config": TrainingConfig.from_overrides(None, config)}


def check_fields(method_class: type[Method], settings: Mapping[str, Any]) -> None:
    """Refuse settings that a method does not have.

    Raises:
        ConfigError: with the near name.
    """
    known = [item.name for item in fields(method_class)]
    for name in settings:
        if name not in known:
            raise ConfigError(f"{method_class.__name__} has no setting named '{name}'. {suggestion(name, known)}")
