"""Do evaluation and prediction in parts give what one part gives, and does nothing but predictions outlive a part?"""

from __future__ import annotations

import gc
import math
from itertools import count, islice

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_inference import INPUTS, TASKS, close

import reasoner.evaluation
from reasoner.data.features import Feature
from reasoner.data.states import States
from reasoner.errors import ConfigError, DataError
from reasoner.tasks.ner import NER
from reasoner.tasks.nli import NLI
from tiny import CORPUS

WINDOWED = {"ner": 20, "qa": 40}
"""Limits at which most texts take several windows."""


@pytest.fixture
def part(monkeypatch):
    """`part(n)`: work on n examples at a time."""
    return lambda size: monkeypatch.setattr(reasoner.evaluation, "PART", size)


@pytest.mark.parametrize("name", TASKS)
def test_parts_change_no_score_and_no_prediction(prepare, name):
    predictor, data = prepare(TASKS[name], sharp=True, max_length=WINDOWED.get(name, 60))
    several = sum(len(group) > 1 for group in data.features)
    assert several > 5 or name not in (*WINDOWED, "multiple_choice")
    whole, predicted = predictor.evaluate(data), predictor.predict(INPUTS[name])
    whole.metrics.pop("rows_per_second")

    @settings(max_examples=8, suppress_health_check=list(HealthCheck))
    @given(size=st.integers(1, len(data.examples) + 1))
    def same(size):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reasoner.evaluation, "PART", size)
            for found in (predictor.evaluate(data), predictor.evaluate_examples(data.examples)):
                assert found.metrics.pop("rows_per_second") > 0
                assert close(found.predictions, whole.predictions)
                assert found.metrics.pop("loss") == pytest.approx(whole.metrics["loss"], rel=1e-5)
                rest = {key: value for key, value in whole.metrics.items() if key != "loss"}
                assert close(found.metrics, rest)
            assert close(predictor.predict(INPUTS[name]), predicted)
            assert close(list(predictor.predict(iter(INPUTS[name]))), predicted)

    same()


def test_kept_states_are_those_of_the_whole_list(prepare, part):
    predictor, data = prepare(NER(), sharp=True, max_length=20)
    predictor.model.requires_grad_(False)
    plain = predictor.evaluate(data)
    lengths = [len(feature) for group in data.features for feature in group]
    states = States(lengths, predictor.model.head.width)
    part(5)
    filled = predictor.evaluate(data._replace(states=states))
    for size in (3, 7, 1000):  # read back, in other parts than they were filled in
        part(size)
        handle = predictor.model.backbone.embeddings.register_forward_pre_hook(lambda *_: pytest.fail("run again"))
        again = predictor.evaluate(data._replace(states=states))
        handle.remove()
        assert close(again.predictions, plain.predictions) and close(filled.predictions, plain.predictions)
        assert again.metrics["loss"] == pytest.approx(plain.metrics["loss"], rel=1e-5)
        assert "rows_per_second" not in again.metrics


def test_the_padding_that_is_told_is_that_of_the_batches(prepare, part):
    predictor, data = prepare(NER(), max_length=20)
    for size in (4, 9, 1000):
        part(size)
        seen = []
        handle = predictor.model.register_forward_pre_hook(
            lambda _, arguments, seen=seen: seen.append(arguments[0].inputs["attention_mask"])
        )
        predictor.evaluate(data)
        handle.remove()
        padding = 1 - sum(float(mask.sum()) for mask in seen) / sum(mask.numel() for mask in seen)
        assert predictor.padding_share(data) == pytest.approx(padding) and padding > 0.01


def test_only_predictions_outlive_a_part(prepare, part, monkeypatch):
    predictor, data = prepare(NLI())
    examples, alive, encode = data.examples * 4, [], NLI.encode
    del data
    part(8)

    def watched(task, examples, tokenizer, **limits):
        gc.collect()
        alive.append(sum(type(item) is Feature for item in gc.get_objects()))
        return encode(task, examples, tokenizer, **limits)

    monkeypatch.setattr(NLI, "encode", watched)
    gc.collect()
    gc.freeze()  # what other tests left is neither looked through nor counted
    try:
        predictor.evaluate_examples(examples)
        predictor.predict([(one.premise, one.hypothesis) for one in examples])
    finally:
        gc.unfreeze()
    assert len(alive) == 32 and set(alive) == {alive[0]}  # what others hold


def test_a_generator_is_read_no_further_than_one_part_ahead(prepare, part):
    predictor = prepare(NLI()).predictor
    drawn = 0

    def inputs():
        nonlocal drawn
        for drawn in range(1, 100_001):
            yield CORPUS[drawn % 7], CORPUS[drawn % 5]

    part(50)
    predictions = predictor.predict(inputs())
    assert drawn == 0
    for number, _ in enumerate(islice(predictions, 120), 1):
        assert number <= drawn <= math.ceil(number / 50) * 50
    assert next(predictions) == predictor.predict((CORPUS[121 % 7], CORPUS[121 % 5]))
    endless = predictor.predict((CORPUS[number % 3], "No.") for number in count())
    assert len(list(islice(endless, 7))) == 7


def test_a_wrong_input_of_a_list_is_refused_before_the_model_runs(prepare, part):
    predictor = prepare(NLI()).predictor
    part(2)
    good = ("a", "b")
    predictor.model.register_forward_pre_hook(lambda *_: pytest.fail("the model ran"))
    with pytest.raises(DataError, match=r"^input 5: nli predicts for"):
        predictor.predict([good] * 5 + [7])


def test_a_wrong_input_of_an_iterator_is_refused_when_its_part_is_reached(prepare, part):
    predictor = prepare(NLI()).predictor
    part(2)
    predictions = predictor.predict(iter([("a", "b")] * 5 + [7]))
    assert len(list(islice(predictions, 4))) == 4
    with pytest.raises(DataError, match=r"^input 5: nli predicts for"):
        next(predictions)


def test_settings_of_an_iterator_are_checked_at_once(prepare):
    predictor = prepare(NLI()).predictor
    with pytest.raises(ConfigError, match="min_confidence"):
        predictor.predict(iter([("a", "b")]), min_confidence=2)
    (sure,) = predictor.predict(iter([("a", "b")]), min_confidence=1.0)
    assert sure["abstained"] and sure["label"] is None


@pytest.mark.parametrize("form", [list, iter])
def test_what_was_cut_is_counted_over_all_parts_and_said_once(prepare, part, caplog, form):
    predictor = prepare(NLI(), max_length=16).predictor
    part(3)
    caplog.set_level("INFO", logger="reasoner")
    caplog.clear()
    long = " ".join(CORPUS[:9])
    assert len(list(predictor.predict(form([(long, "b"), ("a", "b")] * 5)))) == 10
    assert caplog.messages == ["5 texts are longer than max_length=16 tokens; the longer side was cut."]


def test_parts_draw_nothing_from_the_random_state(prepare, part):
    predictor, data = prepare(NLI())
    part(3)
    before = torch.get_rng_state()
    predictor.evaluate(data)
    assert torch.equal(before, torch.get_rng_state())
