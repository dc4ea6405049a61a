"""What does a notebook show of a run: the report as a fragment of HTML that needs nothing beside it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from html import escape

from reasoner.errors import ConfigError
from reasoner.reports.layout import Facts, Table
from reasoner.reports.plots import learning_curve_png
from reasoner.reports.run import Run
from reasoner.reports.tables import notes, overview, score_tables, title, training_facts

# No colour of text or ground is set: both come from the notebook, dark or light. Grey lines show on either.
_LINE = "1px solid rgba(128, 128, 128, 0.45)"
_BLOCK = "margin: 0 0 1em 0; border-collapse: collapse; font-variant-numeric: tabular-nums"
_NAME = "text-align: left; padding: 2px 12px 2px 0"
_NUMBER = "text-align: right; padding: 2px 0 2px 14px"
_HEADING = "font-weight: 600; margin: 0.9em 0 0.3em 0"
_SMALL = "font-size: 0.9em; opacity: 0.85; margin: 0 0 0.6em 0"


def report_html(run: Run) -> str:
    """Return the report as HTML, for `_repr_html_`: self-contained, without scripts, all text escaped.

    The learning curve is an inline PNG where matplotlib is installed; elsewhere a sentence says how to install it.
    """
    tables = [table_html(table) for table in score_tables(run)]
    parts = [_heading(title(run)), _facts(overview(run)), *tables[:1], *map(_note, notes(run)), *tables[1:]]
    if facts := training_facts(run):
        parts += [_heading("Training"), _facts(facts)]
    if run.history:
        parts.append(_curve(run))
    if run.notices:
        parts += [_heading("Notices"), _list(run.notices)]
    return f'<div style="max-width: 920px; line-height: 1.35">{"".join(parts)}</div>'


def _heading(text: str) -> str:
    return f'<div style="{_HEADING}">{escape(text)}</div>'


def _note(text: str) -> str:
    return f'<p style="{_SMALL}">{escape(text)}</p>'


def _list(items: Iterable[str]) -> str:
    return f'<ul style="margin: 0; padding-left: 1.2em">{"".join(f"<li>{escape(item)}</li>" for item in items)}</ul>'


def _facts(facts: Facts) -> str:
    rows = (_row((name, text), "td", (_NAME, _NAME)) for name, text in facts)
    return f'<table style="{_BLOCK}">{"".join(rows)}</table>'


def table_html(table: Table) -> str:
    """Return a table with its title as HTML."""
    styles = (_NAME, *([_NUMBER] * (len(table.columns) - 1)))
    head = _row(table.columns, "th", tuple(f"{style}; border-bottom: {_LINE}" for style in styles))
    rows = []
    for row in table.rows:
        marked = row[0] == table.marked
        cells = (f"{row[0]} *", *row[1:]) if marked else row
        rows.append(_row(cells, "td", tuple(f"{style}; font-weight: 700" for style in styles) if marked else styles))
    body = f"<thead>{head}</thead><tbody>{''.join(rows)}</tbody>"
    return f'{_heading(table.title)}<table style="{_BLOCK}">{body}</table>'


def _row(cells: tuple[str, ...], tag: str, styles: tuple[str, ...]) -> str:
    inner = (f'<{tag} style="{style}">{escape(text)}</{tag}>' for text, style in zip(cells, styles, strict=True))
    return f"<tr>{''.join(inner)}</tr>"


def _curve(run: Run) -> str:
    try:
        image = b64encode(learning_curve_png(run)).decode("ascii")
    except ConfigError as error:
        return _note(str(error))
    alt = escape(f"Learning curve: loss and validation {run.primary_metric} by step", quote=True)
    return f'<img alt="{alt}" style="max-width: 100%; margin: 0.4em 0" src="data:image/png;base64,{image}">'
