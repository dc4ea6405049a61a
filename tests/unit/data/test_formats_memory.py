"""Do tables in memory become rows of plain Python values, with nothing of theirs changed?"""

from __future__ import annotations

import copy
import datetime

import numpy as np
import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from reasoner.data.formats.memory import plain, read_memory
from reasoner.errors import ConfigError, DataError


def test_lists_of_dicts_are_copied_as_plain_values() -> None:
    rows = [{"a": np.int64(3), "b": (np.float32(0.5), float("nan")), "c": {"d": np.array([[1, 2]])}, "e": np.str_("x")}]
    before = copy.deepcopy(rows)
    read = read_memory(rows, "train")
    assert read[0].columns == {"a": 3, "b": [0.5, None], "c": {"d": [[1, 2]]}, "e": "x"}
    assert type(read[0].columns["a"]) is int
    assert type(read[0].columns["e"]) is str
    assert read[0].where == "train, row 1"
    read[0].columns["c"]["d"].append(1)
    assert repr(rows) == repr(before)


@pytest.mark.parametrize(
    "missing", [None, float("nan"), np.nan, pd.NA, pd.NaT, np.datetime64("NaT"), np.float32("nan")]
)
def test_every_missing_value_is_none(missing: object) -> None:
    assert plain(missing) is None
    assert plain([missing, {"a": missing}]) == [None, {"a": None}]


def test_values_that_stay() -> None:
    values = ["", "nan", 0, False, 1.5, b"x", datetime.date(2020, 1, 1), {1, 2}]
    assert plain(values) == values
    assert plain(np.array(["a", None], dtype=object)) == ["a", None]
    assert plain(np.array([1.0, np.nan])) == [1.0, None]


def test_data_frames() -> None:
    frame = pd.DataFrame(
        {"text": ["a", None], "label": pd.array([1, pd.NA], dtype="Int64"), "tokens": [["x"], np.array(["y", "z"])]},
        index=[7, 3],
    )
    before = frame.copy(deep=True)
    read = read_memory(frame, "test")
    assert [(dict(row.columns), row.where) for row in read] == [
        ({"text": "a", "label": 1, "tokens": ["x"]}, "test, row 1"),
        ({"text": None, "label": None, "tokens": ["y", "z"]}, "test, row 2"),
    ]
    pd.testing.assert_frame_equal(frame, before)


def test_data_frames_with_a_column_twice() -> None:
    with pytest.raises(DataError) as caught:
        read_memory(pd.DataFrame([[1, 2]], columns=["a", "a"]), "train")
    assert str(caught.value) == "train: has these columns more than once: 'a'. Give each column its own name."


def test_data_sets_give_the_names_of_class_labels() -> None:
    tags, label = ClassLabel(names=["O", "B-PER"]), ClassLabel(names=["no", "yes"])
    features = Features(
        {
            "tokens": List(Value("string")),
            "ner_tags": List(tags),
            "deep": List(List(tags)),
            "label": label,
            "answers": {"text": List(Value("string")), "kind": List(label)},
            "score": Value("float32"),
        }
    )
    columns = {
        "tokens": [["a", "b"], []],
        "ner_tags": [[0, 1], []],
        "deep": [[[1], []], None],
        "label": [1, -1],
        "answers": [{"text": ["x"], "kind": [0]}, {"text": [], "kind": []}],
        "score": [0.5, None],
    }
    dataset = Dataset.from_dict(columns, features=features)
    expected = [
        {
            "tokens": ["a", "b"],
            "ner_tags": ["O", "B-PER"],
            "deep": [["B-PER"], []],
            "label": "yes",
            "answers": {"text": ["x"], "kind": ["no"]},
            "score": 0.5,
        },
        {"tokens": [], "ner_tags": [], "deep": None, "label": -1, "answers": {"text": [], "kind": []}, "score": None},
    ]
    assert [dict(row.columns) for row in read_memory(dataset, "train")] == expected
    as_numpy = dataset.with_format("numpy")
    assert [dict(row.columns) for row in read_memory(as_numpy, "train")] == expected
    assert as_numpy.format["type"] == "numpy"


def test_items_that_are_no_dicts_are_all_named() -> None:
    with pytest.raises(DataError) as caught:
        read_memory([{"a": 1}, "text", None], "train")
    assert [str(problem) for problem in caught.value.problems] == [
        "train, row 2: is a str, not a dict. Give a list of dicts, one a row.",
        "train, row 3: is a NoneType, not a dict. Give a list of dicts, one a row.",
    ]


@pytest.mark.parametrize("source", [3, {"a": [1]}, iter([{"a": 1}]), b"x"])
def test_what_cannot_be_read(source: object) -> None:
    with pytest.raises(ConfigError, match=r"^train: a \w+ cannot be read\. Give a path, a list of dicts, a pandas"):
        read_memory(source, "train")
