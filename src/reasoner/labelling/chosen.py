"""What does a person get to label: rows with a suggestion each, as a list, a table, and a file to fill in?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, overload

from reasoner.data.sentences import NERExample
from reasoner.errors import CheckpointError, ConfigError, Problem, raise_if_any
from reasoner.labelling.rows import ENTITIES, named, schema_of
from reasoner.registry import name_of, resolve
from reasoner.reports.layout import Table, cell, table_lines
from reasoner.tasks.base import Task

WIDTH = 80
EMPTY = "_"
"""What stands for a tag that a person is to give, in columns."""
SHOWN = 20
"""Rows that the printed table shows."""
RECORD = ".chosen.json"
"""How the file beside a file to label ends that says what was chosen."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A row to label."""

    columns: Mapping[str, Any]
    """As it was given, without gold."""
    where: str
    """Where it stands in what was given."""
    gold: str
    """The column that the label goes into."""
    suggested: Any
    """What the model would write there; None: nothing."""
    doubt: float | None
    """More means less sure; None: it was not asked."""
    why: str


class ToLabel(Sequence[Chosen]):
    """Rows to label, in the order in which they were chosen. Printing it, or showing it in a notebook, shows them.

    Args:
        chosen: the rows.
        task: of the model.
        by: how they were chosen.
        doubt: by which measure; None: by none.
        pool: how many rows there were to choose from.
    """

    def __init__(
        self, chosen: Sequence[Chosen], *, task: Task[Any, Any], by: str, doubt: str | None, pool: int
    ) -> None:
        self.chosen, self.task, self.by, self.doubt, self.pool = tuple(chosen), task, by, doubt, pool

    def __len__(self) -> int:
        return len(self.chosen)

    @overload
    def __getitem__(self, index: int) -> Chosen: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Chosen, ...]: ...
    def __getitem__(self, index: int | slice) -> Any:
        """Return a row, or some."""
        return self.chosen[index]

    def write(self, path: str | Path) -> Path:
        """Write the rows into a file for a person to fill in, and beside it what was chosen, for `read_labels`.

        Args:
            path: `.jsonl`: each row with its own columns, the gold null, `suggested`, `doubt` and `why`; or `.conll`,
                for NER on words: a word a line, the suggested tag, and `_` where the tag goes.

        Raises:
            ConfigError: if the path ends otherwise, the rows cannot be written so, or the file is there already.
        """
        path = Path(path)
        lines = {".jsonl": self._json_lines, ".conll": self._conll}.get(path.suffix.lower())
        if lines is None:
            raise ConfigError(f"'{path.name}' ends with '{path.suffix}'. Give a name that ends with .jsonl or .conll.")
        text = "\n".join(lines()) + "\n"
        if path.exists():
            raise ConfigError(f"'{path}' is there already, perhaps with labels. Give another name, or remove it.")
        path.parent.mkdir(parents=True, exist_ok=True)
        record = json.dumps(self.to_dict(), indent=1, ensure_ascii=False, default=str)
        record_of(path).write_text(record, "utf-8")
        path.write_text(text, "utf-8")
        return path

    def to_dict(self) -> dict[str, Any]:
        """Return all as JSON values, the task with its settings too."""
        return {
            "task": name_of("task", type(self.task)),
            "task_settings": self.task.settings(),
            "by": self.by,
            "doubt": self.doubt,
            "pool": self.pool,
            "rows": [asdict(one) for one in self],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ToLabel:
        """Return what `to_dict` gave."""
        task = resolve("task", values["task"])(**values["task_settings"])
        chosen = [Chosen(**row) for row in values["rows"]]
        return cls(chosen, task=task, by=values["by"], doubt=values["doubt"], pool=values["pool"])

    def _json_lines(self) -> Iterator[str]:
        for one in self:
            told = {"suggested": one.suggested, "doubt": one.doubt, "why": one.why}
            yield json.dumps({**one.columns, one.gold: None, **told}, ensure_ascii=False, default=str)

    def _conll(self) -> Iterator[str]:
        schema = schema_of(self.task)
        if not issubclass(schema, NERExample) or any(one.gold == ENTITIES for one in self):
            raise ConfigError("Columns of words (.conll) are for NER on rows with tokens. Write .jsonl.")
        for one in self:
            words = named(one.columns, schema)["tokens"]
            raise_if_any(
                Problem(one.where, f"the word {word!r:.40} cannot stand in a column", "Write .jsonl instead.")
                for word in words
                if not word.strip() or set(word) & set("\t\r\n\v\f\x85\u2028\u2029")
            )
            yield f"# {' '.join(one.where.split())}: {one.why}"
            suggested = one.suggested or [EMPTY] * len(words)
            yield from (f"{word}\t{tag}\t{EMPTY}" for word, tag in zip(words, suggested, strict=True))
            yield ""

    def __repr__(self) -> str:
        heading = self._heading()
        return "\n".join([heading, "=" * len(heading), "", *table_lines(self._table(), WIDTH), *self._more()])

    def _repr_html_(self) -> str:
        from reasoner.reports.notebook import table_html

        return f"<div>{table_html(self._table())}{''.join(f'<p>{line}</p>' for line in self._more() if line)}</div>"

    def _heading(self) -> str:
        measure = f", {self.doubt}" if self.doubt else ""
        return f"{len(self):,} of {self.pool:,} rows to label, by {self.by}{measure}"

    def _table(self) -> Table:
        schema = schema_of(self.task)
        rows = [
            (f"{place}. {one.where}", _text(one, schema), cell(_short(one.suggested)), cell(one.doubt))
            for place, one in enumerate(self[:SHOWN], start=1)
        ]
        return Table(self._heading(), ("", "text", "suggested", "doubt"), rows)

    def _more(self) -> list[str]:
        return ["", f"... and {len(self) - SHOWN:,} more."] if len(self) > SHOWN else []


def record_of(path: Path) -> Path:
    """Return where it stands what was chosen for a file to label."""
    return path.with_suffix(RECORD)


def read_chosen(path: Path) -> ToLabel:
    """Return what was chosen for a file to label.

    Raises:
        CheckpointError: if that is not there or cannot be read.
    """
    try:
        return ToLabel.from_dict(json.loads(record_of(path).read_text("utf-8")))
    except FileNotFoundError:
        raise CheckpointError(f"'{record_of(path)}' is not there, which `write` wrote beside the file to label. Give "
                              "what was chosen: read_labels(path, chosen=...).") from None  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"'{record_of(path)}' cannot be read: {error}. Choose again.") from error


def _text(one: Chosen, schema: type[Any]) -> str:
    columns = named(one.columns, schema)
    texts = [columns.get(name) for name in ("tokens", "text", "premise", "question")]
    found: Any = next((text for text in texts if text), "")
    return cell(" ".join(found) if isinstance(found, (list, tuple)) else found)


def _short(suggested: Any) -> Any:
    """Return a suggestion in few words."""
    if isinstance(suggested, Mapping):
        return ", ".join(map(str, suggested.get("text", ()))) or "no answer"
    if isinstance(suggested, (list, tuple)):
        types = [item["label"] if isinstance(item, Mapping) else item.partition("-")[2] or "" for item in suggested]
        return ", ".join(dict.fromkeys(filter(None, types))) or "nothing"
    return suggested
