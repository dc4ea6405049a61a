"""Are folders of parallel files found and read line by line, and is what does not fit together refused?"""

from __future__ import annotations

import pytest

from reasoner.data.sources import read_rows, read_splits
from reasoner.errors import DataError

WORDS = "play some  jazz \nwill it\u00a0rain\n"
TAGS = "O O B-genre\nO O\n"
LABELS = "PlayMusic\nGetWeather\n"


def write(folder, words=WORDS, tags=TAGS, labels=LABELS):
    folder.mkdir(parents=True)
    for name, content in (("seq.in", words), ("seq.out", tags), ("label", labels)):
        if content is not None:
            (folder / name).write_text(content, encoding="utf-8", newline="")
    return folder


def test_a_row_a_line(tmp_path):
    rows = read_rows(write(tmp_path / "train"))
    assert [row.columns for row in rows] == [
        {"tokens": ["play", "some", "jazz"], "ner_tags": ["O", "O", "B-genre"], "intent": "PlayMusic"},
        {"tokens": ["will", "it\u00a0rain"], "ner_tags": ["O", "O"], "intent": "GetWeather"},
    ]
    assert [row.where for row in rows] == ["train/seq.in, line 1", "train/seq.in, line 2"]


def test_intents_may_be_missing_and_lines_may_end_as_on_windows(tmp_path):
    folder = write(tmp_path / "train", WORDS.replace("\n", "\r\n"), TAGS.rstrip("\n"), None)
    assert [sorted(row.columns) for row in read_rows(folder)] == [["ner_tags", "tokens"]] * 2


def test_splits_are_folders(tmp_path):
    for split in ("train", "dev", "test"):
        write(tmp_path / split)
    (tmp_path / "old").mkdir()
    (tmp_path / "intent_label.txt").write_text("UNK\n")
    assert {name: len(rows) for name, rows in read_splits(tmp_path).items()} == dict.fromkeys(
        ("train", "validation", "test"), 2
    )
    assert list(read_splits(tmp_path / "train")) == ["train"]
    assert list(read_splits({"train": tmp_path / "train", "dev": tmp_path / "dev"})) == ["train", "validation"]


def test_files_of_unequal_length_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"one/label: has 1 lines, and seq\.in has 2"):
        read_rows(write(tmp_path / "one", labels="PlayMusic\n"))
    with pytest.raises(DataError, match=r"two/seq\.out: has 3 lines"):
        read_rows(write(tmp_path / "two", tags=TAGS + "O O\n"))
    with pytest.raises(DataError, match="is a folder"):
        read_rows(tmp_path)


def test_an_empty_line_stays_in_its_place(tmp_path):
    folder = write(tmp_path / "train", "a b\n\nc\n", "O O\n\nO\n", "x\ny\nz\n")
    assert [row.columns["tokens"] for row in read_rows(folder)] == [["a", "b"], [], ["c"]]
    assert read_rows(write(tmp_path / "none", "", "", "")) == []
