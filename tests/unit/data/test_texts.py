"""Are unlabelled texts read from whatever holds them, each once?"""

from __future__ import annotations

import gzip
import json

import pytest

from reasoner.data.texts import read_texts
from reasoner.errors import DataError
from reasoner.notices import collect, counting

TEXTS = ["One text.", "Another  text.", "", "One text.", "A third."]
READ = ["One text.", "Another text.", "A third."]


@pytest.fixture(params=["list", "rows", "txt", "txt.gz", "jsonl", "csv"])
def source(request, tmp_path):
    path = tmp_path / f"texts.{request.param}"
    lines = "\n".join(TEXTS) + "\n"
    if request.param == "list":
        return TEXTS
    if request.param == "rows":
        return [{"text": text} for text in TEXTS]
    if request.param == "txt":
        path.write_text(lines, "utf-8")
    elif request.param == "txt.gz":
        path.write_bytes(gzip.compress(lines.encode()))
    elif request.param == "jsonl":
        path.write_text("\n".join(json.dumps({"text": text}) for text in TEXTS), "utf-8")
    else:
        path.write_text("text,id\n" + "\n".join(f'"{text}",{i}' for i, text in enumerate(TEXTS)), "utf-8")
    return path


def test_every_source_gives_the_same(source):
    with collect() as said, counting(""):
        assert read_texts(source) == READ
    assert any("1 texts occur a second time" in sentence for sentence in said)
    lines = getattr(source, "suffix", "") in (".txt", ".gz")  # an empty line is no text, and no loss
    assert any("1 texts are empty" in sentence for sentence in said) != lines


def test_lines_and_indents_stay_for_a_language_model():
    code = "def f(x):\n    if x:\n        return 1\n"
    assert read_texts([code, "def f(x): if x: return 1", " \n"], fewest=1, as_is=True) == [code]
    assert read_texts([code], fewest=1) == ["def f(x): if x: return 1"]


def test_another_column_and_what_has_no_text():
    assert read_texts([{"body": "a b"}, {"body": "c"}], column="body") == ["a b", "c"]
    with pytest.raises(DataError, match="texts, row 2: has no text in 'text'"):
        read_texts([{"text": "a"}, {"text": 3}, {"text": "b"}])
    with pytest.raises(DataError, match="Give at least two"):
        read_texts(["one", "one", " "])
