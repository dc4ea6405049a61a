"""Are rows checked as a whole, every problem told with its place, and what is left out counted?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import pytest

from reasoner.data.examples import Example, column, examples_from_rows, label_column, scalar_label, text_column
from reasoner.data.rows import Row
from reasoner.data.sources import read_splits
from reasoner.errors import DataError, LabelError
from reasoner.notices import collect
from reasoner.tasks.ner import NERExample
from reasoner.tasks.nli import NLIExample
from reasoner.tasks.qa import QuestionAnsweringExample


@dataclass(frozen=True, kw_only=True)
class Sentence(Example):
    aliases = {"text": ("sentence", "content"), "label": ("target",)}

    text: str
    note: str | None = None
    label: Any = None

    @classmethod
    def from_columns(cls, columns, *, where) -> Self:
        note = text_column(columns, "note", cls, default=None)
        return cls(text=text_column(columns, "text", cls), note=note, label=label_column(columns, cls), where=where)


def rows(*columns, source="train.jsonl"):
    return [Row(each, source, number) for number, each in enumerate(columns, start=1)]


def failure(splits, example=Sentence):
    with pytest.raises(DataError) as caught:
        examples_from_rows(splits, example)
    return caught.value


def test_every_problem_of_every_split_is_told_with_file_and_row():
    error = failure(
        {
            "train": rows({"text": 3, "label": 1}, {"text": "fine", "label": 1}, {"text": " ", "label": 1}),
            "test": rows({"text": "fine", "label": {"a": 1}}, {"text": None, "label": 1}, source="test.csv"),
        }
    )
    assert str(error).splitlines() == [
        "4 problems in the data:",
        "  - train.jsonl, line 1: text is int 3, not text. Give a string.",
        "  - train.jsonl, line 3: text is empty. Give it text, or leave the row out.",
        "  - test.csv, line 1: label is dict {'a': 1}. Give the label's name or number.",
        "  - test.csv, line 2: text is missing, not text. Give a string.",
    ]
    assert not isinstance(error, LabelError)
    assert isinstance(failure({"train": rows({"text": "fine", "label": [1]})}), LabelError)


def test_a_missing_column_is_one_problem_a_split_whatever_else_the_rows_hold():
    error = failure(
        {
            "train": rows(
                {"txt": "a", "label": 1}, {"text": "b", "label": 1}, {"other": "c", "label": 0}, {"label": 1}
            ),
            "test": rows({"text": "a", "lable": 1}, source="test.jsonl"),
        }
    )
    assert [str(problem) for problem in error.problems] == [
        "train.jsonl, line 1: column 'text' is missing (nor in 2 further rows). The columns are: txt, label. "
        "Name yours with columns={'text': 'your column'}. Did you mean 'txt'?",
        "test.jsonl, line 1: column 'label' is missing. The columns are: text, lable. "
        "Name yours with columns={'label': 'your column'}. Did you mean 'lable'?",
    ]


def test_a_row_without_columns():
    (problem,) = failure({"train": rows({})}).problems
    assert (
        str(problem) == "train.jsonl, line 1: column 'text' is missing. The row has no columns at all. Give it 'text'."
    )


def test_minus_one_with_a_fraction_part_is_a_number_to_predict():
    made = examples_from_rows({"train": rows({"text": "a", "label": -1.0})}, Sentence)
    assert [example.label for example in made["train"]] == [-1]


@pytest.mark.parametrize("gold", [-1, "-1", "-", "", None, float("nan")])
def test_rows_without_gold_are_left_out_and_counted(gold):
    made = rows({"text": "a", "label": 0}, {"text": "b", "label": gold}, {"text": "c", "label": gold})
    with collect() as said:
        examples = examples_from_rows({"train": made, "test": made[:2]}, Sentence)
    assert {split: [example.text for example in part] for split, part in examples.items()} == {
        "train": ["a"],
        "test": ["a"],
    }
    message = "rows have no gold label (-1, '-' or empty) and were left out."
    assert said == [f"train: 2 {message}", f"test: 1 {message}"]


def test_a_split_of_which_nothing_is_left_is_a_problem():
    (problem,) = failure(
        {"train": rows({"text": "a", "label": "x"}), "test": rows({"text": "a", "label": "-"})}
    ).problems
    assert str(problem) == "test: no row is left: all were dropped. See what was said of them above."


def test_nothing_said_when_nothing_was_dropped():
    with collect() as said:
        (example,) = examples_from_rows({"train": rows({"text": "a", "label": " yes "})}, Sentence)["train"]
    assert (example.text, example.label, example.where, said) == ("a", "yes", "train.jsonl, line 1", [])


def test_columns_go_by_their_own_name_first_and_then_by_their_aliases_in_order():
    assert column({"content": 1, "sentence": 2, "text": 3}, "text", Sentence) == 3
    assert column({"content": 1, "sentence": 2}, "text", Sentence) == 2
    assert column({"content": 1}, "text", Sentence) == 1
    assert column({}, "text", Sentence, default=None) is None


@pytest.mark.parametrize("blank", ["", "  ", None])
def test_optional_text_may_be_blank_and_required_text_may_not(blank):
    (example,) = examples_from_rows({"train": rows({"text": "a", "note": blank, "label": 1})}, Sentence)["train"]
    assert example.note is None
    assert failure({"train": rows({"text": blank, "label": 1})}).problems[0].what.startswith("text is ")
    (problem,) = failure({"train": rows({"text": "a", "note": 5, "label": 1})}).problems
    assert problem.what == "note is int 5, not text"


@pytest.mark.parametrize(
    ("given", "label"),
    [("yes", "yes"), (" 1 ", "1"), (3, 3), (True, "True"), (2.0, 2), (-0.0, 0), (2.5, 2.5), (10**20, 10**20)],
)
def test_labels_as_they_are_kept(given, label):
    kept = scalar_label(given)
    assert kept == label and type(kept) is type(label)


def test_a_data_frame_with_gaps_has_the_same_labels_as_one_without():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": ["a", "b", "c"], "label": [0, 1, None]})  # pandas makes floats of it
    with collect() as said:
        examples = examples_from_rows(read_splits({"train": frame}), Sentence)["train"]
    assert [(type(example.label), example.label) for example in examples] == [(int, 0), (int, 1)]
    assert len(said) == 1


@pytest.mark.parametrize("given", [float("inf"), float("nan"), None, [], {}])
def test_what_is_no_label_is_refused(given):
    with pytest.raises(Exception, match="label is ") as caught:
        scalar_label(given)
    assert caught.value.about_labels


@pytest.mark.parametrize(
    ("example", "columns"),
    [
        (NLIExample, {"sentence1": "a", "sentence2": "b", "gold_label": "neutral"}),
        (NERExample, {"words": ["a"], "tags": ["O"]}),
        (QuestionAnsweringExample, {"context": "a", "question": "b", "answers": {"text": [], "answer_start": []}}),
    ],
)
def test_the_tasks_schemas_take_the_fields_names(example, columns):
    (made,) = examples_from_rows({"train": rows(columns)}, example)["train"]
    assert made.where == "train.jsonl, line 1"
    name = next(iter(columns))
    message = str(failure({"train": rows({key: value for key, value in columns.items() if key != name})}, example))
    assert message.startswith("train.jsonl, line 1: column '") and "is missing" in message


def test_the_place_of_a_row_is_no_part_of_what_it_is():
    one, other = (Sentence(text="a", label=1, where=where) for where in ("x, line 1", "y, line 2"))
    assert one == other and one.group == other.group and one.stratum is None
