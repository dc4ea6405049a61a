"""Is the reader that reads a file the right one?"""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from reasoner.data.formats.choose import read_file, sniff
from reasoner.errors import ConfigError, DataError

CONLL = "EU\tB-ORG\nrejects\tO\n\nPeter\tB-PER\n"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.txt", CONLL, "conll"),
        ("dev", "EU PER\nrejects O\n\nPeter PER\n", "conll"),
        ("dev", "EU\nrejects\n\nPeter\n", "conll"),
        ("a.tsv", CONLL, "conll"),
        ("a.tsv", "text\tlabel\nA good film\tB\nA bad film\tO\n", "tsv"),
        ("a.tsv", "text\tlabel\nA good film\tyes\n\nA bad film\tno\n", "tsv"),
        ("a.annotated", '[\tO\n{\tO\n\n"\tO\n', "conll"),
        ("a.txt", '\n{"a": 1}\n{"a": 2}', "json"),
        ("a.txt", '[\n {"a": 1}\n]', "json"),
        ("a.txt", "", "conll"),
        ("a.txt", "1 hi\thello what can I do\n2 bye\tgood bye\n\n1 hi\thello\n", "dialogues"),
    ],
)
def test_the_content_decides_where_the_name_does_not(name: str, text: str, expected: str) -> None:
    assert sniff(text, Path(name), {}) == expected


@pytest.mark.parametrize(
    "text",
    [
        "We saw it on Monday.\nIt was good.\n",
        "paris\tin\tfrance\nrome\tin\titaly\n",
        "O O O B-item\nO B-item\n",
        "PlayMusic\nGetWeather\n",
    ],
)
def test_what_cannot_be_told_is_asked(text: str) -> None:
    with pytest.raises(DataError) as caught:
        sniff(text, Path("some/a.txt"), {})
    assert str(caught.value) == (
        "a.txt: its format cannot be told from its name or its content. Name it with format=, one of jsonl, json, "
        "squad, csv, tsv, conll, dialogues, parquet; number the columns of a table without header."
    )


def test_a_column_number_for_words_or_tags_says_that_it_is_conll() -> None:
    assert sniff("a b c\n", Path("a.tsv"), {"ner_tags": 1}) == "conll"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", '{"a": "1"}'),
        ("a.NDJSON", '{"a": "1"}'),
        ("a.json", '[{"a": "1"}]'),
        ("a.csv", "a\n1"),
        ("a.tsv", "a\n1"),
        ("a.TXT", '{"a": "1"}\n{"a": "1"}'),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_extensions_compression_and_byte_order_marks(
    tmp_path: Path, name: str, text: str, compressed: bool, mark: str
) -> None:
    content = (mark + text).encode()
    path = tmp_path / (name + ".gz" if compressed else name)
    path.write_bytes(gzip.compress(content) if compressed else content)
    rows = read_file(path, None, {})
    assert rows[0].columns == {"a": "1"}
    assert rows[0].source == path.name


@pytest.mark.parametrize("extension", ["conll", "bio", "iob", "iob2", "txt", "tsv", "annotated.gz"])
def test_conll_under_every_name(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"a.{extension}"
    path.write_bytes(gzip.compress(CONLL.encode()) if extension.endswith("gz") else CONLL.encode())
    assert [row.columns["ner_tags"] for row in read_file(path, None, {})] == [["B-ORG", "O"], ["B-PER"]]


def test_a_named_format_goes_before_the_extension(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(CONLL)
    assert len(read_file(path, "conll", {})) == 2
    with pytest.raises(ConfigError, match=r"^format='conl' is unknown\. Did you mean 'conll'\?$"):
        read_file(path, "conl", {})


def test_numbers_for_columns_that_have_names(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}')
    with pytest.raises(
        DataError, match=r"^a.jsonl: its columns have names, not numbers \(\{'tokens': 0\}\)\. Give each"
    ):
        read_file(path, None, {"tokens": 0})
