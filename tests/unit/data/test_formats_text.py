"""Are bytes read as text strictly, and is every wrong byte named with its line?"""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoner.data.formats.text import decode, read_bytes, split_lines
from reasoner.errors import DataError


def test_a_latin_1_file_is_refused_with_every_line_and_column() -> None:
    content = "a\nb\r\nEduardo Galeán\rtschüß".encode("latin-1")
    with pytest.raises(DataError) as caught:
        decode(content, "train.conll")
    assert [str(problem) for problem in caught.value.problems] == [
        "train.conll, line 3: is not UTF-8 (byte 0xe1 at column 13). "
        "Save the file as UTF-8, or convert it: iconv -f CP1252 -t UTF-8 OLD > NEW.",
        "train.conll, line 4: is not UTF-8 (byte 0xfc at column 5). "
        "Save the file as UTF-8, or convert it: iconv -f CP1252 -t UTF-8 OLD > NEW.",
    ]


def test_columns_are_counted_in_characters() -> None:
    with pytest.raises(DataError, match="byte 0xff at column 3"):
        decode("né".encode() + b"\xff", "x")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
def test_wide_encodings_are_named(encoding: str) -> None:
    with pytest.raises(DataError) as caught:
        decode("\ufeffa\tO\n".encode(encoding), "a.conll")
    assert str(caught.value) == (
        "a.conll: is UTF-16 or UTF-32, not UTF-8. "
        "Save the file as UTF-8, or convert it: iconv -f UTF-16 -t UTF-8 OLD > NEW."
    )


def test_nul_bytes_are_named_with_their_lines() -> None:
    with pytest.raises(DataError) as caught:
        decode(b"a\nb\0c\n\0", "a.csv")
    assert [problem.where for problem in caught.value.problems] == ["a.csv, line 2", "a.csv, line 3"]
    assert str(caught.value.problems[0]) == (
        "a.csv, line 2: holds a NUL byte (at byte 2 of the line). "
        "Remove it; a file with many of them is often UTF-16, to be saved as UTF-8."
    )


def test_one_byte_order_mark_is_removed() -> None:
    assert decode(b"\xef\xbb\xbfword", "x") == "word"
    assert decode("\ufeff\ufeffword".encode(), "x") == "\ufeffword"


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]))), st.data())
def test_lines_end_at_line_feeds_and_carriage_returns_alone(lines: list[str], data: st.DataObject) -> None:
    lines = lines or [""]
    end = data.draw(st.sampled_from(["\n", "\r\n", "\r"]))
    assert split_lines(end.join(lines)) == lines


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_bytes(tmp_path / "none.txt")
    assert str(caught.value) == f"{tmp_path}/none.txt: there is no such file. It was looked for in {tmp_path}."
    with pytest.raises(DataError) as caught:
        read_bytes(tmp_path)
    assert str(caught.value) == f"{tmp_path}: is a folder, a file is needed. Name one of its files."
    with pytest.raises(DataError, match="cannot be opened"):
        read_bytes(Path("a" * 5000))
    with pytest.raises(DataError, match="cannot be opened"):
        read_bytes(Path("a\0b"))


def test_gzip_is_decompressed_and_broken_gzip_refused(tmp_path: Path) -> None:
    good, cut, no = tmp_path / "good.gz", tmp_path / "cut.gz", tmp_path / "no.gz"
    good.write_bytes(gzip.compress(b"text"))
    cut.write_bytes(gzip.compress(b"text" * 99)[:-6])
    no.write_bytes(b"text")
    assert read_bytes(good) == b"text"
    with pytest.raises(
        DataError, match=r"^cut.gz: is broken gzip data \(.*\)\. Compress or download the file again\.$"
    ):
        read_bytes(cut)
    with pytest.raises(DataError, match=r"^no.gz: is named .gz but is not gzip-compressed\. "):
        read_bytes(no)
