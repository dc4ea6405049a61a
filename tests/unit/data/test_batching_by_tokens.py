"""Do batches that are cut by tokens hold every row once, no more than the limit, and little padding?"""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoner.data.batching import Batches
from reasoner.data.features import Feature

lengths_of_groups = st.lists(st.lists(st.integers(1, 9), max_size=4), max_size=40)


def made(groups, tokens, *, keep=False, shuffle=True, seed=0):
    features = [[Feature({"input_ids": [1] * length}) for length in group] for group in groups]
    return Batches(
        features, 3, tokens_per_batch=tokens, padding={"input_ids": 0}, keep_together=keep, shuffle=shuffle, seed=seed
    )


def singles(number, seed=1):
    draw = random.Random(seed)
    return [[draw.choice([draw.randint(4, 12), draw.randint(20, 40), draw.randint(100, 128)])] for _ in range(number)]


@given(
    groups=lengths_of_groups,
    tokens=st.integers(1, 60),
    keep=st.booleans(),
    shuffle=st.booleans(),
    seed=st.integers(0, 3),
    epoch=st.integers(0, 3),
)
def test_each_row_comes_once_and_no_batch_is_over_the_limit_but_a_row_alone(groups, tokens, keep, shuffle, seed, epoch):
    batches = made(groups, tokens, keep=keep, shuffle=shuffle, seed=seed)
    batches.epoch = epoch
    found = list(batches)
    flat = [length for group in groups for length in group]
    assert sorted(index for batch in found for index in batch.feature_index) == list(range(len(flat)))
    assert len(found) == len(batches)
    for batch in found:
        examples = [batches.example_of[index] for index in batch.feature_index]
        rows, longest = batch.inputs["input_ids"].shape
        assert (rows, longest) == (len(batch.feature_index), max(flat[index] for index in batch.feature_index))
        assert batch.positions == rows * longest
        units = len(set(examples)) if keep else rows
        assert rows * longest <= tokens or units == 1
        if keep:
            assert all(examples.count(one) == len(groups[one]) for one in examples)
    positions = sum(batch.positions for batch in found)
    assert batches.padding_share == pytest.approx(1 - sum(flat) / positions if positions else 0)
    again = made(groups, tokens, keep=keep, shuffle=shuffle, seed=seed)
    again.epoch = epoch
    assert again.plan() == batches.plan()


@given(groups=lengths_of_groups, tokens=st.integers(1, 60), keep=st.booleans())
def test_in_order_no_batch_could_have_taken_the_next_row(groups, tokens, keep):
    batches = made(groups, tokens, keep=keep, shuffle=False)
    sizes = [(len(plan), max(batches.lengths[index] for index in plan), plan) for plan in batches.plan()]
    longest_first = [longest for _, longest, _ in sizes]
    assert longest_first == sorted(longest_first, reverse=True)
    for (rows, longest, _), (_, _, following) in pairwise(sizes):
        example = batches.example_of[following[0]]
        more = sum(batches.example_of[index] == example for index in following) if keep else 1
        assert (rows + more) * longest > tokens


def test_a_row_longer_than_the_limit_is_a_batch_of_its_own():
    batches = made([[3], [50], [3], [2], [70]], 10)
    alone = [plan for plan in batches.plan() if {1, 4} & set(plan)]
    assert sorted(alone) == [[1], [4]]


def test_groups_that_stay_together_count_whole():
    batches = made([[5, 5, 5], [5], [5, 5]], 20, keep=True, shuffle=False)
    assert batches.plan() == [[0, 1, 2, 3], [4, 5]]  # 4 x 5; the two more would make 6 x 5
    uneven = made([[1, 9], [2, 2]], 20, keep=True, shuffle=False)
    assert uneven.plan() == [[0, 1], [2, 3]]  # 4 rows x 9, though no more than 14 tokens


def test_the_number_of_batches_is_that_of_the_epoch():
    batches = made(singles(3000), 600)
    numbers = []
    for epoch in range(12):
        batches.epoch = epoch
        numbers.append(len(batches))
        assert len(list(batches)) == numbers[-1]
    assert len(set(numbers)) > 1  # or this test shows nothing
    batches.epoch = 0
    assert len(batches) == numbers[0]


def test_each_epoch_has_other_batches_and_another_seed_too():
    orders = []
    for seed in range(3):
        batches = made(singles(200), 600, seed=seed)
        for batches.epoch in range(3):
            orders.append({frozenset(plan) for plan in batches.plan()})
    assert all(len(one & other) < 0.5 * len(one) for place, one in enumerate(orders) for other in orders[:place])


@pytest.mark.parametrize(("number", "share"), [(400, 0.1), (4000, 0.025)])
def test_it_takes_few_batches_and_pads_little(number, share):
    shuffled, in_order = made(singles(number), 600), made(singles(number), 600, shuffle=False)
    assert in_order.padding_share < shuffled.padding_share < share
    assert len(in_order) <= len(shuffled) < 1.1 * len(in_order)  # what a pool leaves over goes into the next


def test_long_rows_come_at_any_time_of_the_epoch():
    batches = made([*singles(300), [200]], 600)
    places = []
    for batches.epoch in range(60):
        plan = batches.plan()
        places.append(next(place for place, rows in enumerate(plan) if 300 in rows) / (len(plan) - 1))
    assert 0.35 < sum(places) / len(places) < 0.65  # uniform: 0.5 with a standard error of 0.04
    assert min(places) < 0.2 and max(places) > 0.8
