"""Where does the record of each of many runs lie, so that what was finished is not done again?"""

from __future__ import annotations

import json
import os
from math import isfinite
from pathlib import Path
from typing import Any

from reasoner.errors import ConfigError
from reasoner.notices import say


class Records:
    """Records of runs in a folder, a file of JSON each, written at once and whole.

    Args:
        folder: they lie in `runs` inside it; None: nothing is written, and nothing is found.

    Raises:
        ConfigError: if the folder cannot be made.
    """

    def __init__(self, folder: str | Path | None) -> None:
        self.folder = None if folder is None else Path(folder) / "runs"
        if self.folder is not None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigError(f"output_dir '{folder}' cannot be written: {error}. Give another.") from error

    def find(self, key: str) -> dict[str, Any] | None:
        """Return the record of a run that was finished; None if there is none, or it failed, or cannot be read."""
        if self.folder is None or not (path := self.folder / f"{key}.json").exists():
            return None
        try:
            record: dict[str, Any] = json.loads(path.read_text("utf-8"))
            failed = record["error"] is not None
        except (OSError, ValueError, RecursionError, KeyError, TypeError):
            say(f"{path.name} cannot be read; the run is made again.")
            return None
        return None if failed else record

    def keep(self, key: str, record: dict[str, Any]) -> dict[str, Any]:
        """Write a record, and return it as it would be read: numbers that are not finite become None."""
        record = _finite(record)
        if self.folder is not None:
            write_json(self.folder / f"{key}.json", record)
        return record


def write_json(path: Path, values: Any) -> None:
    """Write JSON values to a file at once and whole."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False), "utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value
