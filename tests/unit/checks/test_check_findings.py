"""Are findings told in few words: places of one file together, at most five, 80 columns, HTML without surprises?"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from reasoner.checks.findings import ERROR, NOTE, Finding, listed, some_places
from reasoner.checks.reading import REPAIRED
from reasoner.checks.report import CheckReport
from reasoner.errors import DataError
from reasoner.notices import collect


def finding(*places, partners=(), **values):
    return Finding(**{"code": "leakage", "what": "it leaks", "remedy": "Mend it.", **values}, places=places,
                   partners=partners)  # fmt: skip


@pytest.mark.parametrize(
    ("places", "text"),
    [
        ((), ""),
        (("a.csv, line 3",), "a.csv, line 3"),
        (("a.csv, line 3", "a.csv, line 8"), "a.csv, lines 3, 8"),
        (("a.csv, line 3", "b, row 1", "b, row 2"), "a.csv, line 3; b, rows 1, 2"),
        (("data",), "data"),
        (("train", "test"), "train; test"),
        (tuple(f"a, b.csv, line {n}" for n in range(9)), "a, b.csv, lines 0, 1, 2, 3, 4 and 4 more"),
        (tuple(f"{n}.csv, line 1" for n in range(6)), "; ".join(f"{n}.csv, line 1" for n in range(5)) + " and 1 more"),
    ],
)
def test_places(places, text):
    assert some_places(finding(*places)) == text


def test_places_with_their_partners():
    within = finding("a.csv, line 3", "a.csv, line 8", partners=("a.csv, line 1", "a.csv, line 2"))
    assert some_places(within) == "a.csv, lines 3, 8 (as 1, 2)"
    across = finding(
        "b.csv, line 3", "b.csv, line 8", "c, row 1", partners=("a.csv, line 1", "a.csv, line 2", "d, row 7")
    )
    assert some_places(across) == "b.csv, lines 3, 8 (a.csv, lines 1, 2); c, row 1 (d, row 7)"


def test_names():
    assert listed(["a", "b"]) == "a, b"
    assert listed(list("abcdefgh"), 3) == "a, b, c and 5 more"


REPORT = CheckReport(
    findings=[
        finding(*(f"a-file-with-a-long-name.jsonl, line {n}" for n in range(40)), count=40, severity=ERROR, code="bad"),
        finding("b, row 1", what="a <b> & " + "many words " * 20, count=1),
        finding(code="half_precision", severity=NOTE),
    ],
    rows={"train": 12345, "test": 7},
    estimate={
        "seconds": 731.0, "steps": 1200, "evaluations": 5, "memory_bytes": 2.5e9, "batch_bytes": 3e8,
        "disk_bytes": 90e6, "longest_batch": [16, 128], "device": "cpu",
    },
)  # fmt: skip


def test_the_text():
    lines = str(REPORT).splitlines()
    assert lines[0] == "Checked train 12,345, test 7 rows: 1 error, 1 warning, 1 note."
    assert lines[1:5] == [
        "", "Errors", "- [bad] it leaks. Mend it.", "    a-file-with-a-long-name.jsonl, lines 0, 1, 2, 3, 4 and 35 more"
    ]  # fmt: skip
    assert max(map(len, lines)) <= 80
    assert lines[-4:] == [
        "  time           about 12 min (1,200 steps, 5 evaluations, cpu)",
        "  memory         about 2.5 GB, 300 MB of it for a batch",
        "  disk           90 MB in output_dir, twice that while it is written",
        "  longest batch  16 x 128 tokens",
    ]
    assert repr(REPORT) == str(REPORT)
    assert str(CheckReport(rows={"train": 5})) == "Checked train 5 rows: nothing wrong was found."


def test_the_text_says_what_bfloat16_would_save():
    faster = replace(REPORT, estimate={**REPORT.estimate, "bf16_seconds": 400.0})
    assert "time           about 12 min, with bf16=True about 7 min (1,200 steps," in str(faster)


def test_the_html_is_escaped():
    html = REPORT._repr_html_()
    assert "a &lt;b&gt; &amp; many" in html and "<b> &" not in html
    assert html.count("<table>") == html.count("</table>") == 2 and "and 35 more" in html


def test_the_values():
    values = REPORT.to_dict(most_places=20)
    assert json.loads(json.dumps(values)) == values
    assert len(values["findings"][0]["places"]) == 20 and values["findings"][0]["count"] == 40
    assert len(REPORT.to_dict()["findings"][0]["places"]) == 40
    assert [item.code for item in REPORT.errors + REPORT.warnings + REPORT.notes] == [
        "bad",
        "leakage",
        "half_precision",
    ]


def test_errors_are_raised_together():
    two = CheckReport(findings=[finding("a, row 1", severity=ERROR), finding(severity=ERROR, code="other")])
    with pytest.raises(DataError) as caught:
        two.raise_errors()
    assert [str(problem) for problem in caught.value.problems] == [
        "a, row 1: it leaks. Mend it.",
        "other: it leaks. Mend it.",
    ]
    CheckReport(findings=[finding(), finding(severity=NOTE)]).raise_errors()


def test_warnings_are_said_once_and_notes_not_at_all():
    with collect() as said:
        REPORT.say_all()
        REPORT.say_all()
        CheckReport(findings=[finding(code="cut_rows")]).say_all()  # encoding has said it
    assert len(said) == 1 and said[0].startswith("Check, leakage: a <b> &")


def test_the_page_on_reports_explains_every_code_and_no_other():
    root = Path(__file__).resolve().parents[3]
    source = "".join(path.read_text("utf-8") for path in (root / "src" / "reasoner").rglob("*.py"))
    named = r'\bcode="(\w+)"|_pairs\(\s*"(\w+)"|\bcode = "(\w+)" if|True, "(\w+)"\)|else "(unseen_label)"'
    given = {code for groups in re.findall(named, source) for code in groups if code}
    given |= {code for _, code, _ in REPAIRED} | {"repaired", "bad_label", "unreadable_row"}
    page = (root / "docs" / "reports.md").read_text("utf-8")
    table = page[page.index("| code |") :].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", table)) == given
