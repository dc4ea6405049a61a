"""Does every feature come once an epoch, padded rightly, beside its example's others if asked?"""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from reasoner.data.batching import POOL, Batches, padding_of
from reasoner.data.features import Feature

PADDING = {"input_ids": 9, "attention_mask": 0, "token_type_ids": 3}
lengths_of_groups = st.lists(st.lists(st.integers(1, 9), max_size=4), max_size=25)


def feature(length, number=0):
    return Feature(
        {"input_ids": [100 + number] * length, "attention_mask": [1] * length, "token_type_ids": [0] * length},
        {"labels": number},
        {"tags": [number] * length},
    )


def features_of(groups):
    numbers = iter(range(10_000))
    return [[feature(length, next(numbers)) for length in group] for group in groups]


def indexes(batches):
    return [batch.feature_index for batch in batches]


@given(
    groups=lengths_of_groups,
    batch_size=st.integers(1, 7),
    keep_together=st.booleans(),
    shuffle=st.booleans(),
    epoch=st.integers(0, 3),
    compares_rows=st.booleans(),
)
def test_each_feature_comes_once_and_is_what_it_was(groups, batch_size, keep_together, shuffle, epoch, compares_rows):
    features = features_of(groups)
    flat = [item for group in features for item in group]
    batches = Batches(
        features, batch_size, padding=PADDING, keep_together=keep_together, shuffle=shuffle, compares_rows=compares_rows
    )
    batches.epoch = epoch
    made = list(batches)
    assert sorted(index for batch in made for index in batch.feature_index) == list(range(len(flat)))
    assert len(made) == len(batches)
    units = sum(map(bool, groups)) if keep_together else len(flat)
    assert len(made) == -(-units // batch_size)
    for batch in made:
        length = max(len(flat[index]) for index in batch.feature_index)
        assert batch.tokens == int(batch.inputs["attention_mask"].sum())
        for row, index in enumerate(batch.feature_index):
            missing = length - len(flat[index])
            for name, filler in PADDING.items():
                assert batch.inputs[name][row].tolist() == flat[index].inputs[name] + [filler] * missing
            assert batch.targets["tags"][row].tolist() == flat[index].token_targets["tags"] + [-100] * missing
            assert batch.targets["labels"][row] == index


@given(groups=lengths_of_groups, batch_size=st.integers(1, 7), keep=st.booleans(), shuffle=st.booleans())
def test_group_says_which_features_are_of_one_example(groups, batch_size, keep, shuffle):
    features = features_of(groups)
    example_of = [number for number, group in enumerate(groups) for _ in group]
    batches = list(Batches(features, batch_size, padding=PADDING, keep_together=keep, shuffle=shuffle))
    for batch in batches:
        examples = [example_of[index] for index in batch.feature_index]
        group = batch.group.tolist()
        assert sorted(set(group)) == list(range(len(set(examples))))  # from 0, without gaps
        assert len(set(zip(examples, group, strict=True))) == len(set(group))  # one to one
        if keep:
            assert all(examples.count(one) == len(groups[one]) for one in examples)
            in_order = [[i for i, e in enumerate(example_of) if e == one] for one in dict.fromkeys(examples)]
            assert batch.feature_index == [index for indexes in in_order for index in indexes]


def test_the_order_is_fixed_by_seed_and_epoch_and_differs_between_them():
    features = features_of([[1 + number % 9] for number in range(90)])

    def order(seed, epoch):
        batches = Batches(features, 4, padding=PADDING, shuffle=True, seed=seed)
        batches.epoch = epoch
        return indexes(batches)

    assert order(3, 1) == order(3, 1)
    orders = [order(seed, epoch) for seed in range(3) for epoch in range(3)]
    assert all(one != other for place, one in enumerate(orders) for other in orders[:place])
    torch.manual_seed(0)
    before = torch.get_rng_state()
    order(0, 0)
    assert torch.equal(before, torch.get_rng_state())  # the program's own random numbers are left alone


def test_small_data_has_other_batches_each_epoch_and_not_the_same_ones_in_another_order():
    features = features_of([[1 + number] for number in range(64)])  # all lengths differ
    batches = Batches(features, 8, padding=PADDING, shuffle=True)
    seen = []
    for batches.epoch in range(5):
        seen += [frozenset(batch) for batch in indexes(batches)]
    assert len(set(seen)) > 0.8 * len(seen)


def test_evaluation_begins_with_the_longest_and_never_changes():
    groups = [[random.Random(number).randint(1, 60)] for number in range(70)]
    batches = Batches(features_of(groups), 8, padding=PADDING)
    widths = [batch.inputs["input_ids"].shape[1] for batch in batches]
    assert widths == sorted(widths, reverse=True) and widths[0] == max(map(max, groups))
    first = indexes(batches)
    batches.epoch = 5
    assert indexes(batches) == first


@pytest.mark.parametrize("number", [400, 4000])
def test_bucketing_pads_far_less_than_plain_shuffling(number):
    draw = random.Random(1)
    lengths = [draw.choice([draw.randint(4, 12), draw.randint(20, 40), draw.randint(100, 128)]) for _ in range(number)]
    batches = Batches(features_of([[length] for length in lengths]), 16, padding=PADDING, shuffle=True)

    def padding(groups):
        return sum(max(lengths[i] for i in group) * len(group) - sum(lengths[i] for i in group) for group in groups)

    shuffled = list(range(number))
    draw.shuffle(shuffled)
    plain = padding([shuffled[start : start + 16] for start in range(0, number, 16)])
    assert padding(indexes(batches)) < 0.5 * plain


def test_a_large_data_set_is_sorted_in_pools_only():
    batches = Batches(features_of([[1 + n % 97] for n in range(2 * POOL * 4 + 4)]), 2, padding=PADDING, shuffle=True)
    drawn = {index for batch in indexes(batches)[:POOL] for index in batch}
    assert len(drawn) == 2 * POOL and max(drawn) > 2 * POOL  # drawn from all, not the first rows


@pytest.mark.parametrize("tokens", [None, 12 * 100])
def test_rows_that_are_compared_meet_rows_of_any_length(tokens):
    features = features_of([[10], [100]] * 400)  # even numbers are short
    sorted_, drawn = (
        Batches(features, 12, tokens_per_batch=tokens, padding=PADDING, shuffle=True, compares_rows=compares_rows)
        for compares_rows in (False, True)
    )
    shares = [[sum(index % 2 for index in batch) / len(batch) for batch in indexes(of)] for of in (sorted_, drawn)]
    assert sum(0 < share < 1 for share in shares[0]) < 0.1 * len(shares[0])
    assert sum(0.1 < share < 0.9 for share in shares[1]) > 0.9 * len(shares[1])


def test_padding_on_the_left():
    features = features_of([[2], [4]])
    (batch,) = Batches(features, 2, padding=PADDING, padding_side="left")
    row = batch.feature_index.index(0)
    assert batch.inputs["input_ids"][row].tolist() == [9, 9, 100, 100]
    assert batch.inputs["attention_mask"][row].tolist() == [0, 0, 1, 1]
    assert batch.targets["tags"][row].tolist() == [-100, -100, 0, 0]


def test_targets_keep_their_kind():
    def one(target):
        return [Feature({"input_ids": [1]}, {"labels": target})]

    (numbers,) = Batches([one(1.5), one(2.0)], 2, padding=PADDING)
    (classes,) = Batches([one(1), one(2)], 2, padding=PADDING)
    (vectors,) = Batches([one([1.0, 0.0]), one([0.0, 1.0])], 2, padding=PADDING)
    assert numbers.targets["labels"].dtype == torch.float32
    assert classes.targets["labels"].dtype == torch.int64
    assert vectors.targets["labels"].shape == (2, 2)
    assert numbers.inputs["input_ids"].dtype == torch.int64


@pytest.mark.parametrize("architecture", ["bert", "roberta", "modernbert", "deberta-v2", "xlm-roberta", "gpt2"])
def test_the_padding_of_a_tokenizer_is_its_own(architecture, tiny_models):
    tokenizer = AutoTokenizer.from_pretrained(tiny_models(architecture))
    padding = padding_of(tokenizer)
    if architecture == "gpt2":
        assert tokenizer.pad_token_id is None and padding["input_ids"] == tokenizer.eos_token_id
        return
    texts = ["The old harbour", "Lisbon"]
    features = [[Feature(dict(tokenizer(text)))] for text in texts]
    (batch,) = Batches(features, 2, padding=padding)
    expected = tokenizer([texts[index] for index in batch.feature_index], padding=True, return_tensors="pt")
    assert set(batch.inputs) == set(expected)
    assert all(torch.equal(batch.inputs[name], expected[name]) for name in expected)


def test_a_batch_moves_whole():
    (batch,) = Batches(features_of([[2, 3]]), 2, padding=PADDING)
    moved = batch.to(torch.device("meta"))
    assert {t.device.type for t in (*moved.inputs.values(), *moved.targets.values(), moved.group)} == {"meta"}
    assert (moved.feature_index, moved.tokens) == (batch.feature_index, batch.tokens)
