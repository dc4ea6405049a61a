"""Does a decoder choose without training, alone and with solved examples, with a Result that others compare to?"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import reasoner
import reasoner.asking
from reasoner import Classification, MultipleChoice
from reasoner.errors import ConfigError, DataError
from reasoner.notices import collect

PACK = reasoner.synthetic.multiple_choice_pack(train=24, validation=8, test=12)
NLI = reasoner.synthetic.nli_pack(train=24, validation=9, test=9)
NLI_ASKED = reasoner.NLI(head="likelihood")
CPU = {"use_cpu": True}


def inputs(rows):
    return [{name: row[name] for name in ("context", "question", "choices") if name in row} for row in rows]


@pytest.fixture(scope="module")
def zero(lively_models):
    return reasoner.zero_shot(lively_models("llama"), PACK, task="multiple_choice", **CPU)


def test_a_result_with_scores_of_what_is_not_training(zero):
    assert list(zero.metrics) == ["validation", "test"] and zero.run.rows == {"validation": 8, "test": 12}
    predictions = zero.predict(inputs(PACK["test"]))
    right = [p["choice"] == row["label"] for p, row in zip(predictions, PACK["test"], strict=True)]
    assert zero.metrics["test"]["accuracy"] == sum(right) / 12 == zero.evaluate(PACK["test"])["accuracy"]
    assert set(zero.run.intervals["test"]) == {"lower", "upper", "confidence"}
    assert not any(weight.requires_grad for weight in zero.predictor.model.parameters())


def test_the_report_says_how_it_was_asked(zero):
    assert "zero-shot, by likelihood (byte)" in zero.report() and "accuracy" in zero.report()
    assert zero.run.config["template"] == "{context}\nQuestion: {question}\nAnswer:"
    assert "trainable: 0" in zero.report() and zero._repr_html_()


def test_one_source_is_called_test(lively_models, zero):
    alone = reasoner.zero_shot(lively_models("llama"), PACK["test"], task="multiple_choice", **CPU)
    assert {**alone.metrics["test"], "rows_per_second": 0} == {**zero.metrics["test"], "rows_per_second": 0}


def test_saved_and_loaded_it_predicts_the_same(zero, tmp_path):
    zero.save(tmp_path / "model")
    loaded = reasoner.load(tmp_path / "model", **CPU)
    assert loaded.predictor.task == zero.predictor.task
    for one, other in zip(loaded.predict(inputs(PACK["test"])), zero.predict(inputs(PACK["test"])), strict=True):
        assert one["scores"] == pytest.approx(other["scores"], abs=1e-5)


def test_saved_it_predicts_the_same_in_a_new_process(zero, tmp_path):
    zero.save(tmp_path / "model")
    row = inputs(PACK["test"])[0]
    script = (
        "import json, sys, reasoner\n"
        "result = reasoner.load(sys.argv[1], use_cpu=True)\n"
        "print(json.dumps([result.predict(json.loads(sys.argv[2])), result.run.method]))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "model"), json.dumps(row)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    prediction, method = json.loads(done.stdout.splitlines()[-1])
    assert method == "zero-shot, by likelihood (byte)"
    assert prediction["scores"] == pytest.approx(zero.predict(row)["scores"], abs=1e-5)


@pytest.mark.parametrize(("task", "rows"), [(MultipleChoice(head="likelihood"), PACK), (NLI_ASKED, NLI)])
def test_check_looks_at_rows_as_they_are_asked(task, rows, lively_models):
    report = reasoner.check(lively_models("llama"), rows, task=task, max_length=24, **CPU)
    assert {finding.code for finding in report.findings} == {"cut_rows"}
    assert all("lose the beginning of their prompt" in finding.what for finding in report.findings)


def test_check_tells_of_all_empty_choices(lively_models):
    rows = [
        {**row, "choices": ["", *row["choices"][1:]]} if n in (1, 4) else row for n, row in enumerate(PACK["train"])
    ]
    task = MultipleChoice(head="likelihood")
    report = reasoner.check(lively_models("llama"), {**PACK, "train": rows}, task=task, run_model=False, **CPU)
    assert "train, rows 2, 5" in str(report) and "choice 1 is empty" in str(report)
    plain = reasoner.check(
        lively_models("bert"), {**PACK, "train": rows}, task="multiple_choice", run_model=False, **CPU
    )
    assert "is empty" not in str(plain)


def test_labels_have_the_words_of_the_task(lively_models):
    result = reasoner.zero_shot(lively_models("gpt2"), NLI["test"], task="nli", **CPU)
    assert result.run.config["words"] == {"entailment": "True", "neutral": "Neither", "contradiction": "False"}
    prediction = result.predict(("All dogs sleep.", "A dog sleeps."))
    assert set(prediction["scores"]) == {"entailment", "neutral", "contradiction"}
    assert 0 < result.metrics["test"]["accuracy"] <= 1


def test_settings_change_what_is_asked(lively_models):
    words = {"entailment": "yes", "neutral": "perhaps", "contradiction": "no"}
    template = "{premise} Is it so that {hypothesis}"
    settings = {"template": template, "words": words, "correction": "prior", "domain": "Answer:"}
    result = reasoner.zero_shot(lively_models("llama"), NLI["test"], task="nli", **settings, **CPU)
    plain = reasoner.zero_shot(lively_models("llama"), NLI["test"], task="nli", **CPU)
    assert {name: result.run.config[name] for name in settings} == settings
    pair = ("All dogs sleep.", "A dog sleeps.")
    assert result.predict(pair)["scores"] != plain.predict(pair)["scores"]


def test_it_stands_beside_a_tuned_model(zero, lively_bert, lively_models):
    run = {"max_steps": 2, "check": False, "evaluate_before": False, **CPU}
    encoder = reasoner.fine_tune(lively_bert, PACK, task="multiple_choice", **run)
    comparison = encoder.compare(zero, PACK["test"])
    assert comparison.before == zero.metrics["test"]["accuracy"]
    assert comparison.after == encoder.metrics["test"]["accuracy"]


def test_the_same_head_is_trained_and_its_before_is_zero_shot(zero, lively_models):
    task = MultipleChoice(head="likelihood")
    rows = {"train": PACK["train"][:8], "validation": PACK["train"][:8], "test": PACK["test"]}
    tuned = reasoner.fine_tune(lively_models("llama"), rows, task=task, num_train_epochs=40, learning_rate=3e-3,
                               patience=None, max_length=128, **CPU)  # fmt: skip
    assert tuned.metrics["before"]["accuracy"] == zero.metrics["test"]["accuracy"]
    assert tuned.metrics["validation"]["accuracy"] == 1.0


def test_few_shot_shows_rows_of_training(lively_models):
    result = reasoner.few_shot(lively_models("llama"), NLI, task="nli", shots=2, seed=3, **CPU)
    shots = result.predictor.task.reading.shots
    known = {row["premise"] for row in NLI["train"]}
    assert len(shots) == 2 and all(shot.text.split("\nQuestion:")[0] in known for shot in shots)
    assert "few-shot: 2 random examples, seed 3" in result.report()
    again = reasoner.few_shot(lively_models("llama"), NLI, task="nli", shots=2, seed=3, **CPU)
    assert again.predictor.task == result.predictor.task
    other = reasoner.few_shot(lively_models("llama"), NLI, task="nli", shots=2, seed=4, **CPU)
    assert other.predictor.task != result.predictor.task


def test_balanced_shots_show_all_labels_as_often(lively_models):
    result = reasoner.few_shot(lively_models("llama"), NLI, task="nli", shots=6, choose="balanced", **CPU)
    answers = [shot.text.rsplit(" ", 1)[1] for shot in result.predictor.task.reading.shots]
    assert sorted(answers) == ["False", "False", "Neither", "Neither", "True", "True"]


def test_nearest_shots_differ_by_row_and_what_does_not_fit_is_said(lively_models):
    with collect() as said:
        result = reasoner.few_shot(lively_models("llama"), NLI, task="nli", shots=2, choose="nearest",
                                   max_length=64, **CPU)  # fmt: skip
    assert len(result.predictor.task.reading.shots) == len(NLI["train"])
    assert any("solved examples were left out" in notice for notice in said)
    assert result.run.notices == [notice for notice in said if notice in result.run.notices]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "ner"}, "NER cannot be asked of a model without training"),
        (
            {"task": MultipleChoice(head="multiple_choice")},
            "has the head 'multiple_choice', and the model is asked by likelihood",
        ),
        ({"template": "{premise}"}, "The template has the field {premise}"),
        ({"words": {"a": "b"}}, "words are for labels"),
        ({"correction": "length"}, "correction is 'length'"),
        ({"model": None, "by": "likelihood"}, "likelihood: 'bert' is no decoder"),
        ({"model": "bert", "by": "likelihood"}, "likelihood: 'bert' is no decoder"),
    ],
)
def test_what_is_refused(settings, message, lively_models):
    settings = {"model": "llama", "task": "multiple_choice", **CPU, **settings}
    model = settings.pop("model")
    with pytest.raises(ConfigError) as caught:
        reasoner.zero_shot(model and lively_models(model), PACK["test"], **settings)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shots": 25}, "shots is 25, and there are 24 training rows"),
        ({"shots": 0}, "for none there is zero_shot"),
        ({"choose": "nearst"}, "Did you mean 'nearest'?"),
        ({"choose": "balanced"}, 'choose="balanced" is for labels'),
        ({"data": PACK["test"]}, "few_shot takes solved examples from train"),
    ],
)
def test_shots_that_are_refused(settings, message, lively_models):
    settings = {"data": PACK, "task": "multiple_choice", **CPU, **settings}
    with pytest.raises(ConfigError) as caught:
        reasoner.few_shot(lively_models("llama"), settings.pop("data"), **settings)
    assert message in str(caught.value)


def test_prompts_are_for_decoders_and_for_one_label(lively_models):
    with pytest.raises(ConfigError, match="prompt is for the heads"):
        MultipleChoice.from_examples({}, prompt={"template": "{question}"})
    rows = [{"text": "a", "label": ["x", "y"]}, {"text": "b", "label": ["y"]}]
    with pytest.raises(ConfigError, match="chooses one of the labels, and here the kind is 'multi'"):
        reasoner.zero_shot(lively_models("llama"), rows, task="classification", **CPU)
    numbers = [{"text": "a", "label": 0.5}, {"text": "b", "label": 1.5}]
    with pytest.raises(ConfigError, match="here the kind is 'number'"):
        reasoner.zero_shot(lively_models("llama"), numbers, task="classification", **CPU)
    weighted = Classification(class_weights="balanced")
    rows = [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]
    with pytest.raises(ConfigError, match="does not take: class_weights"):
        reasoner.zero_shot(lively_models("llama"), rows, task=weighted, **CPU)


def test_empty_choices_are_refused(lively_models):
    rows = [
        {"question": "Who?", "choices": ["a", ""], "label": 0},
        {"question": "Why?", "choices": ["a", "b"], "label": 0},
    ]
    with pytest.raises(DataError, match="choice 2 is empty"):
        reasoner.zero_shot(lively_models("llama"), rows, task="multiple_choice", **CPU)


def test_what_all_rows_begin_with_is_run_once_a_batch(lively_models, monkeypatch):
    from reasoner.heads import likelihood

    run = []
    sums = likelihood.shared_sums
    monkeypatch.setattr(likelihood, "shared_sums", lambda *a, **k: run.append(len(a[1])) or sums(*a, **k))
    model = lively_models("llama")
    few = reasoner.few_shot(model, NLI, task="nli", shots=12, **CPU)
    assert few.predictor.tokens_per_batch > 4 * reasoner.asking.TOKENS_PER_BATCH
    many, run[:] = max(run), []
    plain = reasoner.few_shot(model, NLI, task="nli", shots=12, tokens_per_batch=2_048, **CPU)
    assert many > max(run) and plain.run.config["tokens_per_batch"] == 2_048
    pair = ("All dogs sleep.", "A dog sleeps.")
    assert few.predict(pair)["scores"] == pytest.approx(plain.predict(pair)["scores"], abs=1e-5)
    nearest = reasoner.few_shot(model, NLI, task="nli", shots=12, choose="nearest", **CPU)
    assert nearest.predictor.tokens_per_batch == 2_048
