"""Which reader reads a file: by the format that is named, the file's extension, or its content?"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from reasoner.data.formats.conll import parse, read_conll
from reasoner.data.formats.delimited import read_csv, read_tsv
from reasoner.data.formats.dialogues import looks_like_dialogues, read_dialogues
from reasoner.data.formats.json_text import read_json, read_json_lines, read_squad
from reasoner.data.formats.parallel import is_parallel, read_parallel
from reasoner.data.formats.parquet import read_parquet
from reasoner.data.formats.text import decode, read_bytes
from reasoner.data.rows import Row
from reasoner.data.tag_schemes import is_tag
from reasoner.errors import ConfigError, DataError, Problem, suggestion

TAGGED_SHARE = 0.9
"""How many of the lines must end in a tag for a file to be taken for CoNLL columns by its tags."""


class Format(NamedTuple):
    """A reader and what it reads."""

    read: Callable[..., list[Row]]
    """Called with the text, or the bytes if `binary`, and the file's name; with column numbers too if `numbered`."""
    extensions: tuple[str, ...] = ()
    numbered: bool = False
    binary: bool = False


FORMATS = {
    "jsonl": Format(read_json_lines, (".jsonl", ".ndjson")),
    "json": Format(read_json, (".json",)),
    "squad": Format(read_squad),
    "csv": Format(read_csv, (".csv",), numbered=True),
    "tsv": Format(read_tsv, numbered=True),
    "conll": Format(read_conll, (".conll", ".bio", ".iob", ".iob2"), numbered=True),
    "dialogues": Format(read_dialogues),
    "parquet": Format(read_parquet, (".parquet",), binary=True),
}
BY_EXTENSION = {extension: name for name, known in FORMATS.items() for extension in known.extensions}
DATA_EXTENSIONS = {*BY_EXTENSION, ".tsv", ".txt", ".gz"}

_JSON_START = re.compile(r'\s*(?:\[\s*\{|\{\s*["}])')


def read_file(path: Path, format: str | None, columns: Mapping[str, Any]) -> list[Row]:
    """Return the rows of a file, `.gz` of any format included, or of a folder of parallel files.

    Args:
        path: the file, or the folder (see `formats.parallel`), which no `format` is asked of.
        format: a name out of `FORMATS`, or None: the extension decides, or else the content (see `sniff`).
        columns: our names to the file's names or, in CoNLL columns and tables without header, to column numbers.
            Only the numbers are used here.

    Raises:
        ConfigError: if the format is unknown.
        DataError: if the file cannot be read as that format.
    """
    if is_parallel(path):
        return read_parallel(path)
    if format is not None and format not in FORMATS:
        raise ConfigError(f"format='{format}' is unknown. {suggestion(format, FORMATS)}")
    numbers = {name: column for name, column in columns.items() if isinstance(column, int)}
    name = format or BY_EXTENSION.get(extension_of(path))
    content = read_bytes(path)
    if name is not None and numbers and not FORMATS[name].numbered:
        what = f"its columns have names, not numbers ({numbers})"
        raise DataError([Problem(path.name, what, 'Give each by its name, such as {"premise": "sentence1"}.')])
    if name is not None and FORMATS[name].binary:
        return FORMATS[name].read(content, path.name)
    text = decode(content, path.name)
    chosen = FORMATS[name or sniff(text, path, numbers)]
    return chosen.read(text, path.name, numbers) if chosen.numbered else chosen.read(text, path.name)


def extension_of(path: Path) -> str:
    """Return the extension in lower case, that before `.gz` if the name ends so."""
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def sniff(text: str, path: Path, numbers: Mapping[str, int]) -> str:
    """Return the format of a text whose extension does not say it (`.txt`, `.tsv`, an unknown one, none).

    The first that holds decides:

    1. `tokens` or `ner_tags` is given as a column number: CoNLL.
    2. It begins with `{"`, `{}` or `[{`: JSON, or JSON lines.
    3. It looks like numbered lines of dialogues (see `looks_like_dialogues`): dialogues.
    4. It looks like CoNLL columns (see `looks_like_conll`), or is empty: CoNLL.
    5. The extension is `.tsv`: tab-separated values with a header.

    Raises:
        DataError: if none holds.
    """
    if "tokens" in numbers or "ner_tags" in numbers:
        return "conll"
    if _JSON_START.match(text):
        return "json"
    if looks_like_dialogues(text):
        return "dialogues"
    if not text.strip() or looks_like_conll(text):
        return "conll"
    if extension_of(path) == ".tsv":
        return "tsv"
    remedy = f"Name it with format=, one of {', '.join(FORMATS)}; number the columns of a table without header."
    raise DataError([Problem(path.name, "its format cannot be told from its name or its content", remedy)])


def looks_like_conll(text: str) -> bool:
    """Say whether a text looks like CoNLL columns, by its tags or by its shape.

    By its tags: it has two columns or more, and nine lines in ten have the same number of columns and end in a tag
    (`O`, `B-PER`). By its shape (other tags, or none): it has empty lines inside, all lines have the same number of
    columns, and no column holds white space, as columns of running text would.
    """
    table = parse(text)
    lines = [fields for sentence in table.sentences for _, fields in sentence]
    tagged = sum(is_tag(fields[-1]) for fields in lines)
    if table.width > 1 and tagged >= TAGGED_SHARE * (len(lines) + len(table.ragged)):
        return True
    spaced = any(character.isspace() for fields in lines for field in fields for character in field)
    return len(table.sentences) > 1 and not table.ragged and not spaced
