"""Does an epoch show each label alike, keep its number of rows, and leave nothing to chance but the seed?"""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoner.data.batching import Batches
from reasoner.data.features import Feature
from reasoner.data.sampling import balanced_order, strata_of


@settings(max_examples=60)
@given(strata=st.lists(st.integers(0, 4), min_size=1, max_size=60), seed=st.integers(0, 1000))
def test_each_stratum_is_drawn_alike_and_its_rows_in_turn(strata, seed):
    order = balanced_order(np.array(strata), torch.Generator().manual_seed(seed))
    assert len(order) == len(strata)
    drawn = Counter(strata[row] for row in order)
    names = set(strata)
    if len(strata) >= len(names):
        assert set(drawn.values()) <= {len(strata) // len(names), -(-len(strata) // len(names))}
    for name in names:
        times = Counter({row: 0 for row, stratum in enumerate(strata) if stratum == name})
        times.update(int(row) for row in order if strata[row] == name)
        assert max(times.values()) - min(times.values()) <= 1


def test_a_row_with_several_labels_counts_as_the_rarest():
    assert strata_of([("A", "B"), ("A",), (), ("A", "A", "C"), ("A",), ("B", "C")]) == ["B", "A", "", "C", "A", "B"]


def made(lengths, strata=None, seed=0, **settings):
    features = [[Feature({"input_ids": [1] * length})] for length in lengths]
    return Batches(features, 4, padding={"input_ids": 0}, shuffle=True, seed=seed, strata=strata, **settings)


def test_batches_hold_the_balanced_rows_of_their_epoch():
    lengths = [3 + index % 7 for index in range(40)]
    strata = np.array([0] * 34 + [1] * 6)
    batches = made(lengths, strata)
    plans = []
    for batches.epoch in range(3):
        seen = [index for batch in batches for index in batch.feature_index]
        assert len(batches) == 10 and len(seen) == 40
        assert Counter(strata[seen]) == {0: 20, 1: 20}
        plans.append(seen)
        for batch in batches:
            assert batch.inputs["input_ids"].shape == (4, max(lengths[i] for i in batch.feature_index))
            assert len(batch.group.unique()) == len(set(batch.feature_index))
    assert plans[0] != plans[1] != plans[2]
    again = made(lengths, strata)
    assert [index for batch in again for index in batch.feature_index] == plans[0]
    assert [index for batch in made(lengths, strata, seed=1) for index in batch.feature_index] != plans[0]
    tokens = sum(lengths[index] for index in plans[0])
    batches.epoch = 0
    assert batches.padding_share == 1 - tokens / batches.positions


def test_windows_go_with_their_example():
    features = [[Feature({"input_ids": [1] * 3})] * (1 + index % 3) for index in range(12)]
    strata = np.array([0] * 9 + [1] * 3)
    batches = Batches(features, 4, padding={"input_ids": 0}, shuffle=True, strata=strata)
    drawn = [int(batches.example_of[index]) for batch in batches for index in batch.feature_index]
    assert len(drawn) == sum(map(len, features))
    assert Counter(strata[drawn]) == {0: 12, 1: 12}
