"""Rows -> examples: every row is checked against the task's schema, and all problems are told at once."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from numbers import Integral, Real
from typing import Any, ClassVar, Self, TypeVar

from reasoner.data.rows import Row
from reasoner.errors import Problem, near_name, raise_if_any
from reasoner.notices import count, counting

NO_GOLD = (-1, "-1", "-", None, "")
"""Labels that say "the annotators did not agree" or "not published"."""
GOLD = ("label", "ner_tags", "answers")
"""What the fields are called that hold a label, a tag for each word, or answers in a text."""


class RowError(Exception):
    """A row that cannot be used: what is wrong, and what to do."""

    def __init__(self, what: str, remedy: str, *, about_labels: bool = False, code: str = "") -> None:
        super().__init__(what)
        self.what, self.remedy, self.about_labels, self.code = what, remedy, about_labels, code


class MissingColumnError(RowError):
    """A column that the schema asks for is not there."""


class RowDroppedError(Exception):
    """A row that is left out; the message has `{n}` where the count of such rows goes."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """The base of every task's schema: a subclass's fields are the columns, with their types and documentation."""

    aliases: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Other names under which a column is known in the field."""
    inputs: ClassVar[Mapping[str, str]] = {}
    """What `predict` takes in a dict, and of what kind, for a service to say and ask: "text"; "texts" (a list);
    "choices" (a list, for each of which the model runs); "span" (first character in `text`, and the one after its
    last); "words" (a list in place of the text). With "?" behind it may be left out. Empty: nobody can say."""
    kept_together: ClassVar[str] = "rows of equal text"
    """What `group` keeps on one side of a split, in words."""

    where: str = field(default="", repr=False, compare=False)
    """File and line, for messages."""

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any], *, where: str) -> Self:
        """Make an example of a row.

        Raises:
            RowError: if the row cannot be used.
            RowDroppedError: if the row is to be left out and counted.
        """
        raise NotImplementedError

    @property
    def texts(self) -> dict[str, str]:
        """The texts that the model reads, by name."""
        named = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in ("where", "label")}
        return {name: value for name, value in named.items() if isinstance(value, str)}

    @property
    def open_texts(self) -> dict[str, str]:
        """Those of the `texts` that are a field each, so that they can be changed one by one."""
        return {name: text for name, text in self.texts.items() if getattr(self, name, None) == text}

    @property
    def named_texts(self) -> dict[str, str]:
        """The `open_texts`, and those where a name must become another one in step with them, and nothing else may."""
        return self.open_texts

    @property
    def marked(self) -> tuple[tuple[int, int], ...]:
        """Start and end, in the first text, of each place that the row is about: another place makes another row."""
        return ()

    @property
    def group(self) -> Hashable:
        """What examples share that must not stand on both sides of a split."""
        return tuple(getattr(self, item.name) for item in fields(self) if item.compare)

    @property
    def stratum(self) -> Hashable:
        """What a split keeps in proportion, such as the label."""
        return None

    @classmethod
    def gold_columns(cls) -> tuple[str, ...]:
        """Return the names of the fields that hold gold for a person to give; empty: it has another form."""
        return tuple(item.name for item in fields(cls) if item.name in GOLD)


ExampleT = TypeVar("ExampleT", bound=Example)


def examples_from_rows(
    splits: Mapping[str, Sequence[Row]], example: type[ExampleT], *, known_problems: Sequence[Problem] = ()
) -> dict[str, list[ExampleT]]:
    """Make examples of the rows of all splits.

    Args:
        splits: the rows of each split.
        example: the task's schema.
        known_problems: what is known to be wrong already, to be told together with what is found here.

    Raises:
        DataError: with every problem of every split, each with its file and line.
    """
    problems = list(known_problems)
    result: dict[str, list[ExampleT]] = {}
    for split, rows in splits.items():
        with counting(f"{split}: "):
            result[split] = usable_examples(rows, example, problems)
        if rows and not result[split] and not problems:
            what, remedy = "no row is left: all were dropped", "See what was said of them above."
            problems.append(Problem(split, what, remedy, code="empty_split"))
    raise_if_any(problems)
    return result


def usable_examples(rows: Sequence[Row], example: type[ExampleT], problems: list[Problem]) -> list[ExampleT]:
    """Return the examples of rows, without those that are to be left out, which are counted, or cannot be used.

    Args:
        rows: of one split.
        example: the task's schema.
        problems: takes a problem for each row that cannot be used; one for all that miss the same column.
    """
    examples: list[ExampleT] = []
    missing: dict[str, tuple[MissingColumnError, list[Row]]] = {}
    for row in rows:
        try:
            examples.append(example.from_columns(row.columns, where=row.where))
        except MissingColumnError as error:
            missing.setdefault(error.what, (error, []))[1].append(row)
        except RowError as error:
            problems.append(Problem(row.where, error.what, error.remedy, error.about_labels, error.code))
        except RowDroppedError as dropped:
            count(str(dropped))
    for first, without in missing.values():
        more = f" (nor in {len(without) - 1} further rows)" if len(without) > 1 else ""
        problems.append(Problem(without[0].where, first.what + more, first.remedy, code="missing_column"))
    return examples


def column(columns: Mapping[str, Any], name: str, example: type[Example], default: Any = MISSING) -> Any:
    """Return the column `name`, or the alias under which it stands.

    Raises:
        MissingColumnError: if neither is there and no default is given.
    """
    for candidate in (name, *example.aliases.get(name, ())):
        if candidate in columns:
            return columns[candidate]
    if default is not MISSING:
        return default
    here = [str(key) for key in columns if key is not None]
    if not here:
        raise MissingColumnError(f"column '{name}' is missing", f"The row has no columns at all. Give it '{name}'.")
    remedy = f"The columns are: {', '.join(here)}. Name yours with columns={{'{name}': 'your column'}}."
    raise MissingColumnError(f"column '{name}' is missing", f"{remedy} {near_name(name, here)}".strip())


def text_column(columns: Mapping[str, Any], name: str, example: type[Example], default: Any = MISSING) -> Any:
    """Return a column that must hold text; one that has a default may also be empty, and then gives the default.

    Raises:
        RowError: if it holds something else, or nothing but white space.
    """
    value = column(columns, name, example, default)
    if default is not MISSING and (value is default or value is None or (isinstance(value, str) and not value.strip())):
        return default
    if not isinstance(value, str):
        raise RowError(f"{name} is {_kind(value)}, not text", "Give a string.")
    if not value.strip():
        raise RowError(f"{name} is empty", "Give it text, or leave the row out.")
    return value


def label_column(columns: Mapping[str, Any], example: type[Example]) -> str | int | float:
    """Return the gold label: text, a whole number, or a number with a fraction.

    Raises:
        RowDroppedError: if the row has no gold label (`-1` or `-`).
        RowError: if the label is none of these kinds.
    """
    value = column(columns, "label", example)
    if isinstance(value, float) and math.isnan(value):
        value = None
    if not isinstance(value, (list, tuple, dict, float)) and value in NO_GOLD:  # -1.0 may be a number to predict
        raise RowDroppedError("{n} rows have no gold label (-1, '-' or empty) and were left out.")
    return scalar_label(value)


def scalar_label(value: Any) -> str | int | float:
    """Return a label as str, int or float; a whole number that came as a float (a table with gaps) is an int.

    Raises:
        RowError: if it is neither text nor a number.
    """
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, (bool, Integral)):
        return str(value) if isinstance(value, bool) else int(value)
    if isinstance(value, Real) and math.isfinite(value):
        number = float(value)
        return int(number) if number.is_integer() else number
    raise RowError(f"label is {_kind(value)}", "Give the label's name or number.", about_labels=True)


def several_labels(values: Sequence[Any]) -> tuple[str | int | float, ...]:
    """Return the labels of a list, those that hold, each as `scalar_label` does.

    Raises:
        RowError: if one is none, or the list has a 0 or 1 for each label that there is, by its repetitions.
    """
    if any(value in NO_GOLD for value in values if not isinstance(value, float)):
        what = f"label {list(values)!r:.60} holds -1, '-' or an empty one"
        raise RowError(what, "Leave it out of the list; give an empty list where no label holds.", about_labels=True)
    labels = tuple(scalar_label(value) for value in values)
    if len(set(labels)) < len(labels) and set(labels) <= {0, 1}:
        what = f"label {list(values)!r:.60} is a 0 or 1 for each label, it seems"
        raise RowError(what, "Give the names or numbers of those that hold: [1] for [0, 1, 0].")
    return labels


def _kind(value: Any) -> str:
    return "missing" if value is None else f"{type(value).__name__} {value!r:.40}"
