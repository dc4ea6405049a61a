"""How does anything that a person calls data (a path, a table in memory, a folder, a Hub id) become rows?"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reasoner import notices
from reasoner.data.formats.choose import DATA_EXTENSIONS, read_file
from reasoner.data.formats.folder import ALIASES, SPLITS, find_splits
from reasoner.data.formats.memory import read_memory
from reasoner.data.formats.parallel import is_parallel
from reasoner.data.rows import Row
from reasoner.errors import ConfigError, DataError, Problem, near_name, raise_if_any, suggestion

ONE_SOURCE = "the data"
"""What rows are called that nobody named, and that are not to be trained on."""
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?")


def read_rows(
    source: Any, *, name: str | None = None, format: str | None = None, columns: Mapping[str, Any] | None = None
) -> list[Row]:
    """Return the rows of one source; none if it is empty.

    Args:
        source: a path (CoNLL columns, JSON lines, JSON, SQuAD JSON, CSV, TSV, Parquet or numbered lines of dialogues,
            each also with `.gz`, or a folder with `seq.in`, `seq.out` and `label`), a list of dicts, a pandas
            DataFrame, a `datasets.Dataset`, or a stream (`datasets.IterableDataset`), which is read to its end. It is
            not changed.
        name: what messages call a table in memory, as a rule its split. A file is called by its own name.
        format: a name out of `formats.choose.FORMATS`; None: the extension or the content decides.
        columns: our column names to the source's, `{"premise": "sentence1"}`; in CoNLL columns, and in tables without
            a header, to column numbers, `{"tokens": 0, "ner_tags": 3}`. Columns that are not named are kept.

    Raises:
        DataError: with every problem that the source has.
        ConfigError: if the format is unknown, or such an object cannot be read.
    """
    columns = dict(columns or {})
    path = _path(source) if isinstance(source, str | Path) else None
    called = path.name if path else name or "data"
    with notices.counting(f"{called}: "):
        rows = read_file(path, format, columns) if path else read_memory(source, called)
        if path:  # columns that were given by number have our names already
            columns = {ours: theirs for ours, theirs in columns.items() if not isinstance(theirs, int)}
        return finished_rows(rows, columns, called)


def finished_rows(rows: list[Row], columns: Mapping[str, Any], source: str) -> list[Row]:
    """Return rows as they were read under our names for their columns.

    Args:
        rows: all of a source, or a part of them.
        columns: our column names to the source's.
        source: its name.

    Raises:
        DataError: if a column is not there, or a row holds text that no file can.
    """
    raise_if_any(_unwritable(rows))
    return _rename(rows, columns, source)


def read_splits(
    data: Any,
    *,
    columns: Mapping[str, Any] | None = None,
    format: str | None = None,
    problems: list[Problem] | None = None,
    alone: str = "train",
) -> dict[str, list[Row]]:
    """Return the rows of each split that is given, in the order train, validation, test.

    Args:
        data: a mapping of `train`, `validation` (or `dev`, `val`, `valid`) and `test` to what `read_rows` reads, such
            as a `DatasetDict` (a split that is None is not given); a folder with split files; the id of a
            data set on the Hub; or one source alone.
        columns: as `read_rows` takes it, for every split.
        format: as `read_rows` takes it, for every split.
        problems: a list that takes the problems, so that the caller can tell them with others; None: they are raised.
        alone: the split that one source alone is taken for, or what else its rows are called.

    Raises:
        DataError: with every problem of every split, an empty one included.
        ConfigError: if a split's name is unknown.
    """
    rows: dict[str, list[Row]] = {}
    found: list[Problem] = []
    for split, source in _splits_of(data, alone).items():
        try:
            rows[split] = read_rows(source, name=split, format=format, columns=columns)
        except DataError as error:
            found += error.problems
            rows[split] = []
            continue
        if not rows[split]:
            where = f"{split} ({Path(source).name})" if isinstance(source, str | Path) else split
            remedy = "Give it at least one, or leave the split out."
            found.append(Problem(where, "holds no rows", remedy, code="empty_split"))
    if problems is None:
        raise_if_any(found)
    else:
        problems += found
    return rows


def _splits_of(data: Any, alone: str) -> dict[str, Any]:
    if isinstance(data, str | Path):
        return _splits_of_name(data, alone)
    return named_splits(data) if isinstance(data, Mapping) else {alone: data}


def named_splits(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sources under the splits' standard names."""
    splits: dict[str, Any] = {}
    given: dict[str, str] = {}
    for name, source in data.items():
        split = ALIASES.get(name, name)
        if split not in SPLITS:
            raise ConfigError(f"'{name}' is no split. {suggestion(name, (*SPLITS, *ALIASES))}")
        if source is None:
            continue
        if split in splits:
            remedy = "Give one of them, or join their rows."
            raise DataError([Problem("data", f"'{given[split]}' and '{name}' both mean {split}", remedy)])
        splits[split], given[split] = source, name
    if not splits:
        raise DataError([Problem("data", "holds no split", 'Give at least {"train": …}.')])
    return {split: splits[split] for split in SPLITS if split in splits}


def _splits_of_name(data: str | Path, alone: str) -> dict[str, Any]:
    """Return the splits of a folder, a file or a Hub id; what exists is never taken for a Hub id."""
    path = _path(data)
    if os.path.isdir(path) and not is_parallel(path):  # noqa: PTH112 (Path.is_dir fails for a name that is too long)
        return dict(find_splits(path))
    if isinstance(data, str) and _may_be_hub_id(data) and not path.exists():
        return _hub_splits(data)
    return {alone: path}


def _path(name: str | Path) -> Path:
    return Path(os.path.expanduser(name))  # noqa: PTH111 (Path.expanduser fails for an unknown user)


def _may_be_hub_id(text: str) -> bool:
    return _HUB_ID.fullmatch(text) is not None and Path(text).suffix.lower() not in DATA_EXTENSIONS


def _hub_splits(name: str) -> dict[str, Any]:
    """Return the splits of a data set on the Hub; splits under other names are left out and said."""
    from datasets import load_dataset

    try:
        loaded = load_dataset(name)
    except Exception as error:  # whatever fails there, the person needs to know both things that were tried
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        what = f"there is no such file or folder, and no such data set could be loaded from the Hub ({reason})"
        raise DataError([Problem(name, what, "Check the spelling, or give a path.")]) from error
    known = {split: rows for split, rows in loaded.items() if ALIASES.get(split, split) in SPLITS}
    others = [split for split in loaded if split not in known]
    if not known:
        remedy = f'Load it with datasets.load_dataset and give {{"train": …}}; it has {", ".join(others)}.'
        raise DataError([Problem(name, "has no split named train, validation or test", remedy)])
    if others:
        notices.say(f"{name}: the splits {', '.join(others)} were left out.")
    return named_splits(known)


def _rename(rows: list[Row], columns: Mapping[str, Any], source: str) -> list[Row]:
    """Return the rows with our names for the source's columns, all others kept under their own."""
    there = dict.fromkeys(column for row in rows for column in row.columns)
    if rows:
        raise_if_any(
            _missing(ours, theirs, [str(column) for column in there], source)
            for ours, theirs in columns.items()
            if theirs not in there
        )
    for ours, theirs in columns.items():
        if ours in there and ours not in columns.values():
            notices.say(f"{source}: its own column '{ours}' was left out, since '{theirs}' is read as '{ours}'.")
    gone = {*columns, *columns.values()}
    return [
        row._replace(
            columns={ours: row.columns[theirs] for ours, theirs in columns.items() if theirs in row.columns}
            | {str(column): value for column, value in row.columns.items() if column not in gone}
        )
        for row in rows
    ]


def _missing(ours: str, theirs: object, there: list[str], source: str) -> Problem:
    return Problem(
        source,
        f"has no column {theirs!r} to read as '{ours}'; its columns are {', '.join(there)}",
        near_name(theirs, there) or "Name one of them.",
    )


def _unwritable(rows: list[Row]) -> list[Problem]:
    """Return a problem for each row with half of a surrogate pair: a string can hold it, no tokenizer reads it."""
    problems = []
    for row in rows:
        try:
            json.dumps(row.columns, ensure_ascii=False, skipkeys=True, default=str).encode()
        except UnicodeEncodeError as error:
            what = f"holds half of a character, \\u{ord(error.object[error.start]):04x}"
            problems.append(Problem(row.where, what, "Remove it, or write the whole surrogate pair."))
    return problems
