"""A row of data as it was read: its columns, and where it stands, so that every message can say so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Row(NamedTuple):
    """One row of a source, before any task has looked at it."""

    columns: Mapping[str, Any]
    """Column names to plain Python values."""
    source: str
    """The file's name, or the split's name when the data came from memory."""
    position: int
    """1-based: the line of the file on which the row begins, or the row's number."""
    unit: str = "line"
    """What `position` counts: "line" or "row"."""

    @property
    def where(self) -> str:
        """`train.jsonl, line 812` or `train, row 3`."""
        return f"{self.source}, {self.unit} {self.position}"
