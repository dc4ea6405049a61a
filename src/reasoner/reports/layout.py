"""How do values, names and tables become text: cells of a table, and lines that fit a terminal?"""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

SHOWN_CHARACTERS = 24
GAP = "  "
MIB = 2**20

Facts = list[tuple[str, str]]
"""Names and what there is to say of each."""


class Table(NamedTuple):
    """A table of finished cells."""

    title: str
    columns: tuple[str, ...]
    """Headers; the first column holds the rows' names."""
    rows: Sequence[tuple[str, ...]]
    marked: str | None = None
    """The name of the row to point at: the primary metric."""


def cell(value: Any) -> str:
    """Return a value as text: fractions with four decimals, counts whole, others cut to a few characters."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Integral):
        return f"{int(value):,}"
    if isinstance(value, Real):
        number = float(value)
        return f"{number:.4f}" if number == 0 or 5e-5 <= abs(number) < 1e6 else f"{number:.4g}"
    return clipped(clean(str(value)), SHOWN_CHARACTERS)


def readable(name: str) -> str:
    """Return a name in words: `by_type` as "by type"."""
    return name.replace("_", " ")


def duration(seconds: float) -> str:
    """Return a time in the units that people use."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def report_text(heading: str, *blocks: Sequence[str]) -> str:
    """Return a heading with a rule below it, and each block of lines after an empty line; empty blocks are left out."""
    return "\n\n".join("\n".join(block) for block in ([heading, "=" * len(heading)], *blocks) if block)


def table_lines(table: Table, width: int) -> list[str]:
    """Lay a table out; columns that do not fit beside each other follow below, with the names again."""
    cells = [[clean(text) for text in row] for row in (table.columns, *table.rows)]
    widths = [max(map(display_width, column)) for column in zip(*cells, strict=True)]
    mark = 2 if table.marked else 0
    room = width - mark
    name_width = min(widths[0], max(20, room - sum(wide + len(GAP) for wide in widths[1:])))
    lines: list[str] = []
    for group in _column_groups(widths, room - name_width):
        for row in cells:
            prefix = ("* " if row[0] == table.marked else "  ") if mark else ""
            texts = [padded(row[0], name_width), *(padded(row[i], wide, right=True) for i, wide in group.items())]
            lines.append((prefix + GAP.join(texts)).rstrip())
    return lines


def _column_groups(widths: list[int], room: int) -> Iterator[dict[int, int]]:
    """Yield column numbers with their widths, as many at a time as fit into `room`."""
    group: dict[int, int] = {}
    for index, wide in enumerate(widths[1:], start=1):
        wide = min(wide, room - len(GAP))
        if group and sum(group.values()) + len(GAP) * (len(group) + 1) + wide > room:
            yield group
            group = {}
        group[index] = wide
    yield group


def fact_lines(facts: Facts, width: int) -> list[str]:
    """Lay facts out in two columns: names, and what there is to say."""
    names = max(len(name) for name, _ in facts)
    lines = []
    for name, text in facts:
        wrapped = textwrap.wrap(clean(text), width - names - len(GAP)) or [""]
        lines += [f"{label:<{names}}{GAP}{line}" for label, line in zip([name] + [""] * len(wrapped), wrapped)]  # noqa: B905
    return lines


def item_lines(text: str, width: int) -> list[str]:
    """Return an item of a list."""
    return textwrap.wrap(clean(text), width, initial_indent="- ", subsequent_indent="  ")


def clean(text: str) -> str:
    """Return the text on one line, without control characters that would move a terminal's cursor."""
    return re.sub(r"\s+", " ", "".join(c for c in text if unicodedata.category(c) != "Cc" or c.isspace()))


def display_width(text: str) -> int:
    """Return the columns that a text takes: two for a wide East Asian character, none for a combining mark."""
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def clipped(text: str, width: int) -> str:
    """Return the text, cut where it would take more than `width` columns."""
    if display_width(text) <= width:
        return text
    while display_width(text) > width - 1:
        text = text[:-1]
    return text + "…"


def padded(text: str, width: int, *, right: bool = False) -> str:
    """Return the text in exactly `width` columns."""
    text = clipped(text, width)
    spaces = " " * (width - display_width(text))
    return spaces + text if right else text + spaces


def mebibytes(size: int) -> str:
    """Return a number of bytes as text."""
    return f"{size / MIB:,.1f} MiB"
