"""How are JSON lines and JSON files of objects read?"""

from __future__ import annotations

import json
from typing import Any

from reasoner.data.formats.squad import is_squad, read_questions
from reasoner.data.formats.text import split_lines
from reasoner.data.rows import Row
from reasoner.errors import DataError, Problem, raise_if_any

_ONE_OBJECT = 'Give one JSON object a line, such as {"text": …, "label": …}.'
_LIST_OF_OBJECTS = "Give a list of JSON objects, an object whose `data` is such a list, or SQuAD's layout."


def read_json_lines(text: str, source: str) -> list[Row]:
    """Return one row a line; empty lines are skipped; the constant NaN is read as None.

    Raises:
        DataError: naming each line that is not a JSON object.
    """
    rows, problems = [], []
    for number, line in enumerate(split_lines(text), start=1):
        if not line.strip():
            continue
        try:
            value = parse(line)
        except ValueError as error:
            problems.append(Problem(f"{source}, line {number}", f"is not JSON ({_reason(error)})", _ONE_OBJECT))
            continue
        if isinstance(value, dict):
            rows.append(Row(value, source, number))
        else:
            what = f"is a JSON {_kind(value)}, not an object"
            problems.append(Problem(f"{source}, line {number}", what, _ONE_OBJECT))
    raise_if_any(problems)
    return rows


def read_json(text: str, source: str) -> list[Row]:
    """Return one row an object of a list, or of the list under `data`; one row a question of a SQuAD file.

    A file of JSON lines under the name `.json` is read as such.

    Raises:
        DataError: if the text is not JSON or has another shape.
    """
    if not text.strip():
        return []
    try:
        value = parse(text)
    except ValueError as error:
        if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
            return read_json_lines(text, source)
        where = f"{source}, line {error.lineno}" if isinstance(error, json.JSONDecodeError) else source
        raise DataError([Problem(where, f"is not JSON ({_reason(error)})", _LIST_OF_OBJECTS)]) from None
    if is_squad(value):
        return read_questions(value, source)
    return _read_list(value.get("data") if isinstance(value, dict) else value, source)


def read_squad(text: str, source: str) -> list[Row]:
    """Return one row a question of a file that is said to be in SQuAD's layout.

    Raises:
        DataError: if the text is not JSON, or has another shape: the place is named as `data[3].paragraphs[0]`.
    """
    try:
        value = parse(text)
    except ValueError as error:
        raise DataError([Problem(source, f"is not JSON ({_reason(error)})", "Give a SQuAD JSON file.")]) from None
    return read_questions(value, source)


def parse(text: str) -> Any:
    """Return the value that the JSON text stands for, NaN as None.

    Raises:
        ValueError: if it is not JSON, is nested too deep, or holds a number that is too long.
    """
    try:
        return json.loads(text, parse_constant=lambda name: None if name == "NaN" else float(name))
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _read_list(value: Any, source: str) -> list[Row]:
    if not isinstance(value, list):
        raise DataError([Problem(source, "holds no list of objects", _LIST_OF_OBJECTS)])
    raise_if_any(
        Problem(f"{source}, row {number}", f"is a JSON {_kind(item)}, not an object", _LIST_OF_OBJECTS)
        for number, item in enumerate(value, start=1)
        if not isinstance(item, dict)
    )
    return [Row(item, source, number, "row") for number, item in enumerate(value, start=1)]


def _reason(error: ValueError) -> str:
    return f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)


def _kind(value: object) -> str:
    names = {str: "string", int: "number", float: "number", bool: "boolean", list: "list", dict: "object"}
    return names.get(type(value), "null")
