"""How do unlabelled texts become a list: of a file of lines, of a table with a column `text`, of a list in memory?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reasoner.data.formats.choose import BY_EXTENSION
from reasoner.data.formats.text import decode, read_bytes, split_lines
from reasoner.data.sources import read_rows
from reasoner.errors import DataError, Problem
from reasoner.notices import count


def read_texts(source: Any, column: str = "text", *, fewest: int = 2, as_is: bool = False) -> list[str]:
    """Return the texts of a source, each once, in its order; empty ones are left out. What is left out is counted.

    Texts that differ in white space alone are one, the first of them.

    Args:
        source: a list of strings; a file whose lines are texts (also with `.gz`); or whatever `read_rows` reads.
        column: which column holds the text, where there are columns.
        fewest: so many there must be.
        as_is: white space stays: lines and indents mean something to a language model; else any of it is one space.

    Raises:
        DataError: if the source cannot be read, a row has no text, or there are fewer texts.
    """
    given = _raw(source, column)
    texts = [" ".join(text.split()) for text in given]
    first: dict[str, str] = {}
    for text, whole in zip(texts, given, strict=True):
        first.setdefault(text, whole if as_is else text)
    kept = [text for plain, text in first.items() if plain]
    if empty := texts.count(""):
        count("{n} texts are empty and were left out.", empty)
    if again := len(texts) - empty - len(kept):
        count("{n} texts occur a second time and were left out.", again)
    if len(kept) < fewest:
        remedy = "Give at least one." if fewest == 1 else "Give at least two: one is held out."
        raise DataError([Problem("texts", f"holds {len(kept)} texts", remedy)])
    return kept


def _raw(source: Any, column: str) -> Sequence[str]:
    if isinstance(source, str | Path):
        path = Path(source)
        extension = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
        if extension.lower() not in BY_EXTENSION:
            return [line for line in split_lines(decode(read_bytes(path), path.name)) if line.strip()]
    elif isinstance(source, Sequence) and source and all(isinstance(text, str) for text in source):
        return source
    rows = read_rows(source, name="texts")
    wrong = [row for row in rows if not isinstance(row.columns.get(column), str)]
    if wrong:
        remedy = f"Give a column '{column}' with a string in each row, or name another with column=."
        raise DataError([Problem(row.where, f"has no text in '{column}'", remedy) for row in wrong])
    return [row.columns[column] for row in rows]
