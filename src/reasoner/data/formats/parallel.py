"""How is a folder of parallel files read: words in `seq.in`, their tags in `seq.out`, one intent a line in `label`?

The form in which SNIPS and ATIS are handed on (Goo et al., 2018, https://aclanthology.org/N18-2118).
"""

from __future__ import annotations

import re
from pathlib import Path

from reasoner.data.formats.text import decode, read_bytes, split_lines
from reasoner.data.rows import Row
from reasoner.errors import DataError, Problem

WORDS, TAGS, LABELS = "seq.in", "seq.out", "label"
_SPACES = re.compile(r"[ \t]+")


def is_parallel(path: Path) -> bool:
    """Say whether a path is a folder with such files."""
    try:
        return (path / WORDS).is_file() and (path / TAGS).is_file()
    except (OSError, ValueError):  # a name that is too long, or holds a NUL character
        return False


def read_parallel(folder: Path) -> list[Row]:
    """Return one row a line: `tokens`, `ner_tags`, and `intent` if there is a file of them.

    Raises:
        DataError: if a file cannot be read, or has another number of lines than the first.
    """
    names = [WORDS, TAGS, *([LABELS] if (folder / LABELS).is_file() else [])]
    files = {name: _lines(folder / name) for name in names}
    source = f"{folder.name}/{WORDS}"
    for name, lines in files.items():
        if len(lines) != len(files[WORDS]):
            what = f"has {len(lines):,} lines, and {WORDS} has {len(files[WORDS]):,}"
            raise DataError([Problem(f"{folder.name}/{name}", what, "Line n of each file belongs to one request.")])
    words, tags = ([_SPACES.split(line) if line else [] for line in files[name]] for name in (WORDS, TAGS))
    intents = [{"intent": line} for line in files[LABELS]] if LABELS in files else [{}] * len(words)
    return [
        Row({"tokens": tokens, "ner_tags": own, **intent}, source, number)
        for number, (tokens, own, intent) in enumerate(zip(words, tags, intents, strict=True), start=1)
    ]


def _lines(path: Path) -> list[str]:
    """Return the lines of a file without white space at their ends, and without empty lines after the last."""
    text = decode(read_bytes(path), path.name)
    return [line.strip(" \t") for line in split_lines(text.rstrip("\r\n"))] if text.strip() else []
