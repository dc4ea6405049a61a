"""Are batches made ahead those of the plain loop, and is no thread left whatever happens?"""

from __future__ import annotations

import threading
from contextlib import closing
from types import SimpleNamespace

import pytest
import torch

from reasoner.notices import collect, say
from reasoner.training.prefetch import made_ahead, pinned


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before


@pytest.mark.parametrize("number", [1, 2, 7])
@pytest.mark.parametrize("length", [0, 1, 2, 5])
def test_the_same_items_in_the_same_order(number, length):
    assert list(made_ahead(range(length), number)) == list(range(length))
    assert list(made_ahead([None] * length, number)) == [None] * length


@pytest.mark.parametrize("number", [1, 2])
def test_items_are_made_ahead_and_not_more_than_asked_for(number):
    made, ready = [], threading.Semaphore(0)

    def items():
        for item in range(10):
            assert threading.current_thread() is not threading.main_thread()
            made.append(item)
            ready.release()
            yield item

    with closing(made_ahead(items(), number)) as ahead:
        for used in range(4):
            assert next(ahead) == used
            for _ in range(number + 1 if used == 0 else 1):
                assert ready.acquire(timeout=5)
            assert made == list(range(used + 1 + number))
    assert len(made) <= 4 + number  # closed early: nothing more is made


def test_an_error_comes_where_its_item_would_have_come():
    def items():
        yield from (1, 2, 3)
        raise ZeroDivisionError("made so")

    seen = []
    with pytest.raises(ZeroDivisionError, match="made so"):
        for item in made_ahead(items()):
            seen.append(item)
    assert seen == [1, 2, 3]


def test_an_error_of_the_loop_ends_the_thread():
    with pytest.raises(KeyError), closing(made_ahead(iter(range(10**9)))) as ahead:
        for item in ahead:
            if item == 3:
                raise KeyError


def test_what_is_said_there_is_collected_here():
    def items():
        say("a row was cut")
        yield 1

    with collect() as said:
        assert list(made_ahead(items())) == [1]
    assert said == ["a row was cut"]


def test_batches_of_other_kinds_are_not_pinned():
    batch = SimpleNamespace(x=torch.ones(2))
    assert pinned(batch) is batch


@pytest.mark.skipif(not torch.cuda.is_available(), reason="pinned memory needs CUDA")
def test_pinned_memory(prepare):
    from reasoner.tasks.nli import NLI

    predictor, data = prepare(NLI())
    batches = predictor.batches(data, batch_size=8)
    for batch, plain in zip(made_ahead(map(pinned, batches)), batches, strict=True):
        assert batch.feature_index == plain.feature_index and not plain.group.is_pinned()
        for name, tensor in batch.inputs.items():
            assert tensor.is_pinned() and torch.equal(tensor, plain.inputs[name])
