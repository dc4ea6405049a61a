"""What came of an export to ONNX: sizes, differences and scores, as text, HTML and JSON values."""

from __future__ import annotations

import textwrap
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from reasoner.reports.layout import Table, mebibytes, report_text, table_lines

WIDTH = 80
COLUMNS = ("", "size", "outputs differ by", "score", "change", "95% interval")


@dataclass(frozen=True, kw_only=True)
class OnnxVersion:
    """The model, or a file made of it."""

    name: str
    bytes: int
    """Of the weights in memory, or of the file."""
    score: float
    """The primary metric on the given rows."""
    difference: float | None = None
    """The largest one between its outputs and the model's; None: it is the model."""
    lower: float | None = None
    """Lower end of the 95% interval of its score less the model's (paired bootstrap); None: the task has no counts."""
    upper: float | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class OnnxExport:
    """What `export_onnx` wrote. Printing it, or showing it in a notebook, shows the table."""

    task: str
    metric: str
    """The task's primary metric, a fraction."""
    split: str
    rows: int
    """Of that split."""
    folder: str
    versions: tuple[OnnxVersion, ...]
    """The model first."""

    def __getitem__(self, name: str) -> OnnxVersion:
        """Return the version of that name: "PyTorch", or a file's."""
        return {version.name: version for version in self.versions}[name]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)

    def __repr__(self) -> str:
        table = self._table()
        return report_text(table.title, table_lines(table, WIDTH), textwrap.wrap(self._remark(), WIDTH))

    def _repr_html_(self) -> str:
        from reasoner.reports.notebook import table_html

        return f"<div>{table_html(self._table())}<p>{escape(self._remark())}</p></div>"

    def _table(self) -> Table:
        title = f"ONNX: {self.task}, {self.metric} on {self.split} ({self.rows:,} rows)"
        return Table(title, COLUMNS, [self._cells(version) for version in self.versions])

    def _cells(self, version: OnnxVersion) -> tuple[str, ...]:
        model = self.versions[0]
        is_model = version is model
        return (
            version.name,
            mebibytes(version.bytes),
            "" if version.difference is None else f"{version.difference:.1e}",
            f"{version.score:.4f}",
            "" if is_model else f"{version.score - model.score:+.4f}",
            "" if version.lower is None else f"{version.lower:+.4f} {version.upper:+.4f}",
        )

    def _remark(self) -> str:
        return f"Written to {self.folder}. Read it with reasoner.load_onnx."
