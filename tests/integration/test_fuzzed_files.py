"""Whatever the bytes of a data file, reading it gives rows or an error of this library, and never another exception.

`REASONER_FUZZ_CASES=1000000 pytest tests/integration/test_fuzzed_files.py tests/integration/test_hostile_text.py` tries
more.
"""

from __future__ import annotations

import gzip
import io
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import reasoner
from reasoner.data.examples import examples_from_rows
from reasoner.data.sources import read_splits
from reasoner.errors import ReasonerError
from reasoner.tasks.classification import Classification
from reasoner.tasks.multiple_choice import MultipleChoice
from reasoner.tasks.ner import NER
from reasoner.tasks.nli import NLI
from reasoner.tasks.qa import QuestionAnswering

CASES = int(os.environ.get("REASONER_FUZZ_CASES", "20000")) * 4 // 5
"""A fifth is for predictions, see test_hostile_text.py."""
TASKS = (NER, NLI, QuestionAnswering, MultipleChoice, Classification)

characters = st.text(st.characters(exclude_categories=()) | st.sampled_from("\t ,;\"'\r\n\ufeff\0#-BIO"), max_size=12)
names = st.sampled_from(
    [
        "text",
        "label",
        "tokens",
        "ner_tags",
        "premise",
        "hypothesis",
        "question",
        "context",
        "answers",
        "choices",
        "entities",
        "id",
        "answer_start",
        "start",
        "end",
        "labels",
        "document",
        "is_impossible",
        "title",
        "paragraphs",
        "qas",
        "data",
    ]
)
plain = st.none() | st.booleans() | st.integers(-3, 2**70) | st.floats() | characters
values = st.recursive(plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4))
objects = st.dictionaries(names | characters, values, max_size=6)


def as_json(value):
    return json.dumps(value).encode()


@st.composite
def tables(draw):
    separator = draw(st.sampled_from([",", "\t", ";"]))
    rows = draw(st.lists(st.lists(characters | names, max_size=5), max_size=6))
    return (
        draw(st.sampled_from(["\n", "\r\n", "\r"]))
        .join(separator.join(row) for row in rows)
        .encode("utf-8", "surrogatepass")
    )


@st.composite
def columns(draw):
    tags = st.sampled_from(["O", "B-PER", "I-PER", "B-", "I-LOC", "E-LOC", "S-MISC", "-DOCSTART-", "", "#", "B-PER-X"])
    lines = draw(st.lists(st.lists(characters | tags, max_size=4).map(" ".join), max_size=12))
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def parquet(rows):
    sink = io.BytesIO()
    try:
        pq.write_table(pa.Table.from_pylist(rows), sink)
    except (pa.ArrowException, OverflowError, UnicodeError, TypeError):  # not everything fits into columns
        pq.write_table(pa.table({"text": ["a"], "label": [None]}), sink)
    return sink.getvalue()


FORMATS = {
    "rows.conll": columns(),
    "rows.txt": columns() | tables(),
    "rows.jsonl": st.lists(objects.map(as_json), max_size=5).map(b"\n".join),
    "rows.json": st.lists(objects, max_size=4).map(as_json) | values.map(as_json),
    "squad.json": st.fixed_dictionaries({"data": values | st.lists(objects, max_size=2), "version": values}).map(
        as_json
    ),
    "rows.csv": tables(),
    "rows.tsv": tables(),
    "rows.parquet": st.lists(objects, min_size=1, max_size=3).map(parquet),
}


@st.composite
def damaged(draw, contents):
    """Content as it is, or with some bytes changed, cut off, compressed, or nothing but chance."""
    content = bytearray(draw(contents | st.binary(max_size=60)))
    for _ in range(draw(st.integers(0, 3)) if content else 0):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    content = content[: draw(st.integers(0, len(content)))] if draw(st.integers(0, 9)) == 0 else content
    return gzip.compress(bytes(content)) if draw(st.integers(0, 9)) == 0 else bytes(content)


@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data())
@settings(max_examples=max(CASES // len(FORMATS), 1),
          suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])  # fmt: skip
def test_rows_or_an_error_of_this_library(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data.draw(damaged(FORMATS[name])))
    try:
        assert isinstance(len(reasoner.read_rows(path)), int)
    except ReasonerError as error:
        assert str(error)
    task = data.draw(st.sampled_from(TASKS))
    try:
        examples = examples_from_rows(read_splits({"train": path}), task.Example)
        task.from_examples(examples)
    except ReasonerError as error:
        assert str(error)
