"""Every error this library raises on purpose: one tree, each message says what, where and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

SHOWN_PROBLEMS = 20


class ReasonerError(Exception):
    """The root of the tree: catching it catches everything that this library raises on purpose."""


class ConfigError(ReasonerError):
    """A setting, a name or an argument that cannot be used."""


class CheckpointError(ReasonerError):
    """A model folder that cannot be read, trusted or written."""


class NotEnoughMemoryError(ReasonerError):
    """A single row does not fit into the memory of the device."""


class RankError(ReasonerError):
    """Of several processes that train together one is gone, or has stopped with an error."""


class DivergedError(ReasonerError):
    """Training produced a loss or a gradient that is not a finite number."""

    def __init__(
        self,
        message: str = "",
        *,
        step: int | None = None,
        rows: tuple[str, ...] = (),
        parameter: str | None = None,
        folder: Path | None = None,
    ) -> None:
        super().__init__(message)
        self.step = step
        """The step in question, counted from 1; it was not made."""
        self.rows = rows
        """Where the rows stand that gave it; all of the batch where it was no row in particular."""
        self.parameter = parameter
        """The first parameter whose value or gradient is not finite, or None."""
        self.folder = folder
        """Where the reproduction is, or None."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the data."""

    where: str
    """File and line, or split and row."""
    what: str
    """What is wrong, as a sentence without its full stop."""
    remedy: str
    """What to do about it, as a sentence with its full stop."""
    about_labels: bool = False
    """Whether it is the labels that are wrong."""
    code: str = ""
    """The kind of problem, by a name that stays the same from version to version; empty: a row that cannot be used."""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}. {self.remedy}".strip()


class DataError(ReasonerError):
    """The data cannot be used as it is. `problems` holds every problem found, not the first alone."""

    def __init__(self, problems: Iterable[Problem] | str) -> None:
        self.problems: tuple[Problem, ...] = () if isinstance(problems, str) else tuple(problems)
        super().__init__(problems if isinstance(problems, str) else _listing(self.problems))


class LabelError(DataError):
    """The labels cannot be used as they are."""


def raise_if_any(problems: Iterable[Problem]) -> None:
    """Raise one error that lists all `problems`; do nothing when there are none.

    Raises:
        LabelError: if every problem is about labels.
        DataError: otherwise.
    """
    problems = tuple(problems)
    if problems:
        raise (LabelError if all(problem.about_labels for problem in problems) else DataError)(problems)


def near_name(name: object, known: Iterable[object]) -> str:
    """Return `Did you mean 'x'?` for the nearest known name, or nothing when none is near."""
    near = get_close_matches(str(name), [str(item) for item in known], n=1)
    return f"Did you mean '{near[0]}'?" if near else ""


def suggestion(name: object, known: Iterable[object]) -> str:
    """Return `Did you mean 'x'?` for the nearest known name, or a list of the known names when none is near."""
    names = [str(item) for item in known]
    return near_name(name, names) or ("Known: " + ", ".join(sorted(names)) + "." if names else "None is known.")


def _listing(problems: tuple[Problem, ...]) -> str:
    if len(problems) == 1:
        return str(problems[0])
    lines = [f"{len(problems)} problems in the data:", *(f"  - {problem}" for problem in problems[:SHOWN_PROBLEMS])]
    if len(problems) > SHOWN_PROBLEMS:
        lines.append(f"  … and {len(problems) - SHOWN_PROBLEMS} more, all in this error's `problems`.")
    return "\n".join(lines)
