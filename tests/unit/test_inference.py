"""Is a prediction that of its input alone, and is it said which input has a wrong form?"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch

from reasoner.errors import DataError, LabelError
from reasoner.tasks.classification import Classification, ClassificationExample
from reasoner.tasks.multiple_choice import MultipleChoice
from reasoner.tasks.ner import NER, NERExample
from reasoner.tasks.nli import NLI
from reasoner.tasks.qa import QuestionAnswering
from tiny import ARCHITECTURES, CORPUS

LONG = " ".join(CORPUS[:20])
INPUTS = {
    "ner": [CORPUS[0], LONG, CORPUS[1].split(), tuple(CORPUS[2].split()), "x", *CORPUS[3:9]],
    "nli": [(CORPUS[0], CORPUS[1]), {"premise": CORPUS[2], "hypothesis": "No."}, (LONG, CORPUS[5]), ["a", "b"]],
    "classification": [CORPUS[0], "x", (CORPUS[1], CORPUS[2]), {"text": LONG}, *CORPUS[4:9]],
    "multi": [*CORPUS[:7], LONG],
    "number": [*CORPUS[:7], LONG],
    "qa": [{"question": CORPUS[4], "context": text} for text in (CORPUS[0], LONG, "x", *CORPUS[3:8])],
    "multiple_choice": [
        {"question": CORPUS[0], "choices": ["a", "b"]},
        {"question": CORPUS[1], "choices": ["yes", "no", CORPUS[2]], "context": LONG},
        {"question": "x", "choices": CORPUS[:6]},
    ],
}
TASKS = {
    "ner": NER(),
    "nli": NLI(),
    "classification": Classification(),
    "multi": Classification(kind="multi"),
    "number": Classification(kind="number"),
    "qa": QuestionAnswering(),
    "multiple_choice": MultipleChoice(),
}


def close(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(close, one, other))
    return one == pytest.approx(other, abs=1e-5)


@pytest.mark.parametrize("name", TASKS)
def test_a_prediction_does_not_depend_on_its_batch(prepare, name):
    predictor = prepare(TASKS[name], max_length=60, sharp=True).predictor
    inputs = INPUTS[name]
    alone = [predictor.predict([value])[0] for value in inputs]
    assert not close(alone[0], alone[1])
    for size in (1, 2, 3, 64):
        sized = replace(predictor, batch_size=size)
        for seed in range(3):
            order = random.Random(seed).sample(range(len(inputs)), len(inputs))
            together = sized.predict([inputs[index] for index in order])
            assert all(close(together[place], alone[index]) for place, index in enumerate(order))


@pytest.mark.parametrize("name", TASKS)
def test_nor_does_it_where_tokens_say_how_large_a_batch_is(prepare, name):
    predictor = prepare(TASKS[name], max_length=60, sharp=True).predictor
    by_rows = predictor.predict(INPUTS[name])
    for tokens in (1, 130, 1000):
        sized, shapes = replace(predictor, tokens_per_batch=tokens), []
        handle = predictor.model.register_forward_pre_hook(
            lambda _, arguments, shapes=shapes: shapes.append(tuple(arguments[0].inputs["input_ids"].shape))
        )
        together = sized.predict(INPUTS[name])
        handle.remove()
        assert all(close(one, other) for one, other in zip(together, by_rows, strict=True))
        if not predictor.task.keep_together:
            assert all(rows * longest <= tokens or rows == 1 for rows, longest in shapes)
        assert shapes[0][1] == max(longest for _, longest in shapes)  # what is too large for the memory shows at once


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_padding_changes_no_prediction_in_any_architecture(prepare, architecture):
    predictor = prepare(Classification(), architecture=architecture, sharp=True).predictor
    inputs = [*CORPUS[:5], "x", LONG]
    together = predictor.predict(inputs)
    assert len({round(item["score"], 4) for item in together}) > 2
    assert all(close(predictor.predict(value), item) for value, item in zip(inputs, together, strict=True))


@pytest.mark.parametrize("name", TASKS)
def test_one_input_or_a_list_of_them(prepare, name):
    predictor = prepare(TASKS[name]).predictor
    value = next(value for value in INPUTS[name] if not isinstance(value, list))
    one, (same,) = predictor.predict(value), predictor.predict([value])
    assert close(one, same) and type(one) is type(same)
    assert predictor.predict([]) == []


@pytest.mark.parametrize("name", TASKS)
def test_an_input_of_another_form_is_named_by_its_position(prepare, name):
    predictor = prepare(TASKS[name]).predictor
    good = next(value for value in INPUTS[name] if not isinstance(value, list))
    for wrong in (7, None, {"wrong": "key"}, {"question": 3, "context": "x"}):
        with pytest.raises(DataError, match=r"^input 2: .*predicts for"):
            predictor.predict([good, good, wrong, good])
        with pytest.raises(DataError, match=r"^\w+ predicts for"):
            predictor.predict(wrong)


def test_prediction_leaves_the_model_and_takes_no_gradient(prepare):
    predictor = prepare(NLI(), dropout=0.5).predictor
    predictor.model.train()
    first = predictor.predict(INPUTS["nli"])
    predictor.model.train()
    assert predictor.predict(INPUTS["nli"]) == first and not predictor.model.training
    assert all(weight.grad is None for weight in predictor.model.parameters())


def test_what_is_cut_is_said_with_the_split(prepare, caplog):
    caplog.set_level("INFO", logger="reasoner")
    predictor = prepare(Classification(), max_length=16).predictor
    caplog.clear()
    examples = [ClassificationExample(text=LONG, label="long"), ClassificationExample(text="x", label="short")]
    predictor.encode(examples, name="test")
    assert caplog.messages == ["test: 1 texts are longer than max_length=16 tokens; the longer side was cut."]
    caplog.clear()
    predictor.predict([LONG, LONG])
    assert caplog.messages == ["2 texts are longer than max_length=16 tokens; the longer side was cut."]


def test_labels_that_the_model_does_not_know_are_refused(prepare):
    predictor = prepare(NLI()).predictor
    examples = [predictor.task.Example(premise="a", hypothesis="b", label=label, where=f"test.csv, line {line}")
                for line, label in enumerate(("neutral", "netral", "perhaps"), 2)]  # fmt: skip
    with pytest.raises(LabelError) as caught:
        predictor.evaluate_examples(examples)
    text = str(caught.value)
    assert "test.csv, line 3" in text and "test.csv, line 4" in text and "line 2" not in text
    assert "Did you mean 'neutral'?" in text


def test_evaluation_and_prediction_agree(prepare):
    """No skew between training and serving: the same text gives the same entities, with gold or without."""
    predictor, data = prepare(NER(), max_length=20, sharp=True)
    evaluated = predictor.evaluate(data).predictions
    predicted = predictor.predict([list(example.tokens) for example in data.examples])
    assert close(evaluated, predicted) and sum(map(len, predicted)) > 20


def test_thresholds_can_be_changed_without_touching_the_predictor(prepare):
    predictor = prepare(QuestionAnswering()).predictor
    other = predictor.with_task(replace(predictor.task, no_answer_threshold=0.0))
    value = INPUTS["qa"][0]
    assert other.model is predictor.model and other.task.no_answer_threshold == 0.0
    assert other.predict(value)["answer"] == "" and predictor.task.no_answer_threshold == 0.5


def test_batches_take_the_tokenizer_s_padding(prepare):
    predictor = prepare(NER()).predictor
    data = predictor.encode([NERExample.from_text(text) for text in ("x", LONG[:40])])
    (batch,) = predictor.batches(data)
    mask = batch.inputs["attention_mask"] == 0
    assert mask.any() and set(batch.inputs["input_ids"][mask].tolist()) == {predictor.tokenizer.pad_token_id}
    assert predictor.device == torch.device("cpu")
