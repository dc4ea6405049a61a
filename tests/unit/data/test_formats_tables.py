"""Are CSV, TSV and Parquet files read, quoting, line ends and class labels included?"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reasoner import notices
from reasoner.data.formats.delimited import read_csv, read_tsv
from reasoner.data.formats.parquet import read_parquet
from reasoner.errors import DataError


def problems(call: object, *arguments: object) -> list[str]:
    with pytest.raises(DataError) as caught:
        call(*arguments)  # type: ignore[operator]
    return [str(problem) for problem in caught.value.problems]


def test_quoted_delimiters_quotes_and_line_ends() -> None:
    rows = read_csv('text,label\r\n"a, ""b""\r\nc",1\r\n\r\nd\u2028e,\r\n', "t.csv", {})
    assert [(dict(row.columns), row.where) for row in rows] == [
        ({"text": 'a, "b"\r\nc', "label": "1"}, "t.csv, line 2"),
        ({"text": "d\u2028e", "label": ""}, "t.csv, line 5"),
    ]


fields = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(st.lists(st.tuples(fields, fields), min_size=1), st.sampled_from([",", "\t"]))
@example([("\t\r", "")], "\t")
def test_what_csv_writes_is_read(records: list[tuple[str, str]], delimiter: str) -> None:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *records])
    rows = (read_csv if delimiter == "," else read_tsv)(file.getvalue(), "t", {})
    assert [(row.columns["a"], row.columns["b"]) for row in rows] == records


def test_ragged_records_are_all_named() -> None:
    assert problems(read_csv, "a,b\n1\n1,2\n1,2,3\n", "t.csv", {}) == [
        "t.csv, line 2: has 1 fields, the header has 2. Quote fields that hold the delimiter (,).",
        "t.csv, line 4: has 3 fields, the header has 2. Quote fields that hold the delimiter (,).",
    ]


def test_broken_quotes_are_named_where_they_open() -> None:
    assert problems(read_csv, 'a,b\n1,2\n3,"4\n5,6\n', "t.csv", {}) == [
        't.csv, line 3: opens a quotation mark that is never closed. Write a quotation mark inside a field as "".'
    ]
    assert problems(read_csv, 'a,b\n"1"x,2\n', "t.csv", {})[0].startswith("t.csv, line 2: is broken (")


def test_a_name_given_twice_is_refused() -> None:
    assert problems(read_csv, "a,b,a\n1,2,3", "t.csv", {}) == [
        "t.csv, line 1: the header names these columns more than once: 'a'. Give each column its own name."
    ]


def test_tables_without_header_by_column_number() -> None:
    rows = read_tsv("paris\tin\tfrance\nrome\tin\titaly\n", "kg.txt", {"head": 0, "tail": -1})
    assert [dict(row.columns) for row in rows] == [
        {"head": "paris", "1": "in", "tail": "france"},
        {"head": "rome", "1": "in", "tail": "italy"},
    ]
    assert problems(read_tsv, "a\tb\nc", "kg.txt", {"x": 2}) == [
        "kg.txt: has no column number 2 to read as 'x': its first line has 2 fields. "
        "Columns are counted from 0, or back from -1.",
        "kg.txt, line 2: has 1 fields, the first line has 2. Quote fields that hold the delimiter (tab).",
    ]


def test_tabs_with_quotation_marks_that_quote_nothing() -> None:
    with notices.collect() as said:
        rows = read_tsv('text\tlabel\n"Hello\t1\nhe said "no"\t0\n5" nail\t0\n', "t.tsv", {})
    assert [row.columns["text"] for row in rows] == ['"Hello', 'he said "no"', '5" nail']
    assert said == ['t.tsv: quotation marks (") are read as text, since they do not pair around fields.']
    with notices.collect() as said:
        assert read_tsv('text\tlabel\n"a ""b"""\t1\n', "t.tsv", {})[0].columns["text"] == 'a "b"'
    assert said == []


def test_fields_longer_than_the_standard_limit() -> None:
    limit = csv.field_size_limit()
    assert len(read_csv("a\n" + "x" * 200_000, "t.csv", {})[0].columns["a"]) == 200_000
    assert csv.field_size_limit() == limit


def test_empty_tables() -> None:
    assert read_csv("", "t.csv", {}) == read_csv("a,b\n", "t.csv", {}) == []


def test_parquet_gives_plain_values_and_class_names(tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, Features, List, Value

    labels = ClassLabel(names=["no", "yes"])
    features = Features({"text": Value("string"), "label": labels, "tags": List(labels), "score": Value("float64")})
    rows = {"text": ["a", None], "label": [1, -1], "tags": [[0, 1], []], "score": [0.5, float("nan")]}
    Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "t.parquet")
    read = read_parquet((tmp_path / "t.parquet").read_bytes(), "t.parquet")
    assert [(dict(row.columns), row.where) for row in read] == [
        ({"text": "a", "label": "yes", "tags": ["no", "yes"], "score": 0.5}, "t.parquet, row 1"),
        ({"text": None, "label": -1, "tags": [], "score": None}, "t.parquet, row 2"),
    ]


def test_a_broken_parquet_file() -> None:
    assert problems(read_parquet, b"PAR1 nonsense", "t.parquet")[0].startswith(
        "t.parquet: is not a readable Parquet file ("
    )


def test_a_parquet_file_with_names_that_are_no_text_is_refused() -> None:
    table = pa.table({"text_column": ["a"]})
    sink = io.BytesIO()
    pq.write_table(table, sink, store_schema=False)
    content = sink.getvalue().replace(b"text_column", b"\x80ext_column")
    with pytest.raises(DataError, match=r"rows.parquet: is not a readable Parquet file \(.*utf-8"):
        read_parquet(content, "rows.parquet")
