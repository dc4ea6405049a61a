"""Are premise and hypothesis read as a pair, with the customary labels in the customary order?"""

from __future__ import annotations

import numpy
import pytest
from sklearn.metrics import accuracy_score, f1_score
from transformers import AutoConfig, AutoTokenizer

from reasoner.data.examples import examples_from_rows
from reasoner.data.sources import read_splits
from reasoner.errors import DataError, LabelError
from reasoner.notices import collect
from reasoner.tasks.nli import NLI, NLIExample

THREE = ("entailment", "neutral", "contradiction")


def examples(*labels, split="train"):
    rows = [{"premise": f"p {n}", "hypothesis": f"h {n}", "label": label} for n, label in enumerate(labels)]
    return examples_from_rows(read_splits({split: rows}), NLIExample)[split]


def made(*labels, **settings):
    return NLI.from_examples({"train": examples(*labels)}, **settings)


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        (["neutral", "contradiction", "entailment"], THREE),
        (["not_entailment", "entailment"], ("entailment", "not_entailment")),
        (["yes", "no", "maybe"], ("maybe", "no", "yes")),
        ([2, 0, 1], ("0", "1", "2")),
    ],
)
def test_labels_stand_in_the_customary_order(labels, order):
    task = made(*labels)
    assert (task.labels, task.kind, task.primary_metric) == (order, "single", "accuracy")


def test_rows_without_agreement_are_left_out_and_counted():
    rows = [{"sentence1": "p", "sentence2": "h", "gold_label": label} for label in ("neutral", "-", "entailment")]
    with collect() as said:
        found = examples_from_rows(read_splits({"train": rows}), NLIExample)["train"]
    assert [row.label for row in found] == ["neutral", "entailment"]
    assert said == ["train: 1 rows have no gold label (-1, '-' or empty) and were left out."]


def test_bad_rows_are_told():
    rows = [{"premise": "p", "hypothesis": "", "label": 0}, {"premise": 3, "hypothesis": "h", "label": 0}]
    with pytest.raises(DataError) as caught:
        examples_from_rows(read_splits({"train": rows}), NLIExample)
    assert [problem.what for problem in caught.value.problems] == ["hypothesis is empty", "premise is int 3, not text"]
    with pytest.raises(LabelError, match=r"train, row 1: label is list \['a'\]"):
        made(["a"], "b")
    (problem,) = made("entailment", "neutral").problems(examples("entailment", "entail", split="test"))
    assert str(problem).startswith("test, row 2: label 'entail' is unknown") and "Did you mean 'entailment'?" in str(
        problem
    )


@pytest.mark.parametrize("architecture", ["bert", "roberta", "deberta-v2"])
def test_premise_comes_before_hypothesis(architecture, tiny_models):
    tokenizer = AutoTokenizer.from_pretrained(tiny_models(architecture))
    task, rows = made(*THREE), examples("contradiction")
    ((feature,),) = task.encode(rows, tokenizer, max_length=40, stride=0)
    assert feature.inputs == dict(tokenizer("p 0", "h 0")) and feature.targets == {"labels": 2}
    assert task.encode([], tokenizer, max_length=40, stride=0) == []


def test_numbers_keep_their_meaning_with_a_model_of_another_order(tiny_bert):
    """Checkpoints trained on MNLI have contradiction first or last; data sets say 0 for entailment."""
    task = made(0, 1, 2, labels=THREE)
    turned = task.matched_to(AutoConfig.for_model("bert", id2label=dict(enumerate(reversed(THREE)))))
    assert turned.labels == tuple(reversed(THREE))
    features = turned.encode(examples(0, 1, 2), AutoTokenizer.from_pretrained(tiny_bert), max_length=20, stride=0)
    assert [group[0].targets["labels"] for group in features] == [2, 1, 0]
    predictions = turned.decode(numpy.eye(3)[[2, 1, 0]], [], [])
    assert [prediction["label"] for prediction in predictions] == list(THREE)
    assert turned.score(predictions, examples(0, 1, 2))["accuracy"] == 1


def test_scores_are_scikit_learns():
    task, gold = made(*THREE), ["entailment", "neutral", "neutral", "contradiction"]
    predictions = task.decode(numpy.array([[0.8, 0.1, 0.1], [0.3, 0.4, 0.3], [0.5, 0.2, 0.3], [0.1, 0.2, 0.7]]), [], [])
    predicted = [prediction["label"] for prediction in predictions]
    scores = task.score(predictions, examples(*gold))
    assert scores["accuracy"] == accuracy_score(gold, predicted) == 0.75
    assert scores["macro_f1"] == pytest.approx(f1_score(gold, predicted, average="macro"))


def test_inputs_of_predict():
    task, expected = made(*THREE), NLIExample(premise="p", hypothesis="h")
    assert task.example_from_input({"premise": "p", "hypothesis": "h"}) == expected
    assert task.example_from_input(("p", "h")) == task.example_from_input(["p", "h"]) == expected
    for value in ("p", ("p",), ("p", 3), {"premise": "p"}, None, ("p", "h", "x")):
        with pytest.raises(DataError, match=r"^nli predicts for "):
            task.example_from_input(value)


def test_hypotheses_of_one_premise_stay_on_one_side_of_a_split():
    one, other = (NLIExample(premise=premise, hypothesis=h) for premise, h in (("A dog", "x"), ("a dog", "y")))
    assert one.group == other.group
    assert NLI(**made(*THREE).settings()) == made(*THREE)
