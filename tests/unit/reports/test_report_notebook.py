from __future__ import annotations

import base64
import re
import sys
from html.parser import HTMLParser

import pytest

from reasoner.reports.notebook import report_html
from reasoner.reports.run import Run
from reasoner.reports.tables import score_tables

VOID = {"img"}


class Reader(HTMLParser):
    """Reads rows of cells, and checks that every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attributes: object) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    assert reader.open == []
    return reader


def test_shows_the_same_cells_as_the_tables(full: Run) -> None:
    rows = read(report_html(full)).rows
    for table in score_tables(full):
        for row in table.rows:
            assert [f"{row[0]} *" if row[0] == table.marked else row[0], *row[1:]] in rows
    assert ["f1 *", "0.2222", "0.6667", "+0.4444", "0.4321"] in rows


def test_a_minimal_run_has_neither_curve_nor_notices(minimal: Run) -> None:
    html = report_html(minimal)
    assert ["macro_f1 *", "0.7333"] in read(html).rows
    assert "<img" not in html and "Notices" not in html and "Training" not in html


def test_a_run_without_scores_is_shown(minimal: Run) -> None:
    minimal.metrics = {}
    assert ["method", "Full()"] in read(report_html(minimal)).rows


def test_all_text_is_escaped(full: Run) -> None:
    evil = '<script>alert("1")</script>'
    full.model = full.method = full.task = evil
    full.notices = [evil]
    full.rows = {evil: 1}
    full.metrics["test"]["by_type"][evil] = {evil: evil}
    full.metrics["test"][evil] = 0.5
    full.primary_metric = evil
    html = report_html(full)
    assert read(html).tags <= {"div", "table", "thead", "tbody", "tr", "td", "th", "p", "ul", "li", "img"}
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 8


def test_the_curve_is_inside_as_png(full: Run) -> None:
    pytest.importorskip("matplotlib")
    html = report_html(full)
    image = re.search(r'src="data:image/png;base64,([^"]+)"', html)
    assert image and base64.b64decode(image[1], validate=True).startswith(b"\x89PNG")
    assert "http" not in re.sub(r'src="[^"]+"', "", html)


def test_without_matplotlib_a_sentence_says_how_to_get_it(full: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    html = report_html(full)
    assert "<img" not in html
    assert "pip install &#x27;reasoner-ft[plots]&#x27;" in html


def test_no_colour_is_set_so_that_dark_themes_keep_theirs(full: Run) -> None:
    assert not re.search(r"[^-]color:|background", report_html(full))
