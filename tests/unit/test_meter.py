"""Does the shortcut meter compare like with like, and does it warn exactly when its rule says so?"""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reasoner.meter as meter
from reasoner.data.examples import examples_from_rows
from reasoner.data.sources import read_splits
from reasoner.errors import ConfigError
from reasoner.meter import shortcuts
from reasoner.metrics.direction import register_direction
from reasoner.preparation import task_class_and_settings
from reasoner.synthetic import multiple_choice_pack, ner_pack, nli_pack, qa_pack
from reasoner.tasks.classification import Classification, ClassificationExample
from reasoner.tasks.multiple_choice import MultipleChoice, MultipleChoiceExample
from reasoner.tasks.ner import NER, NERExample
from reasoner.tasks.nli import NLI, NLIExample
from reasoner.tasks.qa import QuestionAnswering
from reasoner.training.config import TrainingConfig

LABELS = ("entailment", "neutral", "contradiction")
NLI_ROWS = [{"premise": f"p {i}", "hypothesis": f"h {i}", "label": LABELS[i % 3]} for i in range(120)]
DATA = {"train": NLI_ROWS, "validation": NLI_ROWS[:30], "test": NLI_ROWS}


def examples_of(task: Any, rows: list[dict[str, Any]]) -> tuple[Any, list[Any]]:
    """Return the task that was learned from the rows, and the rows as its examples."""
    task_class, settings = task_class_and_settings(task)
    examples = examples_from_rows(read_splits({"train": rows}), task_class.Example)
    return task_class.from_examples(examples, **settings), examples["train"]


# --- the parts of an input ------------------------------------------------------------------------------------------

SIZES = {"train": 24, "validation": 0, "test": 0}
PREMISES = nli_pack(**SIZES)["train"]
TEXTS = [{"text": row["premise"], "label": row["label"]} for row in PREMISES]
PAIRS = [{**row, "text_pair": f"and {number} more"} for number, row in enumerate(TEXTS)]
CHOICES = [
    {"question": f"Is it {row['question']}", "choices": row["choices"], "label": row["label"]}
    for row in multiple_choice_pack(**SIZES)["train"]
]
CONTEXTS = [{**row, "context": "In the city."} for row in CHOICES]
CASES: dict[str, tuple[str, list[dict[str, Any]], dict[str, dict[str, Any]]]] = {
    "nli": (
        "nli",
        nli_pack(**SIZES)["train"],
        {"hypothesis only": {"premise": ""}, "premise only": {"hypothesis": ""}},
    ),
    "pairs": ("classification", PAIRS, {"text only": {"text_pair": ""}, "text_pair only": {"text": ""}}),
    "contexts": (
        "multiple_choice",
        CONTEXTS,
        {"choices only": {"question": "", "context": None}, "no context": {"context": None}},
    ),
    "qa": ("qa", qa_pack(**SIZES)["train"], {"no question": {"question": ""}, "first word of question": {}}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_part_is_the_example_without_the_rest_and_with_its_gold(case: str):
    name, rows, emptied = CASES[case]
    task, examples = examples_of(name, rows)
    parts = task.partial_inputs()
    assert parts.keys() == emptied.keys()
    for part_name, part in parts.items():
        for example in examples:
            changes = emptied[part_name] or {"question": example.question.split()[0]}
            assert part.view(example) == replace(example, **changes)
            assert part.view(example).where == example.where


@pytest.mark.parametrize("architecture", ["bert", "roberta", "deberta-v2", "modernbert", "xlm-roberta"])
@pytest.mark.parametrize("case", CASES)
def test_a_part_can_be_read_and_scored(case: str, architecture: str, prepare: Any):
    name, rows, _ = CASES[case]
    predictor, data = prepare(name, rows=rows, architecture=architecture)
    lengths = [len(f.inputs["input_ids"]) for features in data.features for f in features]
    for part in predictor.task.partial_inputs().values():
        evaluation = predictor.evaluate_examples([part.view(example) for example in data.examples])
        viewed = predictor.encode([part.view(example) for example in data.examples])
        assert len(evaluation.predictions) == len(rows)
        assert sum(len(f.inputs["input_ids"]) for features in viewed.features for f in features) < sum(lengths)
        if name != "qa":  # there the place of the answer moves with the question
            targets, whole = ([f.targets for g in d.features for f in g] for d in (viewed, data))
            assert targets == whole


def test_the_answer_is_still_found_behind_a_shorter_question(prepare: Any):
    predictor, data = prepare("qa")
    for part in predictor.task.partial_inputs().values():
        viewed = predictor.encode([part.view(example) for example in data.examples])
        for example, features in zip(viewed.examples, viewed.features, strict=True):
            for feature in features:
                first, last = (feature.targets[name] for name in ("start_positions", "end_positions"))
                if first:
                    found = example.context[feature.info[first][0] : feature.info[last][1]]
                    assert found.strip() == example.answers[0].text
            assert bool(example.answers) == any(feature.targets["start_positions"] for feature in features)


def test_single_texts_and_sentences_have_no_parts():
    for name, rows in (("classification", TEXTS), ("ner", ner_pack(**SIZES)["train"])):
        task, examples = examples_of(name, rows)
        assert meter._chosen(task.partial_inputs(), None, examples) == {}
    task, examples = examples_of("multiple_choice", CHOICES)
    assert list(meter._chosen(task.partial_inputs(), None, examples)) == ["choices only"]  # no row has a context


def test_a_text_that_is_no_pair_stays_as_it_is():
    mixed = [*TEXTS[:3], PAIRS[3]]
    task, examples = examples_of("classification", mixed)
    for part in task.partial_inputs().values():
        assert [part.view(example) == example for example in examples] == [True, True, True, False]


@given(st.lists(st.text(max_size=3), min_size=2, max_size=6), st.integers(0, 5), st.integers(0, 9))
def test_shuffled_choices_keep_the_right_one(choices: list[str], label: int, seed: int):
    example = MultipleChoiceExample(question="q", choices=tuple(choices), label=label % len(choices), context="c")
    shuffle = MultipleChoice().reordered_inputs()["shuffled choices"]
    shuffled = shuffle(example, Random(seed))
    assert sorted(shuffled.choices) == sorted(choices)
    assert shuffled.choices[shuffled.label] == choices[example.label]
    assert replace(shuffled, choices=example.choices, label=example.label) == example
    assert shuffle(replace(example, label=None), Random(seed)) == replace(shuffled, label=None)


def test_choices_are_indeed_shuffled():
    example = MultipleChoiceExample(question="q", choices=("a", "b", "c"), label=1)
    random = Random(0)
    shuffled = [MultipleChoice().reordered_inputs()["shuffled choices"](example, random) for _ in range(60)]
    assert len({item.choices for item in shuffled}) == 6
    assert {item.label for item in shuffled} == {0, 1, 2}


# --- what needs no model --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task_class", [NLI, Classification])
def test_the_majority_is_that_of_scikit_learn(task_class: type):
    from sklearn.dummy import DummyClassifier
    from sklearn.metrics import accuracy_score, f1_score

    def example(label: str) -> Any:
        if task_class is NLI:
            return NLIExample(premise="p", hypothesis="h", label=label)
        return ClassificationExample(text="t", label=label)

    random = Random(1)
    train, test = (random.choices(LABELS, weights=(2, 5, 3), k=number) for number in (60, 40))
    training, examples = [example(label) for label in train], [example(label) for label in test]
    task = task_class.from_examples({"train": training, "test": examples})
    guessed = task.baselines(training, examples)["majority"]
    dummy = DummyClassifier(strategy="most_frequent").fit(np.zeros((60, 1)), train).predict(np.zeros((40, 1)))
    assert [prediction["label"] for prediction in guessed] == dummy.tolist()
    scores = task.score(guessed, examples)
    assert scores["accuracy"] == pytest.approx(accuracy_score(test, dummy))
    assert scores["macro_f1"] == pytest.approx(f1_score(test, dummy, average="macro", zero_division=0))


def test_the_commonest_set_of_labels_and_the_mean():
    labels = [("a",), ("a", "b"), ("b", "a"), ()]
    examples = [ClassificationExample(text="t", label=label) for label in labels]
    task = Classification.from_examples({"train": examples})
    assert task.kind == "multi"
    assert task.baselines(examples, examples[:2]) == {"majority": [{"labels": ["a", "b"]}] * 2}
    numbers = [ClassificationExample(text="t", label=value) for value in (0.5, 1.5, 4.0)]
    task = Classification.from_examples({"train": numbers})
    guessed = task.baselines(numbers, numbers)
    assert guessed == {"mean": [{"value": pytest.approx(2.0)}] * 3}
    assert task.score(guessed["mean"], numbers)["pearson"] == 0
    assert task.primary_counts(guessed["mean"], numbers) is not None


def test_labels_that_are_numbers_are_guessed_by_name():
    examples = [NLIExample(premise="p", hypothesis="h", label=label) for label in (2, 2, 0, 1)]
    task = NLI.from_examples({"train": examples}, labels=LABELS)
    assert task.baselines(examples, examples)["majority"][0] == {"label": "contradiction"}
    assert task.score(task.baselines(examples, examples)["majority"], examples)["accuracy"] == 0.5


def test_the_commonest_position_ends_with_the_choices():
    def example(number: int, label: int) -> MultipleChoiceExample:
        return MultipleChoiceExample(question="q", choices=tuple("abcd"[:number]), label=label)

    training = [example(4, 3), example(4, 3), example(2, 0)]
    guessed = MultipleChoice().baselines(training, [example(4, 3), example(2, 1), example(3, 0)])
    assert guessed == {"majority": [{"choice": 3}, {"choice": 1}, {"choice": 2}]}
    assert MultipleChoice().score(guessed["majority"][:2], [example(4, 3), example(2, 1)])["accuracy"] == 1


@pytest.mark.parametrize(("answers", "guess"), [(["two", "two", "red", None], "two"), (["red", None, None], "")])
def test_the_commonest_answer_counts_no_answer_as_one(answers: list[str | None], guess: str):
    rows = [
        {
            "question": "q",
            "context": f"x {text}",
            "answers": {"text": [text], "answer_start": [2]} if text else {"text": [], "answer_start": []},
        }
        for text in answers
    ]
    task, examples = examples_of("qa", rows)
    assert isinstance(task, QuestionAnswering)
    guessed = task.baselines(examples, examples)["majority"]
    assert guessed == [{"answer": guess}] * len(rows)
    assert task.score(guessed, examples)["f1"] == pytest.approx(answers.count(guess or None) / len(answers))


def test_word_memory_against_a_hand_count():
    def sentence(words: str, tags: str) -> NERExample:
        given = [int(tag) if tag == "-100" else tag for tag in tags.split()]
        return NERExample.from_words(words.split(), given)

    training = [
        sentence("Paris met Ann", "B-LOC O B-PER"),
        sentence("Paris Hilton sang", "B-PER I-PER O"),
        sentence("in Paris met", "O B-LOC -100"),
        sentence("met met Rome", "-100 O B-LOC"),
        sentence("Lima Lima Lima", "-100 -100 B-LOC"),
    ]
    test = [
        sentence("Paris Hilton met Oslo", "B-PER I-PER O B-LOC"),  # memory: Paris LOC, Hilton alone PER; Oslo unseen
        sentence("Ann in Lima", "B-PER O B-LOC"),  # both right; Lima is mostly not scored, and else LOC
    ]
    task = NER.from_examples({"train": training, "test": test})
    guessed = task.baselines(training, test)
    assert list(guessed) == ["no entity", "word memory"]
    assert task.score(guessed["no entity"], test)["f1"] == 0
    found = [[(e["word"], e["entity_group"]) for e in entities] for entities in guessed["word memory"]]
    assert found == [[("Paris", "LOC"), ("Hilton", "PER")], [("Ann", "PER"), ("Lima", "LOC")]]
    assert task.score(guessed["word memory"], test)["f1"] == pytest.approx(2 * 2 / (4 + 4))  # hits 2, gold 4, found 4


# --- equal trainings ------------------------------------------------------------------------------------------------


class Trained:
    """Stands in for a trained model: it gets as many rows right as it is told to."""

    def __init__(self, task: Any, right: dict[str, int]) -> None:
        self.task, self.right = task, right

    def evaluate_examples(self, examples: list[Any], *, name: str = "") -> Any:
        assert all(not example.premise for example in examples) == (name == "hypothesis only")
        assert all(not example.hypothesis for example in examples) == (name == "premise only")
        wrong = {"entailment": "contradiction", "neutral": "entailment", "contradiction": "neutral"}
        predictions = [
            {"label": example.label if index < self.right[name] else wrong[example.label]}
            for index, example in enumerate(examples)
        ]
        return SimpleNamespace(predictions=predictions)


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was trained, without training: of 120 test rows the whole input gets 108 right, the hypothesis 84."""
    calls: list[dict[str, Any]] = []
    right = {"whole input": 108, "hypothesis only": 84, "premise only": 40}

    def train(model: Any, examples: Any, *, task: Any, **settings: Any) -> Any:
        calls.append({"model": model, "examples": examples, "task": task, "right": right, **settings})
        learned = NLI.from_examples(examples)
        rows = {split: len(part) for split, part in examples.items()}
        run = SimpleNamespace(
            task="nli", model="m", method=repr(settings["method"]), rows=rows, config=settings["config"].to_dict()
        )
        return SimpleNamespace(predictor=Trained(learned, right), run=run)

    monkeypatch.setattr(meter, "train_on_examples", train)
    return calls


def test_every_training_has_the_same_settings_and_rows(trainings: list[dict[str, Any]], tiny_bert: Any):
    tokenizer = object()
    shortcuts(
        tiny_bert,
        DATA,
        task="nli",
        method="head",
        tokenizer=tokenizer,
        config=TrainingConfig(num_train_epochs=7),
        seed=3,
        max_length=40,
    )
    assert [call["examples"]["test"][5].texts for call in trainings] == [
        {"premise": "p 5", "hypothesis": "h 5"},
        {"premise": "", "hypothesis": "h 5"},
        {"premise": "p 5", "hypothesis": ""},
    ]
    config = TrainingConfig(num_train_epochs=7, seed=3, max_length=40)
    assert [call["config"] for call in trainings] == [config, *[replace(config, evaluate_before=False)] * 2]
    for call in trainings:
        assert (call["model"], call["task"], repr(call["method"])) == (tiny_bert, "nli", "HeadOnly()")
        assert call["tokenizer"] is tokenizer
        for split, rows in call["examples"].items():
            assert [example.label for example in rows] == [row["label"] for row in DATA[split]]


def test_columns_are_passed_on(trainings: list[dict[str, Any]]):
    rows = [{"p": row["premise"], "h": row["hypothesis"], "label": row["label"]} for row in NLI_ROWS]
    data = {"train": rows, "validation": rows[:30], "test": rows}
    report = shortcuts(None, data, task="nli", columns={"premise": "p", "hypothesis": "h"}, views=[])
    assert [view.name for view in report.views] == ["whole input", "majority"]
    assert len(trainings) == 1


def test_the_cost_is_said_first(trainings: list[dict[str, Any]], caplog: pytest.LogCaptureFixture):
    with caplog.at_level("INFO", "reasoner"):
        shortcuts(None, DATA, task="nli", views=["hypothesis only"])
    assert caplog.messages == [
        "2 trainings with the same settings: whole input, hypothesis only.",
        "Training 1 of 2: whole input.",
        "Training 2 of 2: hypothesis only.",
    ]


def test_a_result_is_not_trained_again(trainings: list[dict[str, Any]]):
    settings = {"seed": 9, "learning_rate": 1e-3}
    whole = shortcuts(None, DATA, task="nli", views=[], **settings).result
    whole.run.model = meter.name_of_model(None)
    again = shortcuts(None, DATA, task="nli", views=["premise only"], result=whole)
    assert again.result is whole
    assert [call["examples"]["train"][1].premise for call in trainings] == ["p 1", "p 1"]
    assert trainings[1]["examples"]["train"][1].hypothesis == ""
    assert trainings[1]["config"] == TrainingConfig(**settings, evaluate_before=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": {**DATA, "test": NLI_ROWS[:50]}}, "rows is .*120.*not .*50"),
        ({"method": "head"}, r"method is Full\(\), not HeadOnly\(\)"),
        ({"model": "other"}, "model is .*embedded.*, not other"),
        ({"seed": 1}, "its own settings hold.*Leave out: seed"),
        ({"config": TrainingConfig(), "views": []}, "Leave out: config"),
    ],
)
def test_a_result_of_another_training_is_refused(change: dict[str, Any], message: str, trainings: list[dict[str, Any]]):
    whole = shortcuts(None, DATA, task="nli", views=[]).result
    whole.run.model = meter.name_of_model(None)
    arguments = {"model": None, "data": DATA, "task": "nli", "result": whole, **change}
    with pytest.raises(ConfigError, match=message):
        shortcuts(arguments.pop("model"), arguments.pop("data"), **arguments)
    assert len(trainings) == 1


def test_unknown_views_are_refused_and_empty_ones_left_out(
    trainings: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
):
    with pytest.raises(ConfigError, match=r"no 'hypothesis-only'.*'hypothesis only'"):
        shortcuts(None, DATA, task="nli", views=["hypothesis-only"])
    assert not trainings
    task, examples = examples_of("multiple_choice", CHOICES)
    with caplog.at_level("INFO", "reasoner"):
        assert meter._chosen(task.partial_inputs(), ["no context"], examples) == {}
    assert "'no context' would be the whole input again" in caplog.text


def test_a_score_that_is_better_when_smaller_is_refused(monkeypatch: pytest.MonkeyPatch):
    register_direction("made_up_distance", greater_is_better=False)
    monkeypatch.setattr(NLI, "primary_metric", "made_up_distance")
    with pytest.raises(ConfigError, match="better when greater, not made_up_distance"):
        shortcuts(None, DATA, task="nli")


# --- the rule and the report ----------------------------------------------------------------------------------------


def test_a_part_that_keeps_more_than_half_of_the_gain_is_warned_of(trainings: list[dict[str, Any]]):
    report = shortcuts(None, DATA, task="nli", num_train_epochs=1)
    scores = {view.name: view.score for view in report.views}
    assert scores == pytest.approx(
        {"whole input": 0.9, "hypothesis only": 0.7, "premise only": 1 / 3, "majority": 1 / 3}
    )
    assert report["hypothesis only"].share == pytest.approx((0.7 - 1 / 3) / (0.9 - 1 / 3))
    assert report["hypothesis only"].sentence == "70 of your 90 points need no premise (majority alone: 33)."
    assert report["premise only"].sentence == "33 of your 90 points need no hypothesis (majority alone: 33)."
    assert report["whole input"].lower < 0.9 < report["whole input"].upper
    assert len(report.warnings) == 1
    assert report.warnings[0].startswith("hypothesis only: this alone gets 65% of the whole input's gain over majority")
    assert not any("No part" in note for note in report.notes)


@pytest.mark.parametrize(
    ("whole", "part", "warned"),
    [
        (108, 78, False),  # 56% of the gain, but not surely more than half
        (108, 40, False),  # no better than the guess
        (108, 108, True),
        (70, 110, True),  # the part is better than the whole
        (40, 40, False),  # nothing was learned
        (20, 40, False),  # the whole is worse than the guess, the part no better
    ],
)
def test_the_rule(whole: int, part: int, warned: bool, trainings: list[dict[str, Any]]):
    first = shortcuts(None, DATA, task="nli", views=[]).result
    trainings[0]["right"].update({"whole input": whole, "hypothesis only": part})
    first.run.model = meter.name_of_model(None)
    report = shortcuts(None, DATA, task="nli", views=["hypothesis only"], result=first)
    assert bool(report.warnings) == warned
    learned = whole > 41
    assert any("not surely better than majority" in note for note in report.notes) != learned
    assert any("No part surely keeps" in note for note in report.notes) == (learned and not warned)
    assert report["hypothesis only"].sentence.startswith("All of your") == (part >= whole)


def test_the_report_can_be_read_at_80_columns_and_as_html_and_json(trainings: list[dict[str, Any]]):
    report = shortcuts(None, DATA, task="nli")
    text = repr(report)
    assert max(map(len, text.splitlines())) <= 80
    for part in (
        "nli, accuracy on test (120 rows)",
        "70 of your 90 points need no premise",
        "Warning: hypothesis only",
    ):
        assert part in text
        assert part in report._repr_html_()
    assert report.rule.split()[-1] in text
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["views"][1]["score"] == 0.7
    assert plain["warnings"] == report.warnings
    view = replace(report.views[0], name="<script>" * 9)
    escaped = replace(report, views=(view,))
    assert "<script>" not in escaped._repr_html_()
    assert max(map(len, repr(escaped).splitlines())) <= 80


def test_without_a_test_split_validation_is_scored_and_said(trainings: list[dict[str, Any]]):
    report = shortcuts(None, {"train": NLI_ROWS}, task="nli", views=["hypothesis only"])
    assert (report.split, report.rows) == ("validation", len(trainings[0]["examples"]["validation"]))
    assert any("all scores are optimistic" in note for note in report.notes)
    for call in trainings:  # the same rows were cut off for both
        assert [example.where for example in call["examples"]["validation"]] == [
            example.where for example in trainings[0]["examples"]["validation"]
        ]


def test_a_task_without_intervals_or_guesses_says_so(trainings: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(NLI, "primary_counts", lambda *_: None)
    monkeypatch.setattr(NLI, "baselines", lambda *_: {})
    report = shortcuts(None, DATA, task="nli", views=["hypothesis only"])
    assert report["whole input"].lower is None
    assert report["hypothesis only"].share == pytest.approx(0.7 / 0.9)
    assert len(report.warnings) == 1
    assert "no intervals" in repr(report)
    assert "counted from 0" in " ".join(report.notes)


def test_a_model_that_goes_by_the_order_of_the_choices_is_warned_of(monkeypatch: pytest.MonkeyPatch):
    rows = [{"question": f"q {i}", "choices": ["a", "b", f"c {i}"], "label": 0} for i in range(60)]

    class Positional:
        """Takes the first choice, whatever it is."""

        task = MultipleChoice()

        def evaluate_examples(self, examples: list[Any], *, name: str = "") -> Any:
            return SimpleNamespace(predictions=[{"choice": 0} for _ in examples])

    run = SimpleNamespace(task="multiple_choice")
    monkeypatch.setattr(meter, "train_on_examples", lambda *_, **__: SimpleNamespace(predictor=Positional(), run=run))
    report = shortcuts(None, {"train": rows, "validation": rows, "test": rows}, task="multiple_choice", views=[])
    assert report["whole input"].score == report["majority"].score == 1
    assert 0.1 < report["shuffled choices"].score < 0.6
    assert [warning.split(":")[0] for warning in report.warnings] == ["shuffled choices"]
    assert "points remain" in report["shuffled choices"].sentence
