"""Are labels found in a stable order, checked against what is known, and weighted as scikit-learn does?"""

from __future__ import annotations

import random

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from reasoner.data.labels import label_name, learn_labels, ordered_as, resolve_weights, unknown_labels
from reasoner.errors import ConfigError, LabelError

CUSTOM = ("entailment", "neutral", "contradiction")


def located(*labels, where="train, row"):
    return [(label, f"{where} {number}") for number, label in enumerate(labels, start=1)]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["10", "9", "2", "-1"], ("-1", "2", "9", "10")),
        ([10, 9, 2], ("2", "9", "10")),
        (["b", "A", "a", "B"], ("A", "a", "B", "b")),
        (["b", "7", "a", "0.5"], ("0.5", "7", "a", "b")),
        (["zebra", "contradiction", "neutral", "apple"], ("neutral", "contradiction", "apple", "zebra")),
        (["nan", "b", "1", "a", "infinity"], ("1", "a", "b", "infinity", "nan")),
        ([True, "False"], ("False", "True")),
    ],
)
def test_the_order_is_custom_then_value_then_letter_however_the_rows_stand(labels, expected):
    for seed in range(6):
        random.Random(seed).shuffle(labels)
        assert learn_labels({"train": located(*labels)}, first=CUSTOM) == expected


@given(
    st.lists(st.one_of(st.text(max_size=3), st.integers(), st.sampled_from(["nan", "NaN", "inf"])), min_size=4),
    st.randoms(),
)
def test_the_order_does_not_depend_on_the_rows(labels, rng):
    if len({str(label) for label in labels}) < 2:
        return
    shuffled = rng.sample(labels, len(labels))
    learned = learn_labels({"train": located(*labels)})
    assert learned == learn_labels({"train": located(*shuffled)})
    assert sorted(learned) == sorted({str(label) for label in labels})


def test_a_label_that_only_validation_or_test_has_is_told_for_each_row_with_the_near_name():
    splits = {
        "train": located("sports", "politics"),
        "validation": located("sport", "politics", where="dev.csv, line"),
        "test": located("weather", 1, 2, -2, where="test.csv, line"),
    }
    with pytest.raises(LabelError) as caught:
        learn_labels(splits)
    never = "is unknown (it never occurs in the training data, nor was it given)"
    remedy = "Correct it, or name all labels with labels=[...] in the task."
    assert [str(problem) for problem in caught.value.problems] == [
        f"dev.csv, line 1: label 'sport' {never}. Did you mean 'sports'? {remedy}",
        f"test.csv, line 1: label 'weather' {never}. Known: politics, sports. {remedy}",
        "test.csv, line 3: label 2 is out of range: there are 2 labels, numbered from 0. "
        f"Known: politics, sports. {remedy}",
        "test.csv, line 4: label -2 is out of range: there are 2 labels, numbered from 0. "
        f"Known: politics, sports. {remedy}",
    ]


def test_a_number_among_numbers_is_a_name_and_not_a_place():
    (problem,) = unknown_labels(located("1", 1, 2, 0), ["1", "2"])
    assert problem.what.startswith("label '0' is unknown")
    assert [label_name(label, ["1", "2"]) for label in (1, "2")] == ["1", "2"]
    assert [label_name(label, ["no", "yes"]) for label in (1, "no", 0)] == ["yes", "no", "no"]


@pytest.mark.parametrize(("labels", "found"), [(["a", "a"], "only 'a' occurs"), ([], "none occurs")])
def test_one_class_is_too_few(labels, found):
    with pytest.raises(
        LabelError, match=f"train: there must be at least 2 labels, and {found}. Check the label column."
    ):
        learn_labels({"train": located(*labels), "test": located("a", "b")})


def test_given_names_keep_their_order_and_bind_every_split():
    given_names = ["pos", "neg", "none"]
    assert learn_labels({"train": located("neg", 0, "pos")}, given=given_names) == tuple(given_names)
    with pytest.raises(LabelError, match="train, row 2: label 'negative' is unknown"):
        learn_labels({"train": located("neg", "negative")}, given=given_names)
    with pytest.raises(LabelError, match="train, row 1: label 3 is out of range"):
        learn_labels({"train": located(3)}, given=given_names)


@pytest.mark.parametrize(
    ("names", "wrong"), [(["a", "b", "a"], "name 'a' more than once"), (["a"], r"are 1\. Give at least 2 names")]
)
def test_given_names_that_cannot_be_used(names, wrong):
    with pytest.raises(LabelError, match=f"The given labels {wrong}"):
        learn_labels({"train": located("a")}, given=names)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (["B", "a", "C"], ("b", "A", "c")),
        (["a", "b"], None),
        (["a", "b", "c", "d"], None),
        (["a", "a", "b"], None),
        (["x", "y", "z"], None),
    ],
)
def test_the_order_of_another_list_of_the_same_names(other, expected):
    assert ordered_as(("A", "b", "c"), other) == expected


def test_names_that_differ_in_case_alone_are_not_matched():
    assert ordered_as(("a", "A"), ["A", "a"]) is None


@given(st.lists(st.sampled_from("abc"), min_size=1))
def test_balanced_weights_are_scikit_learns(training):
    labels = sorted(set(training))
    expected = compute_class_weight("balanced", classes=numpy.array(labels), y=numpy.array(training))
    weights = resolve_weights("balanced", labels, training)
    assert list(weights) == labels
    numpy.testing.assert_allclose(list(weights.values()), expected, rtol=1e-12)


def test_a_label_that_training_lacks_weighs_one():
    assert resolve_weights("balanced", ["a", "b"], ["a", "a"]) == {"a": 0.5, "b": 1.0}


def test_weights_by_name():
    assert resolve_weights(None, ["a"], []) is None
    assert resolve_weights({"b": 3}, ["a", "b"], []) == {"a": 1.0, "b": 3.0}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("balance", "class_weights is 'balance'. Give 'balanced' or a dict of label names and weights."),
        ({"positiv": 2.0}, "class_weights names the label 'positiv'. Did you mean 'positive'?"),
        ({"positive": 0}, "class_weights gives 'positive' the weight 0. Give a number above 0."),
        ({"positive": "2"}, "class_weights gives 'positive' the weight '2'. Give a number above 0."),
        ({"positive": float("inf")}, "class_weights gives 'positive' the weight inf. Give a number above 0."),
        ({"positive": float("nan")}, "class_weights gives 'positive' the weight nan. Give a number above 0."),
    ],
)
def test_weights_that_cannot_be_used(weights, message):
    with pytest.raises(ConfigError) as caught:
        resolve_weights(weights, ["negative", "positive"], [])
    assert str(caught.value) == message
