"""What did reading refuse, drop or repair, and in which rows?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from reasoner.checks.findings import ERROR, NOTE, WARNING, Finding
from reasoner.data.examples import Example, RowDroppedError, RowError
from reasoner.errors import DataError, Problem
from reasoner.notices import count, counting

WHOLE = "data"
"""The place of a problem that is no row's."""
MANY = 0.1
"""Share of a split's rows without gold above which it is a warning, and no note."""

REPAIRED = (
    ("have no gold label", "no_gold", "They teach and score nothing; see that none was meant to have one."),
    ("hold no words", "no_words", "See that nothing was to stand there."),
    ("not at their answer_start", "answer_moved", "Correct answer_start in the data, or see that the place is right."),
    ("inside a word", "entity_widened", "Correct start and end in the data, or see that the whole words are meant."),
)
"""What a notice of reading says -> the code and the remedy of its finding."""


@dataclass
class ReadingRecord:
    """What reading a data set met, row by row."""

    problems: list[Problem] = field(default_factory=list)
    repairs: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """By split and message (with `{n}` where the count goes): the places of the rows that were dropped or repaired."""
    refused: set[tuple[str, str]] = field(default_factory=set)
    """Split and place of the rows that could not be used."""

    def add(self, error: DataError) -> None:
        """Take over what an error says."""
        what, _, remedy = str(error).partition(". ")
        self.problems += error.problems or [Problem(WHOLE, what.rstrip("."), remedy)]


class Recorder:
    """An example class, as `examples_from_rows` calls it, that keeps a record of what it met in one split."""

    def __init__(self, example: type[Example], split: str, record: ReadingRecord) -> None:
        self.example, self.split, self.record = example, split, record

    def from_columns(self, columns: Mapping[str, Any], *, where: str) -> Example:
        """Make an example of a row; see `Example.from_columns`."""
        found: dict[str, int] = {}
        try:
            with counting() as counted:
                try:
                    return self.example.from_columns(columns, where=where)
                finally:
                    found.update(counted)
                    counted.clear()  # it is said once for the split, not here for each row
        except RowDroppedError as dropped:
            self._note(str(dropped), where)
            raise
        except RowError:
            self.record.refused.add((self.split, where))
            raise
        finally:
            for message, number in found.items():
                self._note(message, where)
                count(message, number)

    def _note(self, message: str, where: str) -> None:
        self.record.repairs.setdefault((self.split, message), []).append(where)


def refused_rows(problems: Iterable[Problem]) -> Iterator[Finding]:
    """Give an error for each kind of problem, with all its places."""
    kinds: dict[str, list[Problem]] = {}
    for problem in problems:
        code = problem.code or ("bad_label" if problem.about_labels else "unreadable_row")
        kinds.setdefault(code, []).append(problem)
    for code, found in kinds.items():
        different = len({problem.what for problem in found})
        more = f" (and {len(found) - 1:,} more {'such' if different > 1 else 'of the same'})" if len(found) > 1 else ""
        places = tuple(problem.where for problem in found if problem.where != WHOLE)
        yield Finding(
            code=code,
            what=found[0].what + more,
            remedy=found[0].remedy,
            severity=ERROR,
            count=len(found),
            places=places,
        )


def repaired_rows(record: ReadingRecord, rows: Mapping[str, int]) -> Iterator[Finding]:
    """Give a finding for each kind of row that was dropped or repaired, for each split.

    Args:
        record: what reading met.
        rows: how many rows of each split were read.
    """
    for (split, message), places in record.repairs.items():
        code, remedy = next(
            ((code, remedy) for text, code, remedy in REPAIRED if text in message), ("repaired", "Look at these rows.")
        )
        dropped = code in ("no_gold", "no_words")
        few = dropped and len(places) <= MANY * (len(places) + rows.get(split, 0))
        yield Finding(
            code=code,
            what=f"{split}: {message.format(n=f'{len(places):,}').rstrip('.')}",
            remedy=remedy,
            severity=NOTE if few else WARNING,
            count=len(places),
            places=tuple(places),
        )
