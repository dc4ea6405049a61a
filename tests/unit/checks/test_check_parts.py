"""Do the parts of the checks keep their promises: the record of reading, the trial of a batch, the order of labels?"""

from __future__ import annotations

import random
from itertools import permutations

import pytest
import torch

from reasoner.checks import trial
from reasoner.checks.nli_labels import CLEARLY, PAIRS, SURE, _disagreement, best_order, explained, gold_meanings
from reasoner.checks.reading import ReadingRecord, Recorder, refused_rows, repaired_rows
from reasoner.checks.subject import Subject
from reasoner.checks.trial import _unchanged, try_out
from reasoner.data.examples import Example, examples_from_rows
from reasoner.data.rows import Row
from reasoner.errors import DataError, Problem
from reasoner.notices import collect, count
from reasoner.tasks.nli import NLIExample, meaning
from reasoner.training.config import TrainingConfig
from reasoner.training.trainer import Trainer

THREE = ["entailment", "neutral", "contradiction"]


class Counting(Example):
    """An example that says something of each row."""

    @classmethod
    def from_columns(cls, columns, *, where):
        count("{n} things were mended.", columns["n"])
        return cls(where=where)


def test_a_recorder_keeps_rows_and_leaves_the_counts_as_they_were():
    rows = [Row({"n": number}, "train", number, "row") for number in (1, 2, 3)]
    record = ReadingRecord()
    with collect() as plain:
        expected = examples_from_rows({"train": rows}, Counting)
    with collect() as recorded:
        found = examples_from_rows({"train": rows}, Recorder(Counting, "train", record))
    assert found == expected and recorded == plain == ["train: 6 things were mended."]
    assert record.repairs == {("train", "{n} things were mended."): ["train, row 1", "train, row 2", "train, row 3"]}


def test_a_recorder_keeps_what_is_refused_and_dropped():
    good = {"premise": "a", "hypothesis": "b", "label": "c"}
    rows = [Row({**good, **change}, "t", number, "row") for number, change in
            enumerate([{}, {"premise": " "}, {"label": -1}, {"label": "-"}], start=1)]  # fmt: skip
    record = ReadingRecord()
    with pytest.raises(DataError, match="premise is empty"):
        examples_from_rows({"train": rows}, Recorder(NLIExample, "train", record))
    assert record.refused == {("train", "t, row 2")}
    (finding,) = repaired_rows(record, {"train": 1})
    assert (finding.code, finding.places, finding.severity) == ("no_gold", ("t, row 3", "t, row 4"), "warning")


def test_problems_of_one_kind_are_one_finding():
    problems = [
        Problem(
            "a, row 1",
            "label 'x' is unknown (it never occurs in the training data, nor was it given)",
            "Mend.",
            code="unseen_label",
        ),
        Problem(
            "a, row 2",
            "label 'y' is unknown (it never occurs in the training data, nor was it given)",
            "Mend.",
            code="unseen_label",
        ),
        Problem("b, row 9", "something new", "Look."),
        Problem("b, row 7", "a label of a new kind", "Look.", about_labels=True),
    ]
    first, second, third = refused_rows(problems)
    assert (first.code, first.count, first.places) == ("unseen_label", 2, ("a, row 1", "a, row 2"))
    assert first.what.startswith("label 'x' is unknown") and first.what.endswith("(and 1 more such)")
    assert (second.code, third.code) == ("unreadable_row", "bad_label")


def test_a_trial_leaves_everything_as_it_was(prepare):
    predictor, data = prepare("nli", dropout=0.5)
    model = predictor.model
    model.network.register_buffer("seen", torch.zeros(1))
    model.network.register_forward_pre_hook(_count_calls)
    model.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(5)
    random.seed(5)
    state = torch.get_rng_state()
    estimate, findings = try_out(_subject(predictor, data, per_device_train_batch_size=8))
    assert findings == [] and estimate["longest_batch"][0] == 8
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())
    assert not any(module.training for module in model.modules())


def _count_calls(module, inputs):
    module.seen.add_(1)


def test_a_trial_trains_with_dropout(prepare):
    predictor, _ = prepare("nli", dropout=0.5)
    with _unchanged(predictor.model, predictor.device):
        assert predictor.model.training


def test_the_longest_batch_is_the_longest(prepare):
    predictor, data = prepare("multiple_choice")
    estimate, _ = try_out(_subject(predictor, data, per_device_train_batch_size=4))
    lengths = sorted((max(map(len, group)), len(group)) for group in data.features)
    assert estimate["longest_batch"][1] == lengths[-1][0]
    assert estimate["longest_batch"][0] >= 4  # four questions, with all their choices


def test_the_memory_is_that_of_the_largest_part(prepare, monkeypatch):
    predictor, data = prepare("nli")
    whole, _ = try_out(_subject(predictor, data, per_device_train_batch_size=8))
    rows, length = whole["longest_batch"]
    monkeypatch.setattr("reasoner.training.parts.CACHED", rows * length**2 / 8)  # the longest rows one by one
    cut, _ = try_out(_subject(predictor, data, per_device_train_batch_size=8))
    shortest = min(len(group[0]) for group in data.features)
    assert whole["batch_bytes"] / 8 < cut["batch_bytes"] < whole["batch_bytes"] * (length / shortest) / 8 * 1.5


@pytest.mark.parametrize(
    ("bf16", "peaks", "long", "tried"),
    [
        (None, (1.0, 3.0), 0, True),
        (None, (1.0, 3.0), 1e9, False),
        (None, (1.0, 0.1), 0, False),  # this processor has no bfloat16
        (False, (1.0, 3.0), 0, False),
        (True, (1.0, 3.0), 0, False),
    ],
)
def test_bfloat16_is_tried_for_long_runs_where_it_may_be_faster(prepare, monkeypatch, bf16, peaks, long, tried):
    predictor, data = prepare("nli")
    monkeypatch.setattr(trial, "LONG", long)
    monkeypatch.setattr(trial, "matrix_peak", lambda _, bf16: peaks[bf16])
    run, seen = trial._run_part, []

    def timed(model, batch, config, **_):
        seen.append(config.bf16)
        _, _, loss, kept = run(model, batch, config)
        seconds = 1.0 if config.bf16 else 4.0
        return seconds / 2, seconds, loss, kept

    monkeypatch.setattr(trial, "_run_part", timed)
    estimate, findings = try_out(_subject(predictor, data, per_device_train_batch_size=8, bf16=bf16))
    assert findings == [] and ("bf16_seconds" in estimate) == tried
    assert seen == [bf16] * 2 + [True] * 2 * tried
    if tried:
        assert estimate["seconds"] / estimate["bf16_seconds"] == pytest.approx(4)


def test_a_model_that_does_not_run_in_bfloat16_is_no_problem(prepare, monkeypatch):
    predictor, data = prepare("nli")
    monkeypatch.setattr(trial, "LONG", 0)
    monkeypatch.setattr(trial, "matrix_peak", lambda _, bf16: 1.0 + bf16)
    run = trial._run_part

    def refuses(model, batch, config):
        if config.bf16:
            raise RuntimeError("expected scalar type Float but found BFloat16")
        return run(model, batch, config)

    monkeypatch.setattr(trial, "_run_part", refuses)
    estimate, findings = try_out(_subject(predictor, data, per_device_train_batch_size=8, bf16=None))
    assert findings == [] and estimate["seconds"] > 0 and "bf16_seconds" not in estimate


@pytest.mark.parametrize(
    ("settings", "steps", "evaluations"),
    [
        ({}, 24, 5),
        ({"gradient_accumulation_steps": 3}, 9, 5),
        ({"max_steps": 5}, 5, 3),
        ({"max_steps": 9, "evaluate_before": False}, 9, 3),
        ({"eval_steps": 10}, 24, 5),
    ],
)
def test_steps_and_evaluations_of_a_run(prepare, settings, steps, evaluations):
    predictor, data = prepare("nli")  # 32 rows
    estimate, _ = try_out(_subject(predictor, data, per_device_train_batch_size=4, **settings))
    assert (estimate["steps"], estimate["evaluations"]) == (steps, evaluations)


@pytest.mark.parametrize("settings", [{}, {"gradient_accumulation_steps": 3}, {"seed": 5}, {"max_steps": 7}])
def test_steps_and_the_longest_batch_where_tokens_rule(prepare, settings):
    predictor, data = prepare("nli")
    config = TrainingConfig(use_cpu=True, learning_rate=1e-4, tokens_per_batch=150, **settings)
    estimate, _ = try_out(_subject(predictor, data, tokens_per_batch=150, **settings))
    batches = predictor.batches(data, batch_size=1, tokens_per_batch=150, shuffle=True, seed=config.seed)
    assert estimate["steps"] == Trainer(predictor.model, batches, config=config).total_steps
    rows, longest = estimate["longest_batch"]
    assert longest == max(batches.lengths)
    assert rows > 1 and rows * longest <= 150 < (rows + 1) * longest


def test_the_memory_of_what_learns(prepare):
    predictor, data = prepare("nli")
    whole, _ = try_out(_subject(predictor, data))
    predictor.model.backbone.requires_grad_(False)
    head, _ = try_out(_subject(predictor, data))
    weights = sum(weight.numel() for weight in predictor.model.parameters())
    assert whole["disk_bytes"] == head["disk_bytes"] == 4 * weights
    assert whole["memory_bytes"] - whole["batch_bytes"] == 4 * 5 * weights
    assert head["memory_bytes"] - head["batch_bytes"] < 4 * 1.1 * weights
    assert head["batch_bytes"] < whole["batch_bytes"]


def _subject(predictor, data, **settings):
    return Subject(
        examples={"train": data.examples},
        record=ReadingRecord(),
        config=TrainingConfig(**{"use_cpu": True, "bf16": False, **settings}),
        source="",
        task_class=type(predictor.task),
        learned=predictor.task,
        tokenizer=predictor.tokenizer,
        predictor=predictor,
        encoded={"train": data},
    )


# --- the order of labels --------------------------------------------------------------------------------------------


def test_the_sure_pairs_are_as_many_for_each_label_and_none_twice():
    pairs = [pair for group in PAIRS.values() for pair in group]
    assert {len(group) for group in PAIRS.values()} == {8} and len(set(pairs)) == 24
    assert list(PAIRS) == THREE


@pytest.mark.parametrize("order", list(permutations(THREE)))
def test_the_order_that_explains_perfect_answers(order):
    gold = gold_meanings(THREE)
    answers = [order.index(label) for label in gold]
    assert best_order(THREE, gold, answers) == (list(order), 1.0)
    assert explained(THREE, gold, answers) == sum(a == b for a, b in zip(order, THREE, strict=True)) / 3


def test_what_the_pairs_mean_among_two_labels():
    assert gold_meanings(["entailment", "not_entailment"]) == ["entailment"] * 8 + ["not_entailment"] * 16
    assert gold_meanings(["not_entailment", "entailment"]) == ["entailment"] * 8 + ["not_entailment"] * 16
    assert gold_meanings(["good", "bad"]) == [] == gold_meanings(["entailment", "bad", "neutral"])


@pytest.mark.parametrize(("labels", "most"), [(THREE, 0.0), (["entailment", "not_entailment"], 0.01)])
def test_chance_does_not_accuse_a_head(labels, most):
    gold, draws = gold_meanings(labels), random.Random(0)
    accused = 0
    for answers in ([draws.randrange(len(labels)) for _ in gold] for _ in range(1000)):
        _, share = best_order(labels, gold, answers)
        accused += share >= SURE and share - explained(labels, gold, answers) >= CLEARLY
    assert accused / 1000 <= most


@pytest.mark.parametrize("labels", [THREE, ["entailment", "not_entailment"]])
def test_a_head_that_always_says_the_same_explains_nothing(labels):
    """With two labels it makes 16 of 24 right."""
    for constant in range(len(labels)):
        assert best_order(labels, gold_meanings(labels), [constant] * 24)[1] == pytest.approx(1 / len(labels))


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("ENTAILMENT", "entailment"),
        (" Entails ", "entailment"),
        ("e", "entailment"),
        ("N", "neutral"),
        ("NOT ENOUGH INFO", "neutral"),
        ("contradictory", "contradiction"),
        ("non-entailment", "not_entailment"),
        ("not entailment", "not_entailment"),
        ("NOT_ENTAILMENT", "not_entailment"),
        ("LABEL_0", "label_0"),
        ("0", "0"),
        ("", ""),
    ],
)
def test_what_a_label_name_means(name, label):
    assert meaning(name) == label


@pytest.mark.parametrize(("wrong", "accused"), [(0, True), (1, True), (3, False), (5, False)])
def test_a_head_is_accused_only_where_it_is_sure(wrong, accused):
    """Its outputs stand the other way round, and it gets so many of the eight pairs of each label wrong."""
    turned, gold = THREE[::-1], gold_meanings(THREE)
    answers = [turned.index(label) for label in gold]
    for label in range(3):
        for pair in range(8 * label, 8 * label + wrong):
            answers[pair] = (answers[pair] + 1) % 3
    findings = list(_disagreement(THREE, THREE, gold, answers))
    assert [finding.code for finding in findings] == ["label_order"] * accused
