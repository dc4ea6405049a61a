"""One label, several or a number: seen from the data, said, encoded, decoded and scored as scikit-learn does?"""

from __future__ import annotations

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef, mean_squared_error
from sklearn.preprocessing import MultiLabelBinarizer
from transformers import AutoConfig, AutoTokenizer

from reasoner.data.examples import examples_from_rows
from reasoner.data.rows import Row
from reasoner.data.sources import read_splits
from reasoner.errors import ConfigError, DataError, LabelError
from reasoner.notices import collect
from reasoner.preparation import read_examples
from reasoner.tasks.classification import Classification, ClassificationExample
from reasoner.training.config import TrainingConfig

LABELS = ("bad", "fair", "good")


@pytest.fixture(scope="module", params=("bert", "roberta", "deberta-v2"))
def tokenizer(request, tiny_models):
    return AutoTokenizer.from_pretrained(tiny_models(request.param))


@pytest.fixture(scope="module")
def config(tiny_bert):
    return AutoConfig.from_pretrained(tiny_bert)


@pytest.mark.parametrize("label", [[0, 1, 0], [1.0, 1.0], (0, 0)])
def test_a_0_or_1_for_each_label_is_not_taken_for_the_labels_names(label):
    with pytest.raises(DataError, match=r"is a 0 or 1 for each label, it seems\. Give the names or numbers of those"):
        examples([1], label)


def examples(*labels, split="train"):
    rows = [{"text": f"text {number}", "label": label} for number, label in enumerate(labels)]
    return examples_from_rows(read_splits({split: rows}), ClassificationExample)[split]


def made(*labels, test=(), **settings):
    splits = {"train": examples(*labels)}
    if test:
        splits["test"] = examples(*test, split="test")
    return Classification.from_examples(splits, **settings)


def labelled(**columns):
    return ClassificationExample(text="a", **columns)


@pytest.mark.parametrize(
    ("labels", "kind", "names", "metric", "notice"),
    [
        (["b", "a"], "single", ("a", "b"), "macro_f1", None),
        ([0, 10, 2], "single", ("0", "2", "10"), "macro_f1", None),
        ([0.0, 1.0], "single", ("0", "1"), "macro_f1", None),
        (["1", "2", "2"], "single", ("1", "2"), "macro_f1", None),
        (["1.5", "v2"], "single", ("1.5", "v2"), "macro_f1", None),
        ([["b", "a"], [], ["c"]], "multi", ("a", "b", "c"), "micro_f1", "The labels are lists"),
        ([["b"], "a"], "multi", ("a", "b"), "micro_f1", "The labels are lists"),
        ([0.5, 1, 2.25], "number", (), "pearson", "The labels are numbers with fractions"),
        (["0.5", "1", "2.25"], "number", (), "pearson", "The labels are numbers with fractions"),  # of a CSV file
    ],
)
def test_the_kind_is_seen_from_the_labels_and_said_when_unusual(labels, kind, names, metric, notice):
    with collect() as said:
        task = made(*labels)
    assert (task.kind, tuple(task.labels), task.primary_metric) == (kind, names, metric)
    assert task.num_outputs == (len(names) or 1)
    assert [message.startswith(notice) for message in said] == ([True] if notice else [])


def test_a_kind_that_is_given_is_taken():
    assert made("b", "a", kind="multi").kind == "multi"
    assert made(1, 2, kind="number").kind == "number"
    with pytest.raises(ConfigError, match=r"kind 'multiple' is unknown\. Did you mean 'multi'\?"):
        made("b", "a", kind="multiple")


def test_labels_of_another_form_than_the_kind_wants_are_all_told():
    with pytest.raises(LabelError) as caught:
        made("high", 1, ["a"], kind="number")
    assert [str(problem) for problem in caught.value.problems] == [
        "train, row 1: label 'high' is no number. Give a number.",
        "train, row 3: label ('a',) is no number. Give a number.",
    ]
    with pytest.raises(LabelError, match=r"train, row 2: label \['a'\] is a list. Give one label, or set kind='multi'"):
        made("a", ["a"], "b", kind="single")
    assert [problem.where for problem in made(0.5, 2).problems(examples("x", 3, split="test"))] == ["test, row 1"]
    assert [problem.where for problem in made("a", "b").problems(examples("a", ["b"], split="test"))] == ["test, row 2"]


@pytest.mark.parametrize("setting", [{"labels": ["a", "b"]}, {"class_weights": "balanced"}, {"label_smoothing": 0.1}])
def test_settings_that_mean_nothing_for_a_number_are_refused(setting):
    with pytest.raises(ConfigError, match="mean nothing for a number"):
        made(0.5, 2, **setting)


def test_labels_are_learned_from_training_and_checked_in_the_others():
    with pytest.raises(LabelError, match="test, row 2: label 'ugly' is unknown"):
        made("good", "bad", test=["bad", "ugly"])
    with pytest.raises(LabelError, match="test, row 1: label 'ugly' is unknown"):
        made(["good"], ["bad"], test=[["bad", "ugly"], []])
    with pytest.raises(LabelError, match="only 'good' occurs"):
        made("good", "good")
    assert made("good", "bad", test=["ugly"], labels=["ugly", "good", "bad"]).labels == ("ugly", "good", "bad")


def encoded(task, rows, tokenizer, max_length=40):
    return [group[0] for group in task.encode(rows, tokenizer, max_length=max_length, stride=0)]


def test_targets_of_each_kind(tokenizer):
    single = made("good", "fair", "bad")
    assert [f.targets for f in encoded(single, examples("bad", 2, "fair"), tokenizer)] == [
        {"labels": 0}, {"labels": 2}, {"labels": 1},
    ]  # fmt: skip
    multi = made(["good"], ["fair", "bad"])
    assert [f.targets["labels"] for f in encoded(multi, examples(["good", 0], [], ["fair"]), tokenizer)] == [
        [1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0],
    ]  # fmt: skip
    number = made(0.5, 2)
    assert [f.targets["labels"] for f in encoded(number, examples(3, "0.25"), tokenizer)] == [3.0, 0.25]
    assert encoded(number, [ClassificationExample(text="a")], tokenizer)[0].targets == {}


def test_several_labels_that_came_alone_are_whole_names_and_no_letters(tokenizer):
    task = made(["ab"], "ba", ["a", "b"], kind="multi")
    (feature,) = encoded(task, examples("ba"), tokenizer)
    assert task.labels == ("a", "ab", "b", "ba") and feature.targets["labels"] == [0.0, 0.0, 0.0, 1.0]
    assert task.score([{"labels": ["ba"]}], examples("ba"))["accuracy"] == 1


def test_pairs_and_single_texts_are_each_read_as_alone(tokenizer):
    rows = [labelled(), labelled(text_pair="b"), ClassificationExample(text="c"), labelled(text_pair="d e")]
    task = Classification(kind="single", labels=LABELS)
    features = encoded(task, rows, tokenizer)
    expected = [tokenizer("a"), tokenizer("a", "b"), tokenizer("c"), tokenizer("a", "d e")]
    assert [f.inputs["input_ids"] for f in features] == [encoding["input_ids"] for encoding in expected]
    assert [f.inputs for f in features] == [encoded(task, [row], tokenizer)[0].inputs for row in rows]


def test_what_is_cut_is_counted(tokenizer):
    long_ = "word " * 40
    rows = [ClassificationExample(text=long_), labelled(), labelled(text_pair=long_)]
    with collect() as said:
        features = encoded(Classification(kind="single", labels=LABELS), rows, tokenizer, max_length=12)
    assert [len(feature) for feature in features][::2] == [12, 12]
    assert set(said) == {"1 texts are longer than max_length=12 tokens; the longer side was cut."}


probabilities = st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(LABELS), probabilities), min_size=1, max_size=8))
def test_one_label_is_the_likeliest_and_scores_are_scikit_learns(cases):
    task = Classification(kind="single", labels=LABELS)
    predictions = task.decode([numpy.array(values) for _, values in cases], [], [])
    for (_, values), prediction in zip(cases, predictions, strict=True):
        assert prediction["scores"] == dict(zip(LABELS, values, strict=True))
        assert prediction["label"] == LABELS[int(numpy.argmax(values))] and prediction["score"] == max(values)
    gold, predicted = [label for label, _ in cases], [prediction["label"] for prediction in predictions]
    scores = task.score(predictions, [labelled(label=label) for label in gold])
    occurring = sorted({*gold, *predicted})
    assert scores["accuracy"] == pytest.approx(accuracy_score(gold, predicted))
    assert scores["macro_f1"] == pytest.approx(
        f1_score(gold, predicted, average="macro", labels=occurring, zero_division=0)
    )
    if len(set(gold)) > 1:
        assert scores["matthews"] == pytest.approx(matthews_corrcoef(gold, predicted))


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.sets(st.sampled_from(LABELS)), probabilities), min_size=1, max_size=8),
    st.sampled_from([0.1, 0.5, 0.9]),
)
def test_of_several_labels_those_above_the_threshold_hold(cases, threshold):
    task = Classification(kind="multi", labels=LABELS, threshold=threshold)
    predictions = task.decode([numpy.array(values) for _, values in cases], [], [])
    for (_, values), prediction in zip(cases, predictions, strict=True):
        assert prediction["labels"] == [n for n, value in zip(LABELS, values, strict=True) if value > threshold]
    scores = task.score(predictions, [labelled(label=tuple(gold)) for gold, _ in cases])
    binarizer = MultiLabelBinarizer(classes=LABELS)
    gold = binarizer.fit_transform([gold for gold, _ in cases])
    predicted = binarizer.transform([prediction["labels"] for prediction in predictions])
    assert scores["accuracy"] == pytest.approx(accuracy_score(gold, predicted))
    assert scores["micro_f1"] == pytest.approx(f1_score(gold, predicted, average="micro", zero_division=0))


def test_a_number_is_scored_by_correlation_and_error():
    task, gold = made(0.5, 2), [1, 2.5, "4", 3]
    predictions = task.decode([numpy.array([value]) for value in (0.5, 2.0, 3.0, 3.5)], [], [])
    assert predictions[0] == {"value": 0.5}
    scores = task.score(predictions, [labelled(label=label) for label in gold])
    guessed, truth = [p["value"] for p in predictions], [float(label) for label in gold]
    assert scores["pearson"] == pytest.approx(pearsonr(truth, guessed).statistic)
    assert scores["mse"] == pytest.approx(mean_squared_error(truth, guessed))


def test_weights_reach_the_head_in_the_order_of_the_labels(config):
    task = made("b", "b", "b", "a", class_weights="balanced", label_smoothing=0.2)
    assert task.class_weights == {"a": 2.0, "b": 4 / 6}
    head = task.build_head(config)
    torch.testing.assert_close(head.class_weights, torch.tensor([2.0, 4 / 6]))
    assert (head.label_smoothing, head.problem_type) == (0.2, "single_label_classification")
    turned = task.matched_to(AutoConfig.for_model("bert", id2label={0: "b", 1: "a"}))
    torch.testing.assert_close(turned.build_head(config).class_weights, torch.tensor([4 / 6, 2.0]))
    named = made("b", "a", class_weights={"b": 3})
    assert named.build_head(config).class_weights.tolist() == [1.0, 3.0]
    assert made("b", "a").build_head(config).class_weights is None
    with pytest.raises(ConfigError, match="class_weights names the label 'c'"):
        made("b", "a", class_weights={"c": 3})


@pytest.mark.parametrize(("labels", "type_"), [(["a", "b"], "single"), ([["a"], ["b"]], "multi"), ([0.5, 1], None)])
def test_what_is_written_into_the_models_config(labels, type_, config):
    task = made(*labels)
    written = task.model_config()
    assert written["problem_type"] == (f"{type_}_label_classification" if type_ else "regression")
    if type_:
        assert written["id2label"] == {0: "a", 1: "b"} and written["label2id"] == {"a": 0, "b": 1}
    else:
        assert written["num_labels"] == 1
    assert task.build_head(config).problem_type == written["problem_type"]
    assert Classification(**task.settings()) == task


def test_the_models_own_order_is_kept_and_numbers_keep_their_meaning(tokenizer):
    task = made(0, 1, 2, labels=LABELS)
    config = AutoConfig.for_model("bert", id2label={0: "GOOD", 1: "BAD", 2: "FAIR"})
    with collect() as said:
        turned = task.matched_to(config)
    assert turned.labels == ("good", "bad", "fair")
    assert said == ["The model has these labels already, in another order; its order is kept: good, bad, fair."]
    rows = examples(0, "fair", 2)  # 0 was the first name that was given: bad
    assert [feature.targets["labels"] for feature in encoded(turned, rows, tokenizer)] == [1, 2, 0]
    perfect = turned.decode(numpy.eye(3)[[1, 2, 0]], [], [])
    assert [prediction["label"] for prediction in perfect] == ["bad", "fair", "good"]
    assert turned.score(perfect, rows)["accuracy"] == 1
    assert Classification(**turned.settings()).score(perfect, rows)["accuracy"] == 1
    assert turned.matched_to(config) is turned
    assert task.matched_to(AutoConfig.for_model("bert", id2label={0: "x", 1: "y", 2: "z"})) is task


def test_class_names_of_a_data_set_are_the_labels():
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["world", "business"])}
    )
    table = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [0, 1, -1]}, features=features)
    with collect() as said:
        rows = examples_from_rows(read_splits({"train": table}), ClassificationExample)["train"]
    assert [row.label for row in rows] == ["world", "business"] and len(said) == 1


def test_inputs_of_predict():
    task = Classification(kind="single", labels=LABELS)
    assert task.example_from_input("a") == ClassificationExample(text="a")
    pair = ClassificationExample(text="a", text_pair="b")
    assert task.example_from_input(("a", "b")) == task.example_from_input({"text": "a", "text_pair": "b"}) == pair
    assert task.example_from_input({"text": "a", "text_pair": ""}) == ClassificationExample(text="a")
    for value in (3, ("a", 3), {"text": 3}, {"text": "a", "text_pair": 3}, {"sentence": "a"}, None):
        with pytest.raises(DataError, match="classification predicts for a string or a pair of strings, not for "):
            task.example_from_input(value)


def test_equal_texts_share_a_group_and_labels_are_strata():
    one, other = examples("a", "b")
    assert one.group != other.group and (one.stratum, other.stratum) == ("a", "b")
    assert ClassificationExample(text="A", label="x").group == ClassificationExample(text="a", label="y").group
    assert labelled(label=0.5).stratum is None


def test_numbers_from_a_csv_file_can_be_split(tmp_path):
    path = tmp_path / "numbers.csv"
    path.write_text("text,label\n" + "".join(f"row {n},{n / 10}\n" for n in range(30)))
    splits = read_examples(path, ClassificationExample, config=TrainingConfig())
    assert (len(splits["train"]), len(splits["validation"])) == (27, 3)


def test_minus_one_in_a_list_of_labels_is_refused():
    with pytest.raises(LabelError, match=r"label \['a', -1\] holds -1, '-' or an empty one. Leave it out of the list"):
        examples_from_rows({"train": [Row({"text": "x", "label": ["a", -1]}, "train", 1)]}, ClassificationExample)


@pytest.mark.parametrize("share", [1.0, 1.5, -0.1, "much"])
def test_an_impossible_label_smoothing_is_refused_before_training(share):
    with pytest.raises(ConfigError, match=r"label_smoothing is .*Give a number from 0 up to, but not, 1"):
        Classification.from_examples({"train": []}, label_smoothing=share)
