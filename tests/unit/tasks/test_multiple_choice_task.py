"""Is the right choice read from every form that files have, and is each question scored over its own choices?"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from reasoner.data.examples import examples_from_rows
from reasoner.data.sources import read_splits
from reasoner.errors import DataError, LabelError
from reasoner.notices import collect
from reasoner.tasks.multiple_choice import MultipleChoice, MultipleChoiceExample


def read(*rows):
    return examples_from_rows(read_splits({"train": list(rows)}), MultipleChoiceExample)["train"]


def label_of(choices, label):
    return read({"question": "q", "choices": choices, "label": label})[0].label


NAMED = {"text": ["ant", "bee", "cat"], "label": ["A", "B", "C"]}
NUMBERED = {"text": ["ant", "bee", "cat"], "label": ["1", "2", "3"]}
LISTED = [{"label": "A", "text": "ant"}, {"label": "B", "text": "bee"}]


@pytest.mark.parametrize(
    ("choices", "label", "index"),
    [
        (["ant", "bee"], 0, 0),
        (["ant", "bee"], 1.0, 1),
        (["ant", "bee"], "1", 1),
        (["ant", "bee"], "bee", 1),
        (["ant ", "bee "], "bee ", 1),
        (["ant", "bee"], "B", 1),
        (["ant", "bee"], "b", 1),
        (["1", "2"], 1, 1),  # a number is a place, whatever the choices are
        (["1", "2"], "2", 1),
        (["1", "2"], "0", 0),
        (["7", "8"], "8", 1),
        (["1", "0"], 0, 0),
        (["0", "1"], "1", 1),  # both readings agree
        (["A", "B"], "B", 1),
        (["A", "x"], "A", 0),
        (NAMED, "C", 2),
        (NAMED, 2, 2),
        (NAMED, "bee", 1),
        (NUMBERED, "1", 0),  # the choices' own names come first
        (NUMBERED, 3, 2),
        (NUMBERED, "cat", 2),
        (LISTED, "B", 1),
        ([{"text": "ant"}, {"text": "bee"}], "B", 1),
    ],
)
def test_a_label_may_be_an_index_a_letter_a_name_or_the_text(choices, label, index):
    assert label_of(choices, label) == index


@pytest.mark.parametrize(
    ("choices", "label", "message"),
    [
        (
            ["1", "2"],
            "1",
            "label '1' could mean the choices 0 ('1'), 1 ('2'). Give the index as a number, not as text.",
        ),
        (
            ["B", "A"],
            "A",
            "label 'A' could mean the choices 0 ('B'), 1 ('A'). Give the index as a number, not as text.",
        ),
        (["ant", "ant"], "ant", "label 'ant' could mean the choices 0 ('ant'), 1 ('ant')."),
        (["ant", "bee"], 2, "label 2 is out of range: there are 2 choices. Give an index from 0 to 1."),
        (["ant", "bee"], -2, "label -2 is out of range"),
        (["ant", "bee"], "C", "label 'C' is out of range"),
        (["ant", "bee"], "ß", "label 'ß' is out of range"),
        (["ant", "bee"], "²", "label '²' is out of range"),
        (["ant", "bee"], 0.5, "label 0.5 is out of range"),
        (NAMED, "D", "label 'D' is out of range: there are 3 choices. Give one of A, B, C."),
        (NUMBERED, 0, "label 0 is out of range: there are 3 choices. Give one of 1, 2, 3."),
        (NUMBERED, "4", "label '4' is out of range"),
    ],
)
def test_labels_that_mean_no_choice_or_several(choices, label, message):
    with pytest.raises(LabelError) as caught:
        label_of(choices, label)
    assert str(caught.value).startswith(f"train, row 1: {message}")


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ([], "choices has 0 items. Give at least two choices."),
        (["ant"], "choices has 1 items. Give at least two choices."),
        ("ant", "choices is not a list of texts. Give each choice as a string."),
        (None, "choices is not a list of texts."),
        (["ant", 2], "choices is not a list of texts."),
        ({"label": ["A"]}, "choices is not a list of texts."),
        ([{"label": "A"}, {"label": "B"}], "choices is not a list of texts."),
    ],
)
def test_choices_that_cannot_be_used(choices, message):
    with pytest.raises(DataError) as caught:
        label_of(choices, 0)
    assert str(caught.value).startswith(f"train, row 1: {message}")
    with pytest.raises(DataError, match=message.split(".")[0]):
        MultipleChoice().example_from_input({"question": "q", "choices": choices})


def test_the_nested_forms_of_commonsense_qa_and_arc():
    commonsense = {"question": {"stem": "Where?", "choices": LISTED}, "answerKey": "B", "id": "1"}
    flat = {"question": "Where?", "choices": NAMED, "answerKey": "B", "question_concept": "place"}
    arc = {"question": "Where?", "choices": NUMBERED, "answerKey": "2"}
    swag = {"startphrase": "Where?", "endings": ["ant", "bee"], "label": "1"}
    with collect() as said:
        rows = read(commonsense, flat, arc, swag, {**flat, "answerKey": ""})
    assert [(row.question, row.choices[row.label], row.context) for row in rows] == [("Where?", "bee", None)] * 4
    assert said == ["train: 1 rows have no gold label (-1, '-' or empty) and were left out."]


@pytest.mark.parametrize("blank", ["", None])
def test_a_blank_context_is_none(blank):
    (row,) = read({"question": "q", "choices": ["a", "b"], "label": 0, "context": blank})
    assert row.context is None


@pytest.mark.parametrize("architecture", ["bert", "roberta", "xlm-roberta"])
def test_each_choice_is_a_pair_with_context_and_question(architecture, tiny_models):
    tokenizer = AutoTokenizer.from_pretrained(tiny_models(architecture))
    rows = read(
        {"question": "Where?", "choices": ["in", "on", "at"], "label": 2, "context": "The dog."},
        {"question": "Who?", "choices": ["he", "she"], "label": 0},
    )
    features = MultipleChoice().encode(rows, tokenizer, max_length=40, stride=0)
    assert [[f.inputs for f in group] for group in features] == [
        [dict(tokenizer("The dog. Where?", choice)) for choice in ("in", "on", "at")],
        [dict(tokenizer("Who?", choice)) for choice in ("he", "she")],
    ]
    assert [[f.targets["labels"] for f in group] for group in features] == [[0.0, 0.0, 1.0], [1.0, 0.0]]
    (open_,) = MultipleChoice().encode(
        [MultipleChoiceExample(question="q", choices=("a", "b"))], tokenizer, max_length=40, stride=0
    )
    assert [feature.targets for feature in open_] == [{}, {}]


def test_choices_that_are_cut_are_counted(tiny_bert):
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    rows = read({"question": "Where?", "choices": ["on " * 30, "at", "in " * 30], "label": 0})
    with collect() as said:
        (features,) = MultipleChoice().encode(rows, tokenizer, max_length=12, stride=0)
    assert max(map(len, features)) == 12
    assert said == ["2 choices are longer than max_length=12 tokens; the longer side was cut."]


@given(st.lists(st.lists(st.floats(-500, 500), min_size=2, max_size=5), min_size=1, max_size=5), st.data())
def test_each_question_has_a_softmax_over_its_own_choices(logits, data):
    rows = [MultipleChoiceExample(question="q", choices=tuple(f"c{n}" for n in range(len(group)))) for group in logits]
    predictions = MultipleChoice().decode([logit for group in logits for logit in group], logits, rows)
    for group, prediction, row in zip(logits, predictions, rows, strict=True):
        assert prediction["scores"] == pytest.approx(
            [1 / sum(math.exp(min(other - logit, 700)) for other in group) for logit in group], abs=1e-12
        )
        assert sum(prediction["scores"]) == pytest.approx(1)
        assert group[prediction["choice"]] == max(group)
        assert prediction["answer"] == row.choices[prediction["choice"]]
    labels = [data.draw(st.integers(0, len(group) - 1)) for group in logits]
    gold = [
        MultipleChoiceExample(question="q", choices=row.choices, label=label)
        for row, label in zip(rows, labels, strict=True)
    ]
    right = [prediction["choice"] == label for prediction, label in zip(predictions, labels, strict=True)]
    scores = MultipleChoice().score(predictions, gold)
    assert scores["accuracy"] == pytest.approx(sum(right) / len(right))
    assert scores["chance_accuracy"] == pytest.approx(sum(1 / len(group) for group in logits) / len(logits))


def test_inputs_of_predict():
    task = MultipleChoice()
    assert task.keep_together and task.primary_metric == "accuracy" and task.num_outputs == 1
    assert task.example_from_input({"question": "q", "choices": ["a", "b"], "context": "c"}) == MultipleChoiceExample(
        question="q", choices=("a", "b"), context="c"
    )
    assert task.example_from_input({"question": "q", "choices": NAMED}).choices == ("ant", "bee", "cat")
    for value in ("q", {"choices": ["a", "b"]}, {"question": 3, "choices": ["a", "b"]}, None):
        with pytest.raises(DataError, match=r"^multiple_choice predicts for "):
            task.example_from_input(value)
    with pytest.raises(DataError, match=r"context is int 5, not text\. Give a string\."):
        task.example_from_input({"question": "q", "choices": ["a", "b"], "context": 5})


def test_the_same_question_stays_on_one_side_of_a_split():
    one, other = read(
        {"question": "Q", "choices": ["a", "b"], "label": 0}, {"question": "q", "choices": ["b", "c"], "label": 1}
    )
    assert one.group == other.group and (one.stratum, other.stratum) == (0, 1)
