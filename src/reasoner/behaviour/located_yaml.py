"""What does a YAML file hold, and on which line does each part of it stand?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reasoner.errors import ConfigError, DataError, Problem

LARGEST = 1_000_000
"""Characters of a file."""
Place = tuple[str | int, ...]
"""The keys and indexes that lead to a part of the file."""


class Located:
    """The values of a file, and the lines on which they stand.

    Args:
        path: of the file.

    Raises:
        ConfigError: if it cannot be read as text, or is too large.
        DataError: if it is no YAML, says a key twice, or repeats parts of itself by reference.
    """

    def __init__(self, path: str | Path) -> None:
        import yaml

        self.name = Path(path).name
        try:
            text = Path(path).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"'{path}' cannot be read ({type(error).__name__}: {error}).") from error
        if len(text) > LARGEST:
            raise ConfigError(f"'{path}' has more than {LARGEST:,} characters. Cut it in parts.")
        self._lines: dict[Place, int] = {}
        problems: list[Problem] = []
        try:
            if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
                raise DataError([Problem(self.name, "it repeats parts of itself by reference (*)", "Write them out.")])
            self._walk(yaml.compose(text, yaml.SafeLoader), (), problems)
            self.values: Any = yaml.safe_load(text)
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            mark = getattr(error, "problem_mark", None)
            where = self.name if mark is None else f"{self.name}, line {mark.line + 1}"
            what = getattr(error, "problem", None) or f"{type(error).__name__}: {error}"
            raise DataError([Problem(where, f"it is no YAML ({what})", "Correct it.")]) from error
        if problems:
            raise DataError(problems)

    def where(self, *place: str | int) -> str:
        """Return file and line of a part, or of what it is part of, if it is not there."""
        while place and place not in self._lines:
            place = place[:-1]
        return f"{self.name}, line {self._lines[place]}" if place in self._lines else self.name

    def _walk(self, node: Any, place: Place, problems: list[Problem]) -> None:
        if node is None:
            return
        self._lines[place] = node.start_mark.line + 1
        if node.id == "mapping":
            seen = set()
            for key, value in node.value:
                if key.value in seen:
                    where = f"{self.name}, line {key.start_mark.line + 1}"
                    problems.append(Problem(where, f"'{key.value}' stands twice", "Leave one of them out."))
                seen.add(key.value)
                self._walk(value, (*place, str(key.value)), problems)
                self._lines[*place, str(key.value)] = key.start_mark.line + 1
        elif node.id == "sequence":
            for number, value in enumerate(node.value):
                self._walk(value, (*place, number), problems)
