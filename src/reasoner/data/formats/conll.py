"""How is a file of CoNLL columns read: one word a line, sentences parted by empty lines?"""

from __future__ import annotations

import re
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from reasoner import notices
from reasoner.data.formats.text import split_lines
from reasoner.data.rows import Row
from reasoner.errors import Problem, raise_if_any

DOCUMENT_START = "-DOCSTART-"
COMMENT_STARTS = ("# ", "#begin document", "#end document")
"""A line that begins so is a comment only if its columns are not as many as the token lines': `#topic<TAB>O` and
`# O` are tokens."""

_SPACES = re.compile(r"[ \t]+")  # other white space, such as U+00A0, belongs to a word
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[a-z]+)*:")

TokenLine = tuple[int, list[str]]  # 1-based line number, fields


class Table(NamedTuple):
    """A file of columns, before anyone says what the columns mean."""

    sentences: list[list[TokenLine]]
    width: int
    """How many columns most token lines have; 0 when there are none."""
    ragged: list[TokenLine]
    """Lines with another number of columns that are no comments."""
    comments: int
    documents: list[int]
    """The lines on which a document begins."""


def read_conll(text: str, source: str, numbers: Mapping[str, int]) -> list[Row]:
    """Return one row a sentence: `tokens`, `ner_tags` if there is a tag column, and the further columns named.

    Where -DOCSTART- lines begin documents, `document` is the number of the sentence's, from 1 on (0: before the first).

    Args:
        text: the file's text.
        source: the file's name.
        numbers: column names to 0-based (or negative) column numbers. By default `tokens` is the first column and
            `ner_tags` the last, unless there is but one or another name is given to it.

    Raises:
        DataError: naming each line with another number of columns than most lines have or with an empty word, or
            each name for a column that the file has not.
    """
    table = parse(text)
    if table.comments:
        notices.count("{n} comment lines were skipped.", table.comments)
    if table.documents:
        notices.count("{n} -DOCSTART- lines were read as the beginnings of documents.", len(table.documents))
    raise_if_any(_ragged(table, source))
    if not table.sentences:
        return []
    raise_if_any(_out_of_range(numbers, table.width, source))
    columns = _all_columns(numbers, table.width)
    column = columns["tokens"]
    prefix = _language_prefix([fields[column] for sentence in table.sentences for _, fields in sentence])
    raise_if_any(_empty_words(table, column, prefix, source))
    rows = [_row(sentence, columns, source, table.documents) for sentence in table.sentences]
    if not prefix:
        return rows
    notices.say(f"{source}: every word begins with '{prefix}', which was removed.")
    return [
        row._replace(columns={**row.columns, "tokens": [word.removeprefix(prefix) for word in row.columns["tokens"]]})
        for row in rows
    ]


def parse(text: str) -> Table:
    """Part the text into sentences of token lines.

    Columns are parted by tabs or by runs of spaces and tabs, whichever gives more lines the same number of columns
    (tabs, if they are equal): so a word may hold spaces in a file with tabs.
    """
    lines = split_lines(text)
    split, width = _layout([line for line in lines if line.strip() and not line.startswith(DOCUMENT_START)])
    sentences: list[list[TokenLine]] = [[]]
    ragged: list[TokenLine] = []
    documents: list[int] = []
    comments = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            sentences.append([])
        elif line.startswith(DOCUMENT_START):
            documents.append(number)
            sentences.append([])
        elif len(fields := split(line)) == width:
            sentences[-1].append((number, fields))
        elif line.startswith(COMMENT_STARTS):
            comments += 1
        else:
            ragged.append((number, fields))
    return Table([sentence for sentence in sentences if sentence], width, ragged, comments, documents)


def _layout(lines: Sequence[str]) -> tuple[Callable[[str], list[str]], int]:
    """Return how lines are parted into fields, and how many fields most of them have."""
    lines = [line for line in lines if not line.startswith(COMMENT_STARTS)] or lines
    if not lines:
        return _at_spaces, 0
    (tab_width, tab_lines), (width, agreeing) = (
        Counter(len(split(line)) for line in lines).most_common(1)[0] for split in (_at_tabs, _at_spaces)
    )
    return (_at_tabs, tab_width) if tab_width > 1 and tab_lines >= agreeing else (_at_spaces, width)


def _at_tabs(line: str) -> list[str]:
    return [field.strip(" ") or field for field in line.rstrip(" \t").split("\t")]  # a word may be one space


def _at_spaces(line: str) -> list[str]:
    return _SPACES.split(line.strip(" \t"))


def _row(sentence: list[TokenLine], columns: Mapping[str, int], source: str, documents: Sequence[int]) -> Row:
    line = sentence[0][0]
    values: dict[str, Any] = {"document": bisect(documents, line)} if documents else {}
    values |= {name: [fields[column] for _, fields in sentence] for name, column in columns.items()}
    return Row(values, source, line)


def _all_columns(numbers: Mapping[str, int], width: int) -> dict[str, int]:
    """Return the column number, counted from 0, of each name: the named ones and the defaults."""
    columns = {"tokens": 0} | {name: number % width for name, number in numbers.items()}
    if width > 1 and width - 1 not in columns.values():
        columns.setdefault("ner_tags", width - 1)
    return columns


def _out_of_range(numbers: Mapping[str, int], width: int, source: str) -> list[Problem]:
    return [
        Problem(
            source,
            f"has no column number {number} to read as '{name}': its lines have {_columns(width)}",
            "Columns are counted from 0, or back from -1.",
            code="missing_column",
        )
        for name, number in numbers.items()
        if not -width <= number < width
    ]


def _columns(number: int) -> str:
    return "1 column" if number == 1 else f"{number} columns"


def _ragged(table: Table, source: str) -> list[Problem]:
    remedy = "Give every token line the same columns, and part sentences by empty lines."
    return [
        Problem(f"{source}, line {number}", f"has {_columns(len(fields))}, most lines have {table.width}", remedy)
        for number, fields in table.ragged
    ]


def _empty_words(table: Table, column: int, prefix: str, source: str) -> list[Problem]:
    return [
        Problem(f"{source}, line {number}", "has no word", "Give it a word, or remove the line.")
        for sentence in table.sentences
        for number, fields in sentence
        if fields[column] in ("", prefix)
    ]


def _language_prefix(words: Sequence[str]) -> str:
    """Return the language before every word (`en:London`, as WikiANN writes), or nothing if not all have the same."""
    match = _LANGUAGE.match(words[0])
    return match.group() if match and all(word.startswith(match.group()) for word in words) else ""
