"""How is a file of numbered dialogue lines (`1 hello<TAB>hi, what can I do`) read: one row an answer of the system?

The form of the dialog bAbI tasks (Bordes, Boureau & Weston, 2017, https://arxiv.org/abs/1605.07683).
"""

from __future__ import annotations

import re
from typing import Any

from reasoner.data.formats.text import split_lines
from reasoner.data.rows import Row
from reasoner.errors import Problem, raise_if_any
from reasoner.notices import count

LOOKED_AT = 100
"""Lines that tell whether a file has this form."""
_LINE = re.compile(r"(\d+) (.*)", re.DOTALL)


def looks_like_dialogues(text: str) -> bool:
    """Say whether the first lines are numbered from 1 on, anew after empty ones, and hold two turns each or a fact."""
    expected, tabs = 1, 0
    for line in split_lines(text)[:LOOKED_AT]:
        if not line.strip():
            expected = 1
            continue
        match = _LINE.match(line)
        if match is None or int(match[1]) != expected or line.count("\t") > 1:
            return False
        expected, tabs = expected + 1, tabs + line.count("\t")
    return tabs > 0


def read_dialogues(text: str, source: str) -> list[Row]:
    """Return a row for each answer: `dialogue` (its number, from 1), `turns` (all before it), `response`.

    Lines without a tab, which state facts of a knowledge base, are left out and counted. Silence of the user is a turn,
    as the file writes it (`<SILENCE>`).

    Raises:
        DataError: naming each line that has no number before it, an empty turn, or more than one tab.
    """
    rows: list[Row] = []
    problems: list[Problem] = []
    turns: list[str] = []
    number, between = 0, True
    for position, line in enumerate(split_lines(text), start=1):
        if not line.strip():
            between = True
            continue
        if between:
            number, between, turns = number + 1, False, []
        match = _LINE.match(line)
        pair = match[2].split("\t") if match else []
        if len(pair) == 1:
            count("{n} lines without a tab (facts of a knowledge base) were left out.")
        elif len(pair) == 2 and all(part.strip() for part in pair):
            user, response = (part.strip() for part in pair)
            turns = [*turns, user]
            columns: dict[str, Any] = {"dialogue": number, "turns": list(turns), "response": response}
            rows.append(Row(columns, source, position))
            turns.append(response)
        else:
            what = "is no numbered line with the user's turn, a tab and the system's"
            problems.append(Problem(f"{source}, line {position}", what, "Write `1 hello<TAB>hi`."))
    raise_if_any(problems)
    return rows
