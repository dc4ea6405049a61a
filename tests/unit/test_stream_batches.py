"""Do the batches of a stream hold every row once a pass, go on anywhere as if from the beginning, and stay bounded?"""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter
from itertools import islice
from typing import Any, NamedTuple

import pytest
import torch

from reasoner import streaming
from reasoner.data.streams import Stream
from reasoner.errors import DataError, LabelError
from reasoner.inference import Predictor
from reasoner.notices import collect
from reasoner.streaming import StreamBatches, StreamPlace
from reasoner.tasks.classification import Classification
from reasoner.tasks.multiple_choice import MultipleChoice
from reasoner.tasks.ner import NER
from reasoner.tasks.qa import QuestionAnswering
from reasoner.training.config import TrainingConfig
from reasoner.training.prefetch import made_ahead
from tiny import CORPUS

CASES = {
    "classification": (Classification(), {}),
    "ner in windows": (NER(), {"max_length": 20}),
    "qa in windows": (QuestionAnswering(), {"max_length": 40}),
    "choices": (MultipleChoice(), {}),
    "by tokens": (Classification(), {"tokens_per_batch": 150}),
}


class Lines(torch.utils.data.IterableDataset):
    """A stream that counts what it gave."""

    def __init__(self, items):
        self.items, self.given = items, 0

    def __iter__(self):
        for item in self.items() if callable(self.items) else self.items:
            self.given += 1
            yield item


class Made(NamedTuple):
    batches: StreamBatches
    predictor: Predictor
    source: Lines
    rows: list[dict[str, Any]]


@pytest.fixture
def small(monkeypatch):
    """Buffers of 8 rows, so that a few rows fill several."""
    monkeypatch.setattr(streaming, "BUFFER", 8)
    monkeypatch.setattr(streaming, "LEAST_BATCHES", 2)


@pytest.fixture
def make(prepare, rows_of):
    def batches(task=None, rows=None, **settings: Any) -> Made:
        task = task or Classification()
        settings = {"per_device_train_batch_size": 3, "max_steps": 100, **settings}
        predictor, _ = prepare(task, **settings)
        rows = rows_of(type(task).__name__) if rows is None else rows
        source = Lines(rows)
        stream = Stream(source, type(task).schema(task.settings()))
        made = StreamBatches(stream, predictor, TrainingConfig(use_cpu=True, bf16=False, **settings))
        return Made(made, predictor, source, rows)

    return batches


def content(batch) -> tuple[Any, ...]:
    return (
        {name: tensor.tolist() for name, tensor in batch.inputs.items()},
        {name: tensor.tolist() for name, tensor in batch.targets.items()},
        batch.group.tolist(),
        batch.tokens,
    )


@pytest.mark.parametrize("case", CASES)
def test_a_pass_gives_every_feature_once_and_another_pass_in_another_order(case, make, small):
    task, settings = CASES[case]
    batches, predictor, _, rows = make(task, **settings)
    expected = Counter()
    for example in batches.stream.examples(batches.stream.first()):
        (group,) = predictor.encode([example]).features
        expected[example.where] += len(group)
    assert len(rows) == 32 and (max(expected.values()) > 1) == ("windows" in case or case == "choices")
    orders = []
    for batches.epoch in range(3):
        places = [batches.where(batch) for batch in batches]
        assert Counter(place for part in places for place in part) == expected
        if orders:
            assert len(batches) == len(orders[-1])
        orders.append(places)
    assert orders[0] != orders[1] != orders[2]
    assert batches.rows == 32


def test_a_buffer_is_batched_as_rows_in_memory_are(make):
    batches, predictor, _, _ = make()
    assert batches.buffer == 1_002  # a multiple of three
    data = predictor.encode(batches.stream.examples(batches.stream.first()))
    assert [content(batch) for batch in batches] == [
        content(batch) for batch in predictor.batches(data, batch_size=3, shuffle=True, seed=42)
    ]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("epoch", [0, 2])
def test_after_any_number_come_the_batches_that_would_have_come(case, epoch, make, small):
    task, settings = CASES[case]
    whole = make(task, **settings).batches
    whole.epoch = epoch
    expected = [content(batch) for batch in whole]
    fresh = make(task, **settings).batches  # knows nothing
    fresh.epoch = epoch
    for number in range(len(expected) + 1):
        assert [content(batch) for batch in fresh.after(number)] == expected[number:]
    for number in (1, len(expected) // 2, len(expected) - 1):
        broken_off = make(task, **settings).batches
        broken_off.epoch = epoch
        list(islice(broken_off, number + 2))  # on a GPU batches are made ahead
        resumed = make(task, **settings).batches
        resumed.epoch = epoch
        resumed.load_state_dict(broken_off.state_dict())
        assert [content(batch) for batch in resumed.after(number)] == expected[number:]
        assert len(resumed) == 100  # though it was made ahead to its end, perhaps, before the interrupt
        resumed.epoch += 1
        assert len(resumed) == len(expected)


def test_what_was_trained_on_is_read_again_and_not_encoded(make, small, monkeypatch):
    batches = make().batches
    list(islice(batches, 9))  # buffers of 9 rows, three batches each
    resumed, _, source, _ = make()
    resumed.load_state_dict(batches.state_dict())
    encoded: list[str] = []
    examples = resumed.stream.examples
    monkeypatch.setattr(
        resumed.stream, "examples", lambda rows: encoded.extend(r.where for r in rows) or examples(rows)
    )
    next(resumed.after(7))
    assert encoded == [f"train, row {number}" for number in range(19, 28)]
    assert source.given == 27


def test_of_a_stream_without_end_only_what_is_needed_is_read(make):
    batches, _, source, _ = make(rows=lambda: ({"text": CORPUS[n % 40], "label": "short"} for n in range(200_000)))
    list(islice(batches, 3))
    assert source.given == batches.buffer == 1_002
    assert len(batches) == 100  # as many as training takes
    list(islice(batches.after(330), 10))
    assert source.given == 1_002 + 2 * 1_002
    assert len(batches._where) <= streaming.KEPT_BATCHES + 1 and len(batches._places) <= streaming.KEPT_PLACES
    assert batches.rows == 2_004


def test_memory_does_not_grow_with_the_rows(make, monkeypatch):
    monkeypatch.setattr(streaming, "BUFFER", 100)
    rows = [{"text": CORPUS[n % 40] + f" {n}", "label": "short"} for n in range(100)]
    batches = make(rows=lambda: (dict(rows[n % 100]) for n in range(10**9)), per_device_train_batch_size=5).batches
    peaks = []
    for number in (40, 400):  # two buffers, twenty buffers
        gc.collect()
        tracemalloc.start()
        for _ in islice(batches, number):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] + 100_000


def test_batches_are_made_ahead_by_a_thread(make, small):
    batches = make().batches
    expected = [content(batch) for batch in batches]
    assert [content(batch) for batch in made_ahead(make().batches)] == expected


def test_buffers_are_never_too_small_for_large_batches(make):
    assert make(per_device_train_batch_size=500).batches.buffer == streaming.LEAST_BATCHES * 500


def test_the_length_is_that_of_the_last_pass_or_of_the_training(make, small):
    batches = make(max_steps=7, gradient_accumulation_steps=4).batches
    assert len(batches) == 28
    assert len(list(batches)) == 11
    assert len(batches) == 28
    batches.epoch = 1
    assert len(batches) == 11
    with collect() as said:
        next(iter(batches))
    assert said == ["The stream ended after 32 rows, before max_steps: it is read again, as another epoch."]


def test_rows_left_out_are_counted_once_and_after_a_resume_too(make, small, rows_of):
    rows = rows_of("Classification")
    for number in (2, 3, 20, 31):
        rows[number] = {**rows[number], "label": -1}
    rows[9:18] = [{**row, "label": "-"} for row in rows[9:18]]  # a whole buffer
    batches = make(rows=rows).batches
    for batches.epoch in range(2):
        assert sum(len(batch.feature_index) for batch in batches) == 19
    with collect() as said:
        StreamPlace(batches, type("Run", (), {"rows": {}})()).on_train_end(None)
    assert said == ["train: 13 rows have no gold label (-1, '-' or empty) and were left out."]
    broken_off, resumed = make(rows=rows).batches, make(rows=rows).batches
    list(islice(broken_off, 5))
    resumed.load_state_dict(broken_off.state_dict())
    list(resumed.after(4))
    assert list(resumed.counted.values()) == [13]


STOPS = (
    r"Training stops here: what was learned is in output_dir, if there is one, and once the row is right resume=True"
)


def test_a_bad_row_stops_with_its_place_and_what_to_do(make, small, rows_of):
    rows = rows_of("Classification")
    rows[20] = {"text": "", "label": "short"}
    batches = iter(make(rows=rows).batches)
    assert len(list(islice(batches, 6))) == 6  # those of the two buffers before
    with pytest.raises(DataError, match=rf"^train, row 21: text is empty\. Give it text, .* {STOPS}"):
        next(batches)


def test_a_label_that_nobody_knew_stops_with_its_place_and_what_to_do(make, small, rows_of):
    rows = rows_of("Classification")
    rows[30] = {**rows[30], "label": "shirt"}
    with pytest.raises(LabelError) as stopped:
        list(make(rows=rows).batches)
    assert str(stopped.value).startswith(
        "train, row 31: label 'shirt' is unknown (it is none of those that were known when training began). "
        "Did you mean 'short'? Correct it, or name all labels with labels=[...] in the task. Training stops here"
    )


def test_a_stream_that_gives_nothing_is_refused(make):
    with pytest.raises(DataError, match=r"train: a pass over the stream gave no row to train on \(rows read: 0\)"):
        list(make(rows=[]).batches)
    once = make()
    once.source.items = iter(once.rows)
    assert list(once.batches)
    once.batches.epoch = 1
    with pytest.raises(DataError, match="It must be possible to read it again"):
        list(once.batches)
