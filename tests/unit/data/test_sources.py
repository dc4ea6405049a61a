"""Does anything that a person calls data become rows, and is all that is wrong with it said at once?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest

from reasoner import notices
from reasoner.data.sources import read_rows, read_splits
from reasoner.errors import ConfigError, DataError

ROWS = [{"sentence1": "a", "sentence2": "b", "gold": "yes"}, {"sentence1": "c", "sentence2": "d", "gold": "no"}]
NAMES = {"premise": "sentence1", "hypothesis": "sentence2", "label": "gold"}


def write(path: Path, text: str = '{"text": "a"}\n') -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", ["list", "frame", "dataset", "jsonl", "csv", "parquet"])
def test_columns_are_renamed_in_every_source(tmp_path: Path, kind: str) -> None:
    frame = pd.DataFrame(ROWS)
    if kind == "jsonl":
        write(tmp_path / "a.jsonl", "\n".join(json.dumps(row) for row in ROWS))
    elif kind == "csv":
        frame.to_csv(tmp_path / "a.csv", index=False)
    elif kind == "parquet":
        frame.to_parquet(tmp_path / "a.parquet")
    memory = {"list": ROWS, "frame": frame, "dataset": datasets.Dataset.from_list(ROWS)}
    source = memory.get(kind, str(tmp_path / f"a.{kind}"))
    rows = read_rows(source, name="train", columns=NAMES)
    assert [dict(row.columns) for row in rows] == [
        {"premise": "a", "hypothesis": "b", "label": "yes"},
        {"premise": "c", "hypothesis": "d", "label": "no"},
    ]
    assert rows[0].source == ("train" if kind in memory else f"a.{kind}")
    assert list(ROWS[0]) == ["sentence1", "sentence2", "gold"]


def test_columns_may_change_places_and_others_are_kept() -> None:
    rows = read_rows([{"a": 1, "b": 2, "c": 3}], columns={"a": "b", "b": "a"})
    assert rows[0].columns == {"a": 2, "b": 1, "c": 3}
    assert rows[0].where == "data, row 1"
    assert read_rows([{"a": 1}], columns={"x": "a", "y": "a"})[0].columns == {"x": 1, "y": 1}


def test_a_column_that_gives_way_is_said() -> None:
    with notices.collect() as said:
        rows = read_rows([{"label": 0, "gold": 1}], name="train", columns={"label": "gold"})
    assert rows[0].columns == {"label": 1}
    assert said == ["train: its own column 'label' was left out, since 'gold' is read as 'label'."]


def test_names_that_are_missing_are_all_said_with_what_is_there() -> None:
    with pytest.raises(DataError) as caught:
        read_rows(ROWS, name="train", columns={"premise": "sentense1", "id": "zzz"})
    assert [str(problem) for problem in caught.value.problems] == [
        "train: has no column 'sentense1' to read as 'premise'; its columns are sentence1, sentence2, gold. "
        "Did you mean 'sentence1'?",
        "train: has no column 'zzz' to read as 'id'; its columns are sentence1, sentence2, gold. Name one of them.",
    ]


def test_a_column_that_only_some_rows_have_is_left_to_the_task() -> None:
    assert [dict(row.columns) for row in read_rows([{"a": 1}, {"b": 2}], columns={"x": "a"})] == [{"x": 1}, {"b": 2}]


def test_numbers_name_columns_of_conll_files_and_of_frames_alike(tmp_path: Path) -> None:
    path = write(tmp_path / "a.conll", "1 EU B-ORG\n2 is O\n")
    assert read_rows(path, columns={"tokens": 1, "ner_tags": 2, "index": 0})[0].columns == {
        "tokens": ["EU", "is"],
        "ner_tags": ["B-ORG", "O"],
        "index": ["1", "2"],
    }
    frame = pd.DataFrame([["old", "new"]], columns=["text", 0])
    assert read_rows(frame, columns={"text": 0})[0].columns == {"text": "new"}
    assert read_rows(pd.DataFrame([["a", 1]]))[0].columns == {"0": "a", "1": 1}


def test_what_a_file_had_dropped_is_said_with_its_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.conll", "-DOCSTART- O\n\nEU B-ORG\n\n-DOCSTART- O\n")
    with notices.collect() as said:
        read_rows(path)
    assert said == ["a.conll: 2 -DOCSTART- lines were read as the beginnings of documents."]


def test_half_characters_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"a": "\\ud83d\\ude00"}\n{"a": ["x\\ud83d"]}\n')
    with pytest.raises(DataError) as caught:
        read_rows(path)
    assert str(caught.value) == (
        "a.jsonl, line 2: holds half of a character, \\ud83d. Remove it, or write the whole surrogate pair."
    )
    with pytest.raises(DataError, match=r"^train, row 1: holds half of a character"):
        read_rows([{"a": "\udc00"}], name="train")


def test_a_mapping_of_splits_by_any_of_their_names(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl")
    for name in ("dev", "val", "valid", "validation"):
        splits = read_splits({"test": [{"text": "c"}], name: pd.DataFrame({"text": ["b"]}), "train": path})
        assert list(splits) == ["train", "validation", "test"]
        assert [rows[0].where for rows in splits.values()] == ["x.jsonl, line 1", "validation, row 1", "test, row 1"]
    assert list(read_splits({"test": ROWS, "validation": None})) == ["test"]


def test_two_names_for_validation() -> None:
    with pytest.raises(DataError) as caught:
        read_splits({"train": ROWS, "dev": ROWS, "validation": ROWS})
    assert (
        str(caught.value) == "data: 'dev' and 'validation' both mean validation. Give one of them, or join their rows."
    )


def test_unknown_splits() -> None:
    with pytest.raises(ConfigError, match=r"^'trian' is no split\. Did you mean 'train'\?$"):
        read_splits({"trian": ROWS})
    with pytest.raises(DataError, match=r"^data: holds no split"):
        read_splits({"train": None})


def test_a_dataset_dict_and_single_sources(tmp_path: Path) -> None:
    dataset = datasets.Dataset.from_list(ROWS)
    assert list(read_splits(datasets.DatasetDict({"validation": dataset, "train": dataset}))) == ["train", "validation"]
    for source in (ROWS, pd.DataFrame(ROWS), dataset, write(tmp_path / "x.jsonl"), str(tmp_path / "x.jsonl")):
        assert list(read_splits(source)) == ["train"]


def test_the_problems_of_all_splits_are_raised_at_once(tmp_path: Path) -> None:
    bad = write(tmp_path / "bad.jsonl", "{\n[]\n")
    with pytest.raises(DataError) as caught:
        read_splits({"train": bad, "dev": [], "test": tmp_path / "none.csv"})
    assert [str(problem) for problem in caught.value.problems][1:] == [
        "bad.jsonl, line 2: is a JSON list, not an object. "
        'Give one JSON object a line, such as {"text": …, "label": …}.',
        "validation: holds no rows. Give it at least one, or leave the split out.",
        f"{tmp_path}/none.csv: there is no such file. It was looked for in {tmp_path}.",
    ]
    assert str(caught.value).startswith("4 problems in the data:\n  - bad.jsonl, line 1: is not JSON")


@pytest.mark.parametrize("empty", ["a.jsonl", "a.json", "a.csv", "a.tsv", "a.conll", "a.txt", "a"])
def test_empty_files(tmp_path: Path, empty: str) -> None:
    with pytest.raises(
        DataError, match=r"^train \(a.*\): holds no rows\. Give it at least one, or leave the split out\.$"
    ):
        read_splits(write(tmp_path / empty, ""))


@pytest.mark.parametrize(
    "names",
    [
        {"train": "train.jsonl", "validation": "dev.txt", "test": "test.json"},
        {"train": "wnut17train.conll", "validation": "emerging.dev.conll", "test": "emerging.test.annotated"},
        {"train": "Train_rand_split.jsonl", "validation": "my-valid-2.jsonl"},
        {"validation": "devset.csv", "test": "testset_w_refs.csv"},
        {"train": "train", "validation": "val", "test": "test"},
    ],
)
def test_folders(tmp_path: Path, names: dict[str, str]) -> None:
    for name in names.values():
        write(tmp_path / name, "a,b\n1,2\n" if name.endswith("csv") else "a\tO\n\nb\tO\n")
        if ".json" in name:
            write(tmp_path / name, '[{"a": 1}]' if name.endswith(".json") else '{"a": 1}')
    for other in (".train.jsonl", "README-train.md", "LICENSE.test", "labels.txt", "contest.csv"):
        write(tmp_path / other, "x")
    (tmp_path / "train_logs").mkdir()
    with notices.collect() as said:
        splits = read_splits(str(tmp_path))
    assert {split: rows[0].source for split, rows in splits.items()} == names
    assert said == [f"{tmp_path.name}: not read, since their names name no split: contest.csv, labels.txt."]


def test_folders_that_do_not_say_which_file_is_which(tmp_path: Path) -> None:
    for name in ("train.csv", "train.jsonl", "train-test.txt"):
        write(tmp_path / name)
    with pytest.raises(DataError) as caught:
        read_splits(tmp_path)
    assert [str(problem) for problem in caught.value.problems] == [
        "train-test.txt: its name names several splits: test, train. "
        'Rename it, or give {"train": path, …} in place of the folder.',
        f"{tmp_path}: holds several files for the split train: train.csv, train.jsonl. "
        'Leave one, or give {"train": path, …} in place of the folder.',
    ]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: holds no file that is named for a split\. Name its files for their"):
        read_splits(tmp_path / "empty")
    with pytest.raises(DataError, match="empty: is a folder, a file is needed"):
        read_splits({"train": tmp_path / "empty"})


@pytest.mark.parametrize(
    "path", ["data/train.jsonl", "train.csv.gz", "./train", "../a/b", "a/b/c", "/tmp/nothing", "~x/y"]
)
def test_strings_that_look_like_paths_are_not_looked_up(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "load_dataset", lambda name: pytest.fail("was looked up"))
    with pytest.raises(DataError, match="there is no such file"):
        read_splits(path)


def test_a_text_given_in_place_of_a_path_is_an_error_and_no_crash() -> None:
    with pytest.raises(DataError, match="cannot be opened"):
        read_splits("I love this film. " * 500)


@pytest.mark.parametrize("name", ["wnut_17", "stanfordnlp/snli", "owner/name.v2"])
def test_hub_ids(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = datasets.Dataset.from_list(ROWS)
    asked: list[Any] = []

    def load_dataset(*arguments: Any) -> datasets.DatasetDict:
        asked.append(arguments)
        return datasets.DatasetDict({"test": dataset, "train": dataset, "unsupervised": dataset})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with notices.collect() as said:
        assert list(read_splits(name)) == ["train", "test"]
    assert asked == [(name,)]
    assert said == [f"{name}: the splits unsupervised were left out."]


def test_a_hub_id_that_fails_says_both_things(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(name: str) -> None:
        raise ConnectionError("Couldn't reach the Hub.\nLong story")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(DataError) as caught:
        read_splits("wnut_71")
    assert str(caught.value) == (
        "wnut_71: there is no such file or folder, and no such data set could be loaded from the Hub "
        "(Couldn't reach the Hub). Check the spelling, or give a path."
    )
    monkeypatch.setattr(datasets, "load_dataset", lambda name: datasets.DatasetDict({"all": None}))
    with pytest.raises(
        DataError, match=r"^x: has no split named train, validation or test\. Load it with .* it has all"
    ):
        read_splits("x")
