"""Does the label review rank by what training said of each label, whatever the batches, and show it right?"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoner.data.features import Batch, Feature
from reasoner.errors import ConfigError
from reasoner.evaluation import Encoded
from reasoner.heads.base import gold_probabilities
from reasoner.review import LabelRecord, LabelRecorder
from reasoner.tasks.classification import ClassificationExample
from reasoner.tasks.ner import NERExample

LABELS = ("red", "green", "blue")
GOLD = [0, 1, 2, 0, 1, 2, 1]
LOGITS = np.random.default_rng(0).normal(0, 2, (3, len(GOLD), len(LABELS))).astype(np.float32)  # (epochs, rows, labels)


class Head:
    """As much of a head as the recorder asks for."""

    def gold_probabilities(self, outputs: Any, batch: Any) -> Any:
        """Return what the heads with a softmax return."""
        return gold_probabilities(outputs["logits"], batch.targets["labels"])


class SilentHead:
    """A head whose outputs are no probabilities of labels."""

    def gold_probabilities(self, outputs: Any, batch: Any) -> Any:
        """Return nothing."""
        return None


def trainer(head: Any) -> Any:
    return SimpleNamespace(model=SimpleNamespace(head=head))


def texts(number: int = len(GOLD)) -> Encoded:
    examples = [ClassificationExample(text=f"text {row}", where=f"train.csv, line {row + 2}") for row in range(number)]
    features = [[Feature({"input_ids": [1]}, {"labels": GOLD[row]})] for row in range(number)]
    return Encoded(examples, features)


def batch_of(rows: Sequence[int]) -> Batch:
    return Batch({}, {"labels": torch.tensor([GOLD[row] for row in rows])}, torch.tensor([]), list(rows), 0)


def recorded(epochs: Iterable[Iterable[Sequence[int]]], logits: Any = LOGITS, *, head: Any = None) -> LabelRecord:
    """Feed the rows of each batch of each epoch to a recorder."""
    recorder, training = LabelRecorder(texts(), LABELS), trainer(head or Head())
    recorder.on_train_begin(training)
    for number, batches in enumerate(epochs):
        for step, rows in enumerate(batches):
            recorder.on_batch(training, batch_of(rows), {"logits": torch.tensor(logits[number][list(rows)])})
            if step % 2:
                recorder.on_log(training, {})
        recorder.on_epoch_end(training)
    recorder.on_train_end(training)
    return recorder.record()


def softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits.astype(np.float64))
    return exponentials / exponentials.sum(-1, keepdims=True)


ALL = list(range(len(GOLD)))


def test_figures_equal_a_count_by_hand():
    review = recorded([[ALL]] * 3).review()
    assert len(review) == len(GOLD)
    for entry in review:
        row = entry["row"]
        gold, others = GOLD[row], [label for label in range(3) if label != GOLD[row]]
        by_epoch = [softmax(LOGITS[epoch, row]) for epoch in range(3)]
        assert entry["label"] == LABELS[gold]
        assert entry["where"] == f"train.csv, line {row + 2}"
        assert entry["texts"] == {"text": f"text {row}"}
        assert entry["confidence"] == pytest.approx(np.mean([p[gold] for p in by_epoch]), rel=1e-5)
        assert entry["variability"] == pytest.approx(np.std([p[gold] for p in by_epoch]), rel=1e-5)
        margins = [LOGITS[epoch, row, gold] - max(LOGITS[epoch, row, others]) for epoch in range(3)]
        assert entry["margin"] == pytest.approx((margins[0] + 2 * margins[1] + 3 * margins[2]) / 6, rel=1e-4)
        first = [max(others, key=lambda label, p=p: p[label]) for p in by_epoch]
        sums = {label: sum(p[label] for p, best in zip(by_epoch, first, strict=True) if best == label)
                for label in others}  # fmt: skip
        favourite = max(sums, key=sums.__getitem__)
        assert entry["other_label"] == LABELS[favourite]
        assert entry["other_probability"] == pytest.approx(sums[favourite] / 3, rel=1e-5)


def test_the_lowest_margin_comes_first():
    margins = [entry["margin"] for entry in recorded([[ALL]] * 3).review()]
    assert margins == sorted(margins)
    assert [entry["margin"] for entry in recorded([[ALL]] * 3).review(2)] == margins[:2]


@settings(max_examples=30)
@given(orders=st.lists(st.permutations(ALL), min_size=3, max_size=3), size=st.integers(1, 4))
def test_the_order_of_batches_does_not_matter(orders: list[list[int]], size: int):
    epochs = [[order[start : start + size] for start in range(0, len(order), size)] for order in orders]
    assert recorded(epochs).review().entries == recorded([[ALL]] * 3).review().entries


def test_rows_that_were_never_seen_are_left_out_and_counted():
    review = recorded([[[0, 1]], [[1, 2]]]).review()
    assert sorted(entry["row"] for entry in review) == [0, 1, 2]
    assert "3 of 7 training rows" in str(review)
    assert "4 rows were never seen" in str(review)
    once = next(entry for entry in review if entry["row"] == 2)
    assert once["confidence"] == pytest.approx(softmax(LOGITS[1, 2])[GOLD[2]], rel=1e-5)


def test_a_step_without_finite_outputs_says_nothing():
    logits = LOGITS.copy()
    logits[1, 3] = np.nan
    entry = next(entry for entry in recorded([[ALL]] * 3, logits).review() if entry["row"] == 3)
    expected = [softmax(LOGITS[epoch, 3])[GOLD[3]] for epoch in (0, 2)]
    assert entry["confidence"] == pytest.approx(np.mean(expected), rel=1e-5)


def test_an_epoch_that_was_broken_off_counts_only_where_there_is_no_whole_one():
    assert recorded([[ALL], [ALL], [[4, 1]]]).review().entries == recorded([[ALL], [ALL]]).review().entries
    recorder, training = LabelRecorder(texts(), LABELS), trainer(Head())
    recorder.on_train_begin(training)
    recorder.on_batch(training, batch_of([4]), {"logits": torch.tensor(LOGITS[0][[4]])})
    recorder.on_train_end(training)
    assert [entry["row"] for entry in recorder.record().review()] == [4]


def test_probabilities_that_float32_rounds_to_zero_have_a_margin():
    logits = np.zeros((1, len(GOLD), 3), np.float32)
    logits[0, ALL, GOLD] = [-20 * (row + 1) for row in ALL]  # from row 4 on the gold's probability is no normal float
    review = recorded([[ALL]], logits).review()
    assert [entry["row"] for entry in review] == [4, 5, 6, 3, 2, 1, 0]
    assert all(np.isfinite(entry["margin"]) for entry in review)


def test_a_head_without_probabilities_is_an_error():
    record = recorded([[ALL]], head=SilentHead())
    with pytest.raises(ConfigError, match="SilentHead gives no gold_probabilities"):
        record.review()


@pytest.mark.parametrize("n", [0, -1])
def test_a_review_of_no_rows_is_an_error(n: int):
    with pytest.raises(ConfigError, match="at least 1 row"):
        recorded([[ALL]]).review(n)


# --- a label for each word --------------------------------------------------------------------------------------------

TAGS = ("O", "B-LOC", "B-PER")
WORDS = tuple(f"word{number}" for number in range(30))


@dataclass
class Owned:
    """A word and the token at which its label stands."""

    word: int
    token: int


def sentences() -> Encoded:
    """Two sentences; the first is read in two windows, and one of its words is not scored."""
    first = NERExample.from_words(WORDS, where="a.conll, line 1")
    second = NERExample.from_words(WORDS[:2], where="a.conll, line 32")

    def feature(labels: list[int], owned: list[tuple[int, int]]) -> Feature:
        return Feature({}, token_targets={"labels": labels}, info=[Owned(*pair) for pair in owned])

    windows = [
        feature([-100, 0, -100, 1, -100], [(0, 1), (1, 2), (2, 3)]),  # word 1 has -100 as its label
        feature([-100, 2, 0, -100], [(20, 1), (21, 2)]),
    ]
    return Encoded([first, second], [windows, [feature([-100, 0, 0, -100], [(0, 1), (1, 2)])]])


@pytest.mark.parametrize("side", ["left", "right"])
def test_windows_are_merged_and_the_worst_word_is_named(side: str):
    data = sentences()
    features = [feature for group in data.features for feature in group]
    recorder, training = LabelRecorder(data, TAGS), trainer(Head())
    recorder.on_train_begin(training)
    for order in ([0, 1, 2], [2, 1, 0]):
        length = 6
        labels, logits = torch.full((3, length), -100), torch.zeros(3, length, 3)
        for place, index in enumerate(order):
            own = features[index].token_targets["labels"]
            start = length - len(own) if side == "left" else 0
            labels[place, start : start + len(own)] = torch.tensor(own)
            logits[place, range(start, start + len(own)), [max(label, 0) for label in own]] = 3.0
            if index == 1:  # word 20, in the second window: the gold is B-PER, and the outputs say O
                logits[place, start + 1] = torch.tensor([2.0, 0.0, -1.0])
        batch = Batch({}, {"labels": labels}, torch.tensor([]), order, 0)
        recorder.on_batch(training, batch, {"logits": logits})
        recorder.on_epoch_end(training)
    worst, other = recorder.record().review()
    assert (worst["where"], worst["word"], worst["word_index"]) == ("a.conll, line 1", "word20", 20)
    assert (worst["label"], worst["other_label"]) == ("B-PER", "O")
    assert worst["margin"] == pytest.approx(-3.0, rel=1e-5)
    assert worst["context"] == " ".join(WORDS[12:29])
    assert (other["where"], other["label"]) == ("a.conll, line 32", "O")
    assert other["margin"] == pytest.approx(3.0, rel=1e-5)


# --- what a person sees -----------------------------------------------------------------------------------------------


def test_text_fits_the_terminal_and_names_what_is_in_doubt():
    record = recorded([[ALL]] * 3)
    long = ClassificationExample(text="<b>many\x1b words</b> " * 40, where="train.csv, line 2")
    review = LabelRecord(**{**vars(record), "examples": [long] * len(GOLD)}).review(3)
    shown = str(review)
    assert max(map(len, shown.splitlines())) <= 80
    assert "3 of 7 training rows" in shown
    assert "\x1b" not in shown
    first = review[0]
    assert f"is labelled {first['label']}; training says {first['other_label']}" in " ".join(shown.split())
    html = review._repr_html_()
    assert "<b>many" not in html
    assert "&lt;b&gt;many" in html


def test_it_is_written_as_lines_of_json(tmp_path: Path):
    review = recorded([[ALL]] * 3).review(4)
    review.to_jsonl(tmp_path / "review.jsonl")
    lines = (tmp_path / "review.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == list(review) == review[:]
    assert review[-1] == review.entries[3]


# --- what the heads say -----------------------------------------------------------------------------------------------


def test_gold_probabilities_equal_a_softmax():
    logits = torch.tensor(LOGITS)
    labels = torch.tensor([[gold if row % 3 else -100 for row, gold in enumerate(GOLD)]] * 3)  # (epochs, rows)
    found = gold_probabilities(logits, labels)
    assert torch.equal(found.gold, labels)
    for epoch, row in np.argwhere(labels.numpy() != -100):
        probabilities = softmax(LOGITS[epoch, row])
        assert float(found.probability[epoch, row]) == pytest.approx(probabilities[GOLD[row]], rel=1e-5)
        probabilities[GOLD[row]] = -1
        assert int(found.other[epoch, row]) == probabilities.argmax()
        assert float(found.other_probability[epoch, row]) == pytest.approx(probabilities.max(), rel=1e-5)


@pytest.mark.parametrize("task", ["ner", "nli", "classification", "qa", "multiple_choice"])
def test_heads_with_a_label_to_doubt_say_how_probable_it_is(task: str, prepare: Any):
    predictor, data = prepare(task, sharp=True)
    batch = next(iter(predictor.batches(data, batch_size=8)))
    outputs = predictor.model(batch)
    found = predictor.model.head.gold_probabilities(outputs, batch)
    if task in ("qa", "multiple_choice"):
        assert found is None
        return
    assert not any(part.requires_grad for part in found)
    given = found.gold != -100
    loss = predictor.model.loss(outputs, batch)
    assert float(-found.probability[given].log().sum()) == pytest.approx(float(loss.total.detach()), rel=1e-4)
    assert bool((found.other[given] != found.gold[given]).all())


def test_several_labels_or_a_number_have_no_other_label(prepare: Any):
    from reasoner.tasks.classification import Classification

    for kind in ("multi", "number"):
        predictor, data = prepare(Classification(kind=kind))
        batch = next(iter(predictor.batches(data)))
        assert predictor.model.head.gold_probabilities(predictor.model(batch), batch) is None
