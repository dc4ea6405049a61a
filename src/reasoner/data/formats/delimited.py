"""How are CSV and TSV files read?"""

from __future__ import annotations

import csv
import io
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from reasoner import notices
from reasoner.data.formats.text import split_lines
from reasoner.data.rows import Row
from reasoner.errors import Problem, raise_if_any

Record = tuple[int, list[str]]  # 1-based line on which the record begins, fields


def read_csv(text: str, source: str, numbers: Mapping[str, int]) -> list[Row]:
    """Return one row a record of comma-separated values; see `read_delimited`."""
    return read_delimited(text, source, numbers, delimiter=",")


def read_tsv(text: str, source: str, numbers: Mapping[str, int]) -> list[Row]:
    """Return one row a record of tab-separated values; see `read_delimited`.

    Many such files write quotation marks as they are, and quote nothing: so it is read where every line has the same
    number of tabs, some field opens with a mark that does not close it, and the header does not quote every name.
    """
    plain = _quotes_are_plain(text)
    if plain:
        notices.say(f'{source}: quotation marks (") are read as text, since they do not pair around fields.')
    return read_delimited(text, source, numbers, delimiter="\t", quoted=not plain)


def read_delimited(
    text: str, source: str, numbers: Mapping[str, int], *, delimiter: str, quoted: bool = True
) -> list[Row]:
    """Return one row a record, all values as strings; empty lines are skipped.

    Args:
        text: the file's text; quoted fields may hold delimiters and ends of lines.
        source: the file's name.
        numbers: column names to column numbers. If any are given the file has no header, and the other columns are
            named by their numbers; else its first record names the columns.
        delimiter: what parts the fields.
        quoted: whether `"` quotes fields.

    Raises:
        DataError: naming each record with another number of fields than the first, a quotation mark that is never
            closed, and names that the header gives twice.
    """
    records: list[Record] = []
    problems: list[Problem] = []
    with _long_fields():
        for record in _records(text, source, delimiter, quoted, problems):
            records.append(record)
    if not records:
        raise_if_any(problems)
        return []
    width = len(records[0][1])
    names = _numbered(numbers, width, source, problems) if numbers else _header(records, source, problems)
    body = records if numbers else records[1:]
    remedy = f"Quote fields that hold the delimiter ({'tab' if delimiter == chr(9) else delimiter})."
    for line, fields in body:
        if len(fields) != width:
            first = "the first line" if numbers else "the header"
            what = f"has {len(fields)} fields, {first} has {width}"
            problems.append(Problem(f"{source}, line {line}", what, remedy))
    raise_if_any(problems)
    return [Row(dict(zip(names, fields, strict=True)), source, line) for line, fields in body]


def _records(text: str, source: str, delimiter: str, quoted: bool, problems: list[Problem]) -> Iterator[Record]:
    """Give the records up to the first that cannot be read: behind it nothing can be trusted."""
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        strict=True,
    )
    line = 1
    try:
        for fields in reader:
            if fields:
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        what = "opens a quotation mark that is never closed" if "end of data" in str(error) else f"is broken ({error})"
        problems.append(Problem(f"{source}, line {line}", what, 'Write a quotation mark inside a field as "".'))


def _header(records: list[Record], source: str, problems: list[Problem]) -> list[str]:
    line, names = records[0]
    twice = [name for name, number in Counter(names).items() if number > 1]
    if twice:
        what = "the header names these columns more than once: " + ", ".join(map(repr, twice))
        problems.append(Problem(f"{source}, line {line}", what, "Give each column its own name."))
    return names


def _numbered(numbers: Mapping[str, int], width: int, source: str, problems: list[Problem]) -> list[str]:
    names = [str(number) for number in range(width)]
    for name, number in numbers.items():
        if -width <= number < width:
            names[number] = name
        else:
            what = f"has no column number {number} to read as '{name}': its first line has {width} fields"
            problems.append(
                Problem(source, what, "Columns are counted from 0, or back from -1.", code="missing_column")
            )
    return names


def _quotes_are_plain(text: str) -> bool:
    lines = [line.split("\t") for line in split_lines(text) if line]
    if '"' not in text or len({len(fields) for fields in lines}) != 1 or all(map(_is_quoted, lines[0])):
        return False  # where every name in the header is quoted, so are the fields: one may hold an end of line
    return any(field.startswith('"') and not _is_quoted(field) for fields in lines for field in fields)


def _is_quoted(field: str) -> bool:
    return len(field) > 1 and field.endswith('"') and '"' not in field[1:-1].replace('""', "")


@contextmanager
def _long_fields() -> Iterator[None]:
    """Let a field hold more than the 131,072 characters that `csv` allows: an article may."""
    limit = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        csv.field_size_limit(limit)
